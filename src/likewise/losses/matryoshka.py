"""Matryoshka: one loss over nested parts of the embedding, so that its first numbers serve alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from likewise.errors import InputError, UnsupportedError
from likewise.losses.base import Loss, positive
from likewise.losses.classes import ClassLoss
from likewise.losses.weighted import share_distance
from likewise.relations import Relation
from likewise.table import TableFunction, WholeRows

__all__ = ["Matryoshka"]


class Matryoshka(Loss):
    r"""Matryoshka representation learning (Kusupati et al. 2022): ``sum_m w_m L(x[:, :m])``.

    The loss is taken of the first m numbers of each embedding, for each m, so that a shorter embedding can be
    cut from a long one after training. With the cosine distance each part is normalised by itself.

    Parameters
    ----------
    loss : Loss, or a sequence with one loss for each of ``dimensions``
        One loss serves all parts; a loss with learned vectors has a dimension, so give one for each.
    dimensions : sequence of int, above 0, ascending
        m.
    weights : sequence of floats, 0 or more, optional
        w; one each when not given.

    Raises
    ------
    InputError
        Dimensions that don't ascend or are beyond the embeddings', another number of losses or weights.

    References
    ----------
    A. Kusupati et al., "Matryoshka representation learning", 2022, equation 1.

    >>> from likewise.losses import TripletMargin
    >>> loss = Matryoshka(TripletMargin(margin=1.0), dimensions=[1, 2])
    >>> loss(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.5, 9.0]]), [0, 0, 1])  # 1 of the first number alone
    tensor(1.)
    """

    def __init__(
        self,
        loss: Loss | Sequence[Loss],
        *,
        dimensions: Sequence[int],
        weights: Sequence[float] | None = None,
    ) -> None:
        sizes = [int(size) for size in dimensions]
        if not sizes or sizes[0] < 1 or sizes != sorted(set(sizes)):
            raise InputError(f"dimensions must ascend from 1 or more; found {list(dimensions)}")
        listed = [loss] * len(sizes) if isinstance(loss, Loss) else list(loss)
        if len(listed) != len(sizes) or not all(isinstance(part, Loss) for part in listed):
            raise InputError(
                f"loss must be one loss, or one a dimension: expected {len(sizes)}, found {len(listed)}"
            )
        for part, size in zip(listed, sizes, strict=True):
            if isinstance(part, ClassLoss) and part.dimension != size:
                raise InputError(
                    f"{type(part).__name__} has vectors of dimension {part.dimension}: give one of dimension "
                    f"{size}, in a list of one loss a dimension"
                )
        if weights is not None and len(weights) != len(sizes):
            raise InputError(f"weights must be one a dimension: expected {len(sizes)}, found {len(weights)}")
        super().__init__(distance=listed[0].distance, reduction=listed[0].reduction)
        share_distance(self, listed[0])
        self.losses = nn.ModuleList(listed[:1] if isinstance(loss, Loss) else listed)
        self.dimensions = tuple(sizes)
        chosen = [1.0] * len(sizes) if weights is None else weights
        self.weights = tuple(positive("weights", weight, zero=True) for weight in chosen)

    def function(self) -> TableFunction[Any] | WholeRows:
        """Not there: a sum is as many walks as it has parts.

        Raises
        ------
        UnsupportedError
        """
        raise UnsupportedError("Matryoshka isn't a single walk: call the loss itself")

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # one graph break, as for every loss
    def forward(
        self,
        embeddings: Tensor,
        relation: Relation | Any,
        *,
        columns: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """The weighted sum; columns are cut too. See :meth:`likewise.losses.base.Loss.forward`."""
        least = self.dimensions[-1]
        if not isinstance(embeddings, Tensor) or embeddings.ndim != 2 or embeddings.shape[1] < least:
            found = tuple(embeddings.shape) if isinstance(embeddings, Tensor) else type(embeddings).__name__
            raise InputError(f"embeddings must be a tensor (n, {least} or more); found {found}")
        total: Tensor | None = None
        for number, (size, weight) in enumerate(zip(self.dimensions, self.weights, strict=True)):
            loss = self.losses[number if len(self.losses) > 1 else 0]
            cut = None if columns is None else columns[:, :size]
            value = weight * loss(embeddings[:, :size], relation, columns=cut, **options)
            total = value if total is None else total + value
        assert total is not None
        return total
