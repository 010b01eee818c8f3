"""Few-shot accuracy: by eye, against chance, and what an episode is."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.errors import InputError
from likewise.evaluation import few_shot
from likewise.evaluation.few_shot import _draw


def test_perfect_and_hopeless_embeddings():
    labels = np.repeat(np.arange(8), 4)
    assert few_shot(np.eye(8)[labels], labels, ways=8, shots=2, episodes=30)["accuracy"].value == 1
    # All in one place: every guess is right once in eight, exactly, whatever the order of the classes.
    assert few_shot(np.zeros((32, 2)), labels, ways=8, episodes=30)["accuracy"].value == pytest.approx(1 / 8)


def test_random_embeddings_are_at_chance():
    generator = np.random.default_rng(0)
    figure = few_shot(generator.normal(size=(400, 16)), np.repeat(np.arange(40), 10), ways=5, episodes=2000)
    assert figure["accuracy"].value == pytest.approx(0.2, abs=0.03)
    assert figure["accuracy"].low < 0.2 < figure["accuracy"].high


def test_prototype_is_the_mean_of_the_shots():
    """Two classes of three on a line, two shots and one query each: nine equally likely episodes.

    The mean of two gets 14 of the 18 queries right, a single shot would get 46 %.
    """
    embeddings = np.array([[5.0], [1.0], [3.0], [4.0], [-9.0], [-1.0]])
    right = []
    for a in range(3):
        for b in range(3):
            own, other = np.delete(embeddings[:3], a).mean(), np.delete(embeddings[3:], b).mean()
            right.append(abs(embeddings[a, 0] - own) < abs(embeddings[a, 0] - other))
            right.append(abs(embeddings[3 + b, 0] - other) < abs(embeddings[3 + b, 0] - own))
    assert np.mean(right) == 14 / 18
    figure = few_shot(embeddings, [0, 0, 0, 1, 1, 1], ways=2, shots=2, episodes=2000, seed=1)["accuracy"]
    assert figure.value == pytest.approx(14 / 18, abs=0.03)


def test_episodes_draw_without_replacement():
    items = [np.arange(0, 4), np.arange(4, 8), np.arange(8, 12)]
    drawn = _draw(np.random.default_rng(0), [np.array([0, 1, 2])] * 50, items, 2, 3)
    for classes, chosen in zip(drawn.classes, drawn.items, strict=True):
        assert len(set(classes)) == 2
        assert len(set(chosen.ravel())) == 6
        assert all(set(chosen[w]) <= set(items[c]) for w, c in enumerate(classes))


def test_interval_holds_the_accuracy_over_new_classes():
    """Classes in the middle disturb all others: without that the interval holds it in 83 of 100 draws."""
    found = []
    for seed in range(150):
        generator = np.random.default_rng(seed)
        labels = np.repeat(np.arange(10), 5)
        embeddings = generator.normal(size=(10, 3))[labels] + 0.35 * generator.normal(size=(50, 3))
        found.append(few_shot(embeddings, labels, ways=5, episodes=150, seed=seed)["accuracy"])
    mean = np.mean([figure.value for figure in found])
    assert 0.89 <= np.mean([figure.low <= mean <= figure.high for figure in found]) <= 0.99


def test_seeded_and_counted():
    generator = np.random.default_rng(1)
    embeddings, labels = generator.normal(size=(41, 3)), np.append(np.repeat(np.arange(10), 4), 10)
    first = few_shot(embeddings, labels, ways=5, episodes=50, seed=3)
    assert few_shot(embeddings, labels, ways=5, episodes=50, seed=3).to_dict() == first.to_dict()
    assert few_shot(embeddings, labels, ways=5, episodes=50, seed=4).to_dict() != first.to_dict()
    assert first.counts == {"episodes": 50, "classes": 10, "classes with too few items": 1}
    assert first["accuracy"].n_units == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ways": 3}, "found 2 of 2"),
        ({"shots": 2}, "2 classes of 3 items"),
        ({"ways": 1}, "ways"),
        ({"episodes": 0}, "episodes"),
        ({"labels": [0.5] * 4}, "whole numbers"),
        ({"embeddings": [[np.nan]] * 4}, "finite"),
    ],
)
def test_wrong_requests_are_refused(change, message):
    arguments = {"embeddings": np.eye(4), "labels": [1, 1, 2, 2], "ways": 2} | change
    embeddings, labels = arguments.pop("embeddings"), arguments.pop("labels")
    with pytest.raises(InputError, match=message):
        few_shot(embeddings, labels, **arguments)


def test_within_groups_every_episode_stays_in_one():
    """Classes 0-2 lie together at one place and 3-5 at another: across groups half of the work is free."""
    labels = np.repeat(np.arange(6), 5)
    embeddings = 100.0 * (labels[:, None] >= 3) + np.zeros((30, 2))
    within = few_shot(embeddings, labels, ways=3, episodes=20, groups=labels // 3)
    assert within["accuracy"].value == pytest.approx(1 / 3)  # three prototypes at one point
    assert within.counts["groups"] == 2
    assert few_shot(embeddings, labels, ways=3, episodes=200)["accuracy"].value > 0.5


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([0] * 3 + [1] * 7, "each class whole; found 0 in two"),
        (list("aaaaabbbbb"), "2 classes in one of them"),
        ([0] * 9, "same length"),
    ],
)
def test_wrong_groups_are_refused(groups, message):
    with pytest.raises(InputError, match=message):
        few_shot(np.eye(10), np.repeat([0, 1], 5), ways=2, groups=groups)


def test_an_episode_of_all_classes_has_an_interval_that_holds():
    """Ten classes, all of them in every episode: held in 93 to 97 of 100 draws, as far as 200 can tell."""
    found = []
    for seed in range(200):
        generator = np.random.default_rng(seed)
        labels = np.repeat(np.arange(10), 5)
        embeddings = generator.normal(size=(10, 3))[labels] + 0.35 * generator.normal(size=(50, 3))
        found.append(few_shot(embeddings, labels, ways=10, episodes=40, seed=seed)["accuracy"])
    truth = np.mean([figure.value for figure in found])
    assert 0.91 <= np.mean([figure.low <= truth <= figure.high for figure in found]) <= 0.99
