"""Relations as plain lists, written from their definitions, for the loop references of losses.

A plain table is a list of rows; a row lists its near cells and its far cells, each as (embedding of the
row, column). Nothing here imports the library's relations but to hand them to the loss under test.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from likewise.relations import Chunklets, Labels, Mask, Matches, Pairs, Quadruplets, Scores, Triplets

Cell = tuple[int, int]


@dataclass
class PlainRow:
    near: list[Cell] = field(default_factory=list)
    far: list[Cell] = field(default_factory=list)


@dataclass
class PlainTable:
    """A case: what the loss is called with, and the same as lists."""

    name: str
    embeddings: Tensor  # float64
    relation: Any
    rows: list[PlainRow]
    columns: Tensor | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def close(self) -> bool:
        """Whether its points are 1e-4 apart at offset 1,000."""
        return bool((self.embeddings.abs() > 900).all())


def from_keys(keys: list[Any], column_keys: list[Any], same: Any) -> list[PlainRow]:
    """Rows by class: near if the keys are equal, far if not, and nothing where ``same(i, j)``."""
    rows = []
    for i, key in enumerate(keys):
        row = PlainRow()
        for j, other in enumerate(column_keys):
            if not same(i, j):
                (row.near if key == other else row.far).append((i, j))
        rows.append(row)
    return rows


class Draw(random.Random):
    """Random choices, and whether tables of every kind may have points close together far from the origin."""

    far_off = False


def _kind(draw: Draw) -> str:
    return draw.choice(["plain", "plain", "plain", "close"]) if draw.far_off else "plain"


def _points(draw: random.Random, n: int, d: int, kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(draw.randrange(2**31))
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    if kind == "duplicates" and n > 2:
        x[1] = x[0]
        x[-1] = x[0]
    if kind == "close":  # 1e-4 apart at offset 1,000
        x = x[:1] + 1e-4 * x + 1000.0
    # float32 sees the same points
    return x.float().double()


def label_case(draw: random.Random) -> PlainTable:
    """Labels of one class an item, in all the shapes that batches come in."""
    kind = draw.choice(
        ["plain", "plain", "uneven", "one class", "no positives", "duplicates", "close", "one row"]
    )
    n = 1 if kind == "one row" else draw.randint(2, 9)
    d = draw.choice([1, 2, 3, 12])
    if kind == "one class":
        keys = [7] * n
    elif kind == "no positives":
        keys = list(range(n))
    elif kind == "uneven":
        keys = [0 if draw.random() < 0.6 else draw.randint(1, 4) for _ in range(n)]
    else:
        keys = [draw.randint(0, 2) * (2**62) // 2 for _ in range(n)]
    labels: Any = draw.choice([torch.tensor(keys), [f"class {key}" for key in keys]])
    rows = from_keys(keys, keys, lambda i, j: i == j)
    return PlainTable(f"labels, {kind}", _points(draw, n, d, kind), labels, rows)


def _column_case(draw: Draw) -> PlainTable:
    n, m, d = draw.randint(1, 6), draw.randint(1, 7), 3
    keys, other = [draw.randint(0, 2) for _ in range(n)], [draw.randint(0, 2) for _ in range(m)]
    kind = _kind(draw)
    x, y = _points(draw, n, d, kind), _points(draw, m, d, kind)
    options: dict[str, Any] = {"column_relation": Labels(other)}
    same = lambda i, j: False  # noqa: E731
    if draw.random() < 0.5:
        ids, column_ids = [draw.randint(0, 5) for _ in range(n)], [draw.randint(0, 5) for _ in range(m)]
        options |= {"ids": ids, "column_ids": column_ids}
        same = lambda i, j: ids[i] == column_ids[j]  # noqa: E731
    return PlainTable("columns", x, Labels(keys), from_keys(keys, other, same), y, options)


def _several_case(draw: Draw) -> PlainTable:
    n, k = draw.randint(2, 7), 4
    table = [[draw.random() < 0.4 for _ in range(k)] for _ in range(n)]
    rows = []
    for i in range(n):
        row = PlainRow()
        for j in range(n):
            if i != j and any(table[i]) and any(table[j]):
                share = any(a and b for a, b in zip(table[i], table[j], strict=True))
                (row.near if share else row.far).append((i, j))
        rows.append(row)
    return PlainTable("several labels", _points(draw, n, 3, _kind(draw)), Labels(torch.tensor(table)), rows)


def _unlabelled_case(draw: Draw) -> PlainTable:
    n = draw.randint(2, 8)
    keys = [draw.choice([-1, 0, 0, 1]) for _ in range(n)]
    unknown = lambda i, j: i == j or keys[i] == -1 or keys[j] == -1  # noqa: E731
    rows = from_keys(keys, keys, unknown)
    return PlainTable("unlabelled", _points(draw, n, 3, _kind(draw)), Labels(keys, unlabelled=-1), rows)


def _pairs_case(draw: Draw) -> PlainTable:
    n = draw.randint(3, 7)
    cells = draw.sample([(i, j) for i in range(n) for j in range(i)], k=min(5, n))
    flags = [draw.random() < 0.5 for _ in cells]
    rows = [PlainRow() for _ in range(n)]
    for (i, j), alike in zip(cells, flags, strict=True):
        for a, b in ((i, j), (j, i)):
            (rows[a].near if alike else rows[a].far).append((a, b))
    left, right = [i for i, _ in cells], [j for _, j in cells]
    relation: Any = Pairs(left, right, flags)
    if draw.random() < 0.5:
        score = [4.0 if alike else 1.0 for alike in flags]
        relation = Scores([*left, 0], [*right, n - 1], [*score, 2.5], near_from=3.0, far_to=2.0)
        if (n - 1, 0) in cells or (0, n - 1) in cells:
            relation = Scores(left, right, score, near_from=3.0, far_to=2.0)
    return PlainTable("pairs", _points(draw, n, 3, _kind(draw)), relation, rows)


def _triplets_case(draw: Draw) -> PlainTable:
    n, m = draw.randint(3, 7), draw.randint(1, 6)
    triplets = [draw.sample(range(n), 3) for _ in range(m)]
    rows = [PlainRow([(a, p)], [(a, q)]) for a, p, q in triplets]
    relation = Triplets(*(list(column) for column in zip(*triplets, strict=True)))
    return PlainTable("triplets", _points(draw, n, 3, _kind(draw)), relation, rows)


def _quadruplets_case(draw: Draw) -> PlainTable:
    n, m = draw.randint(4, 7), draw.randint(1, 6)
    quadruplets = [draw.sample(range(n), 4) for _ in range(m)]
    for chosen in quadruplets:
        if draw.random() < 0.3:  # the two pairs share an item
            chosen[2] = chosen[0]
    rows = [PlainRow([(a, b)], [(c, e)]) for a, b, c, e in quadruplets]
    relation = Quadruplets(*(list(column) for column in zip(*quadruplets, strict=True)))
    return PlainTable("quadruplets", _points(draw, n, 3, _kind(draw)), relation, rows)


def _chunklets_case(draw: Draw) -> PlainTable:
    n = draw.randint(2, 7)
    keys = [draw.choice([-1, 0, 1]) for _ in range(n)]
    rows = [PlainRow([(i, j) for j in range(n) if j != i and keys[i] == keys[j] != -1], []) for i in range(n)]
    return PlainTable("chunklets", _points(draw, n, 3, _kind(draw)), Chunklets(keys), rows)


def _matches_case(draw: Draw) -> PlainTable:
    n = draw.randint(1, 6)
    rows = [PlainRow([(i, i)], [(i, j) for j in range(n) if j != i]) for i in range(n)]
    kind = _kind(draw)
    x, y = _points(draw, n, 4, kind), _points(draw, n, 4, kind)
    return PlainTable("matches", x, Matches(), rows, y)


def _mask_case(draw: Draw) -> PlainTable:
    n = draw.randint(2, 6)
    marks = [[draw.choice("nf.") for _ in range(n)] for _ in range(n)]
    near = torch.tensor([[mark == "n" for mark in row] for row in marks])
    far = torch.tensor([[mark == "f" for mark in row] for row in marks])
    rows = [
        PlainRow(
            [(i, j) for j in range(n) if i != j and marks[i][j] == "n"],
            [(i, j) for j in range(n) if i != j and marks[i][j] == "f"],
        )
        for i in range(n)
    ]
    if draw.random() < 0.5:
        near, far = near.to_sparse(), far.to_sparse()
    return PlainTable("mask", _points(draw, n, 3, _kind(draw)), Mask(near, far), rows)


KINDS = (
    label_case,
    label_case,
    label_case,
    _column_case,
    _several_case,
    _unlabelled_case,
    _pairs_case,
    _triplets_case,
    _quadruplets_case,
    _chunklets_case,
    _matches_case,
    _mask_case,
)


def random_tables(count: int, seed: int, *, far_off: bool = False) -> list[PlainTable]:
    """Cases of every kind of relation, in turn.

    far_off : whether a quarter of those of all kinds are of points 1e-4 apart at offset 1,000, as some of the
        labels always are.
    """
    draw = Draw(seed)
    draw.far_off = far_off
    return [KINDS[number % len(KINDS)](draw) for number in range(count)]
