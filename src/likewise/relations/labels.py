"""Labels: items are near when they share a class, compared exactly."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.relations.base import (
    Block,
    Cells,
    Classes,
    Relation,
    Resolved,
    Sides,
    cells_from_mask,
    check_count,
)

__all__ = ["Chunklets", "Labels", "exact_labels"]


_SMALL = 1 << 14
"""Up to this many cells all labels are compared with all: with more, sorting them is faster."""


def exact_labels(labels: Any, what: str = "labels") -> Tensor | np.ndarray[Any, np.dtype[Any]]:
    """Labels as an int64 tensor or an array of strings; anything that could lose a digit is refused.

    Raises
    ------
    InputError
        Floats, objects, integers of 2^63 or more.
    """
    if isinstance(labels, Tensor):
        if labels.is_floating_point() or labels.is_complex():
            raise InputError(f"{what} must be whole numbers or strings; found {labels.dtype}")
        return labels.detach() if labels.dtype == torch.bool else labels.detach().to(torch.int64)
    array = np.asarray(labels)
    if array.size == 0 and array.dtype.kind == "f":  # an empty list has no type of its own
        array = array.astype(np.int64)
    if array.dtype.kind == "O" and all(isinstance(label, str) for label in array.flat):
        array = array.astype(np.str_)
    if array.dtype.kind == "u" and array.size and int(array.max()) >= 2**63:
        raise InputError(f"{what} must be below 2^63; found {int(array.max())}")
    if array.dtype.kind == "b":
        return torch.from_numpy(np.array(array))
    if array.dtype.kind in "iu":
        return torch.from_numpy(array.astype(np.int64))
    if array.dtype.kind == "U":
        return array
    raise InputError(f"{what} must be whole numbers or strings; found {array.dtype}")


class _ByClass(Resolved):
    """One class an item. near: the same class, another item; far: another class, another item."""

    def __init__(self, row_codes: Tensor, column_codes: Tensor, sides: Sides) -> None:
        self.n_rows, self.n_columns = sides.n_rows, sides.n_columns
        self._sides = sides
        self.classes = Classes(row_codes, column_codes, sides)
        self._twins = None
        if sides.row_ids is not None and sides.column_ids is not None:
            alone = Sides(sides.n_rows, sides.n_columns, False, sides.device)
            self._twins = _ByClass(sides.row_ids, sides.column_ids, alone)

    @cached_property
    def _sorted(self) -> tuple[Tensor, Tensor, Tensor]:
        """The columns in the order of their classes, where each row's class begins, and its size."""
        assert self.classes is not None
        codes, order = torch.sort(self.classes.columns, stable=True)
        begin = torch.searchsorted(codes, self.classes.rows)
        return order, begin, torch.searchsorted(codes, self.classes.rows, right=True) - begin

    @cached_property
    def longest(self) -> int:  # type: ignore[override]
        own = int(self._sorted[2].max()) if self.n_rows and self.n_columns else 0
        return own if self._twins is None else own + self._twins.longest

    @cached_property
    def _row_numbers(self) -> Tensor:
        return torch.arange(self.n_rows, device=self._sides.device)

    def block(self, start: int, stop: int) -> Block:
        order, begins, counts = self._sorted
        count = counts[start:stop, None]
        # the longest class of all need not be in this block
        slots = torch.arange(int(count.max()) if count.numel() else 0, device=order.device)
        valid = slots < count
        rows = self._row_numbers[start:stop, None]
        if slots.numel() and self.n_columns:
            columns = order[(begins[start:stop, None] + slots).clamp_(max=self.n_columns - 1)]
        else:
            columns = torch.zeros_like(valid, dtype=torch.int64)
        near = Cells(columns, valid & ~self._sides.same(rows, columns))
        hidden = Cells(columns, valid)
        if self._twins is not None:
            # an item may bear another class in the memory or the gallery: it is still the same item
            twins = self._twins.block(start, stop).near
            assert self.classes is not None
            row_codes, column_codes = self.classes.rows, self.classes.columns
            other = twins.valid & (row_codes[start:stop, None] != column_codes[twins.columns])
            columns = torch.cat([columns, twins.columns], dim=1)
            hidden = Cells(columns, torch.cat([valid, other], dim=1))
        return Block(self.n_columns, near, hidden=hidden)


