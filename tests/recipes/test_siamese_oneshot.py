"""Koch, Zemel, Salakhutdinov 2015: the net, the trials, the runs of Lake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from likewise.data import Records, load
from likewise.errors import DataError
from likewise.recipes import omniglot, siamese_nets, siamese_oneshot


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


def test_lakes_runs_are_of_the_ten_alphabets_that_40_10_holds_out(shared_data: Path) -> None:
    """Each picture of a run is one of the data set, pixel by pixel; run 2k and 2k + 1 are of alphabet k."""
    records = load("omniglot:size=105", data=str(shared_data))
    train, test = omniglot.alphabet_split(records, "40/10")
    assert len(np.unique(records.columns["alphabet"][train])) == 40
    rows = np.flatnonzero(test & (records.columns["drawer"] <= 8))
    at = {(image > 0.5).tobytes(): row for row, image in zip(rows, records.items(rows), strict=True)}
    images, runs = omniglot.lake_runs(data=str(shared_data))
    drawers = set()
    for run in runs:
        for side in (run.support, run.query):
            found = [at[(image > 0.5).tobytes()] for image in images.numpy()[side]]
            assert set(records.columns["alphabet"][found]) == {omniglot.LAKE_ALPHABETS[run.unit // 2]}
            (drawer,) = set(records.columns["drawer"][found])
            drawers.add(int(drawer))
    assert max(drawers) == 8  # none of those who draw the other trials


def test_a_mean_of_copies_is_the_mean_of_their_embeddings() -> None:
    net, images = nn.Flatten(), torch.rand(3, 35, 35)
    generator = torch.Generator().manual_seed(4)
    drawn = [siamese_nets.distortions(0.5)(images, generator=generator) for _ in range(2)]
    expected = (images + drawn[0] + drawn[1]).flatten(1) / 3
    found = siamese_nets.mean_of_copies(net, images, copies=2, seed=4)
    torch.testing.assert_close(found, expected)


def test_learning_in_bfloat16_changes_no_embedding_that_is_judged() -> None:
    """What is judged is computed in float32; what learns is near it, and not it."""
    nets = []
    for bfloat16 in (False, True):
        torch.manual_seed(0)
        nets.append(siamese_oneshot.build(siamese_oneshot.Config(bfloat16=bfloat16)))
    images = torch.rand(8, 35, 35)
    learning = [net(images) for net in nets]
    assert 0 < (learning[0] - learning[1]).abs().max() < 0.1
    for net, found in zip(nets, learning, strict=True):
        assert found.dtype == torch.float32
        net.load_state_dict(nets[0].state_dict())
    torch.testing.assert_close(nets[0].eval()(images), nets[1].eval()(images), rtol=0, atol=0)


def test_the_softmax_of_a_batch_is_a_trial_among_its_images() -> None:
    """Of a batch of two alike and one unlike: -log of exp(-d) of the alike among both, for the two."""
    loss = siamese_oneshot.objective(siamese_oneshot.Config(dense=2), method="softmax of a batch")
    x = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    d = 0.2 * torch.cdist(x, x, p=1.0)
    terms = [torch.log(1 + torch.exp(d[0, 1] - d[0, 2])), torch.log(1 + torch.exp(d[1, 0] - d[1, 2]))]
    assert loss(x, torch.tensor([0, 0, 1])).item() == pytest.approx(torch.stack(terms).mean().item())
