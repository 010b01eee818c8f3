"""The linear benchmarks: their statistics are the published ones, and pages say what figures say."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from likewise import linear

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    """A script of the benchmarks' folder, in which they import each other by name."""
    if str(BENCHMARKS) not in sys.path:
        sys.path.insert(0, str(BENCHMARKS))
    return importlib.import_module(name)


accuracy, guide, page, speed, tables = (
    load(name) for name in ("linear_accuracy", "linear_guide", "linear_page", "linear", "linear_tables")
)
results = load("linear_results")


def test_the_f_test_is_alpaydin_s() -> None:
    """f = sum p^2 / (2 sum s^2) with s^2 the variance of each repetition's two differences, F(10, 5)."""
    differences = [(0.02, 0.04), (0.01, 0.03), (0.02, 0.02), (0.03, 0.01), (0.00, 0.02)]
    squares = sum(a * a + b * b for a, b in differences)
    spread = sum((a - (a + b) / 2) ** 2 + (b - (a + b) / 2) ** 2 for a, b in differences)
    from scipy.stats import f

    expected = f.sf(squares / (2 * spread), 10, 5)
    first = np.array(differences).ravel() + 0.9
    assert accuracy.f_test(first, np.full(10, 0.9)) == pytest.approx(expected)
    assert accuracy.f_test(first, first) == 1.0


def test_ranks_leave_out_what_did_not_run_everywhere() -> None:
    def row(table: str, method: str, score: float | None) -> dict[str, object]:
        found = {"refused": "> 1 s"} if score is None else {"scores": [score] * 10}
        return {"table": table, "method": method, **found}

    rows = [
        row("one", "a", 0.9), row("one", "b", 0.8), row("one", "c", 0.7), row("one", "slow", 0.99),
        row("two", "a", 0.9), row("two", "b", 0.9), row("two", "c", 0.1), row("two", "slow", None),
    ]  # fmt: skip
    found = accuracy.ranks(rows)
    assert found.methods == ["a", "b", "c"]
    assert found.ranks == [1.25, 1.75, 3.0]
    # Nemenyi: q_0.05 for three methods is 2.343 (Demsar 2006, table 5).
    assert found.critical == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 2)), abs=2e-3)


def test_every_learner_has_its_line_in_the_guide() -> None:
    learners = {
        name
        for name, kind in vars(linear).items()
        if inspect.isclass(kind) and hasattr(kind, "pair_distance")
    }
    assert learners - {"Learner"} == set(guide.GUIDE)
    lines = {line["learner"]: line for line in guide.guide([])}
    assert lines["ITML"]["learns from"] == "labels, pairs"
    assert lines["SCML"]["learns from"] == "labels, triplets"
    assert lines["Covariance"]["learns from"] == "none"
    assert lines["KPCATrick"]["learns from"] == "as the learner it holds"


def test_when_ours_reached_theirs() -> None:
    own = {"history": np.array([8.0, 4.0, 2.0]), "ended": np.array([0.1, 0.2, 0.3]), "seconds": 0.35}
    # The common objective is half of what the history says.
    assert speed.reached(own, 1.0, 2.0) == 0.2
    assert speed.reached(own, 1.0, 1.0) == 0.3
    assert speed.reached(own, 1.0, 0.9) is None
    assert speed.reached({**own, "ended": np.empty(0)}, 1.0, 5.0) == 0.35


def test_the_page_of_times_prints_what_was_stopped(tmp_path: Path) -> None:
    rows = [{
        "kind": "fit", "learner": "LMNN", "table": "x", "n": 10, "d": 2,
        "likewise": {"seconds": 0.5, "accuracy": 1.0, "megabytes": 1.0, "objective": 3.0},
        "metric-learn": {"stopped": "> 600 s"},
    }]  # fmt: skip
    environment = {"command": "c --peer p", "commit": "d", "machine": "m", "python": "3", "packages": {}}
    run = {"kind": "run", "load": 1.0, "limit": 600.0, "peer": "metric-learn 0.7.0 ran."}
    page.write_page(tmp_path / "a.md", [environment, run, *rows])
    text = (tmp_path / "a.md").read_text("utf-8")
    assert "| > 600 s |" in text
    assert "| > 1.2e+03 |" in text or "| > 1200 |" in text
    assert "Written by `c` at commit `d`" in text and "metric-learn 0.7.0 ran." in text


def test_aims_are_held_against_what_was_measured(tmp_path: Path) -> None:
    def fit(learner: str, table: str, n: int, ours: float, theirs: dict[str, object]) -> dict[str, object]:
        return {
            "kind": "fit", "learner": learner, "table": table, "n": n, "d": 2,
            "likewise": {"seconds": ours, "objective": 1.0}, "metric-learn": theirs,
        }  # fmt: skip

    reached = {"seconds": 24.0, "objective": 2.0, "ours reached it in": 1.0}
    never = {"seconds": 24.0, "objective": 0.5, "ours reached it in": None}
    rows = [
        fit("LMNN", "few", 999, 1.0, never),
        fit("LMNN", "many", 1000, 2.0, reached),
        fit("LMNN", "more", 2000, 5.0, {"stopped": "> 60 s"}),
        fit("MMC", "many", 1000, 2.0, never),
        fit("SCML", "many", 1000, 2.0, {"stopped": "MemoryError: 9 GiB"}),
    ]
    environment = {"command": "c", "commit": "d", "machine": "m", "python": "3", "packages": {}}
    run = {"kind": "run", "load": 1.0, "limit": 60.0, "peer": ""}
    page.write_page(tmp_path / "a.md", [environment, run, *rows])
    text = (tmp_path / "a.md").read_text("utf-8")
    assert "| LMNN | metric-learn | 12 | many 24, more > 12 | - |" in text
    assert "| MMC | metric-learn | 12 | many - | many |" in text
    assert "| SCML | metric-learn | 12 | many it fails | - |" in text
    assert "asks for more than 12 GiB" in text


def test_of_what_was_measured_twice_the_later_stands(tmp_path: Path) -> None:
    environment = {"command": "c --json j", "commit": "d", "machine": "m", "python": "3", "packages": {}}
    run = {"kind": "run", "load": 1.0, "most": 90, "seconds": 5.0}

    def row(method: str, score: float) -> dict[str, object]:
        return {"kind": "accuracy", "table": "x", "method": method, "scores": [score] * 10}

    first = [environment, run, row("raw", 0.5), row("standardised", 0.6), row("LDA", 0.1)]
    results.write_page(tmp_path / "p.md", [*first, {**environment, "commit": "e"}, run, row("LDA", 0.9)])
    text = (tmp_path / "p.md").read_text("utf-8")
    assert "| LDA | **0.900** | 0.900 |" in text and "| raw | 0.500 | 0.500 |" in text
    assert "at commit `d`" in text and "at commit `e`" in text and "--json" not in text
    assert "from 0.500 to 0.600, a gain of 0.100; the best learner here, LDA, adds 0.300" in text


def test_a_small_run_makes_a_page(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["x", "--data", str(shared_data), "--tables", "iris", "wine", "--methods", "LDA", "POLA"]
    arguments += ["--protocols", "accuracy", "--most", "90", "--page", str(tmp_path / "p.md")]
    monkeypatch.setattr(sys, "argv", arguments)
    results.main()
    text = (tmp_path / "p.md").read_text("utf-8")
    assert re.search(r"\| LDA \| (\*\*)?0\.9", text)
    assert (tmp_path / "images" / "linear-ranks.svg").is_file()
    assert "## Which learner" in text