class _SmallByClass(Resolved):
    """The same as :class:`_ByClass` for a table so small that every cell is compared: fewer operations."""

    def __init__(self, row_codes: Tensor, column_codes: Tensor, sides: Sides) -> None:
        self.n_rows, self.n_columns = sides.n_rows, sides.n_columns
        self.longest = sides.n_columns
        self.classes = Classes(row_codes, column_codes, sides)

    @cached_property
    def _near_and_hidden(self) -> tuple[Tensor, Tensor]:
        assert self.classes is not None
        sides = self.classes.sides
        hidden = self.classes.rows[:, None] == self.classes.columns
        if sides.row_ids is not None and sides.column_ids is not None:
            same = sides.row_ids[:, None] == sides.column_ids
            return hidden & ~same, hidden | same
        near = hidden
        if sides.columns_are_rows:
            near = hidden.clone().fill_diagonal_(False)
        return near, hidden

    def block(self, start: int, stop: int) -> Block:
        near, hidden = self._near_and_hidden
        return Block(self.n_columns, cells_from_mask(near[start:stop]), mask=hidden[start:stop])


def _masked(near: Tensor, far: Tensor) -> Block:
    """A block from bool arrays (r, m)."""
    return Block(near.shape[1], cells_from_mask(near), mask=~far)


class _ByMembership(Resolved):
    """Several labels an item, or none: near when one is shared, far when both have some and share none."""

    def __init__(self, rows: Tensor, columns: Tensor, sides: Sides) -> None:
        self.n_rows, self.n_columns = sides.n_rows, sides.n_columns
        self._rows, self._columns, self._sides = rows.float(), columns.float(), sides
        self.longest = sides.n_columns

    def block(self, start: int, stop: int) -> Block:
        rows, columns = self._rows[start:stop], self._columns
        share = rows @ columns.T > 0
        known = (rows.amax(1) > 0)[:, None] & (columns.amax(1) > 0)[None, :]
        numbers = torch.arange(start, stop, device=rows.device)[:, None]
        every = torch.arange(self.n_columns, device=rows.device)[None, :]
        other = ~self._sides.same(numbers, every)
        return _masked(share & other, ~share & known & other)


