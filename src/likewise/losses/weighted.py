"""A sum of losses as one loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from likewise.errors import InputError, UnsupportedError
from likewise.losses.base import Loss, positive
from likewise.losses.geometry import GeometryAware
from likewise.relations import Relation
from likewise.table import TableFunction, WholeRows

__all__ = ["Weighted", "share_distance"]


def share_distance(wrapper: Loss, loss: Loss) -> None:
    """Give a wrapper the distance of the loss that it wraps, without a second place in its state."""
    del wrapper.distance
    wrapper.__dict__["distance"] = loss.distance


class Weighted(Loss):
    r"""A weighted sum of losses, ``sum_k w_k L_k``, over the same call.

    Every loss gets the same embeddings, relation and options; each keeps its own distance, reduction and
    miner, and its parameters are those of the sum. ``inputs=`` goes to the losses that read them
    (:class:`GeometryAware`). The sum's own ``distance`` is that of the first loss.

    Parameters
    ----------
    losses : sequence of Loss
        At least one. Reductions must all give a scalar, or all be "none".
    weights : sequence of floats, 0 or more, optional
        w; one each when not given.

    >>> import torch
    >>> from likewise.losses import Contrastive, TripletMargin
    >>> loss = Weighted([Contrastive(margin=2.0), TripletMargin(margin=1.0)], weights=[1.0, 0.5])
    >>> loss(torch.tensor([[0.0], [1.0], [4.0]]), [0, 0, 1])
    tensor(0.5000)
    """

    def __init__(self, losses: Sequence[Loss], *, weights: Sequence[float] | None = None) -> None:
        listed = list(losses)
        if not listed or not all(isinstance(loss, Loss) for loss in listed):
            found = ", ".join(type(loss).__name__ for loss in listed) or "none"
            raise InputError(f"losses must be one or more losses; found {found}")
        if weights is not None and len(weights) != len(listed):
            raise InputError(f"weights must be one a loss: expected {len(listed)}, found {len(weights)}")
        if len({loss.reduction == "none" for loss in listed}) > 1:
            found = ", ".join(loss.reduction for loss in listed)
            raise InputError(f'reductions must all give a scalar or all be "none"; found {found}')
        super().__init__(distance=listed[0].distance, reduction=listed[0].reduction)
        share_distance(self, listed[0])
        self.losses = nn.ModuleList(listed)
        chosen = [1.0] * len(listed) if weights is None else weights
        self.weights = tuple(positive("weights", weight, zero=True) for weight in chosen)

    def function(self) -> TableFunction[Any] | WholeRows:
        """Not there: a sum is as many walks as it has losses.

        Raises
        ------
        UnsupportedError
        """
        raise UnsupportedError("Weighted isn't a single walk: call the loss itself")

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # one graph break, as for every loss
    def forward(
        self,
        embeddings: Tensor,
        relation: Relation | Any,
        *,
        columns: Tensor | None = None,
        column_relation: Relation | Any = None,
        ids: Any = None,
        column_ids: Any = None,
        weights: Tensor | None = None,
        inputs: Tensor | None = None,
        column_inputs: Tensor | None = None,
    ) -> Tensor:
        """The weighted sum; see :meth:`likewise.losses.base.Loss.forward` and, for inputs, GeometryAware."""
        options = {
            "columns": columns,
            "column_relation": column_relation,
            "ids": ids,
            "column_ids": column_ids,
            "weights": weights,
        }
        reading = {"inputs": inputs, "column_inputs": column_inputs}
        values = []
        for weight, loss in zip(self.weights, self.losses, strict=True):
            more = reading if isinstance(loss, GeometryAware | Weighted) else {}
            values.append(weight * loss(embeddings, relation, **options, **more))
        total: Tensor = sum(values[1:], values[0])
        return total
