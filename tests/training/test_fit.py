"""The loop: it learns what there is to learn, keeps the best epoch, and repeats to the same bits."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from likewise.data import Augmentation, ClassBalancedSampler, Records, load, records_from_arrays
from likewise.distances import Distance, Euclidean, Mahalanobis
from likewise.encoders import MLP, Standardize
from likewise.errors import InputError, LikewiseError
from likewise.training import Epoch, Schedule, fit, mean_average_precision


class Pull(nn.Module):
    """A stand-in: alike together, unlike beyond a margin, written by plain masks."""

    def __init__(self, distance: Distance | None = None) -> None:
        super().__init__()
        self.distance = distance or Euclidean()

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        same = labels[:, None] == labels
        table = (embeddings[:, None] - embeddings).square().sum(-1)
        if isinstance(self.distance, Mahalanobis):
            table = (
                (embeddings @ self.distance.components.T)[:, None]
                .sub(embeddings @ self.distance.components.T)
                .square()
                .sum(-1)
            )
        return table[same].mean() + (1 - (table[~same] + 1e-9).sqrt()).clamp(min=0).square().mean()


def signal(n_classes: int = 6, seed: int = 0) -> Records:
    """Classes differ along one small axis out of six; the others are loud noise."""
    generator = np.random.default_rng(seed)
    y = np.repeat(np.arange(n_classes), 12)
    X = generator.normal(size=(len(y), 6)) * 3
    X[:, 2] = y + generator.normal(size=len(y)) * 0.05
    return records_from_arrays(X, y, name="signal")


def run(records: Records, *, epochs: int = 15, seed: int = 0, loss: nn.Module | None = None, **options):
    torch.manual_seed(0)
    encoder = MLP(6, dimension=2, hidden=[])
    loss = loss or Pull()
    result = fit(
        encoder,
        loss,
        records,
        sampler=ClassBalancedSampler(records.y, classes_per_batch=3, items_per_class=4, seed=seed),
        schedule=options.pop("schedule", Schedule(epochs=epochs, learning_rate=0.03)),
        distance=options.pop("distance", Euclidean()),
        preprocessing=Standardize.learned_from(records.X),
        seed=seed,
        **options,
    )
    return encoder, loss, result


def quality(encoder: nn.Module, records: Records) -> float:
    return mean_average_precision(encoder, Euclidean(), Standardize.learned_from(records.X), records)


def test_it_finds_the_axis_that_matters_also_for_unseen_classes() -> None:
    torch.manual_seed(0)
    before = quality(MLP(6, dimension=2, hidden=[]), signal(seed=1))
    encoder, _, result = run(signal())
    assert before < 0.5
    assert quality(encoder, signal(seed=1)) > 0.9
    assert result.epochs[-1].loss < result.epochs[0].loss
    assert [epoch.epoch for epoch in result.epochs] == list(range(1, 16))
    assert result.best == result.epochs[-1]
    assert not encoder.training


def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_generator_alone() -> None:
    images = load("digits:classes=0-2")

    def bits(seed: int) -> Tensor:
        torch.manual_seed(0)
        encoder = nn.Sequential(MLP(64, dimension=8), nn.Dropout(0.2))
        torch.manual_seed(123 + seed)
        state = torch.get_rng_state()
        fit(
            encoder,
            Pull(),
            images,
            sampler=ClassBalancedSampler(
                images.y, classes_per_batch=3, items_per_class=4, batches=3, seed=seed
            ),
            schedule=Schedule(epochs=2),
            distance=Euclidean(),
            preprocessing=Standardize.learned_from(images.X),
            augmentation=Augmentation(shift=0.1, rotation=10),
            seed=seed,
        )
        assert torch.equal(torch.get_rng_state(), state)
        return torch.cat([parameter.detach().flatten() for parameter in encoder.parameters()])

    assert torch.equal(bits(1), bits(1))
    assert not torch.equal(bits(1), bits(2))


def test_the_best_epoch_on_held_out_classes_is_kept() -> None:
    records, held = signal(), signal(seed=5)
    states: list[dict[str, Tensor]] = []
    torch.manual_seed(0)
    encoder, loss = MLP(6, dimension=2, hidden=[]), Pull(Mahalanobis(torch.eye(2)))
    preparation = Standardize.learned_from(records.X)

    def remember(_: Epoch) -> None:
        states.append({key: value.clone() for key, value in encoder.state_dict().items()})

    result = fit(
        encoder,
        loss,
        records,
        sampler=ClassBalancedSampler(records.y, classes_per_batch=3, items_per_class=4),
        schedule=Schedule(epochs=8, learning_rate=0.3),
        distance=loss.distance,
        preprocessing=preparation,
        validation=held,
        on_epoch=remember,
    )
    figures = [epoch.map_at_r for epoch in result.epochs]
    assert len({round(figure, 6) for figure in figures}) > 2
    best = figures.index(max(figures))
    assert result.best == result.epochs[best]
    assert best < 7  # or the test would not tell the best from the last
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, states[best][key])
    assert mean_average_precision(encoder, loss.distance, preparation, held) == figures[best]


def test_parameters_of_the_loss_learn_at_their_own_rate() -> None:
    def moved(rate: float) -> tuple[float, float]:
        loss = Pull(Mahalanobis(torch.eye(2)))
        encoder, _, _ = run(
            signal(), loss=loss, schedule=Schedule(epochs=1, learning_rate=1e-4, loss_learning_rate=rate)
        )
        torch.manual_seed(0)
        start = MLP(6, dimension=2, hidden=[])
        change = max(
            float((a - b).abs().max().detach())
            for a, b in zip(encoder.parameters(), start.parameters(), strict=True)
        )
        return change, float((loss.distance.components - torch.eye(2)).abs().max().detach())

    (slow_encoder, slow), (fast_encoder, fast) = moved(1e-4), moved(1e-2)
    assert 0 < slow < 1e-3 < fast
    assert slow_encoder < 1e-3 and fast_encoder < 1e-3


def test_the_schedule_warms_up_and_falls_to_nothing() -> None:
    schedule = Schedule(epochs=1)
    factors = [schedule.factor(step, 100) for step in range(100)]
    assert factors[:5] == pytest.approx(
        [(i + 1) / 5 * (1 + math.cos(math.pi * i / 100)) / 2 for i in range(5)]
    )
    assert all(a > b for a, b in pairwise(factors[5:]))
    assert factors[50] == pytest.approx(0.5)
    assert 0 < factors[-1] < 1e-3


def test_stopping_early_follows_the_same_schedule() -> None:
    whole: list[Tensor] = []
    torch.manual_seed(0)
    records = signal()
    encoder = MLP(6, dimension=2, hidden=[])
    fit(
        encoder,
        Pull(),
        records,
        sampler=ClassBalancedSampler(records.y, classes_per_batch=3, items_per_class=4),
        schedule=Schedule(epochs=6, learning_rate=0.03),
        distance=Euclidean(),
        preprocessing=Standardize.learned_from(records.X),
        on_epoch=lambda _: whole.append(encoder.layers[0].weight.detach().clone()),
    )
    short, _, result = run(records, schedule=Schedule(epochs=6, learning_rate=0.03, stop_after=2))
    assert len(result.epochs) == 2
    assert torch.equal(short.layers[0].weight, whole[1])


class Broken(Pull):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return super().forward(embeddings, labels) * self.value


@pytest.mark.parametrize(
    ("value", "kind", "found"),
    [
        (torch.tensor(torch.nan), LikewiseError, "nan in epoch 1, batch 1"),
        (torch.tensor(torch.inf), LikewiseError, "inf in epoch 1, batch 1"),
        (torch.ones(3), InputError, r"scalar; found shape \(3,\)"),
    ],
)
def test_a_loss_that_is_not_a_finite_scalar_stops_training(value: Tensor, kind: type, found: str) -> None:
    with pytest.raises(kind, match=found):
        run(signal(), loss=Broken(value))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": 1, "learning_rate": 0.0}, "learning rates"),
        ({"epochs": 1, "learning_rate": float("nan")}, "learning rates"),
        ({"epochs": 3, "stop_after": 4}, "stop_after"),
    ],
)
def test_a_schedule_out_of_range_is_refused(options: dict[str, float], found: str) -> None:
    with pytest.raises(InputError, match=found):
        Schedule(**options)  # type: ignore[arg-type]


def test_nothing_to_learn_is_refused() -> None:
    records = signal()
    with pytest.raises(InputError, match="no parameter"):
        fit(
            nn.Identity(),
            Pull(),
            records,
            sampler=ClassBalancedSampler(records.y, classes_per_batch=3, items_per_class=4),
            schedule=Schedule(epochs=1),
            distance=Euclidean(),
            preprocessing=Standardize((6,)),
        )


def test_the_line_of_an_epoch_is_json() -> None:
    line = Epoch(epoch=3, loss=0.5, map_at_r=None, seconds=1.23456).line()
    assert line == {"epoch": 3, "loss": 0.5, "validation_map@r": None, "seconds": 1.235}
