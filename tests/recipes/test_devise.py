"""DeViSE: figures of labels by plain loops, and a quick run that names unseen labels."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.cli import main
from likewise.data import load
from likewise.data.words import WordVectors
from likewise.encoders import WordMapped
from likewise.errors import DataError, InputError
from likewise.evaluation import label_ranking
from likewise.model import Model
from likewise.recipes.devise import Config, objective
from likewise.recipes.experiment import Result, experiment
from likewise.recipes.hubs import hubs_corrected, occurrence_skewness
from likewise.recipes.registry import load_recipe
from likewise.recipes.worded_pictures import composition, label_figures, worded_pictures


def test_hinge_rank_reads_scores_as_the_paper_does() -> None:
    """sum over j != y of max(0, 0.1 - t_y'z + t_j'z) with z not normalised, by loops."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(6, 4, generator=generator)
    t = torch.nn.functional.normalize(torch.randn(5, 4, generator=generator), dim=1)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    total = 0.0
    for row, label in zip(z, labels, strict=True):
        for other in range(5):
            if other != label:
                total += max(0.0, 0.1 - float(t[label] @ row) + float(t[other] @ row))
    found = objective(Config())(z, labels, columns=t, column_relation=torch.arange(5))
    assert found.item() == pytest.approx(total / 6, rel=1e-5)


def test_torch_s_multi_margin_loss_is_the_same_times_the_number_of_labels() -> None:
    scores = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
    torch_s = torch.nn.functional.multi_margin_loss(scores, labels, margin=0.1) * 5
    ours = objective(Config())(scores, labels, columns=torch.eye(5), column_relation=torch.arange(5))
    torch.testing.assert_close(ours, torch_s)


def test_figures_are_those_of_a_loop() -> None:
    generator = torch.Generator().manual_seed(2)
    scores, own = torch.rand(30, 12, generator=generator), torch.randint(0, 12, (30,), generator=generator)
    groups = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    found = label_figures(scores, own, groups, ks=(1, 3, 5))
    for row in range(30):
        ranked = sorted(range(12), key=lambda label: -float(scores[row, label]))
        label = int(own[row])
        for k in (1, 3, 5):
            assert found[f"hit@{k}"][row] == float(label in ranked[:k])
            # the least radius that holds k labels: the label, its group, everything
            right = {label}
            if len(right) < k:
                right = {other for other in range(12) if groups[other] == groups[label]}
            if len(right) < k:
                right = set(range(12))
            share = sum(other in right for other in ranked[:k]) / k
            assert found[f"hierarchical@{k}"][row] == pytest.approx(share)


def test_figures_are_the_library_s_on_vectors() -> None:
    generator = np.random.default_rng(3)
    rows, labels, t = (
        generator.normal(size=(40, 6)),
        generator.integers(0, 9, 40),
        generator.normal(size=(9, 6)),
    )
    groups = np.arange(9) // 3
    edges = np.where(np.eye(9), 0, np.where(groups[:, None] == groups, 1, 2))
    report = label_ranking(rows, labels, t, np.arange(9), ks=(1, 2, 5), class_distances=edges)
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rows, t)]
    found = label_figures(
        torch.from_numpy(unit[0] @ unit[1].T), torch.from_numpy(labels), groups, ks=(1, 2, 5)
    )
    for name, values in found.items():
        assert values.mean() == pytest.approx(report[name].value), name


def test_chance_is_what_random_scores_give() -> None:
    scores = torch.rand(20_000, 10, generator=torch.Generator().manual_seed(0))
    found = label_figures(
        scores, torch.zeros(20_000, dtype=torch.int64), np.zeros(10, dtype=np.int64), ks=(1, 5)
    )
    assert found["hit@1"].mean() == pytest.approx(0.1, abs=0.01)
    assert found["hit@5"].mean() == pytest.approx(0.5, abs=0.015)


def test_a_hub_is_counted_and_corrected() -> None:
    """Label 0 is near to everything: every picture takes it first, until it pays for its nearest pictures."""
    generator = torch.Generator().manual_seed(0)
    own = torch.arange(400) % 20
    cosines = 0.04 * torch.randn(400, 20, generator=generator)
    cosines[torch.arange(400), own] += 0.5
    cosines[:, 0] += 0.75
    assert (cosines.argmax(dim=1) == 0).float().mean() > 0.9
    # one of 20 has all first places: (1 - 2 p) / sqrt(p (1 - p)) of p = 1 / 20
    assert occurrence_skewness(cosines, k=1) == pytest.approx(0.9 / math.sqrt(0.05 * 0.95), rel=0.03)
    corrected = hubs_corrected(cosines[:200], cosines[200:], nearest=10)
    assert (corrected.argmax(dim=1) == own[:200]).float().mean() > 0.95
    assert abs(occurrence_skewness(corrected, k=1)) < 1
    loop = 2 * cosines[3, 7] - cosines[200:, 7].sort(descending=True).values[:10].mean()
    assert corrected[3, 7].item() == pytest.approx(loop.item(), rel=1e-5)
    with pytest.raises(InputError, match="one column a candidate"):
        hubs_corrected(cosines, cosines[:, :3])


