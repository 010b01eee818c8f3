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

ROWS, COLUMNS = 512, 1024


def floor(components: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What any evaluation must do, in float32: the map, the table by tiles, and a gradient's two products.

    Tiles are of the size that the screen takes, and every slope is 1.
    """
    mapped = torch.from_numpy((rows @ components.T).astype(np.float32))
    ones = torch.ones(len(mapped), 1)
    norms = (mapped**2).sum(1, keepdim=True)
    left, right = torch.cat([-2 * mapped, norms, ones], 1), torch.cat([mapped, ones, norms], 1)
    drawn_to = torch.zeros_like(mapped)
    slopes, tile = torch.ones(ROWS, COLUMNS), torch.empty(ROWS, COLUMNS)
    for own in torch.arange(len(mapped)).split(ROWS):
        begin, end = int(own[0]), int(own[-1]) + 1
        for first in range(0, len(mapped), COLUMNS):
            last = min(first + COLUMNS, len(mapped))
            slope = slopes[: end - begin, : last - first]
            torch.matmul(left[begin:end], right[first:last].T, out=tile[: end - begin, : last - first])
            drawn_to[begin:end].addmm_(slope, mapped[first:last])
            drawn_to[first:last].addmm_(slope.T, mapped[begin:end])
    return drawn_to.numpy().T @ rows.astype(np.float32)


def evaluations(n: int, d: int, *, repeats: int = 30, seconds: float = 3600.0) -> dict[str, Any]:
    """Times of ``repeats`` evaluations (fewer where ``seconds`` are over) along a short descent, and a floor.

    L moves between evaluations, so that none has an easier table than a real descent would give it. The
    floor is the best of three, or of fewer where it takes long.
    """
    made = drawn(n, d)
    rows = StandardScaler().fit_transform(made.X)
    components = np.eye(d)
    took: list[float] = []
    floors: list[float] = []
    memory = 0.0
    gradient = np.empty(0)

    def evaluate() -> None:
        nonlocal gradient
        start = time.process_time()
        gradient = nca_objective(components, rows, made.y)[1]
        took.append(time.process_time() - start)

    begin = time.perf_counter()
    for _ in range(repeats):
        memory = max(memory, own_peak_megabytes(evaluate))
        if len(floors) < 3 and sum(floors) < 20:
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
