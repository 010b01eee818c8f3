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
from likewise.errors import InputError
from likewise.losses import NormalizedSoftmax
from likewise.training import (
    Epoch,
    HeldOut,
    Learner,
    NotFiniteError,
    OutOfMemoryError,
    Schedule,
    Stepping,
    Task,
    fit,
    mean_average_precision,
)
from likewise.training.task import Batch


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
        Task(records),
        sampler=options.pop(
            "sampler", ClassBalancedSampler(records.y, classes_per_batch=3, items_per_class=4, seed=seed)
        ),
        schedule=options.pop("schedule", Schedule(epochs=epochs, learning_rate=0.03)),
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
            Task(images),
            sampler=ClassBalancedSampler(
                images.y, classes_per_batch=3, items_per_class=4, batches=3, seed=seed
            ),
            schedule=Schedule(epochs=2),
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
        Task(records),
        sampler=ClassBalancedSampler(records.y, classes_per_batch=3, items_per_class=4),
        schedule=Schedule(epochs=8, learning_rate=0.3),
        preprocessing=preparation,
        validation=HeldOut(held, loss.distance, preparation),
        on_epoch=remember,
    )
    figures = [epoch.figures["map@r"] for epoch in result.epochs]
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
        Task(records),
        sampler=ClassBalancedSampler(records.y, classes_per_batch=3, items_per_class=4),
        schedule=Schedule(epochs=6, learning_rate=0.03),
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
        (torch.tensor(torch.nan), NotFiniteError, "nan in epoch 1, batch 1"),
        (torch.tensor(torch.inf), NotFiniteError, "inf in epoch 1, batch 1"),
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
            Task(records),
            sampler=ClassBalancedSampler(records.y, classes_per_batch=3, items_per_class=4),
            schedule=Schedule(epochs=1),
            preprocessing=Standardize((6,)),
        )


def test_the_line_of_an_epoch_is_json() -> None:
    line = Epoch(epoch=3, loss=0.5, figures={"map@r": 0.25}, seconds=2.00049, items=100, stage="all").line()
    assert line == {
        "stage": "all",
        "epoch": 3,
        "loss": 0.5,
        "validation_map@r": 0.25,
        "seconds": 2.0,
        "items_per_second": 50.0,
    }


def test_a_sampler_of_ones_own_is_any_sized_iterable_of_lists() -> None:
    records = signal()
    rows = [[0, 1, 12, 13], [24, 25, 36, 37]]
    seen: list[list[int]] = []

    class Remember(Pull):
        def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
            seen.append(labels.tolist())
            return super().forward(embeddings, labels)

    run(records, epochs=2, loss=Remember(), sampler=rows)
    assert seen == [[0, 0, 1, 1], [2, 2, 3, 3]] * 2
    with pytest.raises(InputError, match="gave no batch"):
        run(records, sampler=[])


def test_patience_stops_after_so_many_epochs_without_a_better_figure() -> None:
    figures = iter([0.1, 0.5, 0.4, 0.5, 0.3, 0.9, 0.9])

    class Scripted:
        figure = "score"

        def __call__(self, encoder: nn.Module) -> dict[str, float]:
            return {"score": next(figures)}

    _, _, result = run(signal(), epochs=7, validation=Scripted(), patience=3)
    assert [epoch.figures["score"] for epoch in result.epochs] == [0.1, 0.5, 0.4, 0.5, 0.3]
    assert result.best.epoch == 2  # the first among equals


def test_accumulated_batches_move_the_weights_once_by_their_mean() -> None:
    records = signal()
    rows = [[0, 1, 12, 13], [24, 25, 36, 37], [2, 3, 26, 27]]  # a step of two batches, and one of one

    def weights(batches: list[list[int]], accumulate: int) -> Tensor:
        encoder, _, _ = run(
            records,
            sampler=batches,
            schedule=Schedule(epochs=1, warm_up=0.0, shape="constant", weight_decay=0.0),
            stepping=Stepping(accumulate=accumulate),
        )
        return encoder.layers[0].weight.detach().clone()

    class Mean(Pull):
        """The mean of the losses of each four rows."""

        def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
            pull = super().forward
            parts = zip(embeddings.split(4), labels.split(4), strict=True)
            return torch.stack([pull(*part) for part in parts]).mean()

    encoder, _, _ = run(
        records,
        loss=Mean(),
        sampler=[rows[0] + rows[1], rows[2]],
        schedule=Schedule(epochs=1, warm_up=0.0, shape="constant", weight_decay=0.0),
    )
    torch.testing.assert_close(weights(rows, 2), encoder.layers[0].weight.detach(), rtol=1e-5, atol=1e-7)
    assert not torch.allclose(weights(rows, 1), encoder.layers[0].weight.detach())


class Small(nn.Module):
    """Runs out of memory with more than so many items at once."""

    def __init__(self, most: int, error: type[Exception] = MemoryError) -> None:
        super().__init__()
        self.layer, self.most, self.error = nn.Linear(6, 2), most, error

    def forward(self, items: Tensor) -> Tensor:
        if len(items) > self.most:
            raise self.error("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.")
        return self.layer(items)


@pytest.mark.parametrize("error", [MemoryError, RuntimeError, torch.OutOfMemoryError])
def test_out_of_memory_names_a_size_that_then_fits(error: type[Exception]) -> None:
    records = signal()

    def train(cached: int) -> None:
        fit(
            Small(4, error),
            Pull(),
            Task(records),
            sampler=ClassBalancedSampler(records.y, classes_per_batch=3, items_per_class=4),
            schedule=Schedule(epochs=1),
            preprocessing=Standardize((6,)),
            stepping=Stepping(cached_gradients=cached),
        )

    with pytest.raises(OutOfMemoryError, match=r"12 items a batch .* cached_gradients=3 fits"):
        train(0)
    with pytest.raises(OutOfMemoryError, match="cached_gradients=2 fits"):
        train(5)
    train(3)


def test_a_failure_that_is_not_of_memory_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError):
        fit(
            Small(4, ZeroDivisionError),
            Pull(),
            Task(signal()),
            sampler=[list(range(12))],
            schedule=Schedule(epochs=1),
            preprocessing=Standardize((6,)),
        )


def test_class_weights_count_each_class_alike() -> None:
    X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    task = Task(records_from_arrays(X, ["a", "a", "a", "a", "b", "b"]), class_weights=True)
    weights = task.batch(list(range(6))).weights
    assert weights is not None
    torch.testing.assert_close(weights, torch.tensor([0.75] * 4 + [1.5] * 2))
    loss = NormalizedSoftmax(2, 3)
    learner = Learner(nn.Identity(), loss, schedule=Schedule(epochs=1), stepping=Stepping())
    alone = [
        learner.gradients(torch.from_numpy(X[[row]]), Batch(np.array([row]), torch.tensor([row // 4])))
        for row in range(6)
    ]
    together = learner.gradients(torch.from_numpy(X), task.batch(list(range(6))))
    assert together == pytest.approx((np.mean(alone[:4]) + np.mean(alone[4:])) / 2, rel=1e-5)
