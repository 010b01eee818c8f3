"""Which classes' vectors are near and far from each embedding, whatever the supervision.

A table of embeddings against the vectors of classes. Labels name each row's class, or several; a hierarchy
has classes of its own at each level; lists of pairs, triplets, scores and a mask speak of (embedding,
class), classes by number; what is listed nowhere is unknown. A chunklet is a class of its number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.losses.composed import far_cells, near_cells
from likewise.relations import Block, Cells, Chunklets, Labels, Relation, Resolved, Sides
from likewise.relations import Classes as ItemClasses
from likewise.relations.base import Listing, cells_from_mask, check_count
from likewise.relations.labels import exact_labels
from likewise.relations.lists import ListedCells

__all__ = ["AtLevel", "Classes", "OwnClass", "Settled", "several_centres", "turned_round"]


class Settled(Relation):
    """A relation that is resolved already."""

    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved

    def resolve(self, columns: Relation | None, sides: Sides) -> Resolved:  # noqa: ARG002
        """What it is."""
        return self.resolved


@dataclass(frozen=True)
class AtLevel(Relation):
    """The labels of one level of a hierarchy, and the run of classes that are the level's."""

    labels: Labels
    first: int
    last: int

    def resolve(self, columns: Relation | None, sides: Sides) -> Resolved:
        """As the labels."""
        return self.labels.resolve(columns, sides)


