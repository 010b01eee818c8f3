"""Aesthetics: what a degraded photograph is, who is drawn with whom, contradictions, AVA's list, `rank`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from likewise.cli import main
from likewise.data import load
from likewise.data.orders import rows_in_a_circle
from likewise.distances import SignedDifference
from likewise.encoders import MLP, Headed, Standardize
from likewise.errors import DataError
from likewise.model import Model
from likewise.recipes.aesthetics import Config, _Photos, degraded, objective
from likewise.recipes.ava import read_ava
from likewise.recipes.experiment import experiment
from likewise.recipes.registry import load_recipe
from likewise.relations import Scores


def test_full_attributes_leave_a_photograph_as_it_is() -> None:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    same = degraded(images, torch.ones(4, 3), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(same, images)


def test_each_attribute_spoils_its_own() -> None:
    images = 0.2 + 0.6 * torch.rand(50, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def made(place: int) -> torch.Tensor:
        attributes = torch.ones(50, 3)
        attributes[:, place] = 0.0
        return degraded(images, attributes, generator=torch.Generator().manual_seed(1))

    def roughness(given: torch.Tensor) -> float:
        return float((given[..., 1:] - given[..., :-1]).abs().mean())

    assert roughness(made(0)) < 0.5 * roughness(images)  # blurred
    assert made(1).std().item() == pytest.approx(0.3 * images.std().item(), rel=0.05)  # flat
    assert roughness(made(2)) > 1.05 * roughness(images)  # noisy


def test_matched_triplets_are_of_one_subject_and_any_are_not() -> None:
    generator = np.random.default_rng(0)
    photos = _Photos(torch.zeros(200, 3, 8, 8), generator.integers(0, 4, 200), generator.random(200), None)
    for matched in (True, False):
        rows = photos.drawn(matched, 300, generator)
        assert (photos.quality[rows[:, :2]] > 0.8).all()
        assert (photos.quality[rows[:, 2]] < 0.5).all()
        assert (rows[:, 0] != rows[:, 1]).all()
        same = (photos.subjects[rows] == photos.subjects[rows[:, :1]]).all()
        assert bool(same) is matched


def test_the_ranking_loss_is_the_hinge_on_pairs() -> None:
    scores = torch.tensor([[1.0], [0.2], [0.9]])
    _, better = objective(Config())
    found = better(scores, Scores([0, 0], [1, 2], [1.0, 1.0]))  # (1 - 0.8 + 1 - 0.1) / 2
    assert found.item() == pytest.approx((0.2 + 0.9) / 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_circles_of_preferences_are_found_where_no_score_can_follow(pairs: list[tuple[int, int]]) -> None:
    """Without a circle, things can be put in an order that every preference agrees with, one by one."""
    left, rest = set(range(6)), list(pairs)
    while left:
        best = [thing for thing in left if all(worse != thing for _, worse in rest)]
        if not best:
            break
        left -= set(best)
        rest = [(better, worse) for better, worse in rest if better not in best]
    circle = rows_in_a_circle(*zip(*pairs, strict=True)) if pairs else rows_in_a_circle([], [])
    assert bool(circle) == bool(left)
    for row, following in zip(circle, [*circle[1:], *circle[:1]], strict=True):
        assert pairs[row][1] == pairs[following][0]


def ava(folder: Path, lines: list[str]) -> Path:
    (folder / "images").mkdir(exist_ok=True)
    for number in (953619, 953958):
        Image.new("RGB", (20, 12), (number % 255, 40, 90)).save(folder / "images" / f"{number}.jpg")
    (folder / "AVA.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def test_ava_is_read_as_its_list_says(tmp_path: Path) -> None:
    lines = [
        "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396",
        "2 953958 10 0 0 0 0 0 0 0 0 10 15 21 1396",
        "3 954184 0 0 4 8 41 56 10 3 6 4 0 0 1396",  # its photograph isn't there
    ]
    records = read_ava(ava(tmp_path, lines), size=8)
    votes = [0, 1, 5, 17, 38, 36, 15, 6, 5, 1]
    mean = sum(mark * count for mark, count in enumerate(votes, 1)) / sum(votes)
    assert records.columns["rating"].tolist() == pytest.approx([mean, 5.5])
    assert records.labels.tolist() == [1, 15]
    assert records.items().shape == (2, 3, 8, 8)


def test_lists_that_are_not_ava(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="AVA.txt: can't be read".replace(".", r"\.")):
        read_ava(tmp_path)
    with pytest.raises(DataError, match="line 1 must hold 15 whole numbers; found '1 2 three'"):
        read_ava(ava(tmp_path, ["1 2 three"]))
    with pytest.raises(DataError, match="holds none of the photographs"):
        read_ava(ava(tmp_path, ["3 954184 0 0 4 8 41 56 10 3 6 4 0 0 1396"]))


def brightness_run(folder: Path) -> Path:
    """A run whose score is how bright a photograph is."""
    encoder = Headed(MLP(3 * 6 * 6, dimension=1, hidden=()), head="score", dimension=1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
        for module in encoder.body.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.fill_(1.0)
                break
        encoder.head.map.weight.fill_(1.0)
    Model(encoder, SignedDifference(), Standardize((3, 6, 6))).save(folder / "run")
    return folder / "run"


def test_rank_orders_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder, photos = brightness_run(tmp_path), tmp_path / "photos"
    photos.mkdir()
    for name, grey in (("dim", 60), ("bright", 230), ("dark", 5)):
        Image.new("RGB", (9, 7), (grey, grey, grey)).save(photos / f"{name}.png")
    assert main(["rank", str(run_folder), str(photos), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(entry["id"]).stem.split(".")[0] for entry in found] == ["bright", "dim", "dark"]
    assert [entry["rank"] for entry in found] == [1, 2, 3]
    assert found[0]["score"] > found[1]["score"] > found[2]["score"]
    assert main(["rank", str(run_folder), str(photos), "-k", "1", "--worst"]) == 0
    shown = capsys.readouterr().out
    assert "dark" in shown
    assert "bright" not in shown


def test_rank_refuses_a_run_without_a_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Model(MLP(4, dimension=2), SignedDifference(), Standardize((4,))).save(tmp_path / "run")
    assert main(["rank", str(tmp_path / "run"), "iris"]) == 2
    assert "gives 2 numbers a thing, not one score" in capsys.readouterr().err
    assert main(["rank", str(tmp_path / "run"), "iris", "-k", "0"]) == 2
    assert "-k must be at least 1" in capsys.readouterr().err


def test_a_quick_run_ranks_unseen_subjects_and_leaves_its_ranker(shared_data: Path, tmp_path: Path) -> None:
    recipe = load_recipe("aesthetics")
    changes = {"photos": 500, "judged": 200, "steps": 40, "head_steps": 100, "save": str(tmp_path / "run")}
    config = Config(**{**vars(recipe.quick), **changes})
    result = experiment(recipe, config, quick=True, seeds=1, data=shared_data)
    control = [found for found in result.findings() if found.claim.control]
    assert control
    assert all(found.difference.low > 0 for found in control), control
    photos = torch.from_numpy(load("cifar10", data=shared_data).items(np.arange(20)))
    spoiled = degraded(photos, torch.full((20, 3), 0.2), generator=torch.Generator().manual_seed(0))
    ranker = Model.load(tmp_path / "run")
    better = ranker.embed(photos.numpy())[:, 0] > ranker.embed(spoiled.numpy())[:, 0]
    assert better.mean() > 0.8
