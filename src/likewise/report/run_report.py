"""The report on a model and labelled things: every figure, picture and caution on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise import __version__
from likewise.audit import near_duplicates
from likewise.data import Records
from likewise.errors import DataError, InputError
from likewise.evaluation import (
    DataRead,
    Figure,
    Health,
    Report,
    calibration,
    embedding_health,
    evaluate_embeddings,
    model_controls,
    operating_points,
    reads_sentence,
    reliability,
    verification_pairs,
)
from likewise.model import Model
from likewise.report.charts import Curve, confusion_chart, det_chart, reliability_chart, roc_chart
from likewise.report.figures import PairDistances
from likewise.report.galleries import GALLERY_STYLE, hardest_pairs, query_gallery
from likewise.report.map import MAP_SCRIPT, MAP_STYLE, embedding_map
from likewise.report.page import HEADLINES, Column, Markup, Section, report_page, table
from likewise.report.subject import Subject
from likewise.report.thumbnails import Thumbnails

__all__ = ["run_report"]

_TITLES = {"raw": "raw features", "whitened": "PCA-whitened features", "untrained": "untrained weights"}
_MOST_SHOWN = 30  # classes in the picture of confusion
_SAMPLE = 5000


@dataclass(frozen=True, eq=False)
class _Judged:
    """Something that was judged: its name, its reports, its embeddings."""

    title: str
    reports: Mapping[str, Report]
    embeddings: NDArray[np.float32]
    distance: Any


def run_report(
    model: Model, records: Records, *, reads: Sequence[DataRead] = (), seed: int = 0, title: str = ""
) -> str:
    """Judge a model on labelled things and write the page.

    Parameters
    ----------
    model : Model
    records : Records
        Labelled; at least two classes, one of them with two items, and three items.
    reads : sequence of DataRead
        Earlier looks of the run at data, this one among them; told on the page.
    seed : int
        Of sampled pairs, episodes and queries.
    title : str
        The heading; "What RUN makes of DATA" when not given.

    Returns
    -------
    str
        A whole HTML document that loads nothing.

    Raises
    ------
    DataError
        Too few items or classes, or no labels.
    """
    records = model.adapted(records)
    if len(records) < 3 or len(records.classes) < 2:
        raise DataError(
            f"{records.name}: a report needs three items and two classes; found {len(records)} and "
            f"{len(records.classes)}"
        )
    subject = Subject(
        embeddings=model.embed(records),
        codes=records.codes,
        names=tuple(str(name) for name in records.classes.tolist()),
        distance=model.distance,
        thumbnails=Thumbnails.of(records),
        calibration=model.calibration,
        seed=seed,
    )
    controls = model_controls(model, records, seed=seed)
    judged = [_judge("this model", subject.embeddings, model.distance, records, seed)]
    judged += [
        _judge(_TITLES[name], control.embeddings, control.distance, records, seed)
        for name, control in controls.made.items()
    ]
    health = _healthy(subject, records.labels)
    alarms = () if isinstance(health, str) else health.alarms
    sections = [
        _caution(model, records, judged, reads, alarms, controls.notes),
        _neighbours(subject),
        _distances(subject, judged[1:2]),
        _operating(subject, judged[1:2]),
        *_calibrated(subject, model),
        Section(
            "Map",
            "Each item where its embedding lies, flattened to a plane.",
            pieces=[embedding_map(subject)],
        ),
        _confusion(subject),
        Section(
            "Hardest errors",
            "Pairs that the distance gets most wrong. Look here first: some are wrong labels.",
            pieces=hardest_pairs(subject),
        ),
        _health(health),
        _data_card(model, records, subject),
        _made(model, seed),
    ]
    columns = [
        Column(each.title, {task: report.to_dict() for task, report in each.reports.items()})
        for each in judged
    ]
    return report_page(
        title=title or f"What the model makes of {records.name}",
        lead=_lead(judged),
        columns=columns,
        sections=sections,
        footer=f"Written by likewise {__version__}. The page is one file and loads nothing.",
        script=MAP_SCRIPT,
        style=GALLERY_STYLE + MAP_STYLE,
    )


def _judge(
    title: str, embeddings: NDArray[np.float32], distance: Any, records: Records, seed: int
) -> _Judged:
    reports = evaluate_embeddings(embeddings, records.labels, distance=distance, seed=seed)
    return _Judged(title, reports, embeddings, distance)


def _lead(judged: Sequence[_Judged]) -> str:
    own = judged[0].reports["retrieval"]["map@r"]
    said = f"MAP@R {own.value:.3f}, between {own.low:.3f} and {own.high:.3f} with 95 % confidence"
    if len(judged) == 1:
        return f"{said}."
    best = max(judged[1:], key=lambda each: each.reports["retrieval"]["map@r"].value)
    other = best.reports["retrieval"]["map@r"]
    if own.low > other.high:
        verdict = "clearly more than"
    elif own.value > other.value:
        verdict = "more than, though the intervals meet,"
    else:
        verdict = "no more than"
    return f"{said}: {verdict} the {other.value:.3f} of the best control, {best.title}."


def _caution(
    model: Model,
    records: Records,
    judged: Sequence[_Judged],
    reads: Sequence[DataRead],
    alarms: Sequence[str],
    notes: Sequence[str],
) -> Section:
    own = judged[0]
    lines = [reads_sentence(reads, records.fingerprint)]
    lines += [f"The embedding is {alarm}." for alarm in alarms]
    seen = sorted(set(map(str, model.classes)) & set(map(str, records.classes.tolist())))
    if seen:
        lines.append(
            f"{len(seen)} of the {len(records.classes)} classes bear names that training saw "
            f"({', '.join(seen[:3])}{', ...' if len(seen) > 3 else ''}): of new classes the figures say less."
        )
    if len(records.classes) < 20:
        lines.append(f"With {len(records.classes)} classes the intervals are wide, and rightly so.")
    left = own.reports["retrieval"].counts.get("queries without a match", 0)
    if left:
        lines.append(f"{left:,} items are the only ones of their class and ask nothing.")
    for key, told in HEADLINES.items():
        ahead = [each.title for each in judged[1:] if _better(each, own, key)]
        if ahead:
            lines.append(f"By {told.partition(' (')[0]}, {_listed(ahead)} do better than the model.")
    lines += list(notes)
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return Section("Before you read", pieces=[Markup(f"<ul>{items}</ul>")])


def _better(control: _Judged, own: _Judged, key: tuple[str, str]) -> bool:
    task, name = key
    if name not in control.reports.get(task, {}) or name not in own.reports.get(task, {}):
        return False
    first, second = control.reports[task][name].value, own.reports[task][name].value
    return first < second if name == "eer" else first > second


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _neighbours(subject: Subject) -> Section:
    scores = subject.scores
    generator = np.random.default_rng(subject.seed)
    drawn = generator.permutation(len(scores.queries))[:4]
    quality = scores.scores["map@r"]
    order = np.argsort(quality, kind="stable")
    # The worst of each class, then the worst of those: four of one class would say one thing four times.
    firsts = np.sort(np.unique(scores.codes[order], return_index=True)[1])[:4]
    worst = order[firsts]
    return Section(
        "Neighbours",
        "Each query with its nearest items and their distances; a tick is an item of its class. Below stand "
        "items of its class that it should have found, and the place where they come.",
        pieces=[
            Markup("<h3>Drawn at random</h3>"),
            query_gallery(subject, scores.queries[np.sort(drawn)].tolist()),
            Markup("<h3>The worst, one of a class</h3>"),
            query_gallery(subject, scores.queries[worst].tolist()),
        ],
    )


def _distances(subject: Subject, beside: Sequence[_Judged]) -> Section:
    panels = [PairDistances.of("This model", subject.pairs)]
    for each in beside:
        pairs = verification_pairs(
            each.embeddings, subject.codes, n_pairs=300_000, seed=subject.seed, distance=each.distance
        )
        panels.append(PairDistances.of(each.title.capitalize(), pairs))
    return Section(
        "Distances of pairs",
        "Alike and unlike pairs, each as shares of its kind. Left of the dashed line a pair is called alike; "
        "there both kinds err equally often.",
        panels=panels,
    )


def _operating(subject: Subject, beside: Sequence[_Judged]) -> Section:
    curves = [Curve("this model", operating_points(subject.pairs.distances, subject.pairs.same))]
    for each in beside:
        pairs = verification_pairs(
            each.embeddings, subject.codes, n_pairs=300_000, seed=subject.seed, distance=each.distance
        )
        curves.append(Curve(each.title, operating_points(pairs.distances, pairs.same)))
    charts = "".join(chart.html for chart in (roc_chart(curves), det_chart(curves)))
    return Section(
        "Errors at every threshold",
        "A threshold that accepts more of the alike pairs accepts more of the unlike ones too. The nearer a "
        "curve of the left picture to the top, and of the right one to the lower left corner, the better.",
        pieces=[Markup(f'<div class="panels">{charts}</div>')],
    )


def _calibrated(subject: Subject, model: Model) -> list[Section]:
    if model.calibration is None:
        return []
    pairs = subject.pairs
    alike, unlike = np.flatnonzero(pairs.same), np.flatnonzero(~pairs.same)
    # The probability is told for equal odds, so it is judged on as many pairs of either kind.
    count = min(len(alike), len(unlike))
    generator = np.random.default_rng(subject.seed)
    rows = np.concatenate([generator.permutation(kind)[:count] for kind in (alike, unlike)])
    told, same = model.calibration.probability(pairs.distances[rows]), pairs.same[rows]
    bins = reliability(told, same)
    sides = {"left_classes": pairs.left_classes[rows], "right_classes": pairs.right_classes[rows]}
    error = calibration(told, same, **sides)["ece"]
    points = f"{100 * error.value:.1f} points, {100 * error.low:.1f} to {100 * error.high:.1f},"
    return [
        Section(
            "Reliability",
            f"When the model says that a pair is alike with some probability, is it so as often? On average "
            f"it is {points} off (expected calibration error with its 95 % interval over classes, on as many "
            "alike as unlike pairs). The grey bars show how often each probability was told.",
            pieces=[Markup(f'<div class="panels">{reliability_chart(bins).html}</div>')],
        )
    ]


def _confusion(subject: Subject) -> Section:
    nearest = subject.codes[subject.neighbours.indices[:, 0].numpy()]
    n_classes = len(subject.names)
    counts = np.bincount(subject.codes * n_classes + nearest, minlength=n_classes * n_classes)
    square = counts.reshape(n_classes, n_classes)
    sizes = square.sum(1)
    shares = square / np.maximum(sizes, 1)[:, None]
    wrong = square.copy()
    np.fill_diagonal(wrong, 0)
    most = np.argsort(-wrong, axis=None, kind="stable")[:12]
    rows = []
    for place in most.tolist():
        i, j = divmod(place, n_classes)
        if wrong[i, j]:
            shown = f"{wrong[i, j]:,} of {sizes[i]:,} ({100 * shares[i, j]:.1f} %)"
            rows.append([subject.names[i], subject.names[j], shown])
    pieces = []
    if n_classes <= _MOST_SHOWN:
        pieces.append(Markup(f'<div class="panels">{confusion_chart(shares, subject.names).html}</div>'))
    if rows:
        pieces.append(table(["class", "its nearest neighbour is", "how often"], rows))
    right = int(np.trace(square))
    return Section(
        "Confusion between classes",
        f"The nearest other item is of the same class for {right:,} of {len(subject):,} items. "
        + (
            "Classes that are taken for others most often:" if rows else "No class is ever taken for another."
        ),
        pieces=pieces,
    )


def _healthy(subject: Subject, labels: NDArray[Any]) -> Health | str:
    """The health of the embeddings, of some thousand of them, or why it can't be told."""
    rows = np.random.default_rng(subject.seed).permutation(len(subject))[:_SAMPLE]
    try:
        return embedding_health(subject.embeddings[rows], labels[rows])
    except InputError as error:
        return str(error)


