"""Galleries: queries with what they found and missed, pairs judged most wrongly, findings of an audit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.report.page import Markup
from likewise.report.subject import Subject
from likewise.search.exact import nearest

__all__ = ["GALLERY_STYLE", "hardest_pairs", "query_gallery", "tile"]

GALLERY_STYLE = """
.query { display: flex; gap: .8rem; align-items: flex-start; border-top: 1px solid var(--line);
  padding: .6rem 0 } .tiles { display: flex; flex-wrap: wrap; gap: .4rem; flex: 1 }
.tile { margin: 0; width: 5.2rem } .tile img { width: 100%; height: 4.4rem; object-fit: contain;
  image-rendering: pixelated; background: var(--panel); border: 2px solid var(--line);
  border-radius: .25rem; display: block } .tile figcaption { font-size: .75rem; line-height: 1.25;
  overflow-wrap: anywhere } .tile blockquote { margin: 0; padding: .3rem; font-size: .8rem;
  background: var(--panel); border: 2px solid var(--line); border-radius: .25rem;
  overflow-wrap: anywhere } .good img, .good blockquote { border-color: var(--good) }
.wrong img, .wrong blockquote { border-color: var(--bad); border-style: dashed }
.tiles p { flex-basis: 100%; max-width: none; margin: .3rem 0 0; font-size: .8rem; color: var(--faint) }
.tile figcaption { margin-top: .15rem } h3 { font-size: .95rem; margin: 1rem 0 .3rem }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: .8rem }
.pair { display: flex; gap: .4rem; flex-wrap: wrap } .pair p { width: 100%; margin: 0; font-size: .8rem }
"""
"""Rules for the pieces of this module."""


def tile(subject: Subject, row: int, *, caption: str = "", kind: str = "") -> str:
    """One item with its class below it; ``kind`` is "good", "wrong", "missed" or nothing."""
    label = subject.label(row)
    told = f"{subject.name(row)}, class {label}"
    sign = {"good": "\u2713 ", "wrong": "\u2717 ", "missed": ""}.get(kind, "")
    below = f"{sign}{escape(label)}" + (f"<br>{escape(caption)}" if caption else "")
    return (
        f'<figure class="tile {kind}" title="{escape(told)}">{subject.thumbnails.html(row, told)}'
        f"<figcaption>{below}</figcaption></figure>"
    )


def query_gallery(subject: Subject, rows: Iterable[int]) -> Markup:
    """Queries, each with its nearest items and the nearest of its own class that it missed."""
    return Markup("".join(_query(subject, row) for row in rows))


def _query(subject: Subject, row: int) -> str:
    found = subject.neighbours
    hits = []
    for other, distance in zip(found.indices[row].tolist(), found.distances[row].tolist(), strict=True):
        kind = "good" if subject.codes[other] == subject.codes[row] else "wrong"
        hits.append(tile(subject, other, caption=f"{distance:.3g}", kind=kind))
    missed = [
        tile(subject, other, caption=f"place {place:,}", kind="missed")
        for other, place in _missed(subject, row, shown=set(found.indices[row].tolist()))
    ]
    more = f"<p>Of its class, but farther off:</p>{''.join(missed)}" if missed else ""
    return (
        f'<div class="query">{tile(subject, row, caption="query")}'
        f'<div class="tiles">{"".join(hits)}{more}</div></div>'
    )


def _missed(subject: Subject, row: int, *, shown: set[int], most: int = 4) -> list[tuple[int, int]]:
    """Items of the query's class that should have been shown, with their places; the nearest first."""
    own = np.flatnonzero(subject.codes == subject.codes[row])
    wanted = min(len(own) - 1, len(shown)) - sum(int(other) in shown for other in own)
    if wanted <= 0:
        return []
    rows = torch.from_numpy(subject.embeddings)
    order = nearest(
        rows[row : row + 1], rows, len(rows), distance=subject.distance, exclude=torch.tensor([row])
    ).indices[0]
    places = np.empty(len(rows), dtype=np.int64)
    order_kept = order[order >= 0].numpy()
    places[order_kept] = np.arange(1, len(order_kept) + 1)
    missing = [int(other) for other in own if other != row and int(other) not in shown]
    missing.sort(key=lambda other: places[other])
    return [(other, int(places[other])) for other in missing[: min(wanted, most)]]


def hardest_pairs(subject: Subject, *, most: int = 6) -> list[Markup]:
    """The nearest pairs of two classes, and the farthest pairs of one, each item at most once."""
    pairs = subject.pairs
    out = []
    for alike, told in ((False, "Of two classes, yet near"), (True, "Of one class, yet far")):
        rows = np.flatnonzero(pairs.same == alike)
        # Of many pairs only the extreme ones need be in order.
        keys = -pairs.distances[rows] if alike else pairs.distances[rows]
        kept = rows[_smallest(keys, 50 * most)]
        chosen = _distinct_pairs(pairs.left[kept], pairs.right[kept], most)
        shown = "".join(
            _pair(subject, int(pairs.left[at]), int(pairs.right[at]), float(pairs.distances[at]))
            for at in kept[chosen]
        )
        out.append(Markup(f'<h3>{told}</h3><div class="pairs">{shown}</div>'))
    return out


def _pair(subject: Subject, left: int, right: int, distance: float) -> str:
    said = subject.probability(distance)
    told = f"distance {distance:.3g}" + (f", {said}" if said else "")
    return f'<div class="pair">{tile(subject, left)}{tile(subject, right)}<p>{escape(told)}</p></div>'


def _smallest(keys: NDArray[np.floating], most: int) -> NDArray[np.int64]:
    if len(keys) > most:
        some = np.argpartition(keys, most)[:most]
        return np.asarray(some[np.argsort(keys[some], kind="stable")])
    return np.argsort(keys, kind="stable")


def _distinct_pairs(
    left: Sequence[int] | NDArray[np.int64], right: NDArray[np.int64], most: int
) -> list[int]:
    seen: set[int] = set()
    out = []
    for place, (a, b) in enumerate(zip(left, right, strict=True)):
        if int(a) not in seen and int(b) not in seen:
            out.append(place)
            seen |= {int(a), int(b)}
        if len(out) == most:
            break
    return out
