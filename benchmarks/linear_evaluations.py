"""Single evaluations of NCA's objective and gradient, against the floor of their products."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from harness import own_peak_megabytes
from linear_tables import drawn
from sklearn.preprocessing import StandardScaler

from likewise.linear.nca import nca_objective
from likewise.linear.neighbours import Products


def floor(components: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The map, the table by blocks of the same size, and the two products of a gradient; nothing else."""
    mapped = torch.from_numpy(rows @ components.T)
    products, drawn_to = Products(mapped.numpy()), torch.zeros_like(mapped)
    for start, stop in products.blocks():
        cells = torch.from_numpy(products.nearness(start, stop))
        drawn_to[start:stop] += cells @ mapped
        drawn_to.addmm_(cells.T, mapped[start:stop])
    return drawn_to.numpy().T @ rows


def evaluations(n: int, d: int, *, repeats: int = 30, seconds: float = 600.0) -> dict[str, Any]:
    """Times of ``repeats`` evaluations (fewer where ``seconds`` are over) along a short descent, and a floor.

    L moves between evaluations, so that none has an easier table than a real descent would give it.
    """
    made = drawn(n, d)
    rows = StandardScaler().fit_transform(made.X)
    components = np.eye(d)
    took, floors = [], []
    memory = own_peak_megabytes(lambda: nca_objective(components, rows, made.y))
    begin = time.perf_counter()
    for step in range(repeats):
        start = time.process_time()
        gradient = nca_objective(components, rows, made.y)[1]
        took.append(time.process_time() - start)
        if step < 3:
            start = time.process_time()
            floor(components, rows)
            floors.append(time.process_time() - start)
        components = components - 0.01 * gradient / max(float(np.abs(gradient).max()), 1e-300)
        if time.perf_counter() - begin > seconds:
            break
    return {
        "kind": "evaluations",
        "n": n,
        "d": d,
        "evaluations": len(took),
        "seconds": sum(took),
        "slowest": max(took),
        "floor": min(floors),
        "slowest, in floors": max(took) / min(floors),
        "megabytes": memory,
        "X, megabytes": rows.nbytes / 2**20,
    }
