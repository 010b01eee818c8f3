"""Items of any source as a model takes them: its kind, its shape, its columns by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from likewise.data import ArrayItems, Record, Records, TableItems
from likewise.encoders import Preprocessing
from likewise.errors import InputError

__all__ = ["accepted_items", "adapted_records"]


def accepted_items(preprocessing: Preprocessing, X: Any) -> NDArray[Any]:
    """What people hand over as items, as one array (n, ...); see :meth:`likewise.model.Model.items`."""
    if isinstance(X, Records):
        return adapted_records(preprocessing, X).items()
    if isinstance(X, Record):
        X = [X]
    if isinstance(X, (list, tuple)):
        X = [value.item if isinstance(value, Record) else value for value in X]
    return preprocessing.accept(X)


def adapted_records(preprocessing: Preprocessing, records: Records) -> Records:
    """Records whose items are as the preprocessing takes them; see :meth:`likewise.model.Model.adapted`."""
    kind, item_shape = preprocessing.kind, preprocessing.item_shape
    if not len(records):
        raise InputError(f"{records.name}: there is no item to embed")
    held, numbers = records.held, ("features", "table")
    if records.kind == "image" == kind and records.item_shape != item_shape:
        held = held.reshaped(item_shape)
    elif isinstance(held, ArrayItems) and held.names is not None and kind in numbers:
        by_name = preprocessing.accept(held.table())
        held = TableItems(by_name) if kind == "table" else ArrayItems(by_name)
    elif records.kind != kind and records.kind in numbers and kind in numbers:
        accepted = preprocessing.accept(records.items())
        held = TableItems(accepted) if kind == "table" else ArrayItems(accepted)
    elif records.kind == "table" == kind:
        preprocessing.accept(records.items([0]))
    same = held.kind == kind and (kind == "table" or held.item_shape == item_shape)
    if not same:
        wanted, found = (
            f"{name} {shape}" if shape else name
            for name, shape in ((kind, item_shape), (records.kind, records.item_shape))
        )
        hint = "; say size= when loading them" if kind == records.kind == "image" else ""
        raise InputError(f"{records.name}: items must be {wanted}, as in training; found {found}{hint}")
    return records if held is records.held else replace(records, source=held)
