"""Relations given as lists of pairs, triplets, quadruplets or scores, as a mask, or as matches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.relations.base import (
    Block,
    Cells,
    Classes,
    Listing,
    Relation,
    Resolved,
    Sides,
    check_count,
)
from likewise.relations.labels import _ByClass, exact_labels

__all__ = ["ListedCells", "Mask", "Matches", "Pairs", "Quadruplets", "Scores", "Triplets"]


def _positions(name: str, values: Any) -> Tensor:
    """Positions of items as an int64 vector."""
    positions = exact_labels(values, name)
    if not isinstance(positions, Tensor) or positions.ndim != 1 or positions.dtype == torch.bool:
        raise InputError(
            f"{name} must be positions: integers of shape (m,); found shape {tuple(positions.shape)}"
        )
    if positions.numel() and int(positions.min()) < 0:
        raise InputError(f"{name} must be positions from 0; found {int(positions.min())}")
    return positions


def _same_length(**columns: Tensor) -> int:
    """The common length of some lists."""
    lengths = {name: column.shape[0] for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InputError(f"lists must be of one length; found {found}")
    return next(iter(lengths.values()))


def _within(name: str, positions: Tensor, count: int) -> None:
    if positions.numel() and int(positions.max()) >= count:
        raise InputError(
            f"{name} must be below the number of items: expected under {count}, found {int(positions.max())}"
        )


class ListedCells(Resolved):
    """Near and far cells from two lists of (row, column)."""

    far_is_listed = True

    def __init__(self, near: Tensor, far: Tensor, sides: Sides) -> None:
        """Take near (2, m) and far (2, k): rows above columns, without duplicates."""
        self.n_rows, self.n_columns = sides.n_rows, sides.n_columns
        self._near, self._far = (self._by_row(cells.to(sides.device)) for cells in (near, far))
        self.longest = max(
            int(ends.diff().max()) if self.n_rows else 0 for ends, _ in (self._near, self._far)
        )

    def _by_row(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        order = torch.argsort(cells[0], stable=True)
        starts = torch.arange(self.n_rows + 1, device=cells.device)
        return torch.searchsorted(cells[0][order], starts), cells[1][order]

    @staticmethod
    def _cells(listed: tuple[Tensor, Tensor], start: int, stop: int) -> Cells:
        ends, columns = listed
        begin, count = ends[start:stop], ends[start : stop + 1].diff()
        slots = torch.arange(int(count.max()) if stop > start else 0, device=columns.device)
        valid = slots < count[:, None]
        if not slots.numel() or not columns.numel():
            return Cells(torch.zeros_like(valid, dtype=torch.int64), valid)
        return Cells(columns[(begin[:, None] + slots).clamp_(max=columns.shape[0] - 1)], valid)

    def block(self, start: int, stop: int) -> Block:
        near, far = (self._cells(listed, start, stop) for listed in (self._near, self._far))
        return Block(self.n_columns, near, far=far)


def _unique(cells: Tensor) -> Tensor:
    return torch.unique(cells, dim=1) if cells.shape[1] else cells


def _resolve_pairs(left: Tensor, right: Tensor, near: Tensor, far: Tensor, sides: Sides) -> Resolved:
    """Cells of listed pairs; where columns are rows a pair holds in both directions."""
    _within("left", left, sides.n_rows)
    _within("right", right, sides.n_columns)
    if sides.columns_are_rows and bool((left == right).any()):
        number = int((left == right).nonzero()[0])
        raise InputError(
            f"an item can't be paired with itself: pair {number} is item {int(left[number])} twice"
        )
    listed = []
    for chosen in (near, far):
        cells = torch.stack([left[chosen], right[chosen]])
        if sides.columns_are_rows:
            cells = torch.cat([cells, cells.flip(0)], dim=1)
        cells = _unique(cells).to(sides.device)
        listed.append(cells[:, _other(sides, cells)])
    both = torch.cat(listed, dim=1)
    if both.shape[1] != _unique(both).shape[1]:
        values, counts = torch.unique(both, dim=1, return_counts=True)
        row, column = values[:, counts > 1][:, 0].tolist()
        raise InputError(f"pairs contradict each other: ({row}, {column}) is listed as alike and as unlike")
    return ListedCells(listed[0], listed[1], sides)


def _other(sides: Sides, cells: Tensor) -> Tensor:
    """Which cells (2, m) are of two items: (m,) bool."""
    return ~sides.same(cells[0], cells[1]).reshape(-1).expand(cells.shape[1])


class Pairs(Relation):
    """Listed pairs that are alike or not; all others are unknown.

    Where the columns are the rows, a pair holds in both directions; else ``left`` are rows and
    ``right`` columns. A pair listed twice counts once.

    Parameters
    ----------
    left, right : (m,) integers
        Positions of the two items.
    same : (m,) bool or 0/1
        Whether they are alike.

    Raises
    ------
    InputError
        Lengths differ, a position is negative, ``same`` has other values. At use: a position doesn't
        exist, an item is paired with itself, or a pair is listed as alike and as unlike.

    >>> Pairs([0, 0], [1, 2], [True, False])
    Pairs(2)
    """

    def __init__(self, left: Any, right: Any, same: Any) -> None:
        self.left, self.right = _positions("left", left), _positions("right", right)
        flags = exact_labels(same, "same")
        if not isinstance(flags, Tensor) or not bool(((flags == 0) | (flags == 1)).all()):
            raise InputError("same must hold true and false, or 1 and 0")
        self.same = flags.to(torch.bool)
        self.n_entries = _same_length(left=self.left, right=self.right, same=self.same)

    def __repr__(self) -> str:
        return f"Pairs({self.n_entries})"

    def resolve(self, columns: Relation | None, sides: Sides) -> Resolved:  # noqa: ARG002
        """Near: the pairs that are alike; far: those that aren't. See :meth:`Relation.resolve`."""
        return _resolve_pairs(self.left, self.right, self.same, ~self.same, sides)


