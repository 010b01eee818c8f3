"""What all recipes share: configuration, cells, intervals, verdicts, the page and the command."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from likewise.cli import main
from likewise.errors import InputError
from likewise.recipes import Recipe, load_recipe, recipe_summaries
from likewise.recipes.experiment import (
    Claim,
    Outcome,
    Paper,
    RecipeConfig,
    Scores,
    Table,
    config_from_mapping,
    experiment,
)
from likewise.recipes.experiment.page import results_page, write_results
from likewise.settings import Rule, setting

OURS = {"face-verification", "geometry-aware", "pddm", "proxy-nca", "siamese-oneshot", "triplet-network"}


@dataclass(frozen=True)
class ToyConfig(RecipeConfig):
    """Two fields."""

    steps: int = setting(3, "how many", Rule(int, low=1))
    rate: float = setting(0.5, "how fast", Rule(float, above=0))


GOOD, BAD = (1.0, 3.0, 2.0), (0.5, 1.0, 1.5)


def toy_run(config: ToyConfig, *, seed: int, data: object) -> Outcome:
    outcome = Outcome()
    hits = np.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    units = np.array([0, 0, 1, 1, 2, 2])
    outcome.record("t", "good", {"figure": GOOD[seed]}, scores={"figure": Scores(hits, units)})
    outcome.record("t", "bad", {"figure": BAD[seed]}, scores={"figure": Scores(1 - hits, units)})
    return outcome


TOY = Recipe(
    "toy",
    "A toy (Nobody 2000).\n\nDepartures from the paper\n- all of it",
    ToyConfig,
    ToyConfig(steps=1),
    toy_run,
    (
        Table("t", ("good", "bad", "missing"), ("figure",), paper={("good", "figure"): Paper("2.500")}),
        Table("never", ("good",), ("figure",)),
    ),
    (
        Claim("good is better", "t", "figure", "good", "bad", control=True),
        Claim("bad is better", "t", "figure", "bad", "good"),
        Claim("good is over one", "t", "figure", "good", 1.0),
        Claim("a missing row is better", "t", "figure", "missing", "bad"),
    ),
)


def test_every_recipe_of_the_issue_is_listed_with_its_title(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(recipe_summaries()) >= OURS
    assert main(["list", "recipes"]) == 0
    listed = capsys.readouterr().out
    assert "Siamese networks for one-shot image recognition (Koch, Zemel, Salakhutdinov 2015)." in listed


@pytest.mark.parametrize("name", sorted(recipe_summaries()))
def test_every_recipe_says_how_it_departs_and_every_claim_has_its_cells(name: str) -> None:
    recipe = load_recipe(name)
    assert "Departures from the paper" in recipe.about
    tables = {table.name: table for table in recipe.tables}
    assert any(claim.control for claim in recipe.claims)
    for claim in recipe.claims:
        table = tables[claim.table]
        assert claim.figure in table.figures
        rows = {claim.better} | ({claim.than} if isinstance(claim.than, str) else set())
        assert rows <= set(table.rows)
    for table in recipe.tables:
        assert all(row in table.rows and figure in table.figures for row, figure in table.paper)


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_recipe_has_its_parts_and_every_field_is_explained(name: str) -> None:
    module = importlib.import_module(f"likewise.recipes.{name.replace('-', '_')}")
    assert all(callable(getattr(module, part)) for part in ("build", "objective", "run"))
    assert isinstance(module.QUICK, module.Config) and issubclass(module.Config, RecipeConfig)
    for field in dataclasses.fields(module.Config):
        assert field.metadata["about"] and field.type in ("int", "float", "bool", "str")


def test_a_cell_over_seeds_is_students_interval_and_a_claim_is_paired() -> None:
    result = experiment(TOY, seeds=3)
    cell = result.cell("t", "good", "figure")
    assert cell is not None
    expected = stats.t.interval(0.95, 2, loc=np.mean(GOOD), scale=stats.sem(GOOD))
    assert (cell.low, cell.high) == pytest.approx(expected)
    difference = np.array(GOOD) - np.array(BAD)
    expected = stats.t.interval(0.95, 2, loc=difference.mean(), scale=stats.sem(difference))
    found = result.findings()
    assert (found[0].difference.low, found[0].difference.high) == pytest.approx(expected)
    assert found[1].difference.value == pytest.approx(-difference.mean())
    assert len(found) == 3  # the row that wasn't run supports and refutes nothing


def test_with_one_seed_a_claim_is_paired_over_the_units() -> None:
    found = experiment(TOY, seeds=1).findings()
    # units' sums of residuals: differences (1, 1), (-1, 1), (1, 1) less their mean 2/3
    residuals = np.array([2 / 3, -4 / 3, 2 / 3]) / 6
    reach = stats.t.ppf(0.975, 2) * math.sqrt(3 / 2 * np.square(residuals).sum())
    assert found[0].difference.value == pytest.approx(2 / 3)
    assert found[0].difference.low == pytest.approx(2 / 3 - reach)
    assert found[0].verdict.startswith("not shown")
    assert found[2].verdict.startswith("not judged")


def test_verdicts_follow_from_the_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "GOOD", (2.0, 2.1, 2.2))
    monkeypatch.setitem(globals(), "BAD", (1.0, 1.1, 1.3))
    verdicts = [found.verdict for found in experiment(TOY, seeds=3).findings()]
    assert verdicts == ["holds", "does not hold: the opposite is seen", "holds"]


def test_the_page_says_how_it_was_run_and_what_was_not(tmp_path: Path) -> None:
    result = experiment(TOY, ToyConfig(steps=7), seeds=3)
    page = results_page(result)
    assert "`likewise reproduce toy --seeds 3 --steps 7`" in page
    assert "| seeds | 0, 1, 2 |" in page
    assert "(paper 2.500*)" in page and "A star marks a number of the paper that is from memory" in page
    assert "| missing | not run |" in page and "Tables not run: never." in page
    assert "| `rate` | 0.5 | how fast |" in page
    write_results(result, tmp_path / "toy.md")
    lines = [json.loads(line) for line in (tmp_path / "toy.jsonl").read_text().splitlines()]
    assert [line["seed"] for line in lines] == [0, 1, 2]
    assert {cell["row"]: cell["value"] for cell in lines[1]["cells"]} == {"good": 3.0, "bad": 1.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"bfloat16": True, "hausdorff": False},
        {"methods": "random pairs,all pairs", "steps": 3},
        {"methods_lake": "", "start": 0.5},
    ],
)
def test_the_command_of_a_page_runs_what_was_run(
    changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words of the command, as a shell splits them, are the configuration again."""
    import likewise.recipes.experiment.runner as runner

    recipe = dataclasses.replace(
        load_recipe("siamese-oneshot"), run=lambda config, *, seed, data: Outcome(), claims=()
    )
    config = dataclasses.replace(recipe.config(), **changes)
    program, command, *words = shlex.split(experiment(recipe, config, seeds=1).facts["command"])
    assert (program, command) == ("likewise", "reproduce")
    asked: list[RecipeConfig] = []

    def note(recipe: Recipe, config: RecipeConfig, **_: object) -> None:
        asked.append(config)
        raise InputError("asked")

    monkeypatch.setattr(runner, "experiment", note)
    assert main([command, *words]) == 2
    assert asked == [config]


