"""CMC with camera rules, against a loop over every query."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.errors import DataError
from likewise.evaluation import reidentification, retrieval


def by_loops(queries, who, where, gallery, other_who, other_where, ks):
    """Figures as means over the queries that another camera saw, ties by place."""
    scores = []
    for x, person, camera in zip(queries, who, where, strict=True):
        order = sorted(range(len(gallery)), key=lambda j, x=x: (np.linalg.norm(gallery[j] - x), j))
        left = [j for j in order if not (other_who[j] == person and other_where[j] == camera)]
        hits = [place for place, j in enumerate(left, 1) if other_who[j] == person]
        if hits:
            score = {f"cmc@{k}": float(hits[0] <= k) for k in ks}
            score["map"] = sum((i + 1) / place for i, place in enumerate(hits)) / len(hits)
            scores.append(score)
    return {name: np.mean([score[name] for score in scores]) for name in scores[0]} if scores else None


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 25), st.integers(0, 10**6))
def test_equals_loops(n, m, seed):
    generator = np.random.default_rng(seed)
    queries, gallery = generator.integers(0, 4, (n, 2)), generator.integers(0, 4, (m, 2))
    who, other_who = generator.integers(0, 4, n), generator.integers(0, 4, m)
    where, other_where = generator.integers(0, 3, n), generator.integers(0, 3, m)
    expected = by_loops(queries, who, where, gallery, other_who, other_where, (1, 3))
    given_ = {"gallery": gallery, "gallery_labels": other_who, "gallery_cameras": other_where, "ks": (1, 3)}
    if expected is None:
        with pytest.raises(DataError, match="another camera"):
            reidentification(queries, who, where, **given_)
        return
    report = reidentification(queries, who, where, **given_)
    assert {name: figure.value for name, figure in report.items()} == pytest.approx(expected)


def test_with_other_cameras_only_it_is_plain_retrieval():
    """Of five classes all four rivals are tried, so that the intervals agree too."""
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(60, 3)), np.arange(60) % 5
    queries, gallery = {"embeddings": X[:20], "labels": y[:20]}, {"gallery": X[20:], "gallery_labels": y[20:]}
    apart = reidentification(**queries, **gallery, cameras=["a"] * 20, gallery_cameras=["b"] * 40, ks=(1, 5))
    plain = retrieval(**queries, **gallery, figures=["recall", "map"], ks=(1, 5))
    for name, other in (("cmc@1", "recall@1"), ("cmc@5", "recall@5"), ("map", "map")):
        assert apart[name].value == pytest.approx(plain[other].value)
        assert (apart[name].low, apart[name].high) == pytest.approx((plain[other].low, plain[other].high))