def test_centred_vectors_keep_differences_only() -> None:
    shared = np.random.default_rng(0).normal(size=(1, 6)) * 3
    vectors = (np.random.default_rng(1).normal(size=(50, 6)) + shared).astype(np.float32)
    held = WordVectors(tuple(f"w{number}" for number in range(50)), vectors)
    centred = held.centred()
    np.testing.assert_allclose(centred.vectors.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(
        centred.vectors[3] - centred.vectors[9], held.unit[3] - held.unit[9], atol=1e-6
    )
    assert (centred.unit @ centred.unit.T).mean() < 0.1 < (held.unit @ held.unit.T).mean()
    with pytest.raises(InputError, match="frequent must be at least 1"):
        held.centred(frequent=0)


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scores must have shape \(2, 3\)"):
        label_figures(
            torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64), np.zeros(3, dtype=np.int64), ks=(1,)
        )
    recipe = load_recipe("devise")
    with pytest.raises(InputError, match="absent"):
        experiment(recipe, Config(words=str(tmp_path / "absent.txt")), seeds=1)
    with pytest.raises(InputError, match="sets must be of emoji, cifar10"):
        Config(sets="imagenet").names("sets", ("emoji", "cifar10"))


def test_labels_without_a_vector_are_listed_and_composed(shared_data: Path) -> None:
    names = ["bird", "boat", "car", "cat", "deer", "dog", "frog", "horse", "truck"]
    held = WordVectors(tuple(names), np.eye(9, dtype=np.float32))
    told = {"size": 8, "most": 10, "unseen_part": 0.2, "pictures": 2, "seed": 0, "data": shared_data}
    with pytest.raises(
        DataError, match="3 label names have no word vector: 'airplane', 'automobile', 'ship'"
    ):
        worded_pictures("cifar10", held, **told)  # type: ignore[arg-type]
    compose = composition("airplane=bird truck; automobile=car;ship=boat")
    task = worded_pictures("cifar10", held, compose=compose, **told)  # type: ignore[arg-type]
    at = task.texts.index("bird truck")
    assert task.vectors[at].tolist() == pytest.approx(((np.eye(9)[0] + np.eye(9)[8]) / math.sqrt(2)).tolist())
    with pytest.raises(InputError, match="compose must be NAME=WORDS, with semicolons between; found 'ship'"):
        composition("ship")


@pytest.fixture(scope="module")
def quick_run(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """A quick run that also leaves its model."""
    folder = tmp_path_factory.mktemp("devise") / "run"
    recipe = load_recipe("devise")
    changes = {"softmax_steps": 80, "corpora": "brown", "save": str(folder)}
    config = Config(**{**vars(recipe.quick), **changes})
    return experiment(recipe, config, quick=True, seeds=1, data=shared_data), folder


def test_a_quick_run_names_labels_it_never_saw(quick_run: tuple[Result, Path]) -> None:
    control = [found for found in quick_run[0].findings() if found.claim.control]
    assert control
    assert all(found.difference.low > 0 for found in control), control


def test_a_saved_run_is_searched_by_words(
    quick_run: tuple[Result, Path],
    shared_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`likewise search INDEX "a red car"`: from the command line, on a run that the recipe wrote."""
    monkeypatch.setenv("LIKEWISE_DATA", str(shared_data))
    drawings = "emoji:size=16:group=Food & Drink:style=noto"
    assert main(["index", str(quick_run[1]), drawings, "-o", str(tmp_path / "index")]) == 0
    capsys.readouterr()
    assert main(["search", str(tmp_path / "index"), "a red car", "-k", "3", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)
    model = Model.load(quick_run[1])
    assert isinstance(model.encoder, WordMapped)
    held = load(drawings, data=shared_data)
    mapped, asked = model.embed(held.items()), model.encoder.text(["a red car"])[0]
    similarity = mapped @ asked / np.linalg.norm(mapped, axis=1)
    assert [hit["label"] for hit in hits] == held.labels[similarity.argsort()[::-1][:3]].tolist()
    assert main(["search", str(tmp_path / "index"), "xyzzy qqq"]) == 2
    assert "none of the words of 'xyzzy qqq' has a vector" in capsys.readouterr().err
