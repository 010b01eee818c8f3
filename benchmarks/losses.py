"""Losses, forward and backward, beside the floor, pytorch-metric-learning and dense plain PyTorch.

    python benchmarks/losses.py [--quick] [--compiled] [--minutes 60] [--losses SupCon ...]

Random unit embeddings, one thread, seconds of the processor, best of nine in turn. Before anything is
timed, values and gradients of all contenders are compared; where they aren't equal nothing is timed. The
smallest measurements run first, and what doesn't fit into --minutes is left out, the largest first. Writes
losses.md, losses.jsonl and a picture into --out; --again writes page and picture anew from losses.jsonl.
--resume goes on with what an earlier run of the same commit left out, and keeps what it measured.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import loss_large
import loss_page
import torch
from contenders import Batch, Case, Contender, Size, differences, make_batch
from harness import ROOT, best_of, environment, write_lines
from loss_cases import CASES

SIZES = (32, 128, 512, 2048, 8192, 16384)
COMPILED = {"Contrastive", "MultiSimilarity", "SupCon", "TripletMargin"}
COMPILED_SIZES = {512, 2048}
TOLERANCE = 1e-4
PICTURED = ("TripletMargin", "SupCon")
SPEED = 3e10
"""Products a second of one core, roughly: for the order of measurements and what fits into the minutes."""

CHILDREN = 8.0
"""How much longer than a cell a child process may take and still come first: it says more."""

Row = dict[str, Any]


@dataclass
class Limits:
    """What a measurement may take: seconds a cell and a step, and gigabytes."""

    seconds: float
    longest: float
    gigabytes: float


@dataclass
class Known:
    """Times found so far, by who and what, to foresee those of larger batches."""

    times: dict[tuple[str, str, int, int], tuple[Size, float]] = field(default_factory=dict)

    def foresee(self, case: Case, who: str, size: Size) -> float:
        """Seconds of a step; zero where nothing is known yet."""
        found = self.times.get((case.name, who, size.d, size.k))
        if found is None:
            return 0.0
        smaller, seconds = found
        cost = {"theirs": case.their_bytes, "dense": case.dense_bytes}.get(who)
        growth = (size.n / smaller.n) ** 2
        return seconds * (growth if cost is None else max(growth, cost(size) / cost(smaller)))

    def learn(self, case: Case, size: Size, times: dict[str, float]) -> None:
        """Remember the times of a cell."""
        for who, seconds in times.items():
            self.times[case.name, who, size.d, size.k] = (size, seconds)


@dataclass(frozen=True)
class Task:
    """A measurement: what it is, about how long it takes in seconds, and its work, which gives rows."""

    row: Row
    cost: float
    run: Callable[[], list[Row]]


def too_large(case: Case, who: str, size: Size, known: Known, limits: Limits) -> bool:
    """Whether a contender would take too much memory or time, by its kind and by smaller batches."""
    cost = {"theirs": case.their_bytes, "dense": case.dense_bytes}.get(who)
    heavy = cost is not None and cost(size) > limits.gigabytes * 2**30
    return heavy or known.foresee(case, who, size) > limits.longest


def compiled(case: Case, batch: Batch) -> Contender:
    """The dense version under torch.compile, equal to the eager one or refused."""
    plain = case.dense(batch)
    value = plain.step().detach()
    gradients = [gradient.clone() for gradient in plain.gradients()]
    made = Contender(torch.compile(plain.value, dynamic=False), plain.leaves)
    gaps = [float((made.step().detach() - value).abs() / value.abs())]
    for found, expected in zip(made.gradients(), gradients, strict=True):
        gaps.append(float((found - expected).abs().max() / expected.abs().max()))
    if max(gaps) > TOLERANCE:
        raise SystemExit(f"{case.name}: compiled and eager differ by {max(gaps):.1e}")
    return made


def cell(case: Case, size: Size, known: Known, limits: Limits, *, with_compiled: bool) -> list[Row]:
    """Time one loss at one size."""
    row: Row = {"kind": "cell", "loss": case.name, "n": size.n, "d": size.d, "per_class": size.k}
    if too_large(case, "ours", size, known, limits):
        return [row | {"skipped": "too large"}]
    batch = make_batch(size)
    works: dict[str, Callable[[], object]] = {}
    if case.floor is not None:
        works["floor"] = case.floor(batch)
    works["ours"] = case.ours(batch).step
    beyond = []
    for who, builder in (("dense", case.dense), ("theirs", case.theirs)):
        if builder is None:
            continue
        if too_large(case, who, size, known, limits):
            beyond.append(who)
        else:
            works[who] = builder(batch).step
    if with_compiled and "dense" in works:
        works["compiled"] = compiled(case, batch).step
    times = best_of(works, seconds=limits.seconds, clock=time.process_time)
    known.learn(case, size, times)
    return [row | {f"{who}_ms": 1000 * seconds for who, seconds in times.items()} | {"beyond": beyond}]


def child(task: Row, timeout: float = 1800.0) -> Row:
    """What a child process of this program finds; a note where it doesn't come back."""
    arguments = [sys.executable, __file__, "--child", json.dumps(task)]
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"failed": f"no answer in {timeout:.0f} s"}
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {"failed": said[-1] if said else f"status {done.returncode}"}
    found: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def answer(task: Row) -> None:
    """Be the child: do the task and print what it gives."""
    function = {"peak": loss_large.peak, "measure": loss_large.measure}[task.pop("do")]
    print(json.dumps(function(**task)))


