"""Objectives of the linear learners as loops, and the pairs on which other libraries were run."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_iris

from likewise.relations import Pairs


def standard_iris() -> tuple[np.ndarray, np.ndarray]:
    """Iris with features of mean 0 and variance 1."""
    X, y = load_iris(return_X_y=True)
    return (X - X.mean(0)) / X.std(0), y


def iris_pairs() -> Pairs:
    """Row i with rows i + 1, 3, 50 and 77 (mod 150), less the pairs of equal rows: 288 alike, 312 not."""
    X, y = standard_iris()
    listed = [(i, (i + shift) % 150) for shift in (1, 3, 50, 77) for i in range(150)]
    left, right = np.array([pair for pair in listed if (X[pair[0]] != X[pair[1]]).any()]).T
    return Pairs(left, right, y[left] == y[right])


def chances(L: np.ndarray, X: np.ndarray) -> np.ndarray:
    """p_ij of NCA, MCML and MLKR, (n, n)."""
    n = len(X)
    p = np.zeros((n, n))
    for i in range(n):
        others = [j for j in range(n) if j != i]
        squares = np.array([np.sum((L @ X[i] - L @ X[j]) ** 2) for j in others])
        weights = np.exp(-(squares - squares.min()))
        p[i, others] = weights / weights.sum()
    return p


def nca(L: np.ndarray, X: np.ndarray, y: np.ndarray) -> float:
    p = chances(L, X)
    return -sum(p[i, j] for i in range(len(X)) for j in range(len(X)) if i != j and y[i] == y[j])


def mlkr(L: np.ndarray, X: np.ndarray, y: np.ndarray) -> float:
    return float(np.sum((y - chances(L, X) @ y) ** 2))


def mcml(L: np.ndarray, X: np.ndarray, y: np.ndarray) -> float:
    total = 0.0
    for i in range(len(X)):
        squares = {j: np.sum((L @ X[i] - L @ X[j]) ** 2) for j in range(len(X)) if j != i}
        log_total = np.logaddexp.reduce([-square for square in squares.values()])
        mates = [j for j in squares if y[j] == y[i]]
        total += sum((np.log(1 / len(mates)) + squares[j] + log_total) / len(mates) for j in mates)
    return total


def lmnn(L: np.ndarray, X: np.ndarray, y: np.ndarray, k: int, weight: float) -> float:
    total = 0.0
    for i in range(len(X)):
        mates = [j for j in range(len(X)) if j != i and y[j] == y[i]]
        targets = sorted(mates, key=lambda j: np.sum((X[i] - X[j]) ** 2))[:k]
        for j in targets:
            own = np.sum((L @ (X[i] - X[j])) ** 2)
            total += (1 - weight) * own
            for other in range(len(X)):
                if y[other] != y[i]:
                    total += weight * max(0.0, 1 + own - np.sum((L @ (X[i] - X[other])) ** 2))
    return total


def itml_by_projections(
    X: np.ndarray, pairs: Pairs, bounds: tuple[float, float], gamma: float, sweeps: int
) -> np.ndarray:
    """A of ITML by the paper's cyclic Bregman projections (algorithm 1), from A0 = I."""
    A = np.eye(X.shape[1])
    listed = list(zip(pairs.left.tolist(), pairs.right.tolist(), pairs.same.tolist(), strict=True))
    multipliers = np.zeros(len(listed))
    bound = [bounds[0] if same else bounds[1] for _, _, same in listed]
    share = 1.0 if np.isinf(gamma) else gamma / (gamma + 1)
    for _ in range(sweeps):
        for c, (i, j, same) in enumerate(listed):
            v = X[i] - X[j]
            p = v @ A @ v
            if same:
                a = min(multipliers[c], share * (1 / p - 1 / bound[c]))
                beta = a / (1 - a * p)
                bound[c] = 1 / (1 / bound[c] + a / gamma)
            else:
                a = min(multipliers[c], share * (1 / bound[c] - 1 / p))
                beta = -a / (1 + a * p)
                bound[c] = 1 / (1 / bound[c] - a / gamma)
            multipliers[c] -= a
            A = A + beta * np.outer(A @ v, A @ v)
    return A