class Scores(Relation):
    """Listed pairs with a graded score: larger is more alike.

    Losses over scores (ScoreRegression, CoSENT) read the scores. A loss over a table needs near and
    far cells: pairs of a score of at least ``near_from`` are near, of at most ``far_to`` far, and those
    between don't matter.

    Parameters
    ----------
    left, right : (m,) integers
    score : (m,) floats
    near_from, far_to : float, optional

    >>> Scores([0, 0], [1, 2], [4.5, 0.2], near_from=4, far_to=1)
    Scores(2)
    """

    def __init__(
        self,
        left: Any,
        right: Any,
        score: Any,
        *,
        near_from: float | None = None,
        far_to: float | None = None,
    ) -> None:
        self.left, self.right = _positions("left", left), _positions("right", right)
        self.score = torch.as_tensor(score).detach().to(torch.float64)
        if self.score.ndim != 1 or not bool(torch.isfinite(self.score).all()):
            raise InputError("score must be finite numbers of shape (m,)")
        if near_from is not None and far_to is not None and far_to >= near_from:
            raise InputError(f"far_to must be below near_from; found {far_to} and {near_from}")
        self.near_from, self.far_to = near_from, far_to
        self.n_entries = _same_length(left=self.left, right=self.right, score=self.score)

    def __repr__(self) -> str:
        return f"Scores({self.n_entries})"

    def resolve(self, columns: Relation | None, sides: Sides) -> Resolved:  # noqa: ARG002
        """Near and far by the two thresholds. See :meth:`Relation.resolve`."""
        if self.near_from is None or self.far_to is None:
            raise InputError(
                "this loss needs near and far pairs: give Scores(..., near_from=, far_to=), "
                "or take a loss over scores (ScoreRegression, CoSENT)"
            )
        near, far = self.score >= self.near_from, self.score <= self.far_to
        return _resolve_pairs(self.left, self.right, near, far, sides)


