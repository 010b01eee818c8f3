"""Frames in, names out, and what a learner becomes as a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from likewise import Model
from likewise.errors import InputError
from likewise.linear import LDA, NCA, Covariance
from likewise.linear.base import Progress
from reference.linear import standard_iris


def test_frames_give_names_and_must_keep_them() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas isn't installed")
    X, y = standard_iris()
    frame = pandas.DataFrame(X, columns=list("abcd"))
    fitted = LDA().fit(frame, y)
    assert fitted.feature_names_in_.tolist() == list("abcd")
    assert fitted.set_output(transform="pandas").transform(frame).columns.tolist() == ["lda0", "lda1"]
    with pytest.raises(InputError, match="feature names"):
        fitted.transform(frame[list("badc")])


def test_polars_frames_give_the_same() -> None:
    polars = pytest.importorskip("polars", reason="polars isn't installed")
    X, y = standard_iris()
    fitted = LDA().fit(polars.DataFrame(X, schema=list("abcd")), y)
    np.testing.assert_allclose(fitted.components_, LDA().fit(X, y).components_)


def test_a_model_tells_the_same_distances_after_saving(tmp_path: Path) -> None:
    X, y = standard_iris()
    X = 1000 + X  # float32 alone would lose what is left of the differences
    fitted = NCA(n_components=2, max_iter=20).fit(X, y)
    model = fitted.to_model()
    np.testing.assert_allclose(
        model.compare(X[:50], X[50:100]), fitted.pair_distance(X[:50], X[50:100]), rtol=1e-3
    )
    model.save(tmp_path / "run")
    loaded = Model.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.embed(X), model.embed(X))
    assert loaded.training["estimator"] == "NCA" and loaded.training["options"]["n_components"] == 2
    assert list(loaded.classes) == [0, 1, 2] and loaded.dimension == 2


def test_a_model_is_refused_where_float32_ends() -> None:
    X, _ = standard_iris()
    fitted = Covariance().fit(1e60 * X)
    with pytest.raises(InputError, match="a model works in float32"):
        fitted.to_model()


def test_nothing_before_fit() -> None:
    X, _ = standard_iris()
    for call in ("transform", "pair_distance", "get_mahalanobis_matrix", "to_model"):
        arguments = {"transform": [X], "pair_distance": [X, X]}.get(call, [])
        with pytest.raises(NotFittedError):
            getattr(Covariance(), call)(*arguments)


def test_covariance_reads_no_labels() -> None:
    X, _ = standard_iris()
    np.testing.assert_array_equal(
        Covariance().fit(X).components_, Covariance().fit(X, ["?"] * 150).components_
    )


def test_progress_is_silent_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = Progress("X", verbose=False)
    quiet.add(1.0)
    assert quiet.values == [1.0] and capsys.readouterr().out == ""
