"""The main job on real data, in a minute: learn from the digits 0-4, and show it on 5-9, never seen.

scikit-learn's 1,797 handwritten digits of 8 x 8 pixels. A small network learns from five classes what being
alike means; all that is shown is about the five others, beside raw pixels and the same network untrained.
What this doesn't show: large images, many classes, noise.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from likewise import __version__
from likewise.api import evaluate, train
from likewise.artifacts import check_output, write_folder
from likewise.data import Record, Records, load, record
from likewise.evaluation import verification_pairs
from likewise.model import Model, Verdict
from likewise.report import Column, PairDistances, Section, Theme, before_and_after, report_page
from likewise.search import Hit, Index

__all__ = ["SEEN", "TITLE", "UNSEEN", "Comparison", "Demo", "run_demo"]

SEEN, UNSEEN = "digits:classes=0-4", "digits:classes=5-9"
TITLE = "Digits 5 to 9, which the network never saw"
_MANIFEST, _KIND = "demo.json", "likewise-demo"
_STAGES = ("learning from 0-4", "judging on 5-9", "drawing and writing", "indexing and searching")
_FOUND = 5


@dataclass(frozen=True)
class Comparison:
    """Two items that were verified, and what the model said."""

    first: Record
    second: Record
    verdict: Verdict


@dataclass(frozen=True)
class Demo:
    """What the demo made and found.

    Parameters
    ----------
    folder : Path
        Holds ``run/`` (with ``report.html``), ``index/`` and ``distances.png``.
    items : int
        How many unseen items everything is measured on.
    figures : mapping
        ``{task: {name: figure}, "controls": {"raw": ..., "untrained": ...}}``.
    panels : tuple of PairDistances
        Of unseen classes, before and after.
    query, hits
        What was searched for, and what was found in the index, the query itself left out.
    comparisons : tuple of Comparison
        One pair that is alike, one that isn't.
    """

    folder: Path
    items: int
    figures: Mapping[str, Any]
    panels: tuple[PairDistances, PairDistances]
    query: Record
    hits: tuple[Hit, ...]
    comparisons: tuple[Comparison, Comparison]


def run_demo(
    out: str | os.PathLike[str],
    *,
    epochs: int | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Demo:
    """Train, judge, draw, index, search and verify; write all of it as one folder.

    Parameters
    ----------
    out : path
        The folder; one that an earlier demo wrote is replaced, anything else is refused.
    epochs : int, optional
        Passes over the data; as the method says when not given.
    seed : int
        Of every random choice.
    progress : callable, optional
        Told the stage, how much of it is done, and of how much.

    Returns
    -------
    Demo

    Raises
    ------
    ArtifactError
        The folder exists and isn't an earlier demo's, or can't be written.
    """
    check_output(out, manifest=_MANIFEST, kind=_KIND)
    tell = progress or _silent
    learning, judging, writing, searching = _STAGES

    model = train(SEEN, epochs=epochs, seed=seed, progress=lambda done, total: tell(learning, done, total))
    tell(judging, 0, 2)
    unseen = load(UNSEEN)
    figures = evaluate(model, unseen, seed=seed).to_dict()
    tell(judging, 1, 2)
    panels = _before_and_after(model, unseen)
    tell(judging, 2, 2)

    tell(searching, 0, 2)
    index = Index.build(model, unseen)
    rows = {label: np.flatnonzero(unseen.y == label) for label in (6, 9)}
    query, like, unlike = (record(f"{UNSEEN}:{row}") for row in (rows[6][0], rows[6][1], rows[9][0]))
    found = cast("list[Hit]", index.search(query, k=_FOUND + 1))
    tell(searching, 1, 2)
    comparisons = tuple(Comparison(query, other, model.verify(query, other)) for other in (like, unlike))
    tell(searching, 2, 2)

    tell(writing, 0, 2)
    page = report_page(
        title=TITLE,
        lead=_lead(panels),
        columns=[
            Column("this model", {task: held for task, held in figures.items() if task != "controls"}),
            Column("raw pixels", figures["controls"]["raw"]),
            Column("untrained network", figures["controls"]["untrained"]),
        ],
        sections=_sections(model, panels, len(unseen), seed),
        footer=f"Made by likewise {__version__}: likewise demo",
    )
    picture = before_and_after(panels, title=TITLE, theme=Theme.light())
    tell(writing, 1, 2)
    with tempfile.TemporaryDirectory(prefix="likewise-demo-") as scratch:
        model.save(Path(scratch, "run"), files={"report.html": page.encode("utf-8")})
        index.save(Path(scratch, "index"))
        files = {
            path.relative_to(scratch).as_posix(): path.read_bytes()
            for path in sorted(Path(scratch).rglob("*"))
            if path.is_file()
        }
    content = {"library_version": __version__, "seed": seed, "figures": figures}
    write_folder(out, {**files, "distances.png": picture}, content, manifest=_MANIFEST, kind=_KIND)
    tell(writing, 2, 2)
    return Demo(
        folder=Path(out),
        items=len(unseen),
        figures=figures,
        panels=panels,
        query=query,
        hits=tuple(hit for hit in found if hit.id != query.id)[:_FOUND],
        comparisons=cast("tuple[Comparison, Comparison]", comparisons),
    )


def _silent(_stage: str, _done: int, _total: int) -> None:
    """Tell nobody."""


def _before_and_after(model: Model, unseen: Records) -> tuple[PairDistances, PairDistances]:
    raw = verification_pairs(unseen.X.reshape(len(unseen), -1), unseen.y)
    learned = verification_pairs(model.embed(unseen.X), unseen.y, distance=model.distance)
    return PairDistances.of("Before: raw pixels", raw), PairDistances.of("After learning", learned)


def _lead(panels: tuple[PairDistances, PairDistances]) -> str:
    before, after = (100 * pairs.error_rate for pairs in panels)
    return (
        "A small network learned from the digits 0 to 4 what being alike means. By its distance, "
        f"{after:.1f} % of pairs of the digits 5 to 9 fall on the wrong side; by raw pixels, {before:.1f} %."
    )


def _sections(
    model: Model, panels: tuple[PairDistances, PairDistances], items: int, seed: int
) -> list[Section]:
    return [
        Section(
            "Distances of pairs, before and after",
            "Each curve holds all pairs of its kind, as shares. Left of the dashed line a pair is called "
            "alike; the line lies where both kinds err equally often.",
            panels=panels,
        ),
        Section(
            "How it was made",
            facts={
                "Learned from": f"{SEEN}: scikit-learn's handwritten digits",
                "Judged on": f"{UNSEEN}: {items} items of classes that were never seen",
                "Distance": type(model.distance).__name__,
                "Embedding": f"{model.dimension} numbers an item",
                "Seed": str(seed),
                "Raw pixels": "the 64 grey values themselves, Euclidean distance",
                "Untrained network": "the same architecture before its first step",
            },
        ),
    ]
