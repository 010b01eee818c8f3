"""Proxy-NCA with several proxies a class, for classes of many modes."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from likewise.distances import Distance
from likewise.losses.base import positive
from likewise.losses.classes import ClassLoss, MinedOptions
from likewise.losses.log_sum import FarLogSum, RowTerms, log_sum
from likewise.losses.proxy import UnitSquared
from likewise.table import Near, Part, Rows

__all__ = ["MultiProxy"]


class MultiProxy(ClassLoss):
    r"""Proxy-NCA over several proxies a class: ``-log(sum_k exp(-s d(x, p_yk)) / sum exp(-s d(x, p)))``.

    d is the squared Euclidean distance of unit vectors. The sum above is over the proxies of the own class,
    so an embedding need be near one of them only; the one below over those of the other classes, or of all
    with ``include_positive``. With one proxy a class it is :class:`ProxyNCA`.

    Defaults: embeddings and proxies normalised, three proxies a class, scale 9 and the own proxies in the sum
    (a proper log-probability), mean over the rows. SoftTriple weighs the own centres by a softmax of their
    similarities instead, and has a margin; no other library compared here has this one.

    Parameters
    ----------
    n_classes, dimension : int
    centres : int, above 0
        Proxies a class.
    include_positive : bool
    scale : float, above 0
        s.

    References
    ----------
    Y. Movshovitz-Attias et al., "No fuss distance metric learning using proxies", 2017, equation 4 (from
    memory), with the class's likelihood a mixture, as in J. Goldberger et al., "Neighbourhood components
    analysis", 2004.

    >>> loss = MultiProxy(2, 1, centres=2, scale=1.0)
    >>> with torch.no_grad():
    ...     _ = loss.weight.copy_(torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]))
    >>> round(loss(torch.tensor([[5.0]]), [0]).item(), 4)  # log(1 + 2 exp(-4) / 2)
    0.0181
    """

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        centres: int = 3,
        include_positive: bool = True,
        scale: float = 9.0,
        distance: Distance | str | None = None,
        **options: Unpack[MinedOptions],
    ) -> None:
        super().__init__(n_classes, dimension, centres=centres, distance=distance or UnitSquared(), **options)
        self.include_positive = bool(include_positive)
        self.scale = positive("scale", scale)

    def function(self) -> FarLogSum:
        """The own proxies' log-sum-exp against that of the others."""
        return FarLogSum(self.scale, self._row)

    def _row(self, near: Near, far: Tensor) -> RowTerms:
        logits = near.distances * -self.scale
        own = log_sum(logits)
        has = (near.count > 0) & far.isfinite()
        value = torch.logaddexp(far, own) - own if self.include_positive else far - own
        # the derivative by the gap between the two sums
        by_gap = (far - own).sigmoid() if self.include_positive else torch.ones_like(far)
        value, by_gap = torch.where(has, value, 0.0), torch.where(has, by_gap, 0.0)
        terms = near.count > 0 if self.include_positive else has
        share = (logits - torch.where(has, own, torch.inf)[:, None]).exp_()
        by_near = share * (by_gap * self.scale)[:, None]
        return RowTerms(Rows(joint=Part(value, terms, value != 0)), by_gap, by_near)