class Labels(Relation):
    """Items that share a class are near, others far; an item is neither near nor far from itself.

    Parameters
    ----------
    labels : (n,) or (n, n_labels) or (n, n_levels)
        One class an item: integers up to 2^63 - 1 or strings, compared exactly. Or several labels an
        item: a boolean table, items by labels; two items are near when they share a label, and an
        item with none is unknown to everybody. Or, with ``levels``, the classes of an item in a
        hierarchy, a column a level.
    levels : sequence of float, optional
        The weight of each level: a loss is taken at each level alone, in which items are near when they
        share that level's class, and the values are added up with these weights.
    unlabelled : int or str, optional
        The value that marks an item of unknown class: neither near to nor far from anything.

    Raises
    ------
    InputError
        Labels are floats, objects, or 2^63 or more.

    >>> relation = Labels([1, 1, 2])
    >>> relation.n_items
    3
    >>> species = Labels([["cat", "lion"], ["cat", "tiger"], ["dog", "wolf"]], levels=[0.3, 0.7])
    >>> len(species.by_level())
    2
    """

    def __init__(
        self, labels: Any, *, unlabelled: int | str | None = None, levels: Sequence[float] | None = None
    ) -> None:
        self._values = exact_labels(labels)
        shape = tuple(self._values.shape)
        boolean = isinstance(self._values, Tensor) and self._values.dtype == torch.bool
        self._levels = None if levels is None else tuple(float(weight) for weight in levels)
        if self._levels is not None:
            if len(shape) != 2 or boolean or shape[1] != len(self._levels):
                raise InputError(
                    "levels needs labels with a column a level: integers or strings of shape "
                    f"(n, {len(self._levels)}); found shape {shape}"
                )
            if not all(0 <= weight < float("inf") for weight in self._levels):
                raise InputError(f"levels must be weights not below zero; found {list(self._levels)}")
        elif len(shape) == 2 and not boolean:
            raise InputError(
                f"labels with several columns must be a boolean table, or need levels=; found shape {shape}"
            )
        if len(shape) not in (1, 2):
            raise InputError(f"labels must have shape (n,) or (n, n_labels); found {shape}")
        if unlabelled is not None and len(shape) == 2 and self._levels is None:
            raise InputError("unlabelled belongs to one class an item; in a table, leave the row all false")
        if isinstance(self._values, Tensor) and boolean and len(shape) == 1:
            self._values = self._values.to(torch.int64)
        self._unlabelled = unlabelled
        self._several = len(shape) == 2 and self._levels is None
        self.n_items: int = shape[0]

    @classmethod
    def joined(cls, parts: Sequence[Labels]) -> Labels:
        """The labels of several batches put end to end."""
        kinds = {isinstance(part._values, Tensor) for part in parts}
        if len(kinds) > 1:
            raise InputError("labels of all processes must be of one kind: found integers and strings")
        if all(isinstance(part._values, Tensor) for part in parts):
            values: Any = torch.cat([torch.as_tensor(part._values).cpu() for part in parts])
        else:
            values = np.concatenate([np.asarray(part._values) for part in parts])
        return cls(values, unlabelled=parts[0]._unlabelled, levels=parts[0]._levels)

    def by_level(self) -> list[tuple[float, Labels]]:
        """The weight and the labels of each level; one level of weight 1 where there is no hierarchy."""
        if self._levels is None:
            return [(1.0, self)]
        columns = [np.ascontiguousarray(self._values[:, number]) for number in range(len(self._levels))]
        unlabelled = self._unlabelled
        return [
            (weight, Labels(column, unlabelled=unlabelled))
            for weight, column in zip(self._levels, columns, strict=True)
        ]

    def _codes(self, other: Labels) -> tuple[Tensor, Tensor]:
        """The classes of rows and columns as int64, equal where the labels are."""
        mine, theirs = self._values, other._values
        if isinstance(mine, Tensor) and isinstance(theirs, Tensor):
            return mine, theirs
        if isinstance(mine, Tensor) or isinstance(theirs, Tensor):
            raise InputError("labels of rows and columns must be of one kind: found integers and strings")
        if other is self:
            codes = torch.from_numpy(np.unique(mine, return_inverse=True)[1].reshape(-1))
            return codes, codes
        both = np.unique(np.concatenate([mine, theirs]), return_inverse=True)[1].reshape(-1)
        codes = torch.from_numpy(both)
        return codes[: len(mine)], codes[len(mine) :]

    def _known(self) -> Tensor | None:
        """Which items have a class, where some may not: (n,) bool."""
        if self._unlabelled is None:
            return None
        return torch.as_tensor(self._values != self._unlabelled)

    def resolve(self, columns: Relation | None, sides: Sides) -> Resolved:
        """Near: the same class; far: another. See :meth:`Relation.resolve`."""
        if self._levels is not None:
            raise InputError("labels of several levels belong to a loss as a whole: take one of by_level()")
        check_count("labels", self.n_items, sides.n_rows)
        other = self if sides.columns_are_rows and columns is None else columns
        if not isinstance(other, Labels):
            raise InputError(
                "columns need labels of their own: give column_relation=Labels(...); "
                f"found {type(columns).__name__}"
            )
        check_count("the labels of columns", other.n_items, sides.n_columns)
        if self._several != other._several:
            raise InputError("labels of rows and columns must both be one class an item or both a table")
        mine, theirs = self._codes(other)
        mine, theirs = mine.to(sides.device), theirs.to(sides.device)
        if self._several:
            if mine.shape[1] != theirs.shape[1]:
                raise InputError(
                    f"label tables must have the same columns: found {mine.shape[1]} and {theirs.shape[1]}"
                )
            return _ByMembership(mine, theirs, sides)
        row_known, column_known = self._known(), other._known()
        if row_known is None and column_known is None:
            if sides.n_rows * sides.n_columns <= _SMALL:
                return _SmallByClass(mine, theirs, sides)
            return _ByClass(mine, theirs, sides)
        return _PartlyKnown(mine, theirs, row_known, column_known, sides)


