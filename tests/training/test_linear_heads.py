"""A metric learner as the head on frozen features: the distance it learned, in a run like any other."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn

import likewise as library
from likewise.api import train
from likewise.data import load, records_from_arrays
from likewise.encoders import encoder_for, preprocessing_for
from likewise.errors import InputError
from likewise.linear import ITML, LMNN
from likewise.model import Model
from likewise.relations import Pairs, Triplets
from likewise.search import Index
from likewise.training import METHODS
from likewise.training.linear_heads import linear_methods

LIGHTER = {
    "MLR": {"max_iter": 10},
    "SCML": {"max_iter": 100},
    "HDSL": {"max_iter": 20},
    "OASIS": {"n_epochs": 1},
}


def blobs(n: int = 48, d: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Rows of four classes, features of unlike scale, far from zero."""
    generator = np.random.default_rng(0)
    y = np.arange(n) % 4
    X = generator.normal(size=(n, d)) + 2 * generator.normal(size=(4, d))[y]
    return (X * [1.0, 10.0, 0.1, 3.0] + 50).astype(np.float32), y


def test_names_are_the_learners_own_and_no_methods() -> None:
    assert {"lmnn", "mcml", "mlkr", "linear-nca", "itml", "kwok-tsang", "oasis"} <= set(linear_methods())
    assert not set(linear_methods()) & set(METHODS)


@pytest.mark.parametrize("name", linear_methods())
def test_the_model_holds_what_the_learner_found_on_standardised_rows(name: str) -> None:
    X, y = blobs()
    kind = linear_methods()[name]
    options = LIGHTER.get(kind.__name__, {})
    model = train((X, y), method=name, loss=options, hold_out=0)
    seed = {"random_state": 0} if "random_state" in inspect.signature(kind).parameters else {}
    rows = StandardScaler().fit_transform(X.astype(np.float64))
    told = kind(**options, **seed).fit(rows, y).pair_distance(rows[:20], rows[20:40])
    np.testing.assert_allclose(
        model.compare(X[:20], X[20:40]), told, rtol=2e-3, atol=1e-4 * np.abs(told).max()
    )


def test_on_an_encoder_features_are_its_own_and_it_stays_as_it_is() -> None:
    X, y = blobs()
    model = train(
        (X, y), method="lmnn", encoder={"name": "mlp", "dimension": 4}, dimension=3, seed=5, hold_out=0
    )
    records = records_from_arrays(X, y, name="blobs")
    preparation = preprocessing_for(records)
    fresh = encoder_for(preparation, dimension=4, name="mlp", seed=5)
    for name, value in fresh.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[f"body.{name}"], value)
    features = fresh(preparation(X)).detach().double().numpy()
    rows = StandardScaler().fit_transform(features)
    told = LMNN(n_components=3, random_state=5).fit(rows, y).pair_distance(rows[:20], rows[20:40])
    np.testing.assert_allclose(model.compare(X[:20], X[20:40]), told, rtol=2e-3, atol=1e-4 * told.max())
    assert model.dimension == 3 and model.training["trained"]["loss"] == "LMNN"


@pytest.mark.parametrize("name", ["lmnn", "lda", "itml", "covariance"])
def test_rounding_of_features_is_not_learned_from(name: str) -> None:
    """64 features of 4 numbers: 60 directions hold nothing but float32's rounding."""
    X, y = blobs()
    model = train((X, y), method=name, encoder={"name": "mlp", "dimension": 64}, hold_out=0)
    once, again = model.embed(X), model.embed(X * np.float32(1 + 3e-7))
    spread = np.abs(once - once.mean(axis=0)).max()
    np.testing.assert_allclose(again, once, atol=0.01 * spread)


def test_a_module_of_ones_own_is_frozen_too() -> None:
    X, y = blobs()
    own = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.5))
    before = own[0].weight.detach().clone()
    model = train((X, y), method="itml", encoder=own)
    assert torch.equal(own[0].weight, before)
    assert model.embed(X).shape == (48, 6) and model.calibration is not None
    np.testing.assert_array_equal(model.embed(X), model.embed(X))  # no dropout in a frozen encoder
    assert model.training["encoder"] == {"class": "Sequential"}


