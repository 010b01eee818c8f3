"""Relations: near and far cells by definition, and everything that can't be meant is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likewise.errors import InputError
from likewise.relations import (
    Chunklets,
    Labels,
    Mask,
    Matches,
    Pairs,
    Quadruplets,
    Relation,
    Scores,
    Sides,
    Triplets,
    as_relation,
)
from reference.tables import random_tables


def square(n: int) -> Sides:
    return Sides(n, n, True, torch.device("cpu"))


def cells(
    relation: Relation, sides: Sides, columns: Relation | None = None
) -> list[tuple[set[int], set[int]]]:
    """Near and far columns of each row, as the engine reads them: in blocks, hiding in tiles."""
    resolved = relation.resolve(columns, sides)
    found = []
    for start in range(0, resolved.n_rows, 3):
        stop = min(start + 3, resolved.n_rows)
        block = resolved.block(start, stop)
        if block.far is None:
            far = torch.zeros(stop - start, resolved.n_columns)
            for first in range(0, resolved.n_columns, 2):
                last = min(first + 2, resolved.n_columns)
                tile = torch.zeros(stop - start, last - first)
                block.hide(tile, first, last, 1.0)
                far[:, first:last] = tile
            far_sets = [set((row == 0).nonzero().view(-1).tolist()) for row in far]
        else:
            far_sets = [set(c[v].tolist()) for c, v in zip(block.far.columns, block.far.valid, strict=True)]
        near_sets = [set(c[v].tolist()) for c, v in zip(block.near.columns, block.near.valid, strict=True)]
        found += list(zip(near_sets, far_sets, strict=True))
    return found


def test_every_kind_resolves_to_its_definition() -> None:
    for table in random_tables(240, seed=23):
        n = table.embeddings.shape[0]
        relation = as_relation(table.relation)
        if table.columns is None:
            sides, columns = square(n), None
        else:
            ids = {
                key: torch.tensor(table.options[key]) for key in ("ids", "column_ids") if key in table.options
            }
            sides = Sides(
                n,
                table.columns.shape[0],
                False,
                torch.device("cpu"),
                ids.get("ids"),
                ids.get("column_ids"),
            )
            columns = table.options.get("column_relation")
        found = cells(relation, sides, columns)
        expected = [({c for _, c in row.near}, {c for _, c in row.far}) for row in table.rows]
        assert found == expected, table.name


def test_labels_are_compared_exactly() -> None:
    """2^53 + 1 and 2^53 are one number in float64, 2^24 + 1 and 2^24 in float32."""
    for base in (2**24, 2**53, 2**63 - 2):
        near, far = cells(Labels([base, base + 1, base]), square(3))[0]
        assert near == {2}
        assert far == {1}
    assert cells(Labels(["1", "01", "1"]), square(3))[0] == ({2}, {1})
    assert cells(Labels(np.array([7, 8, 7], dtype=np.uint8)), square(3))[0] == ({2}, {1})


def test_labels_that_could_lose_a_digit_are_refused() -> None:
    for bad in (
        [1.0, 2.0],
        torch.tensor([1.0]),
        np.array([2**63], dtype=np.uint64),
        [object()],
        [1, "a", None],
    ):
        with pytest.raises(InputError, match="labels must be"):
            Labels(bad)
    with pytest.raises(InputError, match="boolean table"):
        Labels([[1, 2], [3, 4]])
    for labels, levels, message in (
        ([1, 2], [1.0], "a column a level"),
        ([[1, 2]], [1.0], r"\(n, 1\)"),
        ([[1, 2]], [1.0, -1.0], "not below zero"),
    ):
        with pytest.raises(InputError, match=message):
            Labels(labels, levels=levels)
    with pytest.raises(InputError, match="by_level"):
        cells(Labels([[1, 2]], levels=[1.0, 1.0]), square(1))
    with pytest.raises(InputError, match="of one kind"):
        cells(Labels([1]), Sides(1, 1, False, torch.device("cpu")), Labels(["1"]))


@pytest.mark.parametrize(
    ("relation", "message"),
    [
        (Labels([1, 2]), "expected 3, found 2"),
        (Chunklets([0, 0]), "expected 3, found 2"),
        (Pairs([0], [3], [True]), "right must be below"),
        (Pairs([2], [2], [True]), "itself"),
        (Pairs([0, 1], [1, 0], [True, False]), r"\(0, 1\) is listed as alike and as unlike"),
        (Triplets([0], [1], [5]), "negative must be below"),
        (Quadruplets([0], [1], [9], [2]), "far_left must be below"),
        (Scores([0], [1], [2.0]), "near_from"),
        (
            Mask(torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.bool)),
            "expected 3, found 2",
        ),
        (Matches(), "needs columns="),
    ],
)
def test_relations_that_do_not_fit_are_refused(relation: Relation, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cells(relation, square(3))


def test_lists_that_cannot_be_meant_are_refused() -> None:
    for build, message in (
        (lambda: Pairs([0, 1], [1], [True]), "one length"),
        (lambda: Pairs([0], [-1], [True]), "from 0"),
        (lambda: Pairs([0], [1], [2]), "true and false"),
        (lambda: Pairs([0.5], [1], [True]), "whole numbers"),
        (lambda: Triplets([0], [1], []), "one length"),
        (lambda: Scores([0], [1], [float("nan")]), "finite"),
        (lambda: Scores([0], [1], [1.0], near_from=1, far_to=2), "far_to must be below"),
        (lambda: Mask(torch.ones(1, 1), torch.ones(1, 1)), "bool"),
        (
            lambda: Mask(torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool)),
            "near and far",
        ),
        (lambda: Chunklets([[1]]), "shape"),
    ):
        with pytest.raises(InputError, match=message):
            build()


def test_a_relation_has_no_length_and_no_shape() -> None:
    """So that no library slices it by mistake."""
    for relation in (
        Labels([1]),
        Pairs([0], [1], [True]),
        Triplets([0], [1], [2]),
        Matches(),
        Chunklets([0]),
    ):
        assert not hasattr(relation, "__len__")
        assert not hasattr(relation, "shape")
        assert not hasattr(relation, "__getitem__")
