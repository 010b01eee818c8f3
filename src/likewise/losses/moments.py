"""Losses of two views by their moments: nothing is pushed apart, coordinates are kept from collapsing."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from likewise.distances import SquaredEuclidean
from likewise.errors import InputError
from likewise.losses.base import ReductionName, positive
from likewise.losses.centred import less_mean
from likewise.losses.composed import ComposedLoss, Table, near_cells

__all__ = ["BarlowTwins", "VICReg"]


class _TwoViews(ComposedLoss):
    """A loss of the two views that each near cell gives, over sums of size d x d.

    With ``Matches()`` row i of the embeddings goes with row i of the columns; with labels every two items of
    a class, in both orders.
    """

    def __init__(self, *, reduction: ReductionName | None) -> None:
        if reduction == "none":
            raise InputError(
                'reduction must be "mean", "active" or "sum" (all the same here, as moments belong to the '
                'batch); found "none"'
            )
        super().__init__(distance=SquaredEuclidean(), reduction=reduction)

    def compose(self, table: Table) -> Tensor:
        """The moments of both views, where there are two items at least."""
        if table.weights is not None:
            raise InputError(f"{type(self).__name__} takes no weights: its moments belong to the batch")
        _, row, column = near_cells(table.resolved)
        x, z = _taken(table.rows, row), _taken(table.other, column)
        if x.shape[0] < 2:
            self.warn_if_empty(0)
            return (table.rows.sum() + table.other.sum()) * 0.0
        return self.value(x, z)

    @abstractmethod
    def value(self, x: Tensor, z: Tensor) -> Tensor:
        """The loss of two views (n, d) of at least two items."""


def _taken(x: Tensor, places: Tensor) -> Tensor:
    """Rows of x, which are x itself where each is taken in turn, as of matches."""
    n = x.shape[0]
    if places.shape[0] == n and torch.equal(places, torch.arange(n, device=x.device)):
        return x
    return x.index_select(0, places)


class VICReg(_TwoViews):
    r"""Variance-invariance-covariance regularization (Bardes, Ponce, LeCun 2022) of two views.

    ``a s(x, z) + b [v(x) + v(z)] + c [c(x) + c(z)]`` with ``s`` the mean over items of ``|x_i - z_i|^2``, the
    hinge ``v(x) = 1/d sum_j max(0, 1 - sqrt(var(x_j) + eps))`` that keeps every coordinate spread, and
    ``c(x) = 1/d sum_{i != j} Cov(x)_ij^2`` that keeps coordinates apart. Variances divide by n - 1.

    The views are the near cells of any relation: see :class:`BarlowTwins`.

    Defaults: embeddings as given (don't normalise them), weights 25, 25 and 1. Two departures are in
    circulation: the authors' code and pytorch-metric-learning divide s by d (here ``mean_coordinates=True``,
    the default, as the weights were tuned for it; False is the paper's formula), and halve the two variance
    terms (here ``halved_variance=True``, the default); in pytorch-metric-learning the same.

    Parameters
    ----------
    invariance, variance, covariance : float, 0 or more
        a, b, c; lambda, mu and nu of the paper.
    mean_coordinates, halved_variance : bool

    Raises
    ------
    InputError
        Weights; ``reduction="none"``.

    References
    ----------
    A. Bardes, J. Ponce, Y. LeCun, "VICReg: variance-invariance-covariance regularization for self-supervised
    learning", 2022, equations 1 to 6.

    >>> from likewise.relations import Matches
    >>> x = torch.tensor([[2.0, -2.0], [-2.0, -2.0], [2.0, 2.0], [-2.0, 2.0]])
    >>> VICReg()(x, Matches(), columns=x)  # the same, spread, and uncorrelated
    tensor(0.)
    """

    epsilon = 1e-4

    def __init__(
        self,
        *,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        mean_coordinates: bool = True,
        halved_variance: bool = True,
        reduction: ReductionName | None = None,
    ) -> None:
        super().__init__(reduction=reduction)
        self.invariance = positive("invariance", invariance, zero=True)
        self.variance = positive("variance", variance, zero=True)
        self.covariance = positive("covariance", covariance, zero=True)
        self.mean_coordinates = bool(mean_coordinates)
        self.halved_variance = bool(halved_variance)

    def value(self, x: Tensor, z: Tensor) -> Tensor:
        """The three terms."""
        squares = (x - z).square().sum(1).mean()
        if self.mean_coordinates:
            squares = squares / x.shape[1]
        (spread_x, apart_x), (spread_z, apart_z) = self._moments(x), self._moments(z)
        spread = (spread_x + spread_z) / (2 if self.halved_variance else 1)
        return self.invariance * squares + self.variance * spread + self.covariance * (apart_x + apart_z)

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        covariance = _Covariance.apply(x)  # type: ignore[no-untyped-call]
        variances = covariance.diagonal()
        spread = (1.0 - (variances + self.epsilon).sqrt()).clamp(min=0.0).mean()
        apart: Tensor = _OffDiagonal.apply(covariance)  # type: ignore[no-untyped-call]
        return spread, apart / x.shape[1]


class _Covariance(torch.autograd.Function):
    """The covariance (d, d) of the columns of x (n, d), by one product each way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        centred = less_mean(x, 0)
        ctx.save_for_backward(centred)
        return centred.T @ centred / (x.shape[0] - 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> Tensor:
        centred: Tensor = ctx.saved_tensors[0]
        # columns of it sum to zero, as those of centred do: taking the mean off changes nothing
        return centred @ ((slopes + slopes.T) / (centred.shape[0] - 1))


class _OffDiagonal(torch.autograd.Function):
    """The sum of squares of a matrix (d, d) beside its diagonal."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        apart = matrix.clone().fill_diagonal_(0.0)
        ctx.save_for_backward(apart)
        return apart.square().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        apart: Tensor = ctx.saved_tensors[0]
        return apart * (2.0 * slope)


class BarlowTwins(_TwoViews):
    r"""Barlow Twins (Zbontar et al. 2021): the cross-correlation of two views should be the identity.

    ``sum_i (1 - C_ii)^2 + w sum_{i != j} C_ij^2`` with C the correlation of coordinate i of one view with
    coordinate j of the other over the batch. A coordinate that doesn't vary has correlation zero.

    Each near cell of the relation gives two views: with ``Matches()`` row i of the embeddings and row i of
    ``columns=``; with labels every two items of a class, in both orders; with lists what they list as near.

    Defaults: embeddings as given, w = 0.0051 (the authors' code, number from memory). No library compared
    here beside lightly's ships it.

    Parameters
    ----------
    redundancy : float, 0 or more
        w.

    Raises
    ------
    InputError
        Weights; ``reduction="none"``.

    References
    ----------
    J. Zbontar, L. Jing, I. Misra, Y. LeCun, S. Deny, "Barlow Twins: self-supervised learning via redundancy
    reduction", 2021, equations 1 and 2.

    >>> from likewise.relations import Matches
    >>> x = torch.tensor([[2.0, -2.0], [-2.0, -2.0], [2.0, 2.0], [-2.0, 2.0]])
    >>> round(float(BarlowTwins()(x, Matches(), columns=x)), 6)
    0.0
    >>> round(float(BarlowTwins()(x, Matches(), columns=-x)), 6)  # C is minus the identity
    8.0
    """

    def __init__(self, *, redundancy: float = 0.0051, reduction: ReductionName | None = None) -> None:
        super().__init__(reduction=reduction)
        self.redundancy = positive("redundancy", redundancy, zero=True)

    def value(self, x: Tensor, z: Tensor) -> Tensor:
        """The two sums over the cross-correlation."""
        views: list[Tensor] = [_Standard.apply(view) for view in (x, z)]  # type: ignore[no-untyped-call]
        correlation = views[0].T @ views[1]
        apart: Tensor = _OffDiagonal.apply(correlation)  # type: ignore[no-untyped-call]
        return (1.0 - correlation.diagonal()).square().sum() + self.redundancy * apart


class _Standard(torch.autograd.Function):
    """Columns of x (n, d) centred and of norm one; zero where they don't vary."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        centred = less_mean(x, 0)
        norms = torch.linalg.vector_norm(centred, dim=0)
        scale = 1.0 / torch.where(norms > 0, norms, torch.inf)
        found: Tensor = centred.mul_(scale)
        ctx.save_for_backward(found, scale)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> Tensor:
        found, scale = ctx.saved_tensors
        along = (slopes * found).sum(0)
        gradient: Tensor = torch.addcmul(slopes - slopes.mean(0), found, along, value=-1.0)
        return gradient.mul_(scale)
