"""The random miner: its draws, their frequencies, and its place in a checkpoint."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from likewise import mining
from likewise.distances import Euclidean
from likewise.losses import TripletMargin
from likewise.relations import Labels, Sides
from reference.mining import Look, listing, resolved
from reference.tables import random_tables

MASK = 2**64 - 1


def mixed(state: int) -> int:
    state = (state + 0x9E3779B97F4A7C15) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def drawn(seed: int, step: int, row: int, column: int) -> float:
    state = mixed(seed & MASK)
    for coordinate in (step, row, column):
        state = mixed(state ^ coordinate)
    return (state >> 11) * 2.0**-53


def weight(distance: float, dimension: int, cutoff: float, limit: float) -> float:
    if distance >= limit:
        return 0.0
    d = max(distance, cutoff)
    return 1.0 / (d ** (dimension - 2) * (1 - d * d / 4) ** ((dimension - 3) / 2))


def chord(x: Tensor, y: Tensor) -> Tensor:
    return (x / x.norm() - y / y.norm()).norm()


@pytest.mark.parametrize("seed", [0, -5, 2**70])
def test_distance_weighted_draws_equal_the_loops(seed: int) -> None:
    """Inverse distribution functions by plain sums, random numbers by plain integers."""
    cutoff, limit = 0.6, 1.5
    miner = mining.DistanceWeighted(cutoff=cutoff, limit=limit, seed=seed)
    for step, table in enumerate(random_tables(60, seed=14)):
        if table.embeddings.shape[0] == 0:
            continue
        look, dimension = Look(table, chord), table.embeddings.shape[1]
        expected = []
        for number, row in enumerate(table.rows):
            far = sorted(row.far, key=lambda cell: cell[1])
            weights = [weight(look(cell), dimension, cutoff, limit) for cell in far]
            for cell in row.near:
                target = drawn(seed, step, number, cell[1]) * sum(weights)
                passed = [i for i in range(len(far)) if sum(weights[: i + 1]) > target]
                if passed:
                    expected.append(([cell], [far[passed[0]]]))
        found = miner(table.embeddings, resolved(table), columns=table.columns, distance=Euclidean())
        assert sorted(listing(found)) == sorted(expected), table.name


def test_distance_weighted_frequencies() -> None:
    """Over 600 steps each negative of one anchor is drawn as often as its weight says."""
    angles = torch.tensor([0.0, 0.1, 0.3, 0.6, 0.9, 1.2, 1.5, 2.9], dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin(), torch.zeros(8).double(), torch.zeros(8).double()], dim=1)
    labels = [0, 0, 1, 2, 3, 4, 5, 6]
    table = Labels(labels).resolve(None, Sides(8, 8, True, torch.device("cpu")))
    miner, counts = mining.DistanceWeighted(seed=3), Counter()
    for _ in range(600):
        counts[int(miner(x, table, distance=Euclidean()).block(0, 1).far.columns[0, 0])] += 1
    weights = [weight(2 * math.sin(float(a) / 2), 4, 0.5, 1.4) for a in angles[2:]]
    assert counts[7] == 0  # beyond the limit
    for column, share in enumerate(weights, start=2):
        expected = share / sum(weights)
        assert counts[column] / 600 == pytest.approx(expected, abs=5 * math.sqrt(expected / 600) + 1e-9)


def test_distance_weighted_steps_are_in_the_checkpoint() -> None:
    x, labels = torch.randn(32, 6), torch.arange(32) // 4
    table = Labels(labels).resolve(None, Sides(32, 32, True, torch.device("cpu")))
    first, second = (mining.DistanceWeighted(limit=2.0) for _ in range(2))
    one = listing(first(x, table, distance=Euclidean()))
    two = listing(first(x, table, distance=Euclidean()))
    assert one != two
    assert one == listing(second(x, table, distance=Euclidean()))
    loss, again = (TripletMargin(miner=miner) for miner in (first, mining.DistanceWeighted(limit=2.0)))
    again.load_state_dict(loss.state_dict())
    assert int(again.miner.step) == 2
    torch.testing.assert_close(again(x, labels), loss(x, labels))
    other = mining.DistanceWeighted(limit=2.0, seed=1)
    assert listing(other(x, table, distance=Euclidean())) != one
