"""The walk over half of a table against loops over all pairs: neighbours, ties, ranks of members."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likewise.distances import Cosine
from likewise.search import symmetric
from likewise.search.exact import nearest_blocks
from likewise.table import compiled

K = 5


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles so small that a few hundred rows have many of them, the last ones cut off."""
    if compiled.library() is None:
        pytest.skip("no C compiler here")
    monkeypatch.setattr(symmetric, "_LEAST", 2)
    monkeypatch.setattr(symmetric, "_ROWS", 48)
    monkeypatch.setattr(symmetric, "_COLUMNS", 80)


def rows_of(kind: str, n: int) -> np.ndarray:
    generator = np.random.default_rng(n)
    if kind == "spread":
        return generator.normal(size=(n, 6)).astype(np.float32)
    if kind == "far off":  # a mean a thousand times the spread
        return (1000 + generator.normal(size=(n, 6))).astype(np.float32)
    if kind == "copies":
        return np.repeat(generator.normal(size=(-(-n // 3), 4)), 3, axis=0)[:n].astype(np.float32)
    if kind == "grid":  # many equal distances
        return generator.integers(0, 3, (n, 3)).astype(np.float32)
    return np.ones((n, 3), dtype=np.float32)  # collapsed


def by_loops(X: np.ndarray, distance: str) -> np.ndarray:
    """Places of all others in the order in which each row finds them, (n, n - 1)."""
    if distance == "cosine":
        X = Cosine().features(torch.from_numpy(X)).numpy()  # rounded as the library rounds unit vectors
    X = X.astype(np.float64)
    away = np.stack([((X - row) ** 2).sum(1) for row in X])
    away = (away / 2 if distance == "cosine" else np.sqrt(away)).astype(np.float32)
    np.fill_diagonal(away, np.inf)
    return np.argsort(away, axis=1, kind="stable")[:, :-1]


@pytest.mark.parametrize(("distance", "threads"), [("euclidean", 1), ("euclidean", 3), ("cosine", 1)])
@pytest.mark.parametrize("kind", ["spread", "far off", "copies", "grid", "collapsed"])
@pytest.mark.parametrize("n", [7, 129, 260])
def test_neighbours_and_ranks_equal_loops(
    kind: str, n: int, distance: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it by the walk, however many ties there are."""
    monkeypatch.setattr(symmetric, "_TIED", 400)
    monkeypatch.setattr(symmetric, "_MOST_UNSURE", 10_000)
    X = rows_of(kind, n)
    if distance == "cosine" and kind == "grid":
        X += 1  # no zero vector
    y = np.random.default_rng(1).integers(0, max(2, n // 4), n)
    members = np.full((n, np.bincount(y).max()), -1)
    for i in range(n):
        own = np.flatnonzero((y == y[i]) & (np.arange(n) != i))
        members[i, : len(own)] = own
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows = torch.from_numpy(X)
        more = {"exclude": torch.arange(n), "members": torch.from_numpy(members)}
        blocks = list(nearest_blocks(rows, rows, K, distance=distance, block_rows=50, **more))
    finally:
        torch.set_num_threads(before)
    order = by_loops(X, distance)
    assert torch.cat([block.indices for block in blocks]).tolist() == order[:, :K].tolist()
    ranks = torch.cat([block.ranks for block in blocks]).numpy()
    for i in range(n):
        found = {int(place): rank for rank, place in enumerate(order[i], 1)}
        assert ranks[i].tolist() == [found[m] if m >= 0 else 0 for m in members[i].tolist()]


def test_the_walk_is_taken_where_it_can_be_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    walks = []
    taken = symmetric._Walk.all
    monkeypatch.setattr(symmetric._Walk, "all", lambda walk: walks.append(1) or taken(walk))
    rows = torch.from_numpy(rows_of("spread", 60))
    own = torch.arange(60)
    calls = {
        "rows among themselves": (rows, rows, own, "euclidean"),
        "another gallery": (rows, rows.clone(), own, "euclidean"),
        "an item may find itself": (rows, rows, None, "euclidean"),
        "something else is barred": (rows, rows, own.flip(0), "euclidean"),
        "not a product": (rows, rows, own, "cityblock"),
    }
    seen = {}
    for name, (queries, gallery, exclude, distance) in calls.items():
        walks.clear()
        list(nearest_blocks(queries, gallery, K, distance=distance, exclude=exclude))
        seen[name] = len(walks)
    assert seen == {name: int(name == "rows among themselves") for name in calls}


@pytest.mark.parametrize("kind", ["grid", "collapsed"])
def test_neighbours_equal_loops_where_more_ties_than_are_kept(kind: str) -> None:
    X = rows_of(kind, 260)
    rows = torch.from_numpy(X)
    blocks = nearest_blocks(rows, rows, K, exclude=torch.arange(260))
    found = torch.cat([block.indices for block in blocks])
    assert found.tolist() == by_loops(X, "euclidean")[:, :K].tolist()


def test_queries_with_too_many_ties_are_asked_by_whole_rows() -> None:
    """Forty copies of one thing, more than are kept, among things that lie apart."""
    X = np.concatenate([np.zeros((40, 3)), rows_of("spread", 80)[:, :3]]).astype(np.float32)
    rows = torch.from_numpy(X)
    (block,) = nearest_blocks(rows, rows, K, exclude=torch.arange(120))
    assert symmetric._TIED + K < 40
    assert block.indices.tolist() == by_loops(X, "euclidean")[:, :K].tolist()
    assert block.distances[:40].eq(0).all()
