"""The audit against plain loops, on planted mistakes, and on MNIST with flipped labels."""

from __future__ import annotations

import csv
import gzip
import io
import math
from pathlib import Path

import numpy as np
import pytest

from likewise.audit import (
    Finding,
    Kind,
    audit,
    findings_csv,
    label_doubts,
    near_duplicates,
    outliers,
    twins_between,
)
from likewise.errors import InputError


def doubts_by_loops(X, y, m):
    """Score and likelier class of each item, from the definition."""
    n = len(X)
    apart = [[math.dist(a, b) for b in X] for a in X]
    nearest = sorted(min(apart[i][j] for j in range(n) if j != i) for i in range(n))
    median = (nearest[(n - 1) // 2] + nearest[n // 2]) / 2
    floor = 1e-3 * median
    out = []
    for i in range(n):
        means = {}
        for c in sorted(set(y)):
            near = sorted(apart[i][j] for j in range(n) if j != i and y[j] == c)[:m]
            if c == y[i] and not near:
                means[c] = math.nan
                continue
            # A class with fewer than m items is filled up with the farthest neighbour looked at.
            farthest = max(apart[i][j] for j in range(n) if j != i)
            if c != y[i]:
                near = near + [farthest] * (m - len(near))
            means[c] = sum(math.log(d + floor) for d in near) / len(near)
        likelier = min((c for c in means if c != y[i]), key=means.__getitem__)
        out.append((means[y[i]] - means[likelier], likelier))
    return out


@pytest.mark.parametrize("m", [1, 3])
def test_doubts_equal_plain_loops(m):
    generator = np.random.default_rng(0)
    y = np.array([0] * 9 + [1] * 7 + [2] * 2 + [3])
    X = generator.normal(size=(len(y), 3)) + y[:, None]
    found = label_doubts(X, y, neighbours=m)
    expected = doubts_by_loops(X.tolist(), y.tolist(), m)
    np.testing.assert_allclose(found.score, [score for score, _ in expected], rtol=1e-9)
    assert found.classes[found.likelier].tolist() == [likelier for _, likelier in expected]
    assert math.isnan(found.score[-1]) and found.order()[-1] == len(y) - 1
    # The witness is the nearest item of the likelier class.
    for i, row in enumerate(found.witness.tolist()):
        of_class = np.flatnonzero(y == found.classes[found.likelier[i]])
        assert row == of_class[np.argmin(np.linalg.norm(X[of_class] - X[i], axis=1))]


def test_planted_mistakes_are_the_most_doubtful():
    generator = np.random.default_rng(1)
    y = np.repeat(np.arange(6), 20)
    X = 4 * generator.normal(size=(6, 8))[y] + generator.normal(size=(120, 8))
    wrong = np.array([3, 40, 77, 111])
    given = np.array([f"c{c}" for c in y])
    given[wrong] = [f"c{(c + 2) % 6}" for c in y[wrong]]
    found = label_doubts(X, given)
    assert sorted(found.order()[:4].tolist()) == wrong.tolist()
    assert [found.classes[found.likelier[row]] for row in wrong] == [f"c{c}" for c in y[wrong]]


def test_mnist_with_flipped_labels(shared_data: Path):
    """5 % of 5,000 labels flipped, raw pixels: precision at the number flipped is 0.9 or better."""
    with gzip.open(shared_data / "mnist" / "train-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(16 + 784 * 5000), np.uint8, offset=16)
    with gzip.open(shared_data / "mnist" / "train-labels-idx1-ubyte.gz") as stream:
        y = np.frombuffer(stream.read(8 + 5000), np.uint8, offset=8).astype(np.int64)
    generator = np.random.default_rng(0)
    flipped = generator.permutation(5000)[:250]
    given = y.copy()
    given[flipped] = (y[flipped] + generator.integers(1, 10, 250)) % 10
    X = pixels.reshape(5000, 784).astype(np.float32) / 255
    order = label_doubts(X, given).order()[:250]
    assert np.isin(order, flipped).mean() >= 0.9


def test_near_duplicates_equal_a_loop_over_all_pairs():
    generator = np.random.default_rng(2)
    X = generator.normal(size=(60, 4)).astype(np.float32)
    X[10] = X[3]
    X[20] = X[5] + 1e-3
    X[21] = X[5] - 1e-3
    apart = np.linalg.norm(X[:, None].astype(float) - X[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    limit = 0.1 * np.median(apart.min(1))
    expected = sorted((float(apart[i, j]), i, j) for i in range(60) for j in range(i) if apart[i, j] <= limit)
    found = near_duplicates(X)
    assert [(a, b) for a, b in zip(found.left, found.right, strict=True)] == [(j, i) for _, i, j in expected]
    np.testing.assert_allclose(found.distances, [d for d, _, _ in expected], atol=1e-6)
    assert len(found) == 4 and found.limit == pytest.approx(limit, rel=1e-5)


def test_exact_copies_only_where_most_items_are_copies():
    found = near_duplicates([[0.0], [0.0], [0.0], [0.1]])
    assert found.limit == 0 and len(found) == 3


def test_leaks_are_named_with_the_row_of_the_other_data():
    train = np.random.default_rng(3).normal(size=(50, 3))
    test = np.concatenate([train[[7]], train[[9]] + 1e-4, np.random.default_rng(4).normal(size=(20, 3))])
    found = twins_between(test, train)
    assert dict(zip(found.left.tolist(), found.right.tolist(), strict=True)) == {0: 7, 1: 9}


def test_outliers_are_those_far_from_all():
    X = np.random.default_rng(5).normal(size=(200, 2))
    X[17], X[90] = (50, 50), (-80, 10)
    found = outliers(X)
    assert found.rows[:2].tolist() == [90, 17]
    assert len(found.rows) < 12 and outliers(np.zeros((9, 2))).rows.tolist() == []


def test_the_whole_audit_counts_what_it_lists():
    generator = np.random.default_rng(6)
    y = np.repeat(["a", "b", "c"], 15)
    X = 6 * generator.normal(size=(3, 5))[np.repeat([0, 1, 2], 15)] + generator.normal(size=(45, 5))
    X[44] = X[30]
    y[2] = "c"
    found = audit(X, y, against=X[[8, 9, 20]] + 1e-7, against_labels=["a", "a", "b"])
    wrong, twin = found.of(Kind.WRONG_LABEL)[0], found.of(Kind.NEAR_DUPLICATE)[0]
    assert (wrong.row, wrong.label, wrong.other_label) == (2, "c", "a")
    assert (twin.row, twin.other_row) == (30, 44)
    assert sorted((leak.row, leak.other_row) for leak in found.of(Kind.LEAK)) == [(8, 0), (9, 1), (20, 2)]
    for kind in Kind:
        assert found.counts[f"{kind}s"] == len(found.of(kind))
    assert found.to_dict()["findings"][0]["kind"] == "wrong label"


def test_the_table_holds_every_finding_and_no_formula():
    hostile = '=HYPERLINK("x")'
    rows = [Finding(Kind.LEAK, 1, hostile, -0.5, 2, "a,\n b", "why"), Finding(Kind.OUTLIER, 3, "é", 4.0)]
    read = list(csv.DictReader(io.StringIO(findings_csv(rows))))
    assert [row["row"] for row in read] == ["1", "3"]
    assert read[0]["label"] == "'" + hostile and read[0]["other_label"] == "a,\n b"
    assert read[0]["score"] == "-0.5" and read[1]["label"] == "é"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: label_doubts([[0.0], [1.0]], [0, 0]), "at least two classes"),
        (lambda: label_doubts([[0.0], [1.0]], [0]), "same length"),
        (lambda: label_doubts([[0.0], [np.nan]], [0, 1]), "finite"),
        (lambda: label_doubts([[0.0], [1.0]], [0.0, 1.0]), "whole numbers or strings"),
        (lambda: near_duplicates([[0.0]]), "at least two"),
        (lambda: near_duplicates([[0.0], [1.0]], ratio=1.0), r"\[0, 1\)"),
        (lambda: twins_between([[0.0]], [[0.0]]), "at least two"),
        (lambda: twins_between([[0.0]], [[0.0, 1.0], [1.0, 1.0]]), "same dimension"),
        (lambda: outliers([[0.0], [1.0]]), "at least three"),
    ],
)
def test_wrong_requests_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_an_item_amid_its_own_class_is_not_in_doubt():
    generator = np.random.default_rng(7)
    X = np.concatenate([generator.normal(size=(150, 2)), generator.normal(size=(5, 2)) + 90])
    found = label_doubts(X, [0] * 150 + [1] * 5)
    alone = found.witness == -1
    assert alone[:150].all() and not alone[150:].any()
    assert (found.score[:150] <= 0).all() and (found.likelier[:150] == 0).all()