def test_a_run_can_be_kept_after_every_seed() -> None:
    seen: list[int] = []
    experiment(TOY, seeds=3, after=lambda result: seen.append(len(result.outcomes)))
    assert seen == [1, 2, 3]


def drawn(config: ToyConfig, *, seed: int, data: object) -> Outcome:
    """A figure that hangs on PyTorch's own generator, beside the process and its threads."""
    outcome = Outcome()
    outcome.record("t", "good", {"figure": torch.rand(()).item()})
    outcome.record("t", "bad", {"figure": float(os.getpid())})
    outcome.record("never", "good", {"figure": float(torch.get_num_threads())})
    return outcome


def test_seeds_by_several_processes_are_those_of_one() -> None:
    recipe = dataclasses.replace(TOY, run=drawn)
    alone, shared = experiment(recipe, seeds=3), experiment(recipe, seeds=3, parallel=2)
    assert list(shared.outcomes) == [0, 1, 2]
    for seed, outcome in shared.outcomes.items():
        assert outcome.cells["t", "good", "figure"] == alone.outcomes[seed].cells["t", "good", "figure"]
        assert outcome.cells["t", "bad", "figure"] != os.getpid()
        threads = max(1, torch.get_num_threads() // 2)
        assert outcome.cells["never", "good", "figure"] == threads
    assert shared.facts["command"] == "likewise reproduce toy --seeds 3 --parallel 2"


def failing(config: ToyConfig, *, seed: int, data: object) -> Outcome:
    raise InputError(f"seed {seed} can't be run")


def test_an_error_in_another_process_is_the_same_error() -> None:
    with pytest.raises(InputError, match=r"^seed [01] can't be run$"):
        experiment(dataclasses.replace(TOY, run=failing), seeds=2, parallel=2)


def test_a_cell_without_a_place_is_refused() -> None:
    def strange(config: ToyConfig, *, seed: int, data: object) -> Outcome:
        outcome = Outcome()
        outcome.record("t", "nobody", {"figure": 1.0})
        return outcome

    recipe = Recipe("toy", "A toy.", ToyConfig, ToyConfig(), strange, TOY.tables, ())
    with pytest.raises(InputError, match="no table has a place for the cell t / nobody / figure"):
        experiment(recipe, seeds=1)


def test_a_field_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="this recipe has no field 'step'; did you mean 'steps'"):
        config_from_mapping(ToyConfig, {"step": 3})
    assert config_from_mapping(ToyConfig, {"rate": 2}, start=ToyConfig(steps=9)) == ToyConfig(9, 2.0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["proxy-ncaa"], "there is no recipe 'proxy-ncaa'; did you mean 'proxy-nca'?"),
        (["proxy-nca", "--step", "3"], "recipe proxy-nca has no field '--step'; did you mean '--steps'?"),
        (["proxy-nca", "--batch", "2"], "batch must be at least 8; found 2"),
        (["proxy-nca", "--steps", "many"], "--steps"),
        (["proxy-nca", "--seeds", "0"], "seeds must be at least 1; found 0"),
        (["proxy-nca", "--parallel", "0"], "parallel must be at least 1; found 0"),
        (["proxy-nca", "extra"], "likewise reproduce can't use 'extra': one argument too many"),
        (["proxy-nca", "--sources", "omniglott"], "sources must be of Omniglot, emoji, letter, MNIST"),
        (["pddm", "--methods", "PDMM;triplet"], "; lifted; found 'PDMM'; did you mean 'PDDM'?"),
        (["pddm", "--methods", ";"], "methods must name at least one of PDDM; PDDM, one a batch"),
        (["geometry-aware", "--methods", "lambda 0.4"], "found 'lambda 0.4'; did you mean 'lambda 0.5'?"),
        (["geometry-aware", "--sizes", "5,7"], "sizes must be of 5, 10, 20, 50; found '7'"),
        (["triplet-network", "--methods", "ratio"], "methods must be of ratio, paper's scale; ratio, code's"),
        (
            ["siamese-oneshot", "--methods-lake", "distort"],
            "methods_lake must be of as printed, random pairs",
        ),
        (["face-verification", "--methods", "2006"], "methods must be of 2005 energy; 2006 margin"),
    ],
)
def test_a_wrong_request_is_one_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


