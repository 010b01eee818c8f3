"""A few queries look into rows of 16 bits, and find what all distances say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likewise.distances import Cosine, Distance, Euclidean
from likewise.search import flat
from likewise.search.engine import Vectors, searched_exactly
from likewise.search.engines import engine_named
from likewise.search.short import ShortRows


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for few rows, and by PyTorch where there is no compiler."""
    monkeypatch.setattr(flat, "_SHORT_ROWS", 1)
    monkeypatch.setattr(ShortRows, "pay", staticmethod(lambda: True))


def test_keys_are_off_by_no_more_than_is_told() -> None:
    generator = np.random.default_rng(0)
    rows = np.zeros((0, 6), dtype=np.float32)
    held = ShortRows(6)
    queries = torch.from_numpy(generator.normal(size=(4, 6)).astype(np.float32))
    # Pieces that end within a group, and one that reaches farther than all before.
    for size, scale in ((1, 1.0), (40, 0.1), (3, 1.1), (64, 1.2), (5, 1e4), (20, 1e-9)):
        more = scale * generator.normal(size=(size, 6)) * [1, 1, 0, 100, 1e-6, 1]
        rows = np.concatenate([rows, more.astype(np.float32)])
        held.follow(rows)
        offsets = torch.from_numpy((rows.astype(np.float64) ** 2).sum(1).astype(np.float32) / 2)
        table = torch.empty(4, len(rows))
        held.fill(table, queries, offsets)
        exact = offsets.double() - queries.double() @ torch.from_numpy(rows).double().T
        sizes = offsets.double() + queries.double().abs() @ torch.from_numpy(rows).double().abs().T
        off = (table.double() - exact).abs() - 1e-6 * sizes
        assert (off <= torch.from_numpy(held.errors(queries))[:, None]).all()
        assert (held.errors(queries) <= 1e-4 * np.abs(rows).max() * np.linalg.norm(queries, axis=1)).all()


@pytest.mark.parametrize("distance", [Euclidean(), Cosine()])
@pytest.mark.parametrize("case", ["plain", "duplicates", "far apart", "tiny", "one column", "far off"])
def test_neighbours_are_those_by_all_distances(distance: Distance, case: str) -> None:
    generator = np.random.default_rng(1)
    points = generator.normal(size=(700, 12))
    if case == "duplicates":
        points[100:400] = points[:1]
    elif case == "far apart":
        points[::50] *= 1e12
    elif case == "tiny":
        points *= 1e-15
    elif case == "one column":
        points[:, 1:] = 0
    elif case == "far off":
        points += 1e3
    X = points.astype(np.float32)
    vectors = Vectors(12)
    engine = engine_named("flat", distance, vectors)
    engine.add(vectors.append(X[:333]))
    for stop in (334, 500, 700):
        engine.search(X[:2], 3)
        engine.add(vectors.append(X[len(vectors) : stop]))
    gone = np.arange(0, 700, 7)
    vectors.remove(gone)
    engine.remove(gone)
    for allowed in (None, vectors.rows[::2]):
        for queries in (X[:1], X[3:20] * np.float32(1.001)):
            for k in (1, 10):
                found = engine.search(queries, k, allowed=allowed)
                expected = searched_exactly(distance, vectors, queries, k, allowed=allowed)
                np.testing.assert_array_equal(found.rows, expected.rows)
                np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-5, atol=1e-6)


def test_the_short_rows_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few queries don't touch the rows themselves; many do."""
    vectors = Vectors(4)
    engine = engine_named("flat", Euclidean(), vectors)
    engine.add(vectors.append(np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)))
    monkeypatch.setattr(engine._prepared, "_fill", lambda *_: pytest.fail("the product was taken"))
    engine.search(vectors.embeddings[:32], 3)
    with pytest.raises(pytest.fail.Exception):
        engine.search(vectors.embeddings[:33], 3)
