"""The whole audit of labelled embeddings: every finding of every kind, surest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.audit.findings import Finding, Kind
from likewise.audit.labels import label_doubts
from likewise.audit.neighbours import near_duplicates, outliers, twins_between
from likewise.distances import Distance
from likewise.evaluation.inputs import class_codes, paired_vectors

__all__ = ["Audit", "audit"]


@dataclass(frozen=True)
class Audit:
    """What was found and what was looked at.

    Parameters
    ----------
    findings : tuple of Finding
        By kind, the surest of each kind first.
    counts : mapping of str to int
        Items, classes, findings of each kind, and labels that could not be judged.
    """

    findings: tuple[Finding, ...]
    counts: Mapping[str, int]

    def of(self, kind: Kind) -> tuple[Finding, ...]:
        """The findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind is kind)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``{"counts": {...}, "findings": [...]}``."""
        return {
            "counts": dict(self.counts),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def audit(
    embeddings: Any,
    labels: Any,
    *,
    against: Any = None,
    against_labels: Any = None,
    distance: str | Distance = "euclidean",
    ratio: float = 0.1,
) -> Audit:
    """Look for likely wrong labels, near duplicates, leaks and outliers.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
        At least three items.
    labels : integers or strings (n,)
        Two classes or more.
    against : array or Tensor (m, d), optional
        Other data, such as the training split: its near duplicates here are leaks.
    against_labels : integers or strings (m,), optional
    distance : str or Distance
    ratio : float
        What counts as a near duplicate, of the median nearest distance.

    >>> found = audit([[0.0], [0.1], [0.2], [0.15], [5.0], [5.1], [5.2]], list("aaabbbb"))
    >>> [(finding.row, finding.other_label) for finding in found.of(Kind.WRONG_LABEL)]
    [(3, 'a')]
    """
    rows, codes, classes = paired_vectors(embeddings, labels)
    names = [str(name) for name in classes[codes].tolist()]
    doubts = label_doubts(rows, codes, distance=distance)
    found = [
        *_wrong_labels(doubts.score, doubts.order(), names, doubts.witness, classes[doubts.likelier]),
        *_duplicates(rows, names, distance, ratio),
    ]
    if against is not None:
        others = [""] * len(against)
        if against_labels is not None:
            other_codes, other_classes = class_codes(against_labels, "against_labels")
            others = [str(name) for name in other_classes[other_codes].tolist()]
        found += _leaks(rows, names, against, others, distance, ratio)
    found += _outliers(rows, names, distance)
    counts = {"items": len(rows), "classes": len(classes)}
    for kind in Kind:
        if kind is not Kind.LEAK or against is not None:
            counts[f"{kind}s"] = sum(finding.kind is kind for finding in found)
    counts["labels that could not be judged"] = int(np.isnan(doubts.score).sum())
    return Audit(tuple(found), counts)


def _wrong_labels(
    score: NDArray[np.float64],
    order: NDArray[np.int64],
    names: list[str],
    witness: NDArray[np.int64],
    likelier: NDArray[Any],
) -> list[Finding]:
    return [
        Finding(
            Kind.WRONG_LABEL,
            row,
            names[row],
            float(score[row]),
            int(witness[row]),
            str(likelier[row]),
            f"its own class lies {np.exp(score[row]):.2f} times as far as {likelier[row]}",
        )
        for row in order.tolist()
        if score[row] > 0 and witness[row] >= 0
    ]


def _duplicates(rows: Any, names: list[str], distance: str | Distance, ratio: float) -> list[Finding]:
    twins = near_duplicates(rows, distance=distance, ratio=ratio)
    found = []
    for left, right, apart in zip(
        twins.left.tolist(), twins.right.tolist(), twins.distances.tolist(), strict=True
    ):
        said = "" if names[left] == names[right] else ", with another label"
        told = f"lies {apart:.3g} from row {right}{said}"
        found.append(Finding(Kind.NEAR_DUPLICATE, left, names[left], -apart, right, names[right], told))
    return found


def _leaks(
    rows: Any, names: list[str], against: Any, others: list[str], distance: str | Distance, ratio: float
) -> list[Finding]:
    twins = twins_between(rows, against, distance=distance, ratio=ratio)
    return [
        Finding(
            Kind.LEAK,
            left,
            names[left],
            -apart,
            right,
            others[right],
            f"lies {apart:.3g} from row {right} of the other data",
        )
        for left, right, apart in zip(
            twins.left.tolist(), twins.right.tolist(), twins.distances.tolist(), strict=True
        )
    ]


def _outliers(rows: Any, names: list[str], distance: str | Distance) -> list[Finding]:
    far = outliers(rows, distance=distance)
    return [
        Finding(
            Kind.OUTLIER,
            row,
            names[row],
            float(min(far.score[row], 1e9)),
            reason=f"its fifth neighbour lies {min(far.score[row], 1e9):.1f} robust deviations too far",
        )
        for row in far.rows.tolist()
    ]
