"""``train`` and ``evaluate`` from end to end, on real data that comes with scikit-learn."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import likewise
from likewise.api import METHODS, evaluate, train
from likewise.data import Augmentation, Records, load
from likewise.distances import Cosine, Euclidean, Mahalanobis
from likewise.encoders import ConvNet, Standardize, encoder_for
from likewise.errors import ArtifactError, DataError, InputError
from likewise.evaluation import few_shot, retrieval
from likewise.losses import SupCon
from likewise.model import Model
from likewise.relations import Pairs, Scores

SEEN, UNSEEN = "digits:classes=0-4", "digits:classes=5-9"


@pytest.fixture(scope="module")
def digits() -> Model:
    """The default method on half of the digits, as in the demo."""
    return train(SEEN)


def weights(model: Model) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.encoder.parameters()])


def test_new_items_of_learned_classes_are_gathered_better_than_by_raw_pixels_and_untrained_nets() -> None:
    whole = load(SEEN)
    test = np.arange(len(whole)) % 2 == 1
    model = train(whole.take(~test), epochs=6)
    result = evaluate(model, whole.take(test), tasks=["retrieval", "verification"])
    for control in ("raw", "untrained"):
        beside = result.controls[control]
        assert result["retrieval"]["map@r"].value > beside["retrieval"]["map@r"].value + 0.02
        assert result["verification"]["eer"].value < beside["verification"]["eer"].value - 0.01


def test_unseen_digits_are_found_and_gathered_better_than_by_raw_pixels_and_untrained_nets(
    digits: Model,
) -> None:
    result = evaluate(digits, UNSEEN)
    for control in ("raw", "untrained"):
        other = result.controls[control]
        for task, figure in (("retrieval", "recall@1"), ("retrieval", "map@r"), ("few_shot", "accuracy")):
            assert result[task][figure].value > other[task][figure].value, (control, figure)
        assert result["verification"]["eer"].value < other["verification"]["eer"].value, control


def test_the_figures_are_those_of_the_embeddings(digits: Model) -> None:
    unseen = load(UNSEEN)
    result = evaluate(digits, unseen, tasks=["few_shot", "retrieval"], seed=5).to_dict()
    assert list(result) == ["few_shot", "retrieval", "controls"]
    embeddings = digits.embed(unseen.X)
    expected = retrieval(embeddings, unseen.y, distance="cosine")["recall@1"]
    assert result["retrieval"]["recall@1"]["value"] == expected.value
    raw = result["controls"]["raw"]
    by_pixels = retrieval(unseen.X.reshape(len(unseen), -1), unseen.y)["recall@1"].value
    assert raw["retrieval"]["recall@1"]["value"] == pytest.approx(by_pixels, abs=2e-3)
    episodes = few_shot(embeddings, unseen.y, ways=5, shots=1, seed=5, distance="cosine")
    assert result["few_shot"]["accuracy"]["value"] == episodes["accuracy"].value
    json.dumps(result, allow_nan=False)


def test_the_threshold_is_useful_on_unseen_classes(digits: Model) -> None:
    assert digits.calibration.held_out == "classes"
    unseen = load(UNSEEN)
    generator = np.random.default_rng(0)
    left, right = generator.integers(len(unseen), size=(2, 4000))
    distances = digits.compare(unseen.X[left], unseen.X[right])
    same = unseen.y[left] == unseen.y[right]
    accepted = distances <= digits.threshold
    assert (accepted[same].mean() + (~accepted[~same]).mean()) / 2 > 0.6
    assert digits.probability(distances[same]).mean() > digits.probability(distances[~same]).mean() + 0.2


def test_a_note_says_when_training_saw_the_classes(digits: Model) -> None:
    result = evaluate(digits, "digits:classes=4-6", tasks=["retrieval"], controls=False)
    assert result.controls == {} and "controls" not in result.to_dict()
    assert len(result.notes) == 1
    assert result.notes[0].startswith("1 of 3 classes bear names that training saw (4, ...); ")


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    first, again, other = (train("iris", epochs=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(weights(first), weights(again))
    assert first.fingerprint == again.fingerprint
    assert first.calibration == again.calibration
    assert not torch.equal(weights(first), weights(other))


OF_LABELS = sorted(name for name, method in METHODS.items() if "labels" in method.learns_from)


@pytest.mark.parametrize("name", OF_LABELS)
def test_every_method_beats_raw_features_on_the_wines_it_has_not_seen(name: str) -> None:
    wine = load("wine")
    test = np.arange(len(wine)) % 2 == 1
    model = train(wine.take(~test), method=name, epochs=20)
    result = evaluate(model, wine.take(test), tasks=["retrieval"])
    figure = result["retrieval"]["map@r"].value
    assert figure > result.controls["raw"]["retrieval"]["map@r"].value + 0.05
    assert figure > retrieval(wine.X[test], wine.y[test])["map@r"].value + 0.05


def test_a_run_is_saved_with_all_that_trains_it_again(tmp_path: Path) -> None:
    model = train("iris", method="triplet", epochs=3, seed=4, dimension=5, out=tmp_path / "run")
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert (config["data"], config["method"], config["epochs"], config["seed"]) == ("iris", "triplet", 3, 4)
    assert config["trained"]["data_fingerprint"] == load("iris").fingerprint
    assert config["dimension"] == 5
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if line["stage"] == "held-out"] == [1, 2, 3]
    held = [line["validation_map@r"] for line in lines if line["stage"] == "held-out"]
    assert config["trained"]["best_epoch"] == 1 + held.index(max(held))
    assert [line["epoch"] for line in lines if line["stage"] == "all"] == list(
        range(1, config["trained"]["best_epoch"] + 1)
    )
    again = train(**{name: value for name, value in config.items() if name != "trained"})
    assert again.fingerprint == Model.load(tmp_path / "run").fingerprint == model.fingerprint


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, items: Tensor) -> Tensor:
        return self.net(items)


def test_bring_your_own_encoder_and_loss_and_both_learn(tmp_path: Path) -> None:
    encoder, loss = Own(), SupCon(temperature=0.5, distance=Mahalanobis(torch.eye(3)))
    before = [parameter.detach().clone() for parameter in (*encoder.parameters(), *loss.parameters())]
    iris = load("iris")
    model = likewise.train(
        (torch.from_numpy(iris.X), [f"kind {label}" for label in iris.y]),
        encoder=encoder,
        loss=loss,
        epochs=5,
        out=tmp_path / "run",
    )
    assert model.encoder is encoder and model.distance is loss.distance
    after = [*encoder.parameters(), *loss.parameters()]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert model.classes == ("kind 0", "kind 1", "kind 2")
    assert model.calibration is None or model.calibration.held_out == "items"
    back = Model.load(tmp_path / "run", encoder=Own())
    np.testing.assert_array_equal(back.embed(iris.X), model.embed(iris.X))
    result = evaluate(model, (iris.X, iris.y), tasks=["retrieval"])
    assert set(result.controls) == {"raw", "whitened", "untrained"}


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(4))

    def forward(self, items: Tensor) -> Tensor:
        return items @ self.matrix


def test_an_untrained_control_that_cannot_be_made_is_left_out_and_said() -> None:
    result = evaluate(Model(Bare(), Cosine(), Standardize((4,))), "iris", tasks=["retrieval"])
    assert set(result.controls) == {"raw", "whitened"}
    assert "no untrained control" in result.notes[-1]
    assert "no untrained control" in str(result)


def test_larger_images_train_a_convolutional_net() -> None:
    generator = np.random.default_rng(0)
    shapes = generator.random((6, 3, 16, 16)) > 0.6
    X = np.repeat(shapes, 8, axis=0) + generator.normal(size=(48, 3, 16, 16)) * 0.3
    y = np.repeat(np.arange(6), 8)
    encoder = ConvNet((3, 16, 16), dimension=8, width=8)
    model = train((X, y), encoder=encoder, epochs=20, augmentation=Augmentation())
    assert isinstance(encoder_for((3, 16, 16), dimension=8), ConvNet)
    assert retrieval(model.embed(X), y, distance="cosine")["recall@1"].value > 0.9


X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.repeat([0, 1, 2], 4)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ((X, np.zeros(12, dtype=int)), "two classes; found one"),
        ((X, np.arange(12)), "two items of every class"),
        ((np.where(X[5, 1] == X, np.inf, X), Y), "inf in row 5"),
        ((X, Y * 1.0), "whole numbers or strings"),
        ((X, Y[:-1]), r"found X \(12, 3\) and y \(11,\)"),
        ("nothing.npz", "no such file"),
    ],
)
def test_bad_data_leaves_nothing_behind(tmp_path: Path, data: object, found: str) -> None:
    with pytest.raises(DataError, match=found) as error:
        train(data, out=tmp_path / "run")  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"method": "suppcon"}, "did you mean supcon"),
        ({"epoch": 3}, "there is no setting 'epoch'; did you mean epochs"),
        ({"learningrate": 0.1}, "did you mean learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, above 0; found 'fast'"),
        ({"method": "cosent"}, "cosent learns from scores or pairs; found labels; for those there are"),
        ({"figure": "accuracy"}, r"figure must be one of map@r, recall@1 where there are labels"),
        ({"loss": {"margn": 0.1}}, "loss: SupCon has no such option .*'margn'"),
        ({"augmentation": {"twist": 1.0}}, "augmentation takes shift, rotation, .*; found twist"),
        ({"sampler": "shuffled"}, "may give batches without a pair alike, which supcon needs"),
        ({"sampler": "hierarchical"}, "needs a column 'superclass'"),
        ({"sampler": [[0, 1, 4, 5]]}, "sampler must be a function of labels"),
        ({"device": "tpu9"}, "device must be cpu, cuda"),
        ({"encoder": {"class": "Own"}}, "encoder was a Own, which isn't part of likewise"),
        ({"loss": 3}, "loss must be a module, a function"),
        ({"loss": lambda embeddings, labels: 0}, r"or distance= must give one"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"dimension": 0}, "dimension must be at least 1"),
        ({"loss": nn.MSELoss()}, r"loss\.distance"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], found: str) -> None:
    with pytest.raises(InputError, match=found):
        train((X, Y), **options)  # type: ignore[arg-type]


def test_a_plain_function_is_a_loss_when_it_is_said_how_to_compare() -> None:
    seen: list[Tensor] = []

    def pull(embeddings: Tensor, labels: Tensor) -> Tensor:
        seen.append(labels)
        same = labels[:, None] == labels
        table = (embeddings[:, None] - embeddings).square().sum(-1)
        return table[same].mean() + (1 - table[~same]).clamp(min=0).mean()

    model = train("wine", loss=pull, distance=Euclidean(), epochs=10)
    assert isinstance(model.distance, Euclidean)
    assert int(max(labels.max() for labels in seen)) == 2
    result = evaluate(model, "wine", tasks=["retrieval"])["retrieval"]["map@r"].value
    assert result > retrieval(load("wine").X, load("wine").y)["map@r"].value + 0.05


def test_a_sampler_of_ones_own_is_made_for_the_part_that_is_learned_from() -> None:
    lengths: list[int] = []

    def sampler(labels: np.ndarray) -> list[list[int]]:
        lengths.append(len(labels))
        return [[int(row) for row in np.flatnonzero(labels < 2)[::3]]] * 4

    train("iris", sampler=sampler, epochs=2)
    assert len(lengths) == 2 and lengths[0] < lengths[1] == 150
    train("iris", sampler=[[0, 1, 60, 61]], hold_out=0.0, epochs=1)


def test_the_second_pass_ends_with_the_best_epoch() -> None:
    model = train("iris", method="triplet", epochs=8, seed=0)
    held = [line["validation_map@r"] for line in model.history if line["stage"] == "held-out"]
    best = 1 + held.index(max(held))
    assert best < 8  # or this would show nothing
    assert [line["epoch"] for line in model.history if line["stage"] == "all"] == list(range(1, best + 1))


def test_without_holding_back_or_without_refitting_there_is_one_pass() -> None:
    alone = train("iris", epochs=2, hold_out=0.0)
    assert [line["stage"] for line in alone.history] == ["all", "all"]
    assert alone.calibration is None
    first = train("iris", epochs=2, refit=False)
    assert [line["stage"] for line in first.history] == ["held-out", "held-out"]
    assert first.calibration is not None


def test_a_foreign_output_folder_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    told: list[int] = []
    with pytest.raises(ArtifactError, match="isn't ours"):
        train((X, Y), out=tmp_path / "photos", progress=lambda done, _: told.append(done))
    assert told == []


def test_the_number_of_threads_is_given_back_also_after_a_failure() -> None:
    before, seen = torch.get_num_threads(), []
    try:
        torch.set_num_threads(2)
        train((X, Y), epochs=1, progress=lambda *_: seen.append(torch.get_num_threads()))
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError):
            train((X, Y), epochs=1, progress=lambda *_: 1 // 0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_progress_counts_up_to_the_whole() -> None:
    told: list[tuple[int, int]] = []
    train((X, Y), epochs=3, progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert told[-1][0] == told[-1][1]


def test_a_bar_is_shown_when_asked_for_and_not_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    train((X, Y), epochs=1)
    assert capsys.readouterr() == ("", "")
    train((X, Y), epochs=1, progress=True)
    shown = capsys.readouterr()
    assert shown.out == "" and "training" in shown.err


@pytest.mark.parametrize("tasks", [["rank"], [], "clusters"])
def test_unknown_tasks_are_refused(tasks: object) -> None:
    model = Model(Bare(), Cosine(), Standardize((4,)))
    with pytest.raises(
        InputError, match="tasks must be among retrieval, verification, few_shot, clustering, ranking"
    ):
        evaluate(model, "iris", tasks=tasks)  # type: ignore[arg-type]


def test_tables_are_judged_by_what_they_say() -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(60, 3)).astype(np.float32)
    model = Model(nn.Identity(), Euclidean(), Standardize((3,)))
    left, right = np.arange(30), np.arange(30, 60)
    gaps = np.linalg.norm(X[left] - X[right], axis=1)
    pairs = Records(X, None, "pairs", relation=Pairs(left, right, gaps < np.median(gaps)))
    result = evaluate(model, pairs, controls=False)
    assert result["verification"]["auc"].value == 1.0
    scores = Records(X, None, "scores", relation=Scores(left, right, -(gaps**2)))
    result = evaluate(model, scores)
    assert result["ranking"]["spearman"].value == pytest.approx(1.0)
    assert set(result.controls) == {"raw", "whitened", "untrained"}
    with pytest.raises(InputError, match="scores: retrieval can't be judged on it; ranking can"):
        evaluate(model, scores, tasks=["retrieval"])
    with pytest.raises(InputError, match="evaluation needs labels, or a table"):
        evaluate(model, Records(X, None, "bare"))
    labelled = evaluate(model, Records(X, left.repeat(2) // 10, "rows"), tasks="clustering", controls=False)
    assert list(labelled.reports) == ["clustering"]


def test_one_class_cannot_be_judged() -> None:
    with pytest.raises(InputError, match="two classes; found one"):
        evaluate(Model(Bare(), Cosine(), Standardize((4,))), "iris:classes=1")
