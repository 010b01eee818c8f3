"""Hinges of one value an item over all pairs of different grades, in C, without a table of distances."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from likewise.errors import UnsupportedError
from likewise.table import compiled

__all__ = ["can_grade", "grade_hinges"]


def can_grade(scores: Tensor) -> bool:
    """Whether these values (n, 1) can be taken here."""
    return scores.shape[1] == 1 and compiled.takes(scores) and compiled.library() is not None


def grade_hinges(
    scores: Tensor, grades: Tensor, margin: float, weights: Tensor | None, reduction: str
) -> tuple[Tensor, int]:
    """``max(0, margin - s_i + s_j)`` over all i of a larger grade than j, each times i's weight, reduced.

    Parameters
    ----------
    scores : (n, 1)
    grades : (n,) int64
    weights : (n,) or None
    reduction : "mean", "active" or "sum"

    Returns
    -------
    value : scalar, differentiable once in scores and weights.
    terms : int
        How many pairs there are.
    """
    counted: list[int] = []
    found: Tensor = _Graded.apply(scores, grades, margin, weights, reduction, counted)  # type: ignore[no-untyped-call]
    return found, counted[0]


class _Graded(torch.autograd.Function):
    """The operation behind :func:`grade_hinges`."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        grades: Tensor,
        margin: float,
        weights: Tensor | None,
        reduction: str,
        counted: list[int],
    ) -> Tensor:
        kind = compiled.name_of(scores)
        value, gradient = scores.new_empty(scores.shape[0]), torch.zeros_like(scores)
        counts = torch.zeros(2, dtype=torch.int64)
        plain = None if weights is None else weights.detach().contiguous()
        grades = grades.contiguous()
        compiled.function(f"grade_hinges_{kind}", "ppi" + ("f" if kind == "float" else "d") + "pppp")(
            scores.data_ptr(), grades.data_ptr(), len(grades), margin,
            None if plain is None else plain.data_ptr(), value.data_ptr(), gradient.data_ptr(),
            counts.data_ptr(),
        )  # fmt: skip
        pairs, active = counts.tolist()
        counted.append(pairs)
        ctx.divisor = max(1, {"mean": pairs, "active": active, "sum": 1}[reduction])
        ctx.save_for_backward(gradient, value)
        total = value if plain is None else value * plain
        return scores.new_full((), float(total.sum(dtype=torch.float64)) / ctx.divisor)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "PairwiseRank can't be differentiated twice: call backward without create_graph=True"
            )
        gradient, value = ctx.saved_tensors
        scale = upstream / ctx.divisor
        by_weight = value * scale if ctx.needs_input_grad[3] else None
        return gradient * scale, None, None, by_weight, None, None
