"""A researcher's idea in five lines: any function of whole rows of distances as a loss."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from likewise.distances import Distance, Euclidean
from likewise.losses.base import Loss, Miner, ReductionName
from likewise.table import WholeRows

__all__ = ["RowFunction", "RowsToValues"]

RowsToValues = Callable[[Tensor, Tensor, Tensor], Tensor]


class _Plain(WholeRows):
    def __init__(self, function: RowsToValues) -> None:
        self._function = function

    def rows(self, distances: Tensor, near: Tensor, far: Tensor) -> Tensor:
        return self._function(distances, near, far)


class RowFunction(Loss):
    """A plain function of whole rows as a loss, with its gradient by autograd on blocks of rows.

    Defaults: Euclidean distance, embeddings as given, mean over the rows that have a near and a far
    column (others have no value). Memory is a few blocks of rows against all columns; autograd makes it
    slower than a loss with slopes of its own, never less exact.

    Parameters
    ----------
    function : callable
        ``function(distances, near, far)`` gives each row's value (r,) from distances (r, m) and the bool
        masks near and far (r, m); an item with itself is in neither mask. Of Quadruplets, which measure
        from two anchors, a row is the distances of the two pairs (r, 2).

    >>> import torch
    >>> def hardest(distances, near, far):
    ...     positive = distances.masked_fill(~near, 0.0).amax(1)
    ...     negative = distances.masked_fill(~far, torch.inf).amin(1)
    ...     return torch.relu(positive - negative + 1.0)
    >>> RowFunction(hardest)(torch.tensor([[0.0], [1.0], [1.5]]), [0, 0, 1])
    tensor(1.)
    """

    def __init__(
        self,
        function: RowsToValues,
        *,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Euclidean(), reduction=reduction, miner=miner)
        self._function = function

    def function(self) -> WholeRows:
        """The function, wrapped for the engine."""
        return _Plain(self._function)