def peak_tasks(sizes: Iterable[int], known: Known, limits: Limits) -> list[Task]:
    """Peak memory of the pictured losses."""
    tasks = []
    for name in PICTURED:
        for n in sizes:
            for who in ("ours", "theirs", "dense"):
                size, case = Size(n, 128, 4), CASES[name]
                row: Row = {"kind": "peak", "loss": name, "who": who, "n": n, "d": 128, "per_class": 4}
                task = {"do": "peak", "task": "batch", "name": name, "who": who, "n": n, "d": 128, "other": 4}

                def run(row: Row = row, task: Row = task, case: Case = case, size: Size = size) -> list[Row]:
                    if too_large(case, str(row["who"]), size, known, limits):
                        return [row | {"skipped": "too large"}]
                    return [row | child(task)]

                tasks.append(Task(row, 6.0 + 40.0 * n * n * 128 / SPEED, run))
    return tasks


def large_tasks(limits: Limits, chosen: set[str]) -> list[Task]:
    """All triplets of 65,536, a million classes, a memory of 65,536."""
    tasks: list[Task] = []

    def add(row: Row, cost: float, **task: Any) -> None:
        row = {"kind": "large", **row}
        tasks.append(Task(row, cost, lambda: [row | child(task)]))

    if "TripletMargin" in chosen:
        options = {"task": "batch", "name": "TripletMargin", "who": "ours", "n": 65536, "d": 128, "other": 4}
        add(
            {"what": "all triplets", "loss": "TripletMargin", "who": "ours", "n": 65536},
            110.0,
            do="peak",
            **options,
        )
    for name in ("ProxyNCA", "NormalizedSoftmax", "ArcFace"):
        if name not in chosen:
            continue
        common = {"task": "classes", "name": name, "n": 512, "d": 128}
        for classes, who, cost in (
            (100_000, "ours", 8.0),
            (100_000, "theirs", 12.0),
            (1_000_000, "ours", 25.0),
        ):
            row = {"what": "class peak", "loss": name, "who": who, "classes": classes}
            add(row, cost, do="peak", who=who, other=classes, **common)
        whos = ["ours", "dense", "theirs"]
        row = {"what": "class times", "loss": name, "classes": 100_000}
        add(row, 25.0, do="measure", whos=whos, other=100_000, seconds=limits.seconds, **common)
    if "CrossBatchMemory" in chosen:
        for name in loss_large.MEMORY_LOSSES:
            common = {"task": "memory", "name": name, "n": 512, "d": 128, "other": 65536}
            for who in ("ours", "theirs"):
                add({"what": "memory peak", "loss": name, "who": who}, 8.0, do="peak", who=who, **common)
            whos = ["products", "ours", "dense", "theirs"]
            add(
                {"what": "memory times", "loss": name},
                25.0,
                do="measure",
                whos=whos,
                seconds=limits.seconds,
                **common,
            )
    return tasks


