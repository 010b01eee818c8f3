"""Metric learners as plain loops from their papers: slow, and obviously right."""

from __future__ import annotations

import itertools

import numpy as np


def pola(differences, signs, *, matrix=None, bias=1.0):
    """Losses before each step, the matrix and the bias (Shalev-Shwartz, Singer, Ng 2004)."""
    d = differences.shape[1]
    matrix = np.zeros((d, d)) if matrix is None else matrix
    losses = []
    for v, y in zip(differences, signs, strict=True):
        loss = max(0.0, y * (v @ matrix @ v - bias) + 1)
        losses.append(loss)
        step = loss / (np.dot(v, v) ** 2 + 1)
        matrix = matrix - y * step * np.outer(v, v)
        bias = max(1.0, bias + y * step)
        values, vectors = np.linalg.eigh(matrix)
        matrix = (vectors * np.maximum(values, 0)) @ vectors.T
    return np.array(losses), matrix, bias


def lego(differences, targets, signs, rate):
    """Losses before each step and the matrix (Jain, Kulis, Dhillon, Grauman 2008)."""
    matrix, losses = np.eye(differences.shape[1]), []
    for z, target, sign in zip(differences, targets, signs, strict=True):
        old = z @ matrix @ z
        if sign * (old - target) < 0:
            losses.append(0.0)
            continue
        losses.append((old - target) ** 2 / 2)
        if old == 0:
            continue
        inner = rate * target * old - 1
        new = (inner + np.sqrt(inner**2 + 4 * rate * old**2)) / (2 * rate * old)
        mapped = matrix @ z
        matrix = matrix - rate * (new - target) * np.outer(mapped, mapped) / (1 + rate * (new - target) * old)
    return np.array(losses), matrix


def oasis(anchors, positives, negatives, limit):
    """Losses before each step and W (Chechik, Sharma, Shalit, Bengio 2010)."""
    weight, losses = np.eye(anchors.shape[1]), []
    for p, near, far in zip(anchors, positives, negatives, strict=True):
        loss = max(0.0, 1 - p @ weight @ near + p @ weight @ far)
        losses.append(loss)
        gradient = np.outer(p, near - far)
        size = (gradient**2).sum()
        if loss > 0 and size > 0:
            weight = weight + min(limit, loss / size) * gradient
    return np.array(losses), weight


def hdsl(anchors, positives, negatives, scale, steps):
    """M after each Frank-Wolfe step over all pairs of features (Liu, Bellet, Sha 2015)."""
    d = anchors.shape[1]
    bases = []
    for i, j in itertools.combinations(range(d), 2):
        for sign in (1, -1):
            b = np.zeros(d)
            b[i], b[j] = 1, sign
            bases.append(scale * np.outer(b, b))
    matrix, found = np.zeros((d, d)), []
    for k in range(steps):
        slope = np.zeros((d, d))
        for a, p, n in zip(anchors, positives, negatives, strict=True):
            weight = np.clip(1 - a @ matrix @ (p - n), 0, 1)
            slope -= weight * np.outer(a, p - n) / len(anchors)
        best = max(bases, key=lambda basis: -(basis * slope).sum())
        length = 2 / (k + 2)
        matrix = (1 - length) * matrix + length * best
        found.append(matrix)
    return found


def smoothed_hinges(matrix, anchors, positives, negatives):
    """The mean smoothed hinge of HDSL."""
    total = 0.0
    for a, p, n in zip(anchors, positives, negatives, strict=True):
        c = 1 - a @ matrix @ p + a @ matrix @ n
        total += 0.0 if c <= 0 else c * c / 2 if c < 1 else c - 0.5
    return total / len(anchors)


def kernel_itml(table, left, right, same, bounds, slack, sweeps):
    """K after cyclic Bregman projections, pair by pair (Davis et al. 2007, gamma/(gamma+1))."""
    K = table.copy()
    limits = np.where(same, *bounds).astype(float)
    duals = np.zeros(len(left))
    weight = 1.0 if np.isinf(slack) else slack / (slack + 1)
    for _ in range(sweeps):
        for t, (i, j) in enumerate(zip(left, right, strict=True)):
            p = K[i, i] + K[j, j] - 2 * K[i, j]
            if same[t]:
                step = min(duals[t], weight * (1 / p - 1 / limits[t]))
                beta = step / (1 - step * p)
                limits[t] = 1 / (1 / limits[t] + step / slack)
            else:
                step = min(duals[t], weight * (1 / limits[t] - 1 / p))
                beta = -step / (1 + step * p)
                limits[t] = 1 / (1 / limits[t] - step / slack)
            duals[t] -= step
            column = K[:, i] - K[:, j]
            K = K + beta * np.outer(column, column)
    return K
