"""What each miner chooses, as loops over the rows of a plain table."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from likewise import mining
from likewise.relations import Resolved, Sides, as_relation
from reference.losses import euclidean
from reference.tables import PlainRow, PlainTable

Cell = tuple[int, int]
Row = tuple[list[Cell], list[Cell]]
BY_ITSELF = ("triplets", "quadruplets")


def resolved(table: PlainTable) -> Resolved:
    n = table.embeddings.shape[0]
    columns = table.columns
    ids = {name: table.options.get(name) for name in ("ids", "column_ids")}
    row_ids, column_ids = (None if v is None else torch.tensor(v) for v in ids.values())
    m = n if columns is None else columns.shape[0]
    sides = Sides(n, m, columns is None, torch.device("cpu"), row_ids, column_ids)
    return as_relation(table.relation).resolve(table.options.get("column_relation"), sides)


def listing(found: Resolved) -> list[Row]:
    """The near and far cells of each row as (embedding, column), columns ascending."""
    rows: list[Row] = []
    for start in range(found.n_rows):
        block = found.block(start, start + 1)
        anchor = start if found.anchors is None else int(found.anchors[start])
        near = [(anchor, int(c)) for c in block.near.columns[block.near.valid]]
        if block.far is None:
            marks = torch.ones(1, found.n_columns)
            block.hide(marks, 0, found.n_columns, 0.0)
            far = [(anchor, int(c)) for c in marks[0].nonzero().view(-1)]
        else:
            own = block.far.anchors
            own = torch.full_like(block.far.columns, anchor) if own is None else own
            pairs = zip(own[block.far.valid], block.far.columns[block.far.valid], strict=True)
            far = [(int(a), int(c)) for a, c in pairs]
        rows.append((sorted(near), sorted(far)))
    return rows


class Look:
    """Distances of cells of a plain table."""

    def __init__(self, table: PlainTable, distance: Callable[[Tensor, Tensor], Tensor] = euclidean) -> None:
        self.x = table.embeddings
        self.y = self.x if table.columns is None else table.columns
        self.distance = distance

    def __call__(self, cell: Cell) -> float:
        return float(self.distance(self.x[cell[0]], self.y[cell[1]]))

    def nearest(self, cells: list[Cell]) -> Cell:
        return min(cells, key=lambda cell: (self(cell), cell))

    def farthest(self, cells: list[Cell]) -> Cell:
        return min(cells, key=lambda cell: (-self(cell), cell))


def batch_hard(row: PlainRow, look: Look) -> Row:
    return ([look.farthest(row.near)], [look.nearest(row.far)]) if row.near and row.far else ([], [])


def hardest(row: PlainRow, look: Look) -> Row:
    return (row.near, [look.nearest(row.far)]) if row.near and row.far else ([], [])


def easy_positive(negatives: str) -> Callable[[PlainRow, Look], Row]:
    def choose(row: PlainRow, look: Look) -> Row:
        if not row.near or not row.far:
            return [], []
        easiest, far = look.nearest(row.near), row.far
        if negatives == "semi-hard":
            far = [cell for cell in far if look(cell) > look(easiest)]
        if not far:
            return [], []
        return [easiest], far if negatives == "all" else [look.nearest(far)]

    return choose


def multi_similarity(epsilon: float) -> Callable[[PlainRow, Look], Row]:
    def choose(row: PlainRow, look: Look) -> Row:
        if not row.near or not row.far:
            return [], []
        limit, start = max(map(look, row.near)) + epsilon, min(map(look, row.far)) - epsilon
        near = [cell for cell in row.near if look(cell) > start]
        return near, [cell for cell in row.far if look(cell) < limit]

    return choose


def semi_hard(otherwise: str) -> Callable[[PlainTable, Look], list[Row]]:
    def choose(table: PlainTable, look: Look) -> list[Row]:
        found = []
        for row in table.rows:
            for cell in row.near:
                beyond = [other for other in row.far if look(other) > look(cell)]
                if beyond:
                    found.append(([cell], [look.nearest(beyond)]))
                elif otherwise == "farthest" and row.far:
                    found.append(([cell], [look.farthest(row.far)]))
        return found

    return choose


def hard_quadruplets(per_anchor: bool) -> Callable[[PlainTable, Look], list[Row]]:
    def choose(table: PlainTable, look: Look) -> list[Row]:
        pairs = [(number, look.farthest(row.near)) for number, row in enumerate(table.rows) if row.near]
        if not per_anchor and pairs:
            pairs = [min(pairs, key=lambda pair: (-look(pair[1]), pair[0]))]
        found = []
        for number, cell in pairs:
            ends = [table.rows[number].far]
            if table.name not in BY_ITSELF and table.columns is None:
                ends.append(table.rows[cell[1]].far)
            elif table.name not in BY_ITSELF:
                ends.append([other for row in table.rows for other in row.far if other[1] == cell[1]])
            found += [([cell], [look.nearest(end)]) for end in ends if end]
        return found

    return choose


BY_ROW: list[tuple[mining.Miner, Callable[[PlainRow, Look], Row]]] = [
    (mining.AllTriplets(), lambda row, look: (row.near, row.far)),
    (mining.BatchHard(), batch_hard),
    (mining.Hardest(), hardest),
    (mining.EasyPositive(), easy_positive("semi-hard")),
    (mining.EasyPositive(negatives="hardest"), easy_positive("hardest")),
    (mining.EasyPositive(negatives="all"), easy_positive("all")),
    (mining.MultiSimilarityPairs(epsilon=0.15), multi_similarity(0.15)),
]
BY_COMPARISON: list[tuple[mining.Miner, Callable[[PlainTable, Look], list[Row]]]] = [
    (mining.SemiHard(), semi_hard("nothing")),
    (mining.SemiHard(otherwise="farthest"), semi_hard("farthest")),
    (mining.HardQuadruplets(), hard_quadruplets(False)),
    (mining.HardQuadruplets(per_anchor=True), hard_quadruplets(True)),
]
ALL = [miner for miner, _ in BY_ROW + BY_COMPARISON] + [mining.DistanceWeighted()]
