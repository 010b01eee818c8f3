"""The benchmark of losses: it compares equals, refuses others, and its page says what its figures say."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from likewise import losses as ours
from likewise.distances import Cosine, Euclidean
from likewise.table.product import ProductKernel

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    """A script of the benchmarks' folder, in which they import each other by name."""
    if str(BENCHMARKS) not in sys.path:
        sys.path.insert(0, str(BENCHMARKS))
    return importlib.import_module(name)


losses, contenders, page = load("losses"), load("contenders"), load("loss_page")


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # of pytorch-metric-learning's
@pytest.mark.parametrize("name", losses.CASES)
def test_ours_and_theirs_equal_the_dense_version(name: str) -> None:
    gaps = losses.check([name], n=32, d=8)[name]
    assert set(gaps) == ({"ours"} if losses.CASES[name].theirs is None else {"ours", "theirs"})
    assert all(gap < losses.TOLERANCE for gap in gaps.values()), gaps


def test_losses_against_a_memory_equal_the_dense_version() -> None:
    for gaps in losses.check_memory().values():
        assert set(gaps) == {"ours", "theirs"}
        assert all(gap < losses.TOLERANCE for gap in gaps.values()), gaps


def test_every_loss_is_covered() -> None:
    covered = {name.split(",")[0] for name in losses.CASES} | {"CrossBatchMemory"}
    assert set(ours.__all__) - {"Loss"} == covered


@pytest.mark.parametrize("who", ["value", "gradient"])
def test_what_is_not_equal_is_refused(monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    case = losses.CASES["SupCon"]

    def wrong(batch: Any) -> Any:
        right = case.ours(batch)
        (x,) = right.leaves
        if who == "value":
            return contenders.Contender(lambda: right.value() + 1e-3, [x])
        return contenders.Contender(lambda: right.value() + 1e-2 * (x - x.detach()).sum(), [x])

    monkeypatch.setitem(losses.CASES, "SupCon", dataclasses.replace(case, ours=wrong))
    with pytest.raises(SystemExit, match="SupCon: ours differs from the dense version"):
        losses.refuse_unequal(losses.check(["SupCon"], n=32, d=8))


def test_a_batch_that_moves_nothing_is_refused() -> None:
    def still(batch: Any) -> Any:
        x = batch.x.clone().requires_grad_()
        return contenders.Contender(lambda: (x * 0).sum() + 1, [x])

    case = contenders.Case("still", False, still, still, contenders.squares(1))
    gaps = contenders.differences(case, contenders.make_batch(contenders.Size(8, 2, 4)))
    assert gaps == {"ours": float("inf")}


@pytest.mark.parametrize("n", [96, 8200])
@pytest.mark.parametrize("distance", [Euclidean(), Cosine()])
def test_the_floor_takes_each_product_once(monkeypatch: pytest.MonkeyPatch, n: int, distance: Any) -> None:
    cells = {"tile": 0, "spread": 0}
    tile, spread = ProductKernel.tile, ProductKernel.spread

    def counted_tile(self: ProductKernel, first: int, last: int) -> torch.Tensor:
        made = tile(self, first, last)
        cells["tile"] += made.numel()
        return made

    def counted_spread(self: ProductKernel, slopes: torch.Tensor, *rest: Any) -> None:
        assert bool((slopes == 1e-3).all())
        cells["spread"] += slopes.numel()
        spread(self, slopes, *rest)

    monkeypatch.setattr(ProductKernel, "tile", counted_tile)
    monkeypatch.setattr(ProductKernel, "spread", counted_spread)
    contenders.floor(distance, torch.randn(n, 2))()
    assert cells == {"tile": n * n, "spread": n * n}


def test_the_page_says_what_the_figures_say(tmp_path: Path) -> None:
    cell = {"kind": "cell", "n": 2048, "d": 128, "per_class": 4, "beyond": ["theirs"]}
    rows: list[dict[str, Any]] = [
        {"packages": {}, "commit": "0", "machine": "M, 2 cores", "python": "3", "command": "page"},
        {"kind": "run", "command": "c", "minutes": 1.0, "load": [4.0, 0.1], "gap": 1e-7}
        | {"seconds": 1.0, "longest": 2.0, "gigabytes": 3.0},
        cell | {"loss": "SupCon", "ours_ms": 3.0, "floor_ms": 2.0, "dense_ms": 1.5},
        cell | {"loss": "NTXent", "ours_ms": 2.0, "floor_ms": 2.0, "dense_ms": 5.0},
        {"kind": "cell", "loss": "Circle", "n": 32, "d": 128, "per_class": 4, "skipped": "no time"},
        {"kind": "large", "what": "all triplets", "loss": "TripletMargin", "n": 65536, "seconds": 80.0}
        | {"megabytes": 100.0, "gradients": 32.0},
    ]
    (tmp_path / "losses.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    page.write(tmp_path)
    text = (tmp_path / "losses.md").read_text()
    assert "| 1 of 2 cells | 1.50: SupCon at N=2,048, d=128, 4 a class |" in text  # over the floor
    assert "| 1 of 2 cells | 2.00 times dense: SupCon at N=2,048" in text  # beside the fastest
    assert "| SupCon | 2,048 | 128 | 4 | 3 | 2 | dense |" in text
    assert "| SupCon | 2,048 | 3 | 1.5 | > | 0.5 | - |" in text
    assert "| Circle | 32 | not run |" in text
    assert "| 0 of 1 | 68: TripletMargin at N=65,536 |" in text  # 100 MB with a gradient of 32
    assert "shared with other work" in text
    assert (tmp_path / "images" / "losses.svg").is_file()
    assert (tmp_path / "images" / "losses-dark.svg").is_file()


def test_a_run_goes_on_where_one_of_the_same_commit_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = {"kind": "cell", "loss": "SupCon", "n": 32, "d": 8, "per_class": 4}
    done = cell | {"ours_ms": 3.0, "floor_ms": 2.0, "beyond": []}
    late = cell | {"n": 128, "skipped": "no time"}
    environment = {"commit": "abc", "packages": {}, "machine": "m"}
    lines = [environment, {"kind": "run", "minutes": 2.0}, done, late]
    file = tmp_path / "losses.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.setattr(losses, "environment", lambda: environment)
    known = losses.Known()
    run, kept = losses.earlier(file, known)
    assert run["minutes"] == 2.0
    assert [row["n"] for row in kept.values()] == [32]
    assert losses._key(late) not in kept
    assert known.foresee(losses.CASES["SupCon"], "ours", contenders.Size(64, 8, 4)) == pytest.approx(0.012)
    monkeypatch.setattr(losses, "environment", lambda: environment | {"commit": "other"})
    with pytest.raises(SystemExit, match="another commit"):
        losses.earlier(file, known)
