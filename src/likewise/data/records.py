"""Records: items and what is known of them, checked once where they enter.

Every number of an array is finite float32 and every label a whole number or a string, so nothing below has
to ask again. It doesn't know where the items came from; that is :mod:`likewise.data.load`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.data.entries import chosen_entries, entries_of, places_of, restricted
from likewise.data.items import ArrayItems, ItemKind, Items, positions
from likewise.errors import DataError
from likewise.relations import Relation

__all__ = ["Records", "check_items", "check_labels", "check_trainable", "records_from_arrays"]


@dataclass(frozen=True, eq=False)
class Records:
    """Items, and what is known of them: labels, columns, or which go together.

    Parameters
    ----------
    source : Items, or float32 or uint8 array (n, ...)
        The items. An array holds rows of features ``(n, d)``, grey images ``(n, height, width)`` or colour
        images ``(n, channels, height, width)``.
    y : int64 or str array (n,), or None
        The labels; None where there are none.
    name : str
        What the records are called in messages, reports and ids.
    columns : mapping of str to array (n,)
        More that is known of each item, such as its group, its drawer or its file.
    relation : Relation, optional
        Which items go together, where pairs, triplets, rankings or scores say it; it speaks of the items
        by their positions here.
    entries : mapping of str to array (m,)
        More that is known of each of the relation's m entries, such as its split.
    skipped : int
        How many unreadable items were left out.

    >>> records = records_from_arrays([[0.0, 1.0], [2.0, 3.0]], ["a", "b"], name="two")
    >>> len(records), records.item_shape, records.classes.tolist()
    (2, (2,), ['a', 'b'])
    """

    source: Items | NDArray[Any]
    y: NDArray[Any] | None
    name: str
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict, kw_only=True)
    relation: Relation | None = field(default=None, kw_only=True)
    entries: Mapping[str, NDArray[Any]] = field(default_factory=dict, kw_only=True)
    skipped: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.source, np.ndarray):
            object.__setattr__(self, "source", ArrayItems(self.source))

    def __len__(self) -> int:
        return len(self.source)

    def __repr__(self) -> str:
        shape = f" {self.item_shape}" if self.item_shape else ""
        if self.y is not None:
            known = f"{len(self.classes)} classes"
        else:
            known = "unlabelled" if self.relation is None else repr(self.relation)
        noun = {"text": "texts", "table": "rows"}.get(self.kind, "items")
        return f"<{self.name}: {len(self)} {noun}{shape}, {known}>"

    @property
    def held(self) -> Items:
        """The items, as what reads them."""
        assert isinstance(self.source, Items)
        return self.source

    @property
    def kind(self) -> ItemKind:
        """``features``, ``image``, ``text`` or ``table``; see :class:`~likewise.data.Items`."""
        return self.held.kind

    @property
    def item_shape(self) -> tuple[int, ...]:
        """The shape of one item; ``()`` for texts, ``(columns,)`` for rows of a table."""
        return self.held.item_shape

    def items(self, rows: Any = slice(None)) -> NDArray[Any]:
        """Some of the items as one array (m, ...): the door by which everything reads them.

        Parameters
        ----------
        rows : positions, slice or mask
            Which; all of them when not given.
        """
        return self.held.read(rows)

    @property
    def X(self) -> NDArray[Any]:  # noqa: N802 - the field's own name
        """All the items as one array; what lies on the disk is read, each time."""
        return self.items()

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        return self.y is not None

    @property
    def labels(self) -> NDArray[Any]:
        """The labels (n,), or a DataError where there are none."""
        if self.y is None:
            raise DataError(f"{self.name}: there are no labels; name their column, or take class folders")
        return self.y

    @cached_property
    def classes(self) -> NDArray[Any]:
        """The different labels, sorted."""
        return np.unique(self.labels)

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """Each item's class as its position in :attr:`classes`; (n,)."""
        return np.searchsorted(self.classes, self.labels).astype(np.int64)

    @property
    def ids(self) -> list[str]:
        """What each item is called: its file or id where it has one, else ``name:row``."""
        for column in ("path", "id"):
            if column in self.columns and len(np.unique(self.columns[column])) == len(self):
                return [str(value) for value in self.columns[column]]
        return [f"{self.name}:{row}" for row in range(len(self))]

    @cached_property
    def digests(self) -> list[str]:
        """A hash of each item's content: equal items have equal ones."""
        return self.held.digests()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of shape, items, labels and relation: equal records have equal ones, whatever the name."""
        kind = "none" if self.y is None else self.y.dtype.kind
        digest = hashlib.sha256(f"{self.kind} {len(self)} {self.item_shape} {kind}\n".encode())
        digest.update("".join(self.digests).encode())
        if self.y is not None:
            digest.update("\0".join(map(str, self.y.tolist())).encode("utf-8", "surrogatepass"))
        if self.relation is not None:
            digest.update(type(self.relation).__name__.encode())
            for name, values in entries_of(self.relation).items():
                digest.update(name.encode() + values.tobytes())
        return digest.hexdigest()

    def take(self, rows: Any, *, name: str | None = None) -> Records:
        """The records at these positions (or where this mask is true), in that order.

        A relation keeps the entries whose items are all among them.
        """
        chosen = positions(rows, len(self))
        relation, entries = self.relation, self.entries
        if relation is not None:
            kept, relation = restricted(relation, chosen, len(self))
            entries = {key: values[kept] for key, values in entries.items()}
        return replace(
            self,
            source=self.held.take(chosen),
            y=None if self.y is None else self.y[chosen],
            name=self.name if name is None else name,
            columns={key: values[chosen] for key, values in self.columns.items()},
            relation=relation,
            entries=entries,
        )

    def take_entries(self, which: Any, *, name: str | None = None) -> Records:
        """The records that these entries of the relation speak of, and those entries alone."""
        if self.relation is None:
            raise DataError(f"{self.name}: there are no pairs, triplets or rankings to choose from")
        chosen = positions(which, next(iter(entries_of(self.relation).values())).shape[0])
        some = chosen_entries(self.relation, chosen)
        rows = np.unique(np.concatenate(list(places_of(some).values())))
        _, relation = restricted(some, rows, len(self))
        bare = replace(self, relation=None, entries={})
        return replace(
            bare.take(rows, name=name),
            relation=relation,
            entries={key: values[chosen] for key, values in self.entries.items()},
        )


def records_from_arrays(X: Any, y: Any, *, name: str = "data") -> Records:
    """Check arrays or tensors and make :class:`Records` of them.

    Parameters
    ----------
    X : array or tensor (n, ...)
        Numbers, finite; at least one item with at least one number.
    y : sequence, array or tensor (n,)
        Whole numbers that fit in int64, or strings. Truth values count as 0 and 1.
    name : str
        What messages call the data.

    Raises
    ------
    DataError
        NaN or infinity (row and column named), lengths that differ, labels of another kind.

    >>> records_from_arrays([[1.0], [float("nan")]], [0, 1])
    Traceback (most recent call last):
    ...
    likewise.errors.DataError: data: X must be finite; found nan in row 1, position (0,); mend or drop it
    """
    items = check_items(X, name=name)
    labels = check_labels(y, name=name)
    if len(items) != len(labels):
        raise DataError(
            f"{name}: X and y must have one label an item; found X {items.shape} and y {labels.shape}"
        )
    return Records(items, labels, name)


def check_items(X: Any, *, name: str) -> NDArray[np.float32]:
    """Items as a finite float32 array (n, ...), or a DataError that names the first bad row."""
    try:
        array = _to_array(X)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: X must be one array of numbers; found {_first_line(error)}") from error
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name}: X must hold numbers; found {_kind(array)}")
    if array.ndim < 2 or array.ndim > 4 or array.size == 0:
        raise DataError(
            f"{name}: X must have shape (n, d), (n, height, width) or (n, channels, height, width), "
            f"none of them zero; found {array.shape}"
        )
    with np.errstate(over="ignore"):
        items = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(items)
    if not finite.all():
        row, *position = (int(index) for index in np.argwhere(~finite)[0])
        found = array[(row, *position)]
        beyond = " (beyond float32)" if np.isfinite(found) else ""
        raise DataError(
            f"{name}: X must be finite; found {found}{beyond} in row {row}, position "
            f"{tuple(position)}; mend or drop it"
        )
    return items


def check_labels(y: Any, *, name: str) -> NDArray[Any]:
    """Labels as an int64 or str array (n,), or a DataError."""
    if isinstance(y, (list, tuple)):
        strings = sum(isinstance(label, str) for label in y)
        if 0 < strings < len(y):
            raise DataError(f"{name}: labels must be all whole numbers or all strings; found both")
    try:
        array = _to_array(y)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: labels must be one array; found {_first_line(error)}") from error
    if array.ndim != 1:
        raise DataError(f"{name}: labels must have shape (n,); found {array.shape}")
    if array.dtype.kind == "O" and all(isinstance(label, str) for label in array):
        array = array.astype(str)
    if array.dtype.kind == "U":
        return array
    if array.dtype.kind not in "iub":
        raise DataError(
            f"{name}: labels must be whole numbers or strings; found {_kind(array)}; "
            "convert them, for example y.astype(int)"
        )
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{name}: labels must fit in int64; found {int(array.max())}")
    return array.astype(np.int64)


def check_trainable(records: Records) -> None:
    """Refuse records that nothing can be learned from.

    Raises
    ------
    DataError
        There is one class only, or a class with one item, so that no pair of the class exists.
    """
    classes, counts = np.unique(records.labels, return_counts=True)
    if len(classes) < 2:
        raise DataError(
            f"{records.name}: training needs at least two classes; found one ({classes[0]}); "
            "add items of another class"
        )
    single = classes[counts < 2]
    if len(single):
        raise DataError(
            f"{records.name}: training needs at least two items of every class; found one item of "
            f"{_some(single.tolist())}; add items of it or drop it"
        )


def _to_array(values: Any) -> NDArray[Any]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        if values.dtype == torch.bfloat16:
            values = values.float()
        return np.asarray(values.numpy())
    return np.asarray(values)


def _kind(array: NDArray[Any]) -> str:
    return "Python objects" if array.dtype.kind == "O" else f"{array.dtype} values"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _some(names: Sequence[Any]) -> str:
    shown = ", ".join(map(str, names[:3]))
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more classes"
