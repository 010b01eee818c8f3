"""Kernels by name, and the bound on rows that kernel methods need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics.pairwise import pairwise_kernels

from likewise.errors import InputError
from likewise.linear.options import number, one_of, whole

__all__ = ["KERNELS", "Kernel", "check_rows", "kernel_for"]

_Array = NDArray[np.float64]

KERNELS = ("linear", "rbf", "laplacian", "poly", "cosine")
"""The kernels that are taken: positive semidefinite ones, by name, so that a model holds no code."""


@dataclass(frozen=True)
class Kernel:
    """A kernel with its options, as scikit-learn computes it.

    >>> Kernel("rbf", {"gamma": 1.0})(np.array([[0.0]]), np.array([[0.0], [1.0]])).round(3)
    array([[1.   , 0.368]])
    """

    name: str
    options: dict[str, float]
    offset: _Array | None = None
    """Taken off all rows first, where that moves no distance: it keeps small differences of far rows."""

    def __call__(self, A: _Array, B: _Array) -> _Array:
        """The table k(a, b), (n, m)."""
        table: _Array = pairwise_kernels(self._moved(A), self._moved(B), metric=self.name, **self.options)
        return table

    def own(self, A: _Array) -> _Array:
        """k(a, a), (n,)."""
        if self.name in ("rbf", "laplacian"):
            return np.ones(len(A))
        moved = self._moved(A)
        squares: _Array = np.einsum("ij,ij->i", moved, moved)
        if self.name == "cosine":
            return (squares > 0).astype(np.float64)
        if self.name == "poly":
            options = self.options
            powers: _Array = (options["gamma"] * squares + options["coef0"]) ** options["degree"]
            return powers
        return squares

    def _moved(self, A: _Array) -> _Array:
        return A if self.offset is None else A - self.offset


def kernel_for(rows: _Array, name: Any, gamma: Any, degree: Any, coef0: Any) -> Kernel:
    """The kernel of these options; ``gamma="scale"`` is ``1 / (d var(X))``.

    Raises
    ------
    InputError
        Not one of :data:`KERNELS`, or an option out of range.
    """
    one_of("kernel", name, KERNELS)
    if name == "cosine":
        return Kernel(name, {})
    offset = rows.mean(axis=0)
    if name == "linear":
        return Kernel(name, {}, offset)
    if isinstance(gamma, str):
        one_of("gamma", gamma, ["scale"])
        spread = float(rows.var())
        width = 1 / (rows.shape[1] * spread) if spread > 1e-200 else 1.0
    else:
        width = number("gamma", gamma, above=0)
    if name != "poly":
        return Kernel(name, {"gamma": width}, offset)
    options = {"degree": float(whole("degree", degree)), "coef0": number("coef0", coef0, least=0)}
    return Kernel(name, {"gamma": width, **options})


def check_rows(n_rows: int, max_rows: Any) -> None:
    """Refuse more rows than a table of all of them should have."""
    most = whole("max_rows", max_rows)
    if n_rows > most:
        raise InputError(
            f"X must have at most {most} rows, as a kernel method holds n x n tables; found {n_rows}; "
            "take a part of the rows, raise max_rows, or take a linear learner"
        )
