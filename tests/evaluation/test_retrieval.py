"""Retrieval figures against plain loops, and the conventions on which libraries differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from likewise import distances
from likewise.errors import DataError, InputError
from likewise.evaluation import retrieval, retrieval_scores
from likewise.evaluation.spread import left_out_means
from reference import evaluation as reference

NAMES = ["recall@1", "recall@2", "recall@4", "recall@8", "precision@1", "precision@2", "precision@4",
         "precision@8", "map@r", "r_precision"]  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 25), st.integers(1, 5), st.integers(0, 10**6), st.booleans())
def test_equals_loops_also_with_ties(n, n_classes, seed, together):
    generator = np.random.default_rng(seed)
    embeddings = generator.integers(0, 3, (n, 2)).astype(float)
    labels = generator.integers(0, n_classes, n)
    gallery, gallery_labels = None, None
    if not together:
        gallery = generator.integers(0, 3, (9, 2)).astype(float)
        gallery_labels = generator.integers(0, n_classes, 9)
    scored = reference.query_scores(embeddings, labels, gallery, gallery_labels)
    if not scored:
        with pytest.raises(DataError, match="match"):
            retrieval(embeddings, labels, gallery=gallery, gallery_labels=gallery_labels)
        return
    report = retrieval(embeddings, labels, gallery=gallery, gallery_labels=gallery_labels)
    assert sorted(report) == sorted(NAMES)
    for name in NAMES:
        assert report[name].value == pytest.approx(reference.mean_score(scored, name), abs=1e-12)
    assert report.counts["queries"] == len(scored)
    assert report.counts["queries without a match"] == n - len(scored)


FULL = ["map", "mrr", "ndcg", "bulls_eye", "recall@3", "map@r"]


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 25), st.integers(1, 5), st.integers(0, 10**6), st.booleans())
def test_full_rank_figures_equal_loops(n, n_classes, seed, together):
    generator = np.random.default_rng(seed)
    embeddings, labels = generator.integers(0, 3, (n, 2)).astype(float), generator.integers(0, n_classes, n)
    more = {}
    if not together:
        more = {"gallery": generator.integers(0, 3, (9, 2)).astype(float)}
        more["gallery_labels"] = generator.integers(0, n_classes, 9)
    scored = reference.query_scores(embeddings, labels, *more.values(), ks=(3,))
    if not scored:
        return
    report = retrieval(embeddings, labels, figures=FULL, **more)
    for name in FULL:
        assert report[name].value == pytest.approx(reference.mean_score(scored, name), abs=1e-12)


@pytest.mark.parametrize("together", [True, False])
def test_ranks_by_counting_equal_loops(together):
    """A gallery beyond one tile, in no order, so that nearly every rank is counted; with duplicates."""
    generator = np.random.default_rng(8)
    gallery = generator.normal(size=(700, 3)).astype(np.float32)
    gallery[100:160] = gallery[600:660]
    labels = generator.integers(0, 180, 700)
    queries, asked = (gallery, labels) if together else (gallery[:90] + np.float32(0.5), labels[:90])
    more = {} if together else {"gallery": gallery, "gallery_labels": labels}
    report = retrieval(queries, asked, figures=["map", "mrr", "ndcg"], **more)
    columns = np.asarray(gallery, dtype=np.float64)
    sums, n = {"map": 0.0, "mrr": 0.0, "ndcg": 0.0}, 0
    for i, query in enumerate(np.asarray(queries, dtype=np.float64)):
        away = np.sqrt(((columns - query) ** 2).sum(1)).astype(np.float32)
        order = np.lexsort((np.arange(700), away))
        order = order[order != i] if together else order
        places = np.flatnonzero(labels[order] == asked[i]) + 1
        if len(places):
            n += 1
            steps = np.arange(1, len(places) + 1)
            sums["map"] += (steps / places).mean()
            sums["mrr"] += 1 / places[0]
            sums["ndcg"] += (1 / np.log2(1 + places)).sum() / (1 / np.log2(1 + steps)).sum()
    for name, total in sums.items():
        assert report[name].value == pytest.approx(total / n, rel=1e-9)
    assert report.counts["queries"] == n


def test_slices_divide_the_queries_and_keep_the_gallery():
    scores = retrieval_scores([[0.0], [0.1], [5.0], [0.2]], ["a", "a", "b", "b"], figures=["recall@1"])
    slices = scores.slices(["x", "y", "x", "y"])
    assert {name: report["recall@1"].value for name, report in slices.items()} == {"x": 1, "y": 0.5}
    assert scores.report()["recall@1"].value == 0.75
    assert slices["x"].counts == {"queries": 2}
    with pytest.raises(DataError, match="found 3 and 4"):
        scores.slices(["x", "y", "x"])


def test_equals_other_libraries_where_definitions_agree():
    """pytorch-metric-learning's MAP@R, R-precision, precision@1 and MRR; scikit-learn's AP and NDCG."""
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN
    from sklearn.metrics import average_precision_score, ndcg_score

    generator = np.random.default_rng(9)
    embeddings, labels = generator.normal(size=(120, 5)), generator.integers(0, 9, 120)
    ours = retrieval(embeddings, labels, figures=["map@r", "r_precision", "recall@1", "mrr", "map", "ndcg"])
    calculator = AccuracyCalculator(
        include=(
            "mean_average_precision",
            "mean_average_precision_at_r",
            "r_precision",
            "precision_at_1",
            "mean_reciprocal_rank",
        ),
        k=119,
        knn_func=CustomKNN(LpDistance(normalize_embeddings=False)),
    )
    theirs = calculator.get_accuracy(torch.tensor(embeddings), torch.tensor(labels))
    assert ours["map@r"].value == pytest.approx(theirs["mean_average_precision_at_r"])
    assert ours["r_precision"].value == pytest.approx(theirs["r_precision"])
    assert ours["recall@1"].value == pytest.approx(theirs["precision_at_1"])
    assert ours["mrr"].value == pytest.approx(theirs["mean_reciprocal_rank"])
    assert ours["map"].value == pytest.approx(theirs["mean_average_precision"])
    precisions, gains = [], []
    for i in range(120):
        others = np.arange(120) != i
        near = -np.linalg.norm(embeddings[others] - embeddings[i], axis=1)
        relevant = labels[others] == labels[i]
        precisions.append(average_precision_score(relevant, near))
        gains.append(ndcg_score(relevant[None].astype(int), near[None]))
    assert ours["map"].value == pytest.approx(np.mean(precisions))
    assert ours["ndcg"].value == pytest.approx(np.mean(gains))


def test_by_eye():
    """On a line: a at 0 and 1, b at 2 and 9. 0 finds 1 (a); 1 finds 0 before 2, as ties go by place;
    2 finds 1 (a), 0 (a), 9 (b); 9 finds 2 (b)."""
    report = retrieval([[0.0], [1.0], [2.0], [9.0]], ["a", "a", "b", "b"], ks=(1, 2, 3))
    assert report["recall@1"].value == 3 / 4
    assert report["recall@2"].value == 3 / 4
    assert report["recall@3"].value == 1
    assert report["precision@3"].value == 1 / 3
    assert report["map@r"].value == 3 / 4


def test_map_at_r_stops_at_r():
    """Two matches, at places 1 and 3: only the first is within R = 2, so MAP@R = (1/1) / 2."""
    report = retrieval([[0.0]], [7], gallery=[[1.0], [2.0], [3.0]], gallery_labels=[7, 8, 7])
    assert report["map@r"].value == 1 / 2
    assert report["r_precision"].value == 1 / 2


def test_labels_beyond_2_to_the_24_are_not_confused():
    """In float32 both ids are 2^24, and the wrong neighbour would score 1."""
    report = retrieval([[0.0], [0.1], [9.0], [5.0]], [2**24, 2**24 + 1, 2**24, 2**24 + 1])
    assert report["recall@1"].value == 0
    assert report.counts["classes"] == 2


@pytest.mark.parametrize("labels", [[2**63 - 1, 2**63 - 2] * 2, [2**64, -1] * 2, ["1", "01"] * 2])
def test_labels_are_compared_exactly(labels):
    report = retrieval([[0.0], [0.1], [9.0], [5.0]], labels)
    assert report["recall@1"].value == 0
    assert report.counts["classes"] == 2


def test_kinds_of_arrays_agree():
    generator = np.random.default_rng(0)
    embeddings, labels = generator.normal(size=(30, 4)).astype(np.float32), generator.integers(0, 4, 30)
    expected = retrieval(embeddings, labels).to_dict()
    assert retrieval(torch.tensor(embeddings, requires_grad=True), torch.tensor(labels)).to_dict() == expected
    assert retrieval(embeddings.tolist(), labels.tolist()).to_dict() == expected
    assert retrieval(embeddings, [f"class {label}" for label in labels]).to_dict() == expected
    assert retrieval(embeddings, labels.astype(np.uint64)).to_dict() == expected


def test_a_perfect_embedding_scores_one_and_rotation_changes_nothing():
    generator = np.random.default_rng(1)
    labels = np.repeat(np.arange(6), 5)
    perfect = np.eye(6)[labels] * 10 + generator.normal(size=(30, 6)) * 0.01
    report = retrieval(perfect, labels)
    assert all(report[f"recall@{k}"].value == 1 for k in (1, 2, 4, 8)) and report["map@r"].value == 1
    noisy = generator.normal(size=(30, 6))
    rotation = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    turned, still = retrieval(noisy @ rotation, labels), retrieval(noisy, labels)
    assert turned.to_dict() == still.to_dict()


def test_interval_is_over_classes_and_rivals():
    """Ten classes of two queries each; 0 to 6 are found, 7 finds 8's item, 8 finds 7's and 9 finds 8's.

    Without 8 both 7 and 9 would be found, without 7 only 8. Items are no evidence beyond classes: the
    variance is that of the figure without each class, its queries and its gallery item, less half of what
    twos of classes share: 7 and 8 what each does to the other, 8 and 9 what 8 does to 9.
    """
    gallery = np.array([*np.arange(7.0), 7.0, 7.9, 9.0])[:, None]
    queries = np.repeat([*np.arange(7.0), 7.8, 7.1, 8.2], 2)[:, None]
    gallery_labels = np.arange(10)
    report = retrieval(queries, np.repeat(np.arange(10), 2), gallery=gallery, gallery_labels=gallery_labels)
    figure = report["recall@1"]
    assert figure.value == 0.7
    assert (figure.unit, figure.n_units, figure.note) == ("class", 10, "few classes")

    def found(*without):
        stays = [c for c in range(10) if c not in without]
        return sum(min(stays, key=lambda c, q=q: abs(gallery[c, 0] - queries[2 * q, 0])) == q for q in stays)

    left_out = [found(c) / 9 for c in range(10)]
    shared = sum(
        ((found() - found(a) - found(b) + found(a, b)) / 10) ** 2 for a in range(10) for b in range(a)
    )
    assert shared == pytest.approx(0.2**2 + 0.1**2)
    variance = reference.jackknife_error(left_out) ** 2
    variance = max(variance - shared / 2, variance / 2)
    quantile = t.ppf(0.975, reference.freedom(left_out))
    expected = reference.wilson_interval(0.7, min(0.7 * 0.3 / variance, 20), quantile)
    assert (figure.low, figure.high) == pytest.approx(expected)


@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_scores_without_a_class_are_those_of_the_data_without_it(itself, full):
    """Six classes, so that all rivals are tried; each left out in truth, and every figure taken again."""
    generator = np.random.default_rng(9)
    labels, embeddings = generator.integers(0, 6, 40), generator.integers(0, 5, (40, 3)).astype(float)
    others = {"gallery": generator.integers(0, 5, (30, 3)).astype(float), "gallery_labels": np.arange(30) % 6}
    figures = ["map", "mrr", "ndcg", "recall"] if full else ["map@r", "r_precision", "recall", "precision"]
    scores = retrieval_scores(embeddings, labels, figures=figures, ks=(1, 3), **({} if itself else others))
    names = list(scores.scores)
    for name in names:
        found = left_out_means(scores.scores[name], scores.codes, scores.rivals, scores.changes[name])
        for c in range(6):
            rest, left = labels != c, others["gallery_labels"] != c
            beside = () if itself else (others["gallery"][left], others["gallery_labels"][left])
            scored = reference.query_scores(embeddings[rest], labels[rest], *beside, ks=(1, 3))
            assert found[c] == pytest.approx(reference.mean_score(scored, name), abs=1e-6), (name, c)


def test_figures_by_name_and_k_of_their_own():
    report = retrieval([[0.0], [1.0], [2.0]], [1, 1, 1], figures=["recall@10", "precision", "map@r"], ks=(2,))
    assert list(report) == ["recall@10", "precision@2", "map@r"]
    assert report["recall@10"].value == 1
    # The gallery holds two others: precision@k divides by k all the same.
    assert retrieval([[0.0], [1.0]], [1, 1], ks=(8,))["precision@8"].value == 1 / 8


def test_zero_vectors_under_cosine_are_counted():
    report = retrieval([[1.0, 0.0], [0.0, 0.0], [1.0, 0.1]], [1, 1, 1], distance="cosine")
    assert report.counts["zero vectors"] == 1
    learned = retrieval([[1.0, 0.0], [0.0, 1.0]], [1, 1], distance=distances.Mahalanobis(torch.eye(2)))
    assert learned["recall@1"].value == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": [[0.0], [np.nan], [1.0]]}, "found NaN or infinity in 1 of 3 rows"),
        ({"embeddings": [[0.0], [np.inf], [1.0]]}, "row 1"),
        ({"labels": [1, 1]}, "found 2 and 3"),
        ({"labels": [1.0, 1.0, 2.0]}, "whole numbers or strings"),
        ({"labels": torch.tensor([1.0, 1.0, 2.0])}, "float32"),
        ({"labels": [1, 1.0, 1]}, "found float, int"),
        ({"labels": [1, "1", 1]}, "found int, str"),
        ({"labels": [1, None, 1]}, "NoneType"),
        ({"labels": [[1], [1], [1]]}, "labels must"),
        ({"labels": []}, "labels must"),
        ({"labels": [1, 2, 3]}, "no.*match|match.*none"),
        ({"embeddings": [[0.0]], "labels": [1]}, "two items"),
        ({"gallery": [[0.0]]}, "together"),
        ({"gallery": [[0.0]], "gallery_labels": ["a"]}, "one kind"),
        ({"gallery": [[0.0, 1.0]], "gallery_labels": [1]}, "same dimension"),
        ({"gallery": [[0.0]], "gallery_labels": [1, 2]}, "found 2 and 1"),
        ({"ks": (0,)}, "ks must be"),
        ({"figures": ["accuracy"]}, "found 'accuracy'"),
        ({"figures": ["recall@0"]}, "recall@0"),
        ({"figures": ["map@5"]}, "found 'map@5'"),
        ({"figures": []}, "at least one"),
        ({"distance": 3}, "distance"),
    ],
)
def test_wrong_requests_are_refused(change, message):
    arguments = {"embeddings": [[0.0], [1.0], [2.0]], "labels": [1, 1, 2]} | change
    embeddings, labels = arguments.pop("embeddings"), arguments.pop("labels")
    with pytest.raises(InputError, match=message) as caught:
        retrieval(embeddings, labels, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("figures", [["map@r", "recall"], ["map", "mrr", "ndcg"]])
def test_ids_keep_a_query_from_finding_itself_in_a_gallery(figures):
    generator = np.random.default_rng(11)
    embeddings, labels = generator.integers(0, 4, (90, 2)).astype(float), generator.integers(0, 5, 90)
    names = [f"item {i}" for i in generator.permutation(90)]
    together = retrieval(embeddings, labels, figures=figures)
    order = np.arange(90)
    apart = retrieval(
        embeddings[[3, 7, 50]],
        labels[[3, 7, 50]],
        gallery=embeddings[order],
        gallery_labels=labels[order],
        ids=[names[i] for i in (3, 7, 50)],
        gallery_ids=[names[i] for i in order],
        figures=figures,
    )
    scores = retrieval_scores(embeddings, labels, figures=figures)
    chosen = np.isin(scores.queries, [3, 7, 50])
    for name in together:
        assert apart[name].value == pytest.approx(scores.scores[name][chosen].mean())
    assert apart.counts["queries in the gallery"] == 3


def test_an_id_twice_is_refused():
    gallery = {"gallery": np.eye(3), "gallery_labels": [0, 0, 1]}
    with pytest.raises(DataError, match="gallery_ids must all be different; found 'b' 2 times"):
        retrieval(np.eye(3), [0, 1, 1], ids=["a", "b", "c"], gallery_ids=["a", "b", "b"], **gallery)
    with pytest.raises(InputError, match="given together, and with a gallery"):
        retrieval(np.eye(3), [0, 1, 1], ids=[1, 2, 3])


@pytest.mark.parametrize("figures", [None, ["map", "mrr", "ndcg"]], ids=["top K and R", "whole ranking"])
def test_the_walk_over_half_of_the_table_gives_what_whole_rows_give(figures, monkeypatch):
    """Scores, rivals and changes of every query, with ties, copies and a class of one."""
    from likewise.search import symmetric

    generator = np.random.default_rng(12)
    embeddings = generator.normal(size=(300, 3)).astype(np.float32)
    embeddings[40:60] = embeddings[140:160]
    labels = generator.integers(0, 70, 300)
    labels[7] = 1000
    found = []
    for least in (2, 10**9):
        monkeypatch.setattr(symmetric, "_LEAST", least)
        monkeypatch.setattr(symmetric, "_ROWS", 64)
        monkeypatch.setattr(symmetric, "_COLUMNS", 96)
        found.append(retrieval_scores(embeddings, labels, figures=figures))
    walked, whole = found
    assert walked.scores.keys() == whole.scores.keys()
    np.testing.assert_array_equal(walked.rivals, whole.rivals)
    for name, scores in whole.scores.items():
        np.testing.assert_array_equal(walked.scores[name], scores)
        np.testing.assert_array_equal(walked.changes[name], whole.changes[name])
