"""Koch, Zemel, Salakhutdinov 2015: the net, the trials, the runs of Lake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from likewise.data import Records
from likewise.errors import DataError
from likewise.recipes import omniglot, siamese_oneshot


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_the_full_siamese_net_has_its_38951745_parameters() -> None:
    config = siamese_oneshot.Config(full=True)
    with torch.device("meta"):
        net = siamese_oneshot.SiameseNet(
            105, filters=(64, 128, 128, 256), kernels=(10, 7, 4, 4), dense=4096, printed=True
        )
    assert count(net, siamese_oneshot.objective(config)) == 38_951_745


def test_the_modified_hausdorff_distance_errs_as_published_on_lakes_runs(shared_data: Path) -> None:
    assert siamese_oneshot.hausdorff_error(str(shared_data)) == pytest.approx(0.3875)


def test_modified_hausdorff_by_hand() -> None:
    """Points (0, 0), (0, 2) and (0, 0), (0, 4): less their means -1, 1 and -2, 2; every nearest is 1 away."""
    one, other = torch.zeros(1, 1, 5), torch.zeros(1, 1, 5)
    one[0, 0, [0, 2]], other[0, 0, [0, 4]] = 1.0, 1.0
    assert omniglot.modified_hausdorff(one, other).item() == pytest.approx(1.0)


def characters(*, alphabets: int, characters: int, drawers: int = 4) -> Records:
    n = alphabets * characters * drawers
    label = np.arange(n) // drawers
    columns = {
        "alphabet": np.array([f"a{each // characters}" for each in label]),
        "drawer": np.arange(n) % drawers + 1,
        "part": np.where(np.arange(n) < n // 2, "background", "evaluation"),
    }
    return Records(np.zeros((n, 4, 4), dtype=np.float32), label, "drawn", columns=columns)


def test_trials_lie_within_an_alphabet_by_two_drawers() -> None:
    records = characters(alphabets=2, characters=6)
    trials = omniglot.within_alphabet_trials(records, np.arange(len(records)), rounds=3, seed=0, ways=5)
    assert len(trials) == 6
    for trial in trials:
        both = np.concatenate([trial.support, trial.query])
        assert len(set(records.columns["alphabet"][both])) == 1
        assert len(set(records.columns["drawer"][trial.support])) == 1
        assert len(set(records.columns["drawer"][trial.query])) == 1
        assert records.columns["drawer"][trial.support[0]] != records.columns["drawer"][trial.query[0]]
        assert (records.labels[trial.support][trial.answer] == records.labels[trial.query]).all()


def test_a_tie_counts_as_guessing_among_the_nearest() -> None:
    trial = omniglot.Trial(np.array([0, 1]), np.array([2, 3]), np.array([0, 1]), 0)
    scores = omniglot.one_shot_scores([trial], lambda q, s: torch.tensor([[1.0, 1.0], [3.0, 2.0]]))
    assert scores.values.tolist() == [0.5, 1.0]


def test_an_alphabet_with_too_few_characters_is_refused() -> None:
    records = characters(alphabets=2, characters=6)
    with pytest.raises(
        DataError, match="alphabet a0: 20-way one-shot needs 20 characters by two drawers; found 6"
    ):
        omniglot.within_alphabet_trials(records, np.arange(len(records)), rounds=1, seed=0)
    with pytest.raises(DataError, match="needs the 20 evaluation alphabets of Omniglot; found 1"):
        omniglot.alphabet_split(records, "30/20")
