"""DeViSE: images mapped to the vectors of their label's word."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from likewise.distances import Distance, Dot
from likewise.losses.base import Loss, Miner, ReductionName, positive
from likewise.losses.centred import columns_centred
from likewise.losses.triplet import TripletMargin
from likewise.relations import Resolved
from likewise.table import Near, Part, Rows, TableFunction, Tile

__all__ = ["HingeRank"]


class HingeRank(Loss):
    r"""Hinge rank loss: ``sum_{j != y} max(0, m - t_y.z + t_j.z)`` for each row z and label vectors t.

    The rows are mapped images, the columns label vectors, by class: ``loss(images, labels, columns=t,
    column_relation=range(n_labels))``. The paper's t have unit length, and z hasn't: bring t to unit
    length yourself, as they are taken as given, for the margin is in units of the product.

    Defaults: minus the inner product as distance (:class:`~likewise.distances.Dot`), vectors as given,
    m = 0.1, and the mean over rows of the sum over false labels (PyTorch's MultiMarginLoss on the scores
    divides by the number of labels as well). With several true labels a row the sum is over each.

    Departure: all false labels count, always. While training, the paper visits them in random order and
    stops at the first that violates the margin, a cheap estimate of the direction of this sum.

    Parameters
    ----------
    margin : float, 0 or more
        m.

    References
    ----------
    A. Frome et al., "DeViSE: a deep visual-semantic embedding model", 2013, equation 1 (from memory).

    >>> import torch
    >>> loss = HingeRank(margin=0.5)
    >>> words = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> loss(torch.tensor([[0.2, 0.0]]), [0], columns=words, column_relation=[0, 1, 2])  # 0.3 + 0.1
    tensor(0.4000)
    """

    def __init__(
        self,
        *,
        margin: float = 0.1,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Dot(), reduction=reduction, miner=miner)
        self.margin = positive("margin", margin, zero=True)
        # its distance isn't read: hinges are a function of distances
        self._hinges = TripletMargin(margin=margin, distance=Dot(), reduction="sum")

    def function(self) -> TableFunction[Any]:
        """The hinges of all triplets, a term a row."""
        return _RowTerms(self._hinges.function())

    def walked(self, rows: Tensor, columns: Tensor | None, resolved: Resolved) -> Distance:
        """Products of centred columns, where they are far from the origin: differences alone count."""
        return columns_centred(self.distance, rows if columns is None else columns, resolved)


class _RowTerms(TableFunction[Any]):
    """A function with other divisors: each row that has a term is one."""

    def __init__(self, function: TableFunction[Any]) -> None:
        self._function = function

    def begin(self, near: Near) -> Any:
        return self._function.begin(near)

    def observe(self, tile: Tile, state: Any) -> None:
        self._function.observe(tile, state)

    def finish(self, state: Any) -> Rows:
        part = self._function.finish(state).joint
        assert part is not None
        return Rows(joint=Part(part.value, part.terms > 0, part.active > 0))

    def slope(self, tile: Tile, state: Any) -> Tensor:
        return self._function.slope(tile, state)

    def near_slope(self, state: Any) -> Tensor:
        return self._function.near_slope(state)
