"""Methods make what they name, and learn from every kind of supervision that they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likewise.api import train
from likewise.data import Augmentation, BatchSampler, Records, TextItems, load, records_from_arrays
from likewise.distances import Cosine
from likewise.errors import InputError
from likewise.evaluation import retrieval
from likewise.losses import CrossBatchMemory
from likewise.relations import Pairs, Scores, Triplets
from likewise.settings import TrainingSettings
from likewise.training import (
    DEFAULT_METHODS,
    METHODS,
    Place,
    Plan,
    Task,
    epochs_for,
    hold_out,
    method_for,
    plan_from,
    sampler_for,
)

NAMES = """contrastive supcon triplet batch-hard semi-hard multi-similarity circle lifted npairs nca fastap
    proxy-nca proxy-anchor soft-triple softmax cosface arcface ntxent vicreg barlow-twins binary-pair cosent
    score-regression rank"""


def test_every_method_is_listed_under_its_name_and_makes_its_loss() -> None:
    assert set(NAMES.split()) <= set(METHODS)
    for name, method in METHODS.items():
        assert method.name == name and method.about and method.source and method.learns_from
        loss = method.loss(n_classes=3, dimension=4)
        assert type(loss) is method.kind
        assert method.loss(n_classes=3, dimension=4) is not loss
        rows = sum(1 for parameter in loss.parameters() if parameter.shape[-1:] == (4,))
        assert method.has_classes == bool(rows)
        if method.has_classes:
            assert 10 <= method.loss_rate <= 100
    assert {METHODS[name].learns_from.__contains__(kind) for kind, name in DEFAULT_METHODS.items()} == {True}


def test_texts_have_temperatures_and_rates_of_their_own() -> None:
    texts = Records(TextItems([f"word {number} and {number % 3}" for number in range(12)]), None, "texts")
    pairs = Records(texts.held, None, "pairs", relation=Scores(np.arange(6), np.arange(6, 12), np.arange(6)))
    plan = plan_from(pairs, TrainingSettings(), None, None, None, None, torch.device("cpu"))
    assert plan.augmentation == Augmentation()
    words = TrainingSettings(encoder="transformer")
    assert plan_from(pairs, words, None, None, None, None, plan.device).augmentation.word_dropout > 0
    assert plan.schedule.learning_rate == 3e-4
    assert plan.loss(n_classes=0, dimension=4, trial=False).temperature == 0.3
    said = TrainingSettings(learning_rate=1e-3, loss={"temperature": 0.1})
    plan = plan_from(pairs, said, None, None, None, None, torch.device("cpu"))
    assert plan.schedule.learning_rate == 1e-3
    assert plan.loss(n_classes=0, dimension=4, trial=False).temperature == 0.1
    assert METHODS["cosent"].suited("features") is METHODS["cosent"]


def test_options_go_to_the_loss_and_wrong_ones_are_refused() -> None:
    assert METHODS["triplet"].loss(n_classes=0, dimension=2, options={"margin": 0.7}).margin == 0.7
    with pytest.raises(InputError, match="TripletMargin has no such option"):
        METHODS["triplet"].loss(n_classes=0, dimension=2, options={"temperature": 0.7})
    with pytest.raises(InputError, match="margin must be a number"):
        METHODS["triplet"].loss(n_classes=0, dimension=2, options={"margin": -1.0})
    with pytest.raises(InputError, match="did you mean supcon"):
        method_for("labels", "subcon")


def plan(records: Records, **settings: object) -> Plan:
    chosen = TrainingSettings(**settings)  # type: ignore[arg-type]
    method = method_for(Task(records).supervision, chosen.method)
    return Plan(records, method, chosen, Augmentation(), epochs=1)


IRIS = load("iris")


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({"method": "npairs"}, [6]),  # 60 classes of two, lowered to the three there are
        ({"method": "supcon", "items_per_class": 5}, [15]),
        ({"method": "supcon", "items_per_class": 5, "classes_per_batch": 2}, [10]),
        ({"method": "supcon", "items_per_class": 5, "batch_size": 10}, [10]),
        ({"method": "softmax"}, [128]),
        ({"method": "softmax", "batch_size": 20}, [20]),
        ({"method": "softmax", "sampler": "shuffled", "batch_size": 50}, [50]),
        ({"method": "softmax", "sampler": "classes", "items_per_class": 4}, [12]),
    ],
)
def test_batches_are_of_the_size_that_was_said(settings: dict[str, object], sizes: list[int]) -> None:
    sampler = sampler_for(Task(IRIS), plan(IRIS, **settings), Place())
    assert isinstance(sampler, BatchSampler)
    assert sorted({len(batch) for batch in sampler}) == sizes


def test_epochs_follow_from_the_number_of_batches() -> None:
    settings = TrainingSettings()
    assert epochs_for(Task(IRIS), METHODS["npairs"], settings) == 10  # 25 batches: the usual ten
    assert epochs_for(Task(IRIS), METHODS["supcon"], settings) == 38  # four batches: 150 steps at least
    many = records_from_arrays(np.zeros((40_000, 1)), np.arange(40_000) // 10)
    assert epochs_for(Task(many), METHODS["npairs"], settings) == 6  # 334 batches: 2,000 steps at most


@pytest.mark.parametrize(
    ("classes", "each", "side", "steps"),
    [
        (20, 15, 8, 600),
        (100, 4, 8, 750),  # 60 batches of 8 classes for each of the 100
        (10, 6, 8, 150),  # 60 images: 256 times each would be 120 steps
        (10, 10, 8, 200),  # 100 images, 256 times each
        (20, 15, 80, 327),  # 2^29 pixels
        (10, 101, 8, 150),  # no longer few
    ],
)
def test_few_images_are_shown_often_enough(classes: int, each: int, side: int, steps: int) -> None:
    y = np.repeat(np.arange(classes), each)
    images = Records(np.zeros((len(y), side, side), dtype=np.float32), y, "images")
    batches = -(-len(y) // 128)
    found = epochs_for(Task(images), METHODS["supcon"], TrainingSettings())
    assert found == max(round(steps / batches), 10)


def test_a_memory_wraps_the_loss() -> None:
    loss = plan(IRIS, method="contrastive", memory=64).loss(n_classes=3, dimension=5, trial=False)
    assert isinstance(loss, CrossBatchMemory)
    assert (loss.size, loss.queue.shape) == (64, (64, 5))
    first, again = (plan(IRIS, method="arcface").loss(n_classes=3, dimension=5, trial=False) for _ in "ab")
    assert torch.equal(first.weight, again.weight)  # drawn from the seed alone


def noisy(n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes differ along one small axis out of six; the others are loud noise."""
    generator = np.random.default_rng(seed)
    y = np.repeat(np.arange(n_classes), 12)
    X = generator.normal(size=(len(y), 6)) * 3
    X[:, 2] = y * 1.5 + generator.normal(size=len(y)) * 0.05
    X[:, 4] = (y % 3) * 4.0 + generator.normal(size=len(y)) * 0.05
    return X.astype(np.float32), y


