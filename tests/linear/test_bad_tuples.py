"""Pairs, triplets and scores that name what isn't there, or say nothing: each learner says which."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from likewise import linear
from likewise.errors import InputError
from likewise.relations import Pairs, Scores, Triplets

X = np.random.default_rng(0).normal(size=(30, 4))


@pytest.mark.parametrize("name", ["KwokTsang", "POLA", "LEGO", "KernelITML"])
def test_bad_pairs(name):
    fit = getattr(linear, name)().fit
    with pytest.raises(InputError, match=r"right must name rows of X, from 0 to 29; found 30 in entry 1"):
        fit(X, pairs=Pairs([0, 1, 2], [3, 30, 4], [1, 0, 1]))
    with pytest.raises(InputError, match="pair 1 names row 2 twice"):
        fit(X, pairs=Pairs([0, 2], [1, 2], [1, 0]))
    with pytest.raises(InputError, match="contradict each other: rows 0 and 1"):
        fit(X, pairs=Pairs([0, 1, 2], [1, 0, 3], [1, 0, 0]))
    with pytest.raises(InputError, match="too few pairs"):
        fit(X, pairs=Pairs([], [], []))
    with pytest.raises(InputError, match=r"pairs must be likewise\.relations\.Pairs; found list"):
        fit(X, pairs=[(0, 1)])


@pytest.mark.parametrize("name", ["SchultzJoachims", "OASIS", "HDSL"])
def test_bad_triplets(name):
    fit = getattr(linear, name)().fit
    with pytest.raises(InputError, match="positive must name rows of X"):
        fit(X, triplets=Triplets([0], [40], [1]))
    with pytest.raises(InputError, match="triplet 1 names row 2 twice"):
        fit(X, triplets=Triplets([0, 2], [1, 2], [3, 4]))
    with pytest.raises(InputError, match="too few triplets"):
        fit(X, triplets=Triplets([], [], []))
    with pytest.raises(InputError, match="too few triplets"):
        fit(X, np.arange(30))


@pytest.mark.parametrize("name", ["SimilarityRegression", "DistanceRegression", "LEGO"])
def test_bad_scores(name):
    fit = getattr(linear, name)().fit
    with pytest.raises(InputError, match="left must name rows of X"):
        fit(X, scores=Scores([30], [1], [-1.0]))
    with pytest.raises(InputError, match="pair 0 names row 3 twice"):
        fit(X, scores=Scores([3], [3], [-1.0]))
    with pytest.raises(InputError, match="too few scored pairs"):
        fit(X, scores=Scores([], [], []))
    with pytest.raises(InputError, match=r"scores must be likewise\.relations\.Scores"):
        fit(X, scores=Pairs([0], [1], [1]))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SchultzJoachims", {"C": 0.0}),
        ("SchultzJoachims", {"tol": -1.0}),
        ("SchultzJoachims", {"max_iter": 1.5}),
        ("KwokTsang", {"nu": 1.0}),
        ("KwokTsang", {"C_alike": np.inf}),
        ("POLA", {"n_epochs": 0}),
        ("POLA", {"n_components": 9}),
        ("LEGO", {"learning_rate": True}),
        ("LEGO", {"bounds": (3.0, 1.0)}),
        ("LEGO", {"bounds": 3.0}),
        ("OASIS", {"C": np.nan}),
        ("OASIS", {"n_components": 0}),
        ("HDSL", {"scale": 0}),
        ("HDSL", {"batch_size": 0}),
        ("SimilarityRegression", {"alpha": 0}),
        ("DistanceRegression", {"alpha": "small"}),
        ("KernelITML", {"slack": 0}),
        ("KernelITML", {"bounds": (1.0,)}),
    ],
)
def test_options_out_of_range_are_named(name, options):
    with pytest.raises(InputError, match=f"^{next(iter(options))}"):
        getattr(linear, name)(**options).fit(X, np.arange(30) % 2)


@pytest.mark.parametrize("name", ["OASIS", "HDSL", "SimilarityRegression"])
def test_sparse_rows_give_what_dense_rows_give(name):
    rows = np.where(np.abs(X) > 0.7, X, 0.0)
    y = np.arange(30) % 3
    options = {} if name == "HDSL" else {"n_pairs": 40} if "Regression" in name else {"n_epochs": 2}
    dense, sparse = (
        getattr(linear, name)(random_state=0, **options).fit(kind(rows), y)
        for kind in (np.asarray, scipy.sparse.csr_matrix)
    )
    np.testing.assert_allclose(dense.pair_distance(rows, rows[::-1]), sparse.pair_distance(
        scipy.sparse.csr_matrix(rows), scipy.sparse.csr_matrix(rows[::-1])), atol=1e-8)  # fmt: skip
    np.testing.assert_allclose(np.abs(dense.transform(rows)), np.abs(sparse.transform(rows)), atol=1e-7)


def test_frames_give_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    learner = linear.OASIS(n_epochs=1, random_state=0).fit(frame, np.arange(30) % 2)
    assert learner.feature_names_in_.tolist() == list("abcd")
    assert learner.get_feature_names_out().tolist() == [f"oasis{i}" for i in range(4)]
