"""Distances that no product gives: coordinate by coordinate, or by a small network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from likewise.distances.base import PSEUDO_METRIC, Axiom, Distance
from likewise.distances.products import unit_rows

__all__ = ["Cityblock", "Hamming", "PositionDependent", "SignedDifference", "WeightedCityblock"]


class Cityblock(Distance):
    """``sum_j |x_j - y_j|``; its slope at equal components is zero.

    >>> Cityblock()(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, -4.0]]))
    tensor([7.])
    """

    axioms = PSEUDO_METRIC

    def width(self, dimension: int) -> int:  # noqa: ARG002
        """One: ``torch.cdist`` holds nothing but the table."""
        return 1

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances row by row: ``(..., d)`` and ``(..., d)`` give ``(...)``."""
        return (x - y).abs().sum(-1)

    def table(self, x: Tensor, y: Tensor) -> Tensor:
        """All distances ``(n, m)`` without an ``(n, m, d)`` array."""
        return torch.cdist(x, y, p=1.0)


class WeightedCityblock(Distance):
    """``sum_j w_j |x_j - y_j|`` with learned weights of either sign (Koch, Zemel, Salakhutdinov 2015).

    Parameters
    ----------
    dimension : int
        d; the weights begin at one.

    >>> WeightedCityblock(2)(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, -4.0]])).detach()
    tensor([7.])
    """

    axioms = frozenset({Axiom.ZERO_ON_SELF, Axiom.SYMMETRIC})

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dimension))

    def width(self, dimension: int) -> int:  # noqa: ARG002
        """One: ``torch.cdist`` holds nothing but the table."""
        return 1

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances row by row: ``(..., d)`` and ``(..., d)`` give ``(...)``."""
        return ((x - y).abs() * self.weight.to(x.dtype)).sum(-1)

    def table(self, x: Tensor, y: Tensor) -> Tensor:
        """All distances ``(n, m)`` without an ``(n, m, d)`` array."""
        found: Tensor = _WeightedTable.apply(x, y, self.weight.to(x.dtype))  # type: ignore[no-untyped-call]
        return found

    def config(self) -> dict[str, Any]:
        """Name and dimension."""
        return {"name": "WeightedCityblock", "dimension": self.weight.shape[0]}


class _WeightedTable(torch.autograd.Function):
    """``sum_j w_j |x_ij - y_kj|`` for all i, k by ``torch.cdist``, which knows no weights.

    What weighs is put into the coordinates, those of negative weight in a table of their own. Its slopes are
    those of the plain table: by x_ij times w_j, and by w_j times x_ij and y_kj, so that they are right where
    a weight is zero too.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, weight)
        negative = weight < 0
        u, v = x * weight.abs(), y * weight.abs()
        table = torch.cdist(u[:, ~negative], v[:, ~negative], p=1.0)
        return table - torch.cdist(u[:, negative], v[:, negative], p=1.0) if negative.any() else table

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, weight = ctx.saved_tensors
        with torch.enable_grad():
            u, v = x.detach().requires_grad_(), y.detach().requires_grad_()
            by_x, by_y = torch.autograd.grad(torch.cdist(u, v, p=1.0), (u, v), slopes.contiguous())
        return weight * by_x, weight * by_y, (x * by_x).sum(0) + (y * by_y).sum(0)


class PositionDependent(Distance):
    """Minus the similarity S of the position-dependent unit of PDDM (Huang, Loy, Tang 2016).

    With ``u = |x - y|`` (the difference) and ``v = (x + y) / 2`` (the position), both at unit length
    when ``normalize_inputs``, the unit is ``u' = relu(W_u u + b_u)``, ``v' = relu(W_v v + b_v)``,
    ``c = relu(W_c [u'/|u'| ; v'/|v'|] + b_c)``, ``S = w_s c + b_s``: symmetric, unbounded, not a metric.
    After ``u / |u|`` the unit can't see how far apart two points are, only along which coordinates;
    two of three public re-implementations leave that division out (``normalize_inputs=False``).

    Parameters
    ----------
    dimension, hidden : int
        d, and the width of u', v' and c (d when not given).
    normalize_inputs : bool
        As in the paper.
    """

    axioms = frozenset({Axiom.SYMMETRIC})

    def __init__(self, dimension: int, *, hidden: int | None = None, normalize_inputs: bool = True) -> None:
        super().__init__()
        hidden = dimension if hidden is None else hidden
        self.difference = nn.Linear(dimension, hidden)
        self.position = nn.Linear(dimension, hidden)
        self.joint = nn.Linear(2 * hidden, hidden)
        self.score = nn.Linear(hidden, 1)
        self.normalize_inputs = normalize_inputs

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances ``-S`` row by row: ``(..., d)`` and ``(..., d)`` give ``(...)``."""
        u, v = (x - y).abs(), (x + y) / 2
        if self.normalize_inputs:
            u, v = unit_rows(u), unit_rows(v)
        u, v = torch.relu(self.difference(u)), torch.relu(self.position(v))
        c = torch.relu(self.joint(torch.cat([unit_rows(u), unit_rows(v)], dim=-1)))
        out: Tensor = -self.score(c).squeeze(-1)
        return out

    def config(self) -> dict[str, Any]:
        """Name, dimension, width and the flag."""
        return {
            "name": "PositionDependent",
            "dimension": self.difference.in_features,
            "hidden": self.difference.out_features,
            "normalize_inputs": self.normalize_inputs,
        }


class Hamming(Distance):
    """The number of components in which two codes differ; its slope is zero.

    >>> Hamming()(torch.tensor([[1.0, -1.0, 1.0]]), torch.tensor([[1.0, 1.0, -1.0]]))
    tensor([2.])
    """

    axioms = PSEUDO_METRIC

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances row by row: ``(..., d)`` and ``(..., d)`` give ``(...)``, in x's dtype if floating."""
        dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        return (x != y).sum(-1).to(dtype)


class SignedDifference(Distance):
    """``sum_j (x_j - y_j)``: the signed difference of two values (Bertsekas 1997); not a metric.

    >>> SignedDifference()(torch.tensor([[1.0]]), torch.tensor([[3.0]]))
    tensor([-2.])
    """

    axioms = frozenset({Axiom.ZERO_ON_SELF, Axiom.ANTISYMMETRIC, Axiom.TRIANGLE})

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Differences row by row: ``(..., d)`` and ``(..., d)`` give ``(...)``."""
        return (x - y).sum(-1)
