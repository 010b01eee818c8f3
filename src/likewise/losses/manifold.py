"""Manifold similarity: a random walk over embeddings and proxies says who belongs together."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance, unit_rows
from likewise.errors import InputError, UnsupportedError
from likewise.losses.base import positive
from likewise.losses.class_cells import OwnClass, Settled
from likewise.losses.classes import ClassLoss, ClassOptions
from likewise.losses.composed import far_cells, near_cells
from likewise.table import TableFunction

__all__ = ["Manifold"]


class Manifold(ClassLoss):
    r"""Manifold similarity with proxies (Aziere, Todorovic 2019): who is near along the data.

    Embeddings and proxies are the nodes of a graph with affinities ``exp(2 max(0, cos))``, normalised on both
    sides to S; ``F = (1 - a) (I - a S)^-1`` is where a random walk with restarts ends. An embedding costs
    ``log(1 + sum_c exp(F_ic - F_iy + m))`` over the proxies c that come within m of its own proxy y (the
    intrinsic part), plus ``w`` times the same with the cosine of the rows of F, ``cos(F_i, F_c)``, in place
    of F_ic (the context part).

    Defaults: cosine distance, a = 0.8, m = 5e-4, w = 1, mean over embeddings, and classes as the labels say.
    The paper and pytorch-metric-learning's ManifoldLoss, which is the same otherwise, deal items out at
    random to "meta classes", anew each epoch: give those as labels.

    It solves a dense system of n + n_classes unknowns: this loss is no walk, and takes (n + n_classes)^2
    memory.

    Parameters
    ----------
    n_classes, dimension : int
    alpha : float, above 0 and below 1
        a.
    margin : float, 0 or more
        m.
    context_weight : float, 0 or more
        w.

    References
    ----------
    N. Aziere, S. Todorovic, "Ensemble deep manifold similarity learning using hard proxies", 2019, equations
    1 to 6 (numbers from memory).

    >>> loss = Manifold(2, 2, context_weight=0.0, margin=0.0)
    >>> with torch.no_grad():
    ...     _ = loss.weight.copy_(torch.eye(2))
    >>> loss(torch.tensor([[3.0, 0.0]]), [0]).item()  # its own proxy is the nearest
    0.0
    """

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        alpha: float = 0.8,
        margin: float = 5e-4,
        context_weight: float = 1.0,
        distance: Distance | str | None = None,
        **options: Unpack[ClassOptions],
    ) -> None:
        super().__init__(n_classes, dimension, distance=distance or Cosine(), centres=1, **options)
        if not isinstance(self.distance, Cosine):
            raise InputError(f"distance must be Cosine; found {type(self.distance).__name__}")
        if positive("alpha", alpha) >= 1:
            raise InputError(f"alpha must be below 1; found {alpha!r}")
        self.alpha = float(alpha)
        self.margin = positive("margin", margin, zero=True)
        self.context_weight = positive("context_weight", context_weight, zero=True)

    def function(self) -> TableFunction[Any]:
        """Not there: this loss solves for the whole batch.

        Raises
        ------
        UnsupportedError
        """
        raise UnsupportedError("Manifold isn't a walk: call the loss itself")

    def _against(self, rows: Tensor, relation: Settled, vectors: Tensor, weights: Tensor | None) -> Tensor:
        """Solve for the walk, and compare proxies."""
        resolved = relation.resolved
        row, anchor, own = near_cells(resolved)
        zero = rows.new_zeros(resolved.n_rows)
        if not row.numel():
            return self.nothing(rows, vectors, zero)
        nodes = unit_rows(torch.cat([rows, vectors]))
        affinity = (2.0 * (nodes @ nodes.T).clamp(min=0.0)).exp()
        affinity = affinity * (1.0 - torch.eye(nodes.shape[0], dtype=rows.dtype, device=rows.device))
        root = affinity.sum(1).rsqrt()
        system = torch.eye(nodes.shape[0], dtype=rows.dtype, device=rows.device)
        system = system - self.alpha * root[:, None] * affinity * root
        reached = (1.0 - self.alpha) * _PositiveInverse.apply(system)  # type: ignore[no-untyped-call]
        labelled = isinstance(resolved, OwnClass) and resolved.classes is not None
        n, near, far = rows.shape[0], (row, anchor, own), None if labelled else far_cells(resolved)
        values = self._compare(reached[:n, n:], near, far)
        if self.context_weight:
            context = unit_rows(reached[:n]) @ unit_rows(reached[n:]).T
            values = values + self.context_weight * self._compare(context, near, far)
        weighted = values
        if weights is not None:
            weighted = values * self._check_weights(weights, resolved, rows)[row]
        if self.reduction == "none":
            return zero.index_add(0, row, weighted)
        divisor = {"mean": row.numel(), "active": int((values != 0).sum()), "sum": 1}[self.reduction]
        return weighted.sum() / max(1, divisor)

    def _compare(
        self,
        similarity: Tensor,
        near: tuple[Tensor, Tensor, Tensor],
        far: tuple[Tensor, Tensor, Tensor] | None,
    ) -> Tensor:
        """``log(1 + sum_c exp(s_c - s_y + m))`` over the c within m of y, for each near cell (k,).

        near, far : row, embedding and class of all near and of all far cells; without far ones each row has
        one class, and all others are far.
        """
        row, anchor, own = near
        if far is None:
            others = similarity.scatter(1, own[:, None], -torch.inf)
        else:
            far_row, far_anchor, far_class = far
            count = int(max(part.max() for part in (row, far_row) if part.numel())) + 1
            others = similarity.new_full((count, similarity.shape[1]), -torch.inf)
            others = others.index_put((far_row, far_class), similarity[far_anchor, far_class])[row]
        gap = others - similarity[anchor, own][:, None] + self.margin
        return torch.where(gap.detach() >= 0, gap, -torch.inf).exp().sum(1).log1p()


class _PositiveInverse(torch.autograd.Function):
    """The inverse of a symmetric positive definite matrix, by half the work that one of any matrix takes."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
        ctx.save_for_backward(inverse)
        return inverse

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "Manifold can't be differentiated twice: call backward without create_graph=True"
            )
        (inverse,) = ctx.saved_tensors
        found: Tensor = inverse @ slopes @ inverse
        return found.neg_()