def _health(health: Health | str) -> Section:
    if isinstance(health, str):
        return Section("Embedding health", f"Can't be told: {health}.")
    told = {name: _with_interval(figure) for name, figure in health.report.items()}
    facts = {
        "alignment": f"{told['alignment']}: mean squared distance within classes at unit length; smaller "
        "is tighter",
        "uniformity": f"{told['uniformity']}: 0 is all in one point, -4 is spread as evenly as can be",
        "directions in use": f"{told['effective_rank']} of {health.dimension} (effective rank)",
        "hubness": f"{told['hubness']}: above 1 a few items are everybody's neighbours",
        "spread": f"{told['spread']} of the mean norm",
    }
    alarms = "".join(f'<p class="alarm">{escape(alarm)}</p>' for alarm in health.alarms)
    said = "An alarm was raised." if health.alarms else "No alarm: the embedding hasn't collapsed."
    said += " In brackets: 95 % intervals over classes."
    return Section("Embedding health", said, facts=facts, pieces=[Markup(alarms)] if alarms else [])


def _with_interval(figure: Figure) -> str:
    return f"{figure.value:.3g} [{figure.low:.3g}, {figure.high:.3g}]"


def _data_card(model: Model, records: Records, subject: Subject) -> Section:
    sizes = np.bincount(records.codes)
    rows = np.random.default_rng(subject.seed).permutation(len(subject))[:_SAMPLE]
    twins = near_duplicates(subject.embeddings[np.sort(rows)], distance=subject.distance)
    of = "" if len(rows) == len(subject) else f" among {len(rows):,} drawn"
    facts = {
        "name": records.name,
        "items": f"{len(records):,}",
        "classes": f"{len(records.classes):,}, of {_of_sizes(sizes)}",
        "item": " x ".join(map(str, records.item_shape)) or "text",
        "near duplicates": f"{len(twins):,} pairs{of}, by the model's distance (likewise audit shows them)",
        "fingerprint": records.fingerprint[:16],
        "classes known from training": f"{len(set(map(str, model.classes)) & set(subject.names)):,} by name",
    }
    return Section("Data card", facts=facts)


def _of_sizes(sizes: NDArray[np.int64]) -> str:
    if sizes.min() == sizes.max():
        return f"{sizes.min():,} items each"
    return f"{sizes.min():,} to {sizes.max():,} items (half of them of {int(np.median(sizes)):,} or fewer)"


def _made(model: Model, seed: int) -> Section:
    facts = {
        "distance": type(model.distance).__name__,
        "embedding": f"{model.dimension} numbers an item",
        "model": model.fingerprint[:16],
        "seed": str(seed),
    }
    facts |= {f"training: {name}": str(value) for name, value in list(model.training.items())[:20]}
    text = (
        "The unit of every interval is the class: it says how the figures would move with other classes of "
        "the same kind. PCA-whitened features are whitened on these very items."
    )
    return Section("How it was made", text, facts=facts)
