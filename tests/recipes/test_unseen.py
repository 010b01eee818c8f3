"""Classes apart, and data that a recipe of unseen classes must refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from likewise.data import Records
from likewise.errors import DataError, InputError
from likewise.recipes import geometry_aware, triplet_network, unseen
from likewise.recipes.experiment import Scores


def test_no_class_is_on_both_sides(shared_data: Path) -> None:
    held = unseen.unseen_classes("letter", str(shared_data))
    assert held.n_classes == 13 and held.item_shape == (16,)
    assert held.labels.unique().tolist() == list(range(13))
    assert held.unseen_labels.unique().tolist() == list(range(13, 26))
    assert held.items.mean(0).abs().max() < 1e-4


def test_fewer_classes_than_the_protocol_needs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Records(np.zeros((6, 2), dtype=np.float32), np.array([0, 0, 1, 1, 2, 2]), "few")
    monkeypatch.setattr(unseen, "load", lambda *_, **__: few)
    unseen._read.cache_clear()
    with pytest.raises(DataError, match="few: unseen classes need four classes, two on either side; found 3"):
        unseen.unseen_classes("letter")
    unseen._read.cache_clear()


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (geometry_aware, "few: unlike pairs need two classes; found 1"),
        (triplet_network, "MNIST: triplets need two classes; found 1"),
    ],
)
def test_one_class_is_refused(module: Any, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few = Records(
        np.random.default_rng(0).random((6, 28, 28), dtype=np.float32), np.zeros(6, dtype=int), "few"
    )
    monkeypatch.setattr(module, "load", lambda *_, **__: few)
    with pytest.raises(DataError, match=told):
        module.run(module.QUICK, seed=0, data="here")


def test_paired_rows_must_be_scored_on_the_same_units() -> None:
    from likewise.recipes.experiment.runner import _of_pair

    one = Scores(np.ones(4), np.arange(4))
    with pytest.raises(InputError, match="paired rows must be scored on the same units"):
        _of_pair(one, Scores(np.ones(4), np.array([0, 0, 1, 2])), 1.0)