class _PartlyKnown(Resolved):
    """One class an item, for some items unknown."""

    def __init__(
        self,
        rows: Tensor,
        columns: Tensor,
        row_known: Tensor | None,
        column_known: Tensor | None,
        sides: Sides,
    ) -> None:
        self.n_rows, self.n_columns, self.longest = sides.n_rows, sides.n_columns, sides.n_columns
        self._rows, self._columns, self._sides = rows, columns, sides
        every = torch.ones((), dtype=torch.bool, device=sides.device)
        self._row_known = every.expand(sides.n_rows) if row_known is None else row_known.to(sides.device)
        self._column_known = (
            every.expand(sides.n_columns) if column_known is None else column_known.to(sides.device)
        )

    def block(self, start: int, stop: int) -> Block:
        numbers = torch.arange(start, stop, device=self._rows.device)[:, None]
        every = torch.arange(self.n_columns, device=self._rows.device)[None, :]
        known = self._row_known[start:stop, None] & self._column_known[None, :]
        known = known & ~self._sides.same(numbers, every)
        alike = self._rows[start:stop, None] == self._columns[None, :]
        return _masked(alike & known, ~alike & known)


class Chunklets(Relation):
    """Small groups known to be alike; of different groups nothing is known.

    Parameters
    ----------
    chunklets : (n,) integers
        The group of each item; -1 is unassigned.

    >>> Chunklets([0, 0, -1, 1, 1]).n_items
    5
    """

    def __init__(self, chunklets: Tensor | Sequence[int] | np.ndarray[Any, Any]) -> None:
        values = exact_labels(chunklets, "chunklets")
        if not isinstance(values, Tensor) or values.ndim != 1:
            raise InputError(f"chunklets must be integers of shape (n,); found shape {tuple(values.shape)}")
        self.chunklets = values
        self.n_items: int = values.shape[0]

    def resolve(self, columns: Relation | None, sides: Sides) -> Resolved:
        """Near: the same chunklet; nothing is far. See :meth:`Relation.resolve`."""
        check_count("chunklets", self.n_items, sides.n_rows)
        other = self if sides.columns_are_rows and columns is None else columns
        if not isinstance(other, Chunklets):
            raise InputError("columns need chunklets of their own: give column_relation=Chunklets(...)")
        check_count("the chunklets of columns", other.n_items, sides.n_columns)
        return _ByChunklet(self.chunklets.to(sides.device), other.chunklets.to(sides.device), sides)


class _ByChunklet(Resolved):
    far_is_listed = True

    def __init__(self, rows: Tensor, columns: Tensor, sides: Sides) -> None:
        self.n_rows, self.n_columns = sides.n_rows, sides.n_columns
        self._classes = _ByClass(rows, columns, sides)
        self._assigned = rows >= 0
        self.longest = self._classes.longest

    def block(self, start: int, stop: int) -> Block:
        near = self._classes.block(start, stop).near
        near = Cells(near.columns, near.valid & self._assigned[start:stop, None])
        return Block(self.n_columns, near, far=Cells(near.columns[:, :0], near.valid[:, :0]))
