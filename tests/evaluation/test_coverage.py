"""How often intervals hold the truth over new classes: a small, seeded piece of ``benchmarks/coverage.py``.

Three hundred draws of ten classes. A true 93 to 97 % shows as 89 to 99 % (2.5 binomial deviations); figures
near 1 may be held more often, as there an interval over ten classes is as wide as 10 of 10 allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest

from likewise import evaluation

ROUNDS = 300
LEAST, MOST = 0.93 - 2.5 * np.sqrt(0.93 * 0.07 / ROUNDS), 0.97 + 2.5 * np.sqrt(0.97 * 0.03 / ROUNDS)
CROWDED = {"dimension": 3, "scale": 1.07, "most_held": MOST}
EASY = {"dimension": 8, "scale": 0.84, "most_held": 1.0}


def drawn(generator: np.random.Generator, dimension: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(10), generator.integers(4, 9, 10))
    centres = scale * generator.normal(size=(10, dimension))
    return centres[labels] + 0.35 * generator.normal(size=(len(labels), dimension)), labels


def figures(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, evaluation.Figure]:
    found = dict(evaluation.retrieval(embeddings, labels, figures=["recall@1", "map@r"]))
    pairs = evaluation.verification_pairs(embeddings, labels)
    sides = {"left_classes": pairs.left_classes, "right_classes": pairs.right_classes}
    found["eer"] = evaluation.verification(pairs.distances, pairs.same, fars=(), **sides)["eer"]
    found["few-shot"] = evaluation.few_shot(embeddings, labels, ways=5, episodes=60)["accuracy"]
    return found


@cache
def held(dimension: int, scale: float) -> Mapping[str, float]:
    generator = np.random.default_rng(dimension)
    rounds = [figures(*drawn(generator, dimension, scale)) for _ in range(ROUNDS)]
    shares = {}
    for name in rounds[0]:
        truth = np.mean([found[name].value for found in rounds])
        shares[name] = float(np.mean([found[name].low <= truth <= found[name].high for found in rounds]))
    return shares


@pytest.mark.parametrize("figure", ["recall@1", "map@r", "eer", "few-shot"])
@pytest.mark.parametrize("world", [CROWDED, EASY], ids=["crowded", "easy"])
def test_interval_holds_the_figure_over_new_classes(world, figure):
    share = held(world["dimension"], world["scale"])[figure]
    assert LEAST <= share <= world["most_held"]
