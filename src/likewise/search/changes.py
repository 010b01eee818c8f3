"""Changes of an index as entries of its journal, and entries as changes again, checked anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.search.catalogue import Label, Metadata, check_ids, check_label, check_metadata
from likewise.search.columns import Value
from likewise.search.holdings import Holdings
from likewise.search.journal import Entry

__all__ = ["addition", "amendment", "applied", "removal", "replacement"]


def addition(
    embeddings: NDArray[np.float32],
    names: Sequence[str],
    labels: Sequence[Label],
    metadata: Sequence[dict[str, Value]],
) -> Entry:
    """Records with new ids."""
    return _full("add", embeddings, names, labels, metadata)


def replacement(
    embeddings: NDArray[np.float32],
    names: Sequence[str],
    labels: Sequence[Label],
    metadata: Sequence[dict[str, Value]],
) -> Entry:
    """Records in place of those with the same ids."""
    return _full("replace", embeddings, names, labels, metadata)


def removal(names: Sequence[str]) -> Entry:
    """Ids that are to go."""
    return Entry({"do": "remove", "ids": list(names)})


def amendment(
    names: Sequence[str], labels: Sequence[Label] | None, metadata: Sequence[Metadata] | None
) -> Entry:
    """Other labels or other metadata for ids that stay."""
    told = None if metadata is None else [dict(record) for record in metadata]
    return Entry(
        {
            "do": "amend",
            "ids": list(names),
            "labels": None if labels is None else list(labels),
            "metadata": told,
        }
    )


def applied(entry: Entry, holdings: Holdings) -> None:
    """Do what an entry says, after checking all of it.

    Raises
    ------
    InputError, KeyError, TypeError, ValueError
        It isn't an entry that could have been written over these holdings.
    """
    content, catalogue = entry.content, holdings.catalogue
    kind = content["do"]
    names = check_ids(content["ids"], len(content["ids"]))
    if kind == "remove":
        catalogue.rows_of(names)
        holdings.remove(names)
        return
    labels, told = content["labels"], content["metadata"]
    if labels is not None:
        if not isinstance(labels, list) or len(labels) != len(names):
            raise InputError("an entry's labels don't fit its ids")
        for label in labels:
            check_label(label)
    metadata = None if told is None else check_metadata(told, len(names))
    if metadata is not None:
        catalogue.check_kinds(metadata)
    if kind == "amend":
        catalogue.rows_of(names)
        holdings.amend(names, labels, metadata)
        return
    vectors = holdings.checked(entry.embeddings)
    if len(vectors) != len(names) or labels is None or metadata is None:
        raise InputError("an entry's parts have different lengths")
    if kind == "replace":
        catalogue.rows_of(names)
        holdings.remove(names)
    elif kind != "add":
        raise InputError("an entry is of an unknown kind")
    holdings.check_new(names)
    holdings.take(vectors, names, labels, metadata)


def _full(
    kind: str,
    embeddings: NDArray[np.float32],
    names: Sequence[str],
    labels: Sequence[Label],
    metadata: Sequence[dict[str, Value]],
) -> Entry:
    content = {
        "do": kind,
        "ids": list(names),
        "labels": list(labels),
        "metadata": list(metadata),
        "dimension": embeddings.shape[1],
    }
    return Entry(content, embeddings)
