"""Records whose labels are doubtful, looked for beside the server's other work.

Among 100,000 records that takes minutes, in which everybody else's questions must be answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.distances import Distance
from likewise.errors import InputError
from likewise.search import Index

__all__ = ["begun", "search_of_suspects", "suspects_among"]

_MOST = 200


def begun(work: Callable[[], Any]) -> Future[Any]:
    """Begin a work in a thread of its own, which doesn't keep the process from ending."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # whoever waits must be told
            future.set_exception(error)

    threading.Thread(target=run, name="likewise-suspects", daemon=True).start()
    return future


def search_of_suspects(index: Index) -> Future[Any]:
    """Begin to look for an index's suspects as it is now; what is added later isn't looked at."""
    embeddings, labels, ids, distance = index.embeddings, index.labels, index.ids, index.model.distance
    return begun(lambda: suspects_among(embeddings, labels, ids, distance))


def suspects_among(
    embeddings: NDArray[np.float32], labels: Sequence[Any], ids: Sequence[str], distance: Distance
) -> list[dict[str, Any]]:
    """The records with the most doubtful labels, the most doubtful first; see :mod:`likewise.audit`.

    Parameters
    ----------
    embeddings : float32 array (n, d)
    labels : sequence of int, str or None (n,)
        Those without one are left out.
    ids : sequence of str (n,)
    distance : Distance

    Raises
    ------
    InputError
        There are no labels, or too few.
    """
    from likewise.audit import Kind, audit

    rows = [row for row, label in enumerate(labels) if label is not None]
    chosen = [str(labels[row]) for row in rows]
    if len(set(chosen)) < 2 or len(rows) < 3:
        raise InputError("suspects need labels of at least two classes in the index")
    found = audit(embeddings[rows], chosen, distance=distance).of(Kind.WRONG_LABEL)
    return [
        {
            "id": ids[rows[one.row]],
            "row": rows[one.row],
            "label": one.label,
            "suggested": one.other_label,
            "witness": ids[rows[one.other_row]] if one.other_row >= 0 else None,
            "score": one.score,
            "reason": one.reason,
        }
        for one in found[:_MOST]
    ]