def listed(kind: str) -> Records:
    """The same knowledge as labels of ten classes give, as a table."""
    X, y = noisy(10, seed=0)
    generator = np.random.default_rng(1)
    left, right = generator.integers(len(y), size=(2, 3000))
    left, right = left[left != right], right[left != right]
    same = y[left] == y[right]
    if kind == "pairs":
        keep = same | (generator.random(len(same)) < 0.2)
        relation = Pairs(left[keep], right[keep], same[keep])
    elif kind == "scores":
        relation = Scores(left, right, np.exp(-np.abs(y[left] - y[right]).astype(float)))
    elif kind == "preferences":
        upper, lower = np.where(y[left] > y[right], (left, right), (right, left))
        relation = Scores(upper[~same], lower[~same], np.ones(int((~same).sum())))
    else:
        negative = np.array([generator.choice(np.flatnonzero(y != y[row])) for row in left[same]])
        relation = Triplets(left[same], right[same], negative)
    return Records(X, None, kind, relation=relation)


CASES = [
    (kind, name)
    for kind in ("pairs", "scores", "triplets")
    for name, method in METHODS.items()
    if kind in method.learns_from
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_tables_teach_as_labels_do(kind: str, name: str) -> None:
    X, y = noisy(10, seed=7)
    raw = retrieval(X, y)["map@r"].value
    model = train(listed(kind), method=name, epochs=15)
    found = retrieval(model.embed(X), y, distance=model.distance)["map@r"].value
    assert found > raw + 0.1
    assert (model.calibration is None) == (kind == "scores")
    assert model.classes == ()


def test_preferences_teach_a_score_that_orders_unseen_items() -> None:
    X, y = noisy(10, seed=7)
    model = train(listed("preferences"), epochs=15)
    values = model.embed(X)
    assert values.shape == (len(y), 1)
    above = y[:, None] > y
    assert (values[:, 0][:, None] > values[:, 0])[above].mean() > 0.9
    assert model.history[0]["validation_preference_accuracy"] > 0.5


def test_features_without_labels_teach_by_noise_and_exchange() -> None:
    model = train(Records(noisy(4, seed=0)[0], None, "bare"), epochs=5)
    assert model.training["augmentation"]["corruption"] > 0
    assert 0 <= model.history[0]["validation_view_recall@1"] <= 1


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if "views" in method.learns_from])
def test_images_without_labels_teach_by_two_views(name: str) -> None:
    digits = load("digits:classes=0-4").take(np.arange(500))
    unlabelled = Records(digits.X, None, "unlabelled")
    shifts = Augmentation(shift=0.15, rotation=15.0)
    model = train(unlabelled, method=name, epochs=12, augmentation=shifts)
    # Turned and moved digits are found among their unchanged fellows better than by pixels.
    moved = shifts(torch.from_numpy(digits.X[:300]), generator=torch.Generator().manual_seed(9)).numpy()
    own = np.arange(300)

    def hits(first: np.ndarray, second: np.ndarray) -> float:
        table = Cosine().table(torch.from_numpy(first), torch.from_numpy(second))
        return float((table.argmin(1).numpy() == own).mean())

    pixels = hits(moved.reshape(300, -1), digits.X[:300].reshape(300, -1))
    assert hits(model.embed(moved), model.embed(digits.X[:300])) > pixels + 0.1
    assert model.calibration is None


@pytest.mark.parametrize("kind", ["pairs", "triplets"])
def test_entries_held_back_share_no_item_with_the_others_where_they_can(kind: str) -> None:
    X, _ = noisy(10, seed=0)
    few = np.arange(0, 120, 3)
    if kind == "pairs":
        relation = Pairs(few, few + 1, [1, 0] * 20)
    else:
        relation = Triplets(few, few + 1, few + 2)
    held = hold_out(Records(X, None, kind, relation=relation), fraction=0.25, seed=0)
    assert held.of == "items"
    assert len(Task(held.held_out).batch([0]).rows) == (2 if kind == "pairs" else 3)
    assert (Task(held.learn).count, Task(held.held_out).count) == (30, 10)
    assert not {row.tobytes() for row in held.learn.X} & {row.tobytes() for row in held.held_out.X}
    together = hold_out(listed(kind), fraction=0.25, seed=0)
    assert together.of == "entries"
