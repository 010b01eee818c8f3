"""Losses whose terms stand alone: each pair is pulled together or pushed apart by its own distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Distance, Euclidean
from likewise.losses.base import Miner, ReductionName, TableLoss, positive
from likewise.table import Near, Part, Rows, Tile
from likewise.table.far_terms import Gaps
from likewise.table.gaps import GapSums, add_gaps

__all__ = ["Contrastive", "PairSums"]


@dataclass
class PairSums:
    """The near cells, and the sum and the count of active far terms so far."""

    near: Near
    value: Tensor  # (r,)
    active: Tensor  # (r,)
    slopes: Tensor | None = None  # of the last tile, where it comes back


class Contrastive(TableLoss[PairSums]):
    r"""Contrastive loss with a margin (Hadsell, Chopra, LeCun 2006).

    Each alike pair costs ``d^2 / 2``, each unlike one ``max(0, m - d)^2 / 2``. Alike and unlike pairs are
    averaged apart: the mean over all alike pairs plus the mean over all unlike ones (with
    ``reduction="active"``, over those not zero), so that neither drowns the other; the paper sums over
    listed pairs.

    Defaults: Euclidean distance, embeddings as given, ``reduction="mean"``.

    Parameters
    ----------
    margin : float, above 0
        m, in units of the distance: unlike pairs beyond it cost nothing.
    near_margin : float, 0 or more
        Alike pairs nearer than this cost nothing.
    squared : bool
        True is the paper. False drops square and half, ``max(0, d - near_margin)`` and ``max(0, m - d)``:
        pytorch-metric-learning's ContrastiveLoss, which averages the terms not zero
        (``reduction="active"``) and normalises embeddings (``distance=Euclidean()`` on unit rows).

    References
    ----------
    R. Hadsell, S. Chopra, Y. LeCun, "Dimensionality reduction by learning an invariant mapping", 2006,
    equation 4.

    >>> loss = Contrastive(margin=2.0)
    >>> loss(torch.tensor([[0.0], [1.0], [4.0]]), [0, 0, 1])
    tensor(0.5000)
    """

    apart = True
    scaled = True
    cellwise = True
    fused = True

    def __init__(
        self,
        *,
        margin: float = 1.0,
        near_margin: float = 0.0,
        squared: bool = True,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Euclidean(), reduction=reduction, miner=miner)
        self.margin = positive("margin", margin)
        self.near_margin = positive("near_margin", near_margin, zero=True)
        self.squared = squared

    def begin(self, near: Near) -> PairSums:
        """No far terms yet."""
        return PairSums(near, torch.zeros_like(near.count), torch.zeros_like(near.count))

    def _sums(self, state: PairSums) -> GapSums:
        return GapSums(state.value, state.active if self.reduction == "active" else None)

    def observe(self, tile: Tile, state: PairSums) -> None:
        """Add the far terms of a tile."""
        state.slopes = add_gaps(
            tile.distances, self.margin, squared=self.squared, rows=self._sums(state), slopes=tile.kept
        )

    def far_terms(self, state: PairSums) -> Gaps:  # noqa: ARG002
        """A hinge of each cell by itself."""
        return Gaps(self.margin, self.squared)

    def far_found(self, sums: tuple[Tensor, ...], state: PairSums) -> None:
        """Take the sum of the far terms and how many aren't zero from elsewhere."""
        state.value, state.active = sums

    def observe_both(
        self,
        tile: Tile,
        turned: Callable[[], Tile],  # noqa: ARG002
        rows: PairSums,
        columns: PairSums,
    ) -> None:
        """The same terms for both."""
        mine, theirs = self._sums(rows), self._sums(columns)
        add_gaps(tile.distances, self.margin, squared=self.squared, rows=mine, columns=theirs)

    def _excess(self, near: Near) -> Tensor:
        """How far alike pairs lie beyond the near margin; zero where not valid."""
        return near.filled((near.distances - self.near_margin).clamp_(min=0.0), 0.0)

    def finish(self, state: PairSums) -> Rows:
        """The sums of alike and unlike terms."""
        excess = self._excess(state.near)
        value = excess.square().sum(1) / 2 if self.squared else excess.sum(1)
        return Rows(
            near=Part(value, state.near.count, excess.sign().sum(1)),
            far=Part(state.value, state.near.far_count, state.active),
        )

    def slope(self, tile: Tile, state: PairSums) -> Tensor:
        """``-max(0, m - d)``, or -1 inside the margin."""
        if state.slopes is not None:
            return state.slopes
        found = add_gaps(tile.distances, self.margin, squared=self.squared, slopes=True)
        assert found is not None
        return found

    def near_slope(self, state: PairSums) -> Tensor:
        """``max(0, d - near_margin)``, or 1 beyond it."""
        excess = self._excess(state.near)
        return excess if self.squared else excess.sign_()
