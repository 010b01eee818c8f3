"""Which learner for which supervision, size and cost: what is known of each, beside what was measured."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from linear_accuracy import estimators

__all__ = ["GUIDE", "guide"]


@dataclass(frozen=True)
class Advice:
    """When to take a learner, and what it costs for n rows, d features, m tuples, k target neighbours."""

    when: str
    cost: str


GUIDE = {
    "AsymmetricTransfer": Advice("rows of two kinds with features of their own", "m^2 (d + e)"),
    "ChiSquaredLMNN": Advice("histograms: rows that are parts of a whole", "n k d a step"),
    "Covariance": Advice("no labels; correlated features", "n d^2, once"),
    "DCA": Advice("groups known to be alike, some known to differ", "n d^2, once"),
    "DistanceRegression": Advice("pairs with a real score that falls with distance", "m d^2 a step"),
    "FromeLocal": Advice("few training rows, each with features of its own that matter", "n^2 d a sweep"),
    "GMML": Advice("pairs, and an answer at once", "m d^2, once"),
    "GradientBoostedLMNN": Advice("labels that no linear map can tell apart", "n^2 d a tree"),
    "HDSL": Advice("triplets of very many sparse features", "non-zeros of active triplets a step"),
    "ITML": Advice("pairs, few of them; stay near a prior", "m d^2 a step"),
    "KISSME": Advice("very many pairs, and an answer at once", "m d^2, once"),
    "KPCATrick": Advice("a kernel, with any other learner", "n^3, then the learner's"),
    "KernelITML": Advice("pairs and a kernel", "m^2 a step; n x n"),
    "KernelLMNN": Advice("labels and a kernel", "n^3, then n^2 r a step"),
    "KwokTsang": Advice("pairs; a margin to be learned", "m d^2 a step"),
    "LDA": Advice("labels, classes like Gaussians; also to reduce to C - 1 features", "n d^2, once"),
    "LEGO": Advice("pairs that come one by one; no eigenvalues", "d^2 a pair"),
    "LFDA": Advice("labels, classes of several lumps", "n^2 d, once"),
    "LMNN": Advice("labels, for nearest neighbours: the first to try", "n^2 d a step"),
    "LSML": Advice("comparisons of distances", "m d^2 a step"),
    "LearnedMetricLSH": Advice("search in many rows under a learned metric", "candidates a query"),
    "LowRankITML": Advice("pairs of very many features", "m r^2 a step"),
    "MCML": Advice("labels, classes of one lump; convex", "n^2 d a step"),
    "MLKR": Advice("numbers to predict", "n^2 d a step"),
    "MLR": Advice("rankings, judged by AUC, MAP, MRR or NDCG", "n^2 d a cut"),
    "MMC": Advice("many pairs, and few directions that matter", "m d^2 a step"),
    "MultiMetricLMNN": Advice("labels; features that matter differ from class to class", "n^2 d C a step"),
    "NCA": Advice("labels; few output features, to see or to search", "n^2 k a step"),
    "OASIS": Advice("triplets that come one by one; W need not be symmetric; sparse rows", "d^2 a triplet"),
    "POLA": Advice("pairs that come one by one; a threshold", "d^2 a pair, d^3 an alike one"),
    "RCA": Advice("groups known to be alike, nothing else", "n d^2, once"),
    "SCML": Advice("triplets, a sparse sum of local directions", "d a triplet"),
    "SDML": Advice("pairs; a sparse matrix to read", "d^3 a step"),
    "SchultzJoachims": Advice("triplets; a weight a feature to read", "m d^2 a step"),
    "SimilarityRegression": Advice("pairs with a real score of any kind", "n d^2 a step"),
}

KINDS = ("pairs", "triplets", "quadruplets", "chunklets", "scores", "relevance")


def supervision(kind: Any) -> str:
    """What a learner's ``fit`` takes besides labels, as its signature says."""
    names = inspect.signature(kind.fit).parameters
    if "supervision" in names:
        return "as the learner it holds"
    given = [name for name in KINDS if name in names]
    if not kind._needs_labels:
        return "none"
    return ", ".join(["numbers" if kind.__name__ == "MLKR" else "labels", *given])


def guide(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line a learner: its supervision, when to take it, its cost, and the measured gain and time."""
    plain = {row["table"]: np.mean(row["scores"]) for row in rows if row.get("method") == "standardised"}
    lines = []
    for name, kind in estimators().items():
        own = [row for row in rows if row.get("method") == name and "scores" in row]
        gains = [float(np.mean(row["scores"]) - plain[row["table"]]) for row in own if row["table"] in plain]
        times = [row["seconds"] for row in own if "seconds" in row]
        advice = GUIDE[name]
        lines.append(
            {
                "learner": name,
                "learns from": supervision(kind),
                "take it for": advice.when,
                "cost": advice.cost,
                "gain over standardised": f"{np.mean(gains):+.3f}" if gains else None,
                "median fit, s": f"{np.median(times):.4f}" if times else None,
            }
        )
    return lines
