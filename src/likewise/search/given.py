"""What users hand to an index, as it takes it: items as embeddings, labels, columns, ids."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from likewise.data import Record, Records, record
from likewise.encoders import WordMapped
from likewise.errors import InputError
from likewise.model import Model
from likewise.search.catalogue import Label, check_ids, check_label
from likewise.search.columns import Value

__all__ = [
    "MetadataGiven",
    "Query",
    "checked_labels",
    "columns_of",
    "embedded",
    "ids_given",
    "labels_of",
    "query_vectors",
]

_EMBED_AT_ONCE = 1024

MetadataGiven: TypeAlias = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]] | None
Query: TypeAlias = str | os.PathLike[str] | Record | Any


def query_vectors(model: Model, query: Query, *, several: bool = False) -> tuple[NDArray[np.float32], bool]:
    """Embeddings (n, d) of what is asked, and whether it was one item; ``several`` takes a list of names."""
    if several and isinstance(query, (list, tuple)):
        if not query:
            raise InputError("a query of several items needs at least one; found none")
        if all(isinstance(one, (str, os.PathLike, Record)) for one in query):
            return np.concatenate([query_vectors(model, one)[0] for one in query]), False
    if isinstance(query, str) and isinstance(model.encoder, WordMapped):
        words = query
        try:
            query = record(words)
        except InputError:  # not the name of a record: words, in which this model is asked too
            return model.encoder.text([words]), True
    if isinstance(query, str) and model.kind == "text":
        try:
            query = record(query)
        except InputError:  # not the name of a record: a text of its own
            return model.embed([query]), True
    if isinstance(query, (str, os.PathLike)):
        query = record(query)
    # A row of a table is one value of many fields.
    row = isinstance(query, (np.ndarray, np.void)) and query.dtype.names is not None
    single = isinstance(query, Record) or np.ndim(query) + row == len(model.item_shape)
    return model.embed([query] if single else query), single


def embedded(model: Model, records: Records) -> NDArray[np.float32]:
    """Embeddings of records, a part at a time, as the items may not fit in memory."""
    parts = [
        model.embed(records.items(slice(start, start + _EMBED_AT_ONCE)))
        for start in range(0, len(records), _EMBED_AT_ONCE)
    ]
    return np.concatenate(parts)


def labels_of(records: Records) -> list[Label]:
    """The labels of records, None where they have none."""
    labels: list[Label] = [None] * len(records) if records.y is None else records.y.tolist()
    return checked_labels(labels, len(records))


def checked_labels(labels: Any, count: int) -> list[Label]:
    """One label a record, each of a kind that can be kept; else an InputError."""
    given = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    if len(given) != count:
        raise InputError(f"labels must be one a record; found {len(given)} for {count}")
    for label in given:
        check_label(label)
    return given


def columns_of(records: Records) -> dict[str, list[Value | None]]:
    """The records' own columns, as far as they are texts, numbers or truth values; NaN is missing."""
    taken = {}
    for name, values in records.columns.items():
        if values.ndim == 1 and values.dtype.kind in "UOiufb" and name.lower() not in ("id", "label"):
            listed = [None if value != value else value for value in values.tolist()]
            if {type(value) for value in listed} <= {str, int, float, bool, type(None)}:
                taken[name] = listed
    return taken


def ids_given(ids: Any) -> list[str]:
    """Ids as a list; an InputError for one text, and for one that can't be an id."""
    if isinstance(ids, str):
        raise InputError(f"ids must be a sequence of ids; found one text, {ids!r}")
    names = list(ids)
    return check_ids(names, len(names))