class _Comparisons(Resolved):
    """One row a comparison: one near cell against one far cell, each with its own anchor."""

    far_is_listed = True
    longest = 1

    def __init__(self, near: Tensor, far: Tensor, sides: Sides) -> None:
        """Take near and far (2, m): anchors above columns."""
        self.n_rows, self.n_columns = near.shape[1], sides.n_columns
        self._near, self._far = near.to(sides.device), far.to(sides.device)
        self.anchors = self._near[0]
        self._own = not torch.equal(self._near[0], self._far[0])

    def block(self, start: int, stop: int) -> Block:
        valid = torch.ones(stop - start, 1, dtype=torch.bool, device=self._near.device)
        anchors = self._far[0, start:stop, None] if self._own else None
        return Block(
            self.n_columns,
            Cells(self._near[1, start:stop, None], valid),
            far=Cells(self._far[1, start:stop, None], valid, anchors),
        )


class Triplets(Relation):
    """Listed comparisons: the anchor is nearer to the positive than to the negative.

    Each triplet is a row of its own, so ``reduction="none"`` gives a value a triplet, and a triplet
    listed twice counts twice.

    Parameters
    ----------
    anchor, positive, negative : (m,) integers
        Positions: anchors among the rows, the others among the columns.

    >>> Triplets([0], [1], [2])
    Triplets(1)
    """

    def __init__(self, anchor: Any, positive: Any, negative: Any) -> None:
        self.anchor = _positions("anchor", anchor)
        self.positive, self.negative = _positions("positive", positive), _positions("negative", negative)
        self.n_entries = _same_length(anchor=self.anchor, positive=self.positive, negative=self.negative)

    def __repr__(self) -> str:
        return f"Triplets({self.n_entries})"

    def resolve(self, columns: Relation | None, sides: Sides) -> Resolved:  # noqa: ARG002
        """A row a triplet. See :meth:`Relation.resolve`."""
        _within("anchor", self.anchor, sides.n_rows)
        _within("positive", self.positive, sides.n_columns)
        _within("negative", self.negative, sides.n_columns)
        near, far = torch.stack([self.anchor, self.positive]), torch.stack([self.anchor, self.negative])
        return _Comparisons(near, far, sides)


class Quadruplets(Relation):
    """Listed comparisons of two pairs: the first pair is nearer than the second.

    ``d(left, right) < d(far_left, far_right)``, the order of LSML and of metric-learn. Each is a row
    of its own.

    Parameters
    ----------
    left, right, far_left, far_right : (m,) integers
        Positions.

    >>> Quadruplets([0], [1], [2], [3])
    Quadruplets(1)
    """

    def __init__(self, left: Any, right: Any, far_left: Any, far_right: Any) -> None:
        self.left, self.right = _positions("left", left), _positions("right", right)
        self.far_left, self.far_right = _positions("far_left", far_left), _positions("far_right", far_right)
        self.n_entries = _same_length(
            left=self.left, right=self.right, far_left=self.far_left, far_right=self.far_right
        )

    def __repr__(self) -> str:
        return f"Quadruplets({self.n_entries})"

    def resolve(self, columns: Relation | None, sides: Sides) -> Resolved:  # noqa: ARG002
        """A row a quadruplet. See :meth:`Relation.resolve`."""
        for name, positions, count in (
            ("left", self.left, sides.n_rows),
            ("right", self.right, sides.n_columns),
            ("far_left", self.far_left, sides.n_rows),
            ("far_right", self.far_right, sides.n_columns),
        ):
            _within(name, positions, count)
        near, far = torch.stack([self.left, self.right]), torch.stack([self.far_left, self.far_right])
        return _Comparisons(near, far, sides)