class Classes:
    """The classes of a loss: how many, and what they are called.

    Parameters
    ----------
    n_classes : int
    names : sequence of integers to 2^63 or strings, or one such sequence a level; or None
        The label of each class by number; without them labels are the numbers.

    Raises
    ------
    InputError
        Another number of names, or a name twice.
    """

    def __init__(self, n_classes: int, names: Any = None) -> None:
        self.n_classes = n_classes
        self.levels: list[tuple[int, int]] | None = None
        self._named: list[tuple[Any, Any]] = []  # of each level, its labels sorted and their numbers
        if names is None:
            return
        nested = not isinstance(names, Tensor | np.ndarray) and any(
            isinstance(part, Sequence | np.ndarray | Tensor) and not isinstance(part, str) for part in names
        )
        listed = list(names) if nested else [names]
        sizes = [len(part) for part in listed]
        if sum(sizes) != n_classes:
            raise InputError(f"classes must be n_classes={n_classes} labels; found {sum(sizes)}")
        for part in listed:
            values = np.asarray(exact_labels(part, "classes"))
            order = np.argsort(values, kind="stable")
            twice = values[order][1:] == values[order][:-1]
            if twice.any():
                raise InputError(f"classes must differ; found {values[order][1:][twice][0]!s} twice")
            self._named.append((values[order], order))
        if nested:
            ends = np.cumsum([0, *sizes]).tolist()
            self.levels = list(pairwise(ends))

    def at_levels(self, relation: Labels) -> list[tuple[float, Relation]]:
        """The labels of each level, with its weight and its classes.

        Raises
        ------
        InputError
            The classes have no levels, or another number of them.
        """
        found = relation.by_level()
        if self.levels is None or len(self.levels) != len(found):
            count = 0 if self.levels is None else len(self.levels)
            raise InputError(
                f"labels of {len(found)} levels need classes of as many: give classes=[[...], ...], a list a "
                f"level; found {count} levels"
            )
        parts = zip(found, self.levels, strict=True)
        return [(weight, AtLevel(labels, *part)) for (weight, labels), part in parts]

    def part(self, relation: Relation, who: str) -> tuple[Relation, int, int]:
        """The relation, and the run of classes that it speaks of.

        Raises
        ------
        InputError
            The classes have levels and the relation has none.
        """
        if isinstance(relation, AtLevel):
            return relation.labels, relation.first, relation.last
        if isinstance(relation, Chunklets):
            relation = Labels(relation.chunklets.clamp(min=-1), unlabelled=-1)
        if self.levels is not None:
            raise InputError(
                f"{who}: classes of {len(self.levels)} levels need Labels(..., levels=); "
                f"found {type(relation).__name__}"
            )
        return relation, 0, self.n_classes

    def numbers(self, labels: Labels, first: int, who: str) -> tuple[Tensor, Tensor | None]:
        """Each row's class (n,) counted from ``first``, 0 where unknown, and whether it is known (n,).

        Where all are, None stands for that.

        Raises
        ------
        InputError
            Labels that aren't among the classes.
        """
        values, marked = labels._values, labels._known()
        if not self._named and marked is None and isinstance(values, Tensor) and values.numel():
            least, most = values.aminmax()
            if int(least) >= 0 and int(most) < self.n_classes:
                return values.cpu(), None
        known = torch.ones(labels.n_items, dtype=torch.bool) if marked is None else marked.cpu()
        if not self._named:
            expected = f"{who}: labels must be integers from 0 to {self.n_classes - 1} of shape (n,)"
            if not isinstance(values, Tensor):
                raise InputError(f"{expected}; found strings: number the classes first, or give classes=")
            outside = (values.cpu() < 0) | (values.cpu() >= self.n_classes)
            number = values.cpu()
        else:
            expected = f"{who}: labels must be among classes="
            number, outside = self._looked_up(values, first, expected)
        outside = outside & known
        if bool(outside.any()):
            row = int(outside.nonzero()[0])
            raise InputError(f"{expected}; found {values[row].item()!s} in row {row}")
        return torch.where(known, number, 0), known

    def _looked_up(self, values: Any, first: int, expected: str) -> tuple[Tensor, Tensor]:
        level = 0 if self.levels is None else [begin for begin, _ in self.levels].index(first)
        names, order = self._named[level]
        array = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
        if array.size and (array.dtype.kind == "U") != (names.dtype.kind == "U"):
            kinds = [
                "strings" if kind == "U" else "integers" for kind in (names.dtype.kind, array.dtype.kind)
            ]
            raise InputError(f"{expected}, which are {kinds[0]}; found {kinds[1]}")
        place = np.searchsorted(names, array).clip(max=max(0, len(names) - 1))
        found = names[place] == array if array.size else np.zeros(0, dtype=bool)
        return torch.from_numpy(order[place].astype(np.int64)), torch.from_numpy(~np.asarray(found))

    def cells(
        self, relation: Relation, first: int, last: int, n_rows: int, device: torch.device, who: str
    ) -> Resolved:
        """Which classes from ``first`` to ``last`` are near and far from each of n_rows embeddings.

        Raises
        ------
        InputError
        """
        count = last - first
        if isinstance(relation, Labels) and not relation._several:
            check_count("labels", relation.n_items, n_rows)
            numbers, known = self.numbers(relation, first, who)
            return OwnClass(numbers.to(device), None if known is None else known.to(device), count)
        if isinstance(relation, Labels):
            check_count("labels", relation.n_items, n_rows)
            table = torch.as_tensor(relation._values)
            if table.shape[1] != count:
                raise InputError(
                    f"{who}: a table of labels must have a column a class: expected {count}, "
                    f"found {table.shape[1]}"
                )
            table = table.to(device)
            return _Members(table, ~table.any(1, keepdim=True))
        return relation.resolve(None, Sides(n_rows, count, columns_are_rows=False, device=device))