def plan(options: argparse.Namespace, known: Known, limits: Limits) -> list[Task]:
    """All measurements, the cheapest first."""
    tasks: list[Task] = []
    for name in (name for name in options.losses if name in CASES):
        case = CASES[name]
        for d in options.dimensions:
            for k in options.per_class if case.per_class else options.per_class[:1]:
                for n in options.sizes:
                    size = Size(n, d, k)
                    if n < 2 * k:  # one class alone has no negatives
                        continue
                    extra = options.compiled and name in COMPILED and n in COMPILED_SIZES
                    extra = extra and (d, k) == (128, 4)
                    step = 1e-3 + 60.0 * n * n * (d + 100) / (16 * SPEED)
                    cost = 0.2 + min(10.0 * step, limits.seconds + step) + (60.0 if extra else 0.0)
                    row: Row = {"kind": "cell", "loss": name, "n": n, "d": d, "per_class": k}

                    def run(case: Case = case, size: Size = size, extra: bool = extra) -> list[Row]:
                        return cell(case, size, known, limits, with_compiled=extra)

                    tasks.append(Task(row, cost, run))
    chosen = set(options.losses)
    if chosen.issuperset(PICTURED):
        tasks += peak_tasks([n for n in options.sizes if n >= 512], known, limits)
    if not options.quick:
        tasks += large_tasks(limits, chosen)
    return sorted(tasks, key=lambda task: task.cost / (CHILDREN if task.row["kind"] != "cell" else 1.0))


def check(names: Iterable[str], *, n: int = 64, d: int = 16) -> dict[str, dict[str, float]]:
    """How far contenders are apart, by loss: at 4 and, where classes matter, 16 a class."""
    found: dict[str, dict[str, float]] = {}
    for name in names:
        case = CASES[name]
        for k in (4, 16) if case.per_class else (4,):
            for who, gap in differences(case, make_batch(Size(n, d, k))).items():
                worst = max(found.setdefault(name, {}).get(who, 0.0), gap)
                found[name][who] = worst if math.isfinite(gap) else math.inf
    return found


def check_memory() -> dict[str, dict[str, float]]:
    """The same for the losses against a memory."""
    found: dict[str, dict[str, float]] = {}
    for name in loss_large.MEMORY_LOSSES:
        made = {}
        for who in ("dense", "ours", "theirs"):
            contender = loss_large.memory_contender(name, who, n=32, d=16, size=256)
            made[who] = (float(contender.step().detach()), contender.gradients()[0])
        value, gradient = made.pop("dense")
        found[f"CrossBatchMemory, {name}"] = {
            who: max(abs(other - value) / value, float((slope - gradient).abs().max() / gradient.abs().max()))
            for who, (other, slope) in made.items()
        }
    return found


def refuse_unequal(found: dict[str, dict[str, float]]) -> None:
    """Stop where contenders don't compute the same."""
    unequal = [
        f"{name}: {who} differs from the dense version by {gap:.1e}"
        for name, gaps in found.items()
        for who, gap in gaps.items()
        if not gap <= TOLERANCE
    ]
    if unequal:
        raise SystemExit("not timed, as not equal:\n" + "\n".join(unequal))


def run_all(tasks: list[Task], minutes: float) -> list[Row]:
    """Run what fits into the minutes."""
    begin, spent, rows = time.monotonic(), 1e-9, []
    expected = 1e-9
    for number, task in enumerate(tasks):
        taken = time.monotonic() - begin
        slowness = min(4.0, max(0.5, spent / expected)) if expected > 10 else 1.0
        if taken + task.cost * slowness > minutes * 60:
            rows += [task.row | {"skipped": "no time"}]
            continue
        done = task.run()
        rows += done
        spent, expected = spent + time.monotonic() - begin - taken, expected + task.cost
        label = " ".join(str(value) for value in task.row.values())
        print(
            f"[{number + 1}/{len(tasks)}, {(time.monotonic() - begin) / 60:.1f} min] {label}", file=sys.stderr
        )
    return rows