class Matches(Relation):
    """Row i goes with column i and with no other: two views, two modalities. It needs ``columns=``."""

    def resolve(self, columns: Relation | None, sides: Sides) -> Resolved:
        """Near: the column of the same number; far: the others. See :meth:`Relation.resolve`."""
        if sides.columns_are_rows or (columns is not None and not isinstance(columns, Matches)):
            raise InputError("Matches needs columns= (the other view) and no column_relation")
        check_count("Matches: the columns", sides.n_columns, sides.n_rows)
        numbers = torch.arange(sides.n_rows, device=sides.device)
        if sides.row_ids is not None:  # the same item may stand in several columns
            return _ByClass(numbers, numbers, sides)
        return _Matched(numbers, sides)


class _Matched(Resolved):
    """Row i is near column i and far from all others."""

    longest = 1

    def __init__(self, numbers: Tensor, sides: Sides) -> None:
        self.n_rows, self.n_columns = sides.n_rows, sides.n_columns
        self.classes = Classes(numbers, numbers, sides)
        self._numbers = numbers

    def block(self, start: int, stop: int) -> Block:
        column = self._numbers[start:stop]
        valid = torch.ones_like(column, dtype=torch.bool)
        near = Cells(
            column[:, None], valid[:, None], known=Listing(self._numbers[: stop - start], column, None)
        )
        return Block(self.n_columns, near, hidden=near)


class Mask(Relation):
    """Near and far cells said one by one.

    Parameters
    ----------
    near, far : (n, m) bool, dense or sparse tensors
        Cells that are in neither don't matter. An item is never near or far from itself.

    Raises
    ------
    InputError
        Shapes differ, values aren't bool, or a cell is near and far.

    >>> Mask(torch.tensor([[False, True]]), torch.tensor([[True, False]]))
    Mask(1, 2)
    """

    def __init__(self, near: Tensor, far: Tensor) -> None:
        for name, mask in (("near", near), ("far", far)):
            if mask.dtype != torch.bool or mask.ndim != 2:
                raise InputError(
                    f"{name} must be a bool (n, m) tensor; found {mask.dtype} {tuple(mask.shape)}"
                )
        if near.shape != far.shape:
            raise InputError(
                f"near and far must have one shape; found {tuple(near.shape)}, {tuple(far.shape)}"
            )
        self._shape = (near.shape[0], near.shape[1])
        self._near, self._far = (
            mask.coalesce().indices()[:, mask.coalesce().values()] if mask.is_sparse else mask.nonzero().T
            for mask in (near, far)
        )
        both = torch.cat([self._near, self._far], dim=1)
        if both.shape[1] != _unique(both).shape[1]:
            raise InputError("mask: a cell can't be near and far")

    @classmethod
    def joined(
        cls,
        parts: Sequence[Mask],
        row_offsets: Sequence[int],
        column_offsets: Sequence[int],
        *,
        below: bool = False,
    ) -> Mask:
        """Masks put corner to corner, or below one another; between batches nothing is known."""
        height, width = (sum(part._shape[axis] for part in parts) for axis in (0, 1))
        shape = (height, parts[0]._shape[1] if below else width)
        offsets = [torch.tensor([[r], [c]]) for r, c in zip(row_offsets, column_offsets, strict=True)]
        sparse = []
        for cells in ([part._near for part in parts], [part._far for part in parts]):
            moved = torch.cat(
                [some.cpu() + offset for some, offset in zip(cells, offsets, strict=True)], dim=1
            )
            flags = torch.ones(moved.shape[1], dtype=torch.bool)
            sparse.append(torch.sparse_coo_tensor(moved, flags, shape, check_invariants=False))
        return cls(*sparse)

    def __repr__(self) -> str:
        return f"Mask({self._shape[0]}, {self._shape[1]})"

    def resolve(self, columns: Relation | None, sides: Sides) -> Resolved:  # noqa: ARG002
        """Near and far as said. See :meth:`Relation.resolve`."""
        check_count("Mask: rows", self._shape[0], sides.n_rows)
        check_count("Mask: columns", self._shape[1], sides.n_columns)
        near, far = self._near.to(sides.device), self._far.to(sides.device)
        return ListedCells(near[:, _other(sides, near)], far[:, _other(sides, far)], sides)
