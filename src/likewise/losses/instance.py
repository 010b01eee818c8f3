"""Instance loss: every item a class of its own, told apart by one classifier for both modalities."""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor

from likewise.distances import Distance
from likewise.errors import InputError
from likewise.losses.classes import MinedOptions, NormalizedSoftmax
from likewise.relations import Relation

__all__ = ["Instance"]


class Instance(NormalizedSoftmax):
    r"""Instance loss (Zheng et al. 2020): a softmax over all items, with vectors that both modalities share.

    Each item (a picture with its texts, say) is a class; embeddings and, where they are given, columns are
    each classified by the same vectors, ``L = CE(x) + CE(z)``, which ties the modalities together before any
    of them is ranked. Without columns it is :class:`NormalizedSoftmax` over items.

    Defaults: cosine distance (embeddings and vectors are normalised; the paper's classifier isn't),
    temperature 1/64, mean over the rows. pytorch-metric-learning's InstanceLoss is another thing: it
    classifies the rows of a batch by each other, with the scale 64.

    Parameters
    ----------
    n_classes, dimension : int
        How many items there are; of the embeddings.
    temperature : float, above 0

    References
    ----------
    Z. Zheng et al., "Dual-path convolutional image-text embeddings with instance loss", 2020, section 4.2
    (from memory).

    >>> import torch
    >>> loss = Instance(2, 2, temperature=1.0)
    >>> with torch.no_grad():
    ...     _ = loss.weight.copy_(torch.eye(2))
    >>> x, z = torch.tensor([[3.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    >>> round(loss(x, [0], columns=z).item(), 4)  # log(1 + 1 / e), twice
    0.6265
    """

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        temperature: float = 1.0 / 64.0,
        distance: Distance | str | None = None,
        **options: Unpack[MinedOptions],
    ) -> None:
        super().__init__(n_classes, dimension, temperature=temperature, distance=distance, **options)

    def _evaluate(
        self,
        rows: Tensor,
        relation: Relation,
        columns: Tensor | None,
        column_relation: Relation | None,
        ids: Any,
        column_ids: Any,
        weights: Tensor | None,
    ) -> Tensor:
        """Classify rows and, where given, columns, whose items are the rows' unless told."""
        value = super()._evaluate(rows, relation, None, None, ids, None, weights)
        if columns is None:
            return value
        if column_relation is None and columns.shape[0] != rows.shape[0]:
            raise InputError(
                f"columns without items of their own must be as many as embeddings: expected "
                f"{rows.shape[0]}, found {columns.shape[0]}"
            )
        own = relation if column_relation is None else column_relation
        same = columns.shape[0] == rows.shape[0]
        if self.reduction == "none" and not same:
            raise InputError('reduction="none" adds up rows and columns one by one: give as many of each')
        return value + super()._evaluate(
            columns, own, None, None, None, column_ids, weights if same else None
        )