def _key(row: Row) -> str:
    """What a measurement is called in the file, whatever it gave."""
    names = ("kind", "what", "loss", "who", "n", "d", "per_class", "classes")
    return json.dumps({name: row[name] for name in names if name in row})


def earlier(file: Path, known: Known) -> tuple[Row, dict[str, Row]]:
    """The run and what it measured, by key, of a file to go on with; refused where it is another commit's."""
    there, run, *rows = (json.loads(line) for line in file.read_text("utf-8").splitlines())
    now = environment()
    differing = [name for name in ("commit", "packages", "machine") if there[name] != now[name]]
    if differing:
        raise SystemExit(f"--resume: {file} is of another {' and '.join(differing)}: leave out --resume")
    kept = {_key(row): row for row in rows if row.get("skipped") != "no time"}
    for row in sorted(kept.values(), key=lambda row: row.get("n", 0)):
        if row["kind"] == "cell":
            times = {name[:-3]: value / 1000 for name, value in row.items() if name.endswith("_ms")}
            known.learn(CASES[row["loss"]], Size(row["n"], row["d"], row["per_class"]), times)
    return run, kept


def parse() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    every = [*CASES, "CrossBatchMemory"]
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--dimensions", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--per-class", type=int, nargs="+", default=[4, 32])
    parser.add_argument("--losses", nargs="+", choices=every, default=every, metavar="LOSS")
    parser.add_argument("--quick", action="store_true", help="d=128, 4 a class, up to N=2,048")
    parser.add_argument("--compiled", action="store_true", help="torch.compile too, for a few losses")
    parser.add_argument("--minutes", type=float, default=60.0, help="leave out what doesn't fit")
    parser.add_argument("--seconds", type=float, default=20.0, help="for the rounds of one cell")
    parser.add_argument("--longest", type=float, default=60.0, help="seconds of one step, foreseen")
    parser.add_argument("--gigabytes", type=float, default=6.0, help="for one step of the others, foreseen")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results")
    parser.add_argument("--again", action="store_true", help="write the page from losses.jsonl")
    kinds = {"cell", "peak", "large"}
    parser.add_argument("--only", choices=sorted(kinds), help="cells, peaks of memory, or large cases alone")
    parser.add_argument("--resume", action="store_true", help="go on with losses.jsonl of this commit")
    parser.add_argument("--check", action="store_true", help="compare values and gradients only")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.sizes = [n for n in options.sizes if n <= 2048]
        options.dimensions, options.per_class = options.dimensions[:1], options.per_class[:1]
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    if options.child:
        answer(json.loads(options.child))
        return
    if options.again:
        loss_page.write(options.out)
        return
    found = check(name for name in options.losses if name in CASES)
    if "CrossBatchMemory" in options.losses:
        found |= check_memory()
    refuse_unequal(found)
    if options.check:
        print("\n".join(f"{name}: {gaps}" for name, gaps in found.items()))
        return
    limits, known = Limits(options.seconds, options.longest, options.gigabytes), Known()
    before: Row = {"minutes": 0.0, "load": [], "gap": 0.0, "command": ""}
    kept: dict[str, Row] = {}
    if options.resume:
        before, kept = earlier(options.out / "losses.jsonl", known)
    load = [*before["load"], os.getloadavg()[0]]
    begin = time.monotonic()
    tasks = [task for task in plan(options, known, limits) if _key(task.row) not in kept]
    tasks = [task for task in tasks if options.only in (None, task.row["kind"])]
    rows = [*kept.values(), *run_all(tasks, options.minutes)]
    load.append(os.getloadavg()[0])
    run: Row = {"kind": "run", "minutes": before["minutes"] + (time.monotonic() - begin) / 60, "load": load}
    run |= vars(limits)
    run["gap"] = max(before["gap"], *(gap for gaps in found.values() for gap in gaps.values()))
    commands = [*before["command"].split(" && "), environment()["command"]]
    run["command"] = " && ".join(dict.fromkeys(filter(None, commands)))
    write_lines(options.out / "losses.jsonl", [run, *rows])
    loss_page.write(options.out)


if __name__ == "__main__":
    main()