class OwnClass(Resolved):
    """One class a row, or none: the others are far, and from a row without a class nothing is."""

    longest = 1

    def __init__(self, numbers: Tensor, known: Tensor | None, n_classes: int) -> None:
        """Take each row's class (n,) and whether it is known (n,), or None where all are."""
        self.n_rows, self.n_columns = numbers.shape[0], n_classes
        self._all = known is None or bool(known.all())
        if known is None:
            known = torch.ones_like(numbers, dtype=torch.bool)
        self._numbers, self._known = numbers[:, None], known[:, None]

    @cached_property
    def _every(self) -> Tensor:
        return torch.arange(self.n_rows, device=self._numbers.device)

    @cached_property
    def classes(self) -> ItemClasses | None:  # type: ignore[override]
        return self.with_centres(1) if self._all else None

    def with_centres(self, centres: int) -> ItemClasses:
        """The same by class of row and column, where all rows are known; so many columns a class."""
        columns = torch.arange(self.n_columns * centres, device=self._numbers.device)
        if centres > 1:
            columns = torch.div(columns, centres, rounding_mode="floor")
        sides = Sides(self.n_rows, columns.shape[0], columns_are_rows=False, device=columns.device)
        return ItemClasses(self._numbers.view(-1), columns, sides)

    def block(self, start: int, stop: int) -> Block:
        numbers, known = self._numbers[start:stop], self._known[start:stop]
        if not self._all:
            near = Cells(numbers, known)
            return Block(self.n_columns, near, hidden=near, mask=(~known).expand(-1, self.n_columns))
        near = Cells(numbers, known, known=Listing(self._every[: stop - start], numbers.view(-1), None))
        return Block(self.n_columns, near, hidden=near)

    def turned(self) -> Resolved:
        """The classes as rows."""
        sides = Sides(self.n_columns, self.n_rows, False, self._numbers.device)
        numbers = torch.where(self._known, self._numbers, -1).view(-1)
        own = Labels(numbers) if self._all else Labels(numbers, unlabelled=-1)
        return Labels(torch.arange(self.n_columns)).resolve(own, sides)


class _Members(Resolved):
    """Several classes a row: all others are far, and from a row without any nothing is.

    unknown : (n, 1) or (1, m), the rows, or the columns, of which nothing is known.
    """

    def __init__(self, table: Tensor, unknown: Tensor) -> None:
        self.n_rows, self.n_columns = table.shape
        self._table, self._unknown = table, unknown.expand(table.shape)
        self.longest = int(table.sum(1).max()) if table.numel() else 0

    def block(self, start: int, stop: int) -> Block:
        near = self._table[start:stop]
        return Block(self.n_columns, cells_from_mask(near), mask=near | self._unknown[start:stop])

    def turned(self) -> _Members:
        """The classes as rows."""
        return _Members(self._table.T.contiguous(), self._unknown.T)


class _Centres(Resolved):
    """A table of classes with as many columns for each class, side by side, as it has centres."""

    def __init__(self, classes: Resolved, centres: int) -> None:
        self._classes, self._centres = classes, centres
        self.n_rows, self.n_columns = classes.n_rows, classes.n_columns * centres
        self.longest = classes.longest * centres
        self.anchors, self.far_is_listed = classes.anchors, classes.far_is_listed

    @cached_property
    def classes(self) -> ItemClasses | None:  # type: ignore[override]
        given = self._classes
        return given.with_centres(self._centres) if isinstance(given, OwnClass) and given.classes else None

    def _spread(self, cells: Cells) -> Cells:
        step = torch.arange(self._centres, device=cells.columns.device)
        columns = (cells.columns[:, :, None] * self._centres + step).flatten(1)
        valid = cells.valid.repeat_interleave(self._centres, dim=1)
        own = None if cells.anchors is None else cells.anchors.expand_as(cells.columns)
        return Cells(columns, valid, None if own is None else own.repeat_interleave(self._centres, dim=1))

    def block(self, start: int, stop: int) -> Block:
        given = self._classes.block(start, stop)
        far = None if given.far is None else self._spread(given.far)
        hidden = None if given.hidden is None else self._spread(given.hidden)
        mask = None if given.mask is None else given.mask.repeat_interleave(self._centres, dim=1)
        return Block(self.n_columns, self._spread(given.near), far, hidden, mask)


def several_centres(classes: Resolved, centres: int) -> Resolved:
    """A table against classes as one against their centres, those of a class side by side."""
    return classes if centres == 1 else _Centres(classes, centres)


def turned_round(classes: Resolved, n_embeddings: int) -> Resolved:
    """A table of embeddings against classes as one of classes against embeddings.

    Listed comparisons say of which classes an embedding is and of which it isn't; a class that is nearer than
    one and farther than another is both.
    """
    if isinstance(classes, OwnClass | _Members):
        return classes.turned()
    listed = []
    for _, anchor, column in (near_cells(classes), far_cells(classes)):
        cells = torch.stack([column, anchor])
        listed.append(torch.unique(cells, dim=1) if cells.shape[1] else cells)
    near, far = listed
    return ListedCells(near, far, Sides(classes.n_columns, n_embeddings, False, near.device))
