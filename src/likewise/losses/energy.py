"""The contrastive loss of 2005: an energy that alike pairs lower and unlike pairs raise, without a margin."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Cityblock, Distance
from likewise.losses.base import Miner, ReductionName, TableLoss, positive
from likewise.table import Near, Part, Rows, Tile
from likewise.table.exponentials import exponentials

__all__ = ["ChopraContrastive"]


@dataclass
class _Energies:
    """The near cells' energies, and the sum and the count of active far terms so far."""

    near: Near
    energy: Tensor  # (r, p); zero where not valid
    total: Tensor  # (r,) of exp(-c d / Q) over the far cells
    active: Tensor  # (r,)
    exponentials: Tensor | None = None  # of the last tile, where it comes back


class ChopraContrastive(TableLoss[_Energies]):
    r"""Energy-based contrastive loss with an exponential in place of a margin (Chopra, Hadsell, LeCun 2005).

    With the energy ``E = d(x, z)`` an alike pair costs ``(2 / Q) E^2``, an unlike one
    ``2 Q exp(-(c / Q) E)``. At ``c = 4 ln 2`` (2.7726; the paper prints 2.77) the two branches cross at
    ``E = Q / 2``, where both are ``Q / 2``. The slope of an unlike pair is largest at ``E = 0``: with a norm
    as the energy coinciding unlike pairs are still pushed apart, with a squared norm they would not be.
    Alike and unlike pairs are averaged apart: the mean over all alike pairs plus the mean over all unlike
    ones (with ``reduction="active"`` over those not zero); the paper sums over listed pairs, which it draws
    in equal numbers.

    Defaults: Cityblock distance (the paper's L1 norm), embeddings as given, ``reduction="mean"``. Q has no
    default: it belongs to the network. No other library is known to offer this loss; what
    pytorch-metric-learning calls ContrastiveLoss is the hinge of 2006 without squares (here
    :class:`Contrastive` with ``squared=False``).

    Parameters
    ----------
    upper_bound : float, above 0
        Q, the largest energy that can occur: with p outputs in a range of width r it is ``p r`` (50 sigmoid
        outputs: 50). With unbounded outputs it is a scale to tune: far above the usual energies both
        branches are flat.
    decay : float, above 0
        c.

    References
    ----------
    S. Chopra, R. Hadsell, Y. LeCun, "Learning a similarity metric discriminatively, with application to face
    verification", 2005, section 2.3 (equation number from memory: 8).

    >>> loss = ChopraContrastive(upper_bound=4.0)
    >>> loss(torch.tensor([[0.0], [2.0]]), [0, 0])  # 2 / 4 * 2^2
    tensor(2.)
    """

    apart = True
    cellwise = True

    def __init__(
        self,
        *,
        upper_bound: float,
        decay: float = 2.77,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Cityblock(), reduction=reduction, miner=miner)
        self.upper_bound = positive("upper_bound", upper_bound)
        self.decay = positive("decay", decay)

    def begin(self, near: Near) -> _Energies:
        """No far terms yet."""
        energy = near.distances.masked_fill(~near.valid, 0.0)
        return _Energies(near, energy, torch.zeros_like(near.count), torch.zeros_like(near.count))

    def _exponentials(self, tile: Tile, total: Tensor | None = None) -> Tensor:
        """``exp(-c d / Q)``, zero where the distance is infinite; adds its sums by row."""
        rate = -self.decay / self.upper_bound
        return exponentials(tile.distances, rate, tile.distances.new_zeros(len(tile.distances)), total=total)

    def observe(self, tile: Tile, state: _Energies) -> None:
        """Add the far terms of a tile."""
        found = self._exponentials(tile, state.total)
        if self.reduction == "active":
            state.active += found.sign().sum(1)
        state.exponentials = found if tile.kept else None

    def finish(self, state: _Energies) -> Rows:
        """The sums of alike and unlike terms."""
        value = state.energy.square().sum(1) * (2.0 / self.upper_bound)
        return Rows(
            near=Part(value, state.near.count, state.energy.sign().abs_().sum(1)),
            far=Part(state.total * (2.0 * self.upper_bound), state.near.far_count, state.active),
        )

    def slope(self, tile: Tile, state: _Energies) -> Tensor:
        """``-2 c exp(-c d / Q)``."""
        found = self._exponentials(tile) if state.exponentials is None else state.exponentials
        return found.mul_(-2.0 * self.decay)

    def near_slope(self, state: _Energies) -> Tensor:
        """``(4 / Q) d``."""
        return state.energy * (4.0 / self.upper_bound)