@pytest.mark.parametrize("name", sorted(recipe_summaries()))
def test_no_field_of_a_recipe_is_an_option_of_all(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", name, "--help"]) == 0
    told = capsys.readouterr().out
    for field in dataclasses.fields(load_recipe(name).config):
        assert told.count(f"  --{field.name.replace('_', '-')}") >= 1
    assert "--parallel N" in told and "--seeds N" in told


def test_help_of_a_recipe_lists_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "siamese-oneshot", "--help"]) == 0
    told = capsys.readouterr().out
    assert "--learning-rate" in told and "--hausdorff, --no-hausdorff" in told and "--quick" in told


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["proxy-nca", "--quick"], "uci/letter"),
        (["pddm", "--sources", "emoji"], "emoji/emoji_png72.zip"),
        (["geometry-aware"], "mnist/train-images-idx3-ubyte"),
        (["triplet-network", "--sources", "CIFAR-10"], "cifar10/"),
        (["siamese-oneshot"], "omniglot/omniglot_105.npz"),
        (["face-verification"], "att_faces/att_faces.npz"),
    ],
)
def test_missing_data_says_where_it_was_looked_for(
    words: list[str],
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import likewise.data.places as places

    monkeypatch.setattr(
        places,
        "data_places",
        lambda data=None: [places.Place(tmp_path if data is None else Path(data), "--data")],
    )
    page = tmp_path / "page.md"
    assert main(["reproduce", *words, "--data", str(tmp_path), "--page", str(page)]) == 2
    told = capsys.readouterr().err
    assert file in told and str(tmp_path) in told and "name its folder with LIKEWISE_DATA" in told
    assert told.count("\n") == 1 and not page.exists()