def test_a_run_is_held_out_calibrated_saved_searched_and_trained_again(tmp_path: Path) -> None:
    model = train("iris", method="lmnn", out=tmp_path / "run")
    assert [line["stage"] for line in model.history] == ["held-out", "all"]
    assert 0.5 < model.history[0]["validation_map@r"] <= 1
    loaded = Model.load(tmp_path / "run")
    assert loaded.fingerprint == model.fingerprint
    iris = load("iris")
    near, far = loaded.verify(iris.X[0], iris.X[1]), loaded.verify(iris.X[0], iris.X[149])
    assert near.alike and not far.alike and near.probability > far.probability
    hits = Index.build(loaded, "iris").search(iris.X[:1], k=5)
    assert len(hits[0]) == 5
    again = train(config=tmp_path / "run" / "config.toml", out=tmp_path / "again")
    assert again.fingerprint == model.fingerprint and again.calibration == model.calibration
    assert (tmp_path / "again" / "config.toml").read_text() == (tmp_path / "run" / "config.toml").read_text()


def test_the_encoder_may_be_a_run(tmp_path: Path) -> None:
    first = train("iris", epochs=2, dimension=6, out=tmp_path / "first")
    headed = train("iris", method="itml", encoder=str(tmp_path / "first"), hold_out=0)
    iris = load("iris")
    rows = StandardScaler().fit_transform(first.embed(iris.X).astype(np.float64))
    told = ITML(random_state=0).fit(rows, iris.labels).pair_distance(rows[:70], rows[70:140])
    np.testing.assert_allclose(headed.compare(iris.X[:70], iris.X[70:140]), told, rtol=5e-3)


def test_relations_go_to_those_that_read_them() -> None:
    X, y = blobs()
    left, right = np.triu_indices(48, k=1)
    pairs = Pairs(left, right, y[left] == y[right])
    records = library.data.Records(X, None, "pairs", relation=pairs)
    model = train(records, method="itml", hold_out=0)
    rows = StandardScaler().fit_transform(X.astype(np.float64))
    told = ITML(random_state=0).fit(rows, pairs=pairs).pair_distance(rows[:20], rows[20:40])
    np.testing.assert_allclose(model.compare(X[:20], X[20:40]), told, rtol=2e-3)
    assert train(records, method="itml").calibration is not None
    with pytest.raises(InputError, match="method scml learns from labels or triplets; found pairs"):
        train(records, method="scml")
    rows = np.arange(8)
    triplets = library.data.Records(X, None, "triplets", relation=Triplets(rows, rows + 4, rows + 1))
    with pytest.raises(InputError, match="method lmnn learns from labels; found triplets"):
        train(triplets, method="lmnn")
    unlabelled = library.data.Records(X, None, "bare")
    assert train(unlabelled, method="covariance").calibration is None
    with pytest.raises(InputError, match="method lmnn learns from labels; found no labels"):
        train(unlabelled, method="lmnn")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "lmn"}, "did you mean lmnn"),
        ({"method": "linear-nc"}, "did you mean linear-nca"),
        ({"method": "lmnn", "epochs": 3}, "epochs doesn't apply to method lmnn"),
        ({"method": "lmnn", "head": "binary"}, "head doesn't apply to method lmnn"),
        ({"method": "lmnn", "loss": {"neighbours": 3}}, "did you mean n_neighbors"),
        ({"method": "lmnn", "loss": {"n_neighbors": 0}}, "n_neighbors must be a whole number"),
        ({"method": "lmnn", "dimension": 9}, "n_components must be a whole number from 1 to 4"),
        ({"method": "low-rank-itml", "dimension": 2}, "dimension doesn't apply"),
        ({"method": "lmnn", "encoder": "mpl"}, "did you mean mlp"),
        ({"method": "lmnn", "loss": lambda embeddings, relation: 0}, "loss doesn't apply to method lmnn"),
    ],
)
def test_what_is_wrong_is_said(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(blobs(), **settings)


def test_texts_need_an_encoder() -> None:
    texts = [f"{word} {number}" for word in ("cat", "dog", "cow", "pig") for number in range(6)]
    labels = [text.split()[0] for text in texts]
    with pytest.raises(InputError, match="name an encoder"):
        train((texts, labels), method="lmnn")
    model = train((texts, labels), method="lda", encoder="ngrams", hold_out=0)
    distances = model.compare(texts[:1] * 2, [texts[1], texts[6]])
    assert distances[0] < distances[1]
