"""Linear learners beside metric-learn 0.7 and scikit-learn: time to the same objective, and accuracy.

    python benchmarks/linear.py --peer /path/to/python [--tables iris wine] [--learners LMNN NCA]
        [--limit 600] [--json docs/results/linear-speed.jsonl] [--page docs/results/linear-speed.md]

``--peer`` (or METRIC_LEARN_PYTHON) is the interpreter of an environment with metric-learn 0.7 and
scikit-learn below 1.8. Every fit is a process of its own on one thread, stopped after ``--limit`` seconds.
All contenders get the same rows (70 % of a table, standardised) and, where they learn from tuples, the same
tuples. ``--evaluations N D`` times single evaluations of NCA against the floor instead of fits. ``--from``
writes the page of a JSON again; the lines of several runs may stand in it one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from harness import environment, write_lines
from linear_evaluations import evaluations
from linear_page import write_page
from linear_tables import TABLES, Parts, split
from linear_worker import TUPLES
from sklearn.neighbors import KNeighborsClassifier

from likewise.linear.lmnn import LargeMargin
from likewise.linear.mlkr import regression_error
from likewise.linear.nca import nca_objective
from likewise.linear.tuples import pairs_from_labels, quadruplets_from_labels, triplets_from_labels

Row = dict[str, Any]

LEARNERS = ("LMNN", "NCA", "MLKR", "MMC", "SCML", "ITML", "LSML", "SDML", "RCA", "LFDA", "Covariance")
SPEED_TABLES = (
    "iris",
    "wine",
    "ionosphere",
    "digits",
    "segment",
    "optdigits",
    "letter",
    "synthetic-5000",
    "synthetic-50000",
)
SAME = 1e-6  # a part of an objective that is no difference
WORKER = Path(__file__).resolve().parent / "linear_worker.py"


def tuples(learner: str, y: np.ndarray) -> dict[str, np.ndarray]:
    """The tuples that all contenders get: the library's seeded rules, with its default counts."""
    generator, count = np.random.default_rng(0), min(20 * len(np.unique(y)) ** 2, 100_000)
    kinds = {"left": pairs_from_labels, "anchor": triplets_from_labels, "first": quadruplets_from_labels}
    names = TUPLES.get(learner)
    if names is None:
        return {}
    if names[0] == "anchor":
        count = min(20 * len(y), 100_000)
    drawn = kinds[names[0]](y, count, generator)
    lists = {"first": "left", "second": "right", "third": "far_left", "fourth": "far_right"}
    return {name: getattr(drawn, lists.get(name, name)).numpy() for name in names}


def objective(
    learner: str, parts: Parts, given: dict[str, np.ndarray]
) -> Callable[[np.ndarray], float] | None:
    """The objective of some L, smaller is better, where contenders share it; the same code for all."""
    rows = parts.X - parts.X.mean(axis=0)
    if learner == "LMNN":
        problem = LargeMargin.of(rows, parts.y, 3, 0.5)
        return lambda components: problem.value(components)[0]
    if learner == "NCA":
        return lambda components: nca_objective(components, rows, parts.y)[0]
    if learner == "MLKR":
        return lambda components: regression_error(components, rows, parts.y.astype(float))[0]
    if learner == "MMC":
        differences, same = rows[given["left"]] - rows[given["right"]], given["same"]

        def spread(components: np.ndarray) -> float:
            squares = ((differences @ components.T) ** 2).sum(axis=1)
            return -float(np.sqrt(squares[~same]).sum() / np.sqrt(squares[same].sum()))

        return spread
    return None


def fitted(who: str, learner: str, source: Path, python: str, limit: float) -> Row:
    """The figures of one fit, or what stopped it."""
    target = source.with_name(f"{who}.npz")
    target.unlink(missing_ok=True)
    command = [python, str(WORKER), who, learner, str(source), str(target), str(limit)]
    try:  # the worker bounds its seconds of the processor; those that pass may be more on a busy machine
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5 * limit + 120)
    except subprocess.TimeoutExpired:
        return {"stopped": f"> {limit:.0f} s"}
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return {"stopped": f"> {limit:.0f} s"}
    if done.returncode or not target.is_file():
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        return {"stopped": (lines or [f"exit status {done.returncode}"])[-1][:100]}
    with np.load(target) as held:
        return {key: held[key] if held[key].ndim else float(held[key]) for key in held.files}


def contest(learner: str, table: str, options: argparse.Namespace) -> Row:
    """All contenders on one table."""
    made = TABLES[table](data=options.data)
    parts = split(made)
    given = tuples(learner, parts.y)
    value = objective(learner, parts, given)
    row: Row = {
        "kind": "fit",
        "learner": learner,
        "table": made.name,
        "n": len(parts.X),
        "d": parts.X.shape[1],
    }
    contenders = {"likewise": sys.executable}
    if options.peer:
        contenders["metric-learn"] = options.peer
    if learner == "NCA":
        contenders["scikit-learn"] = sys.executable
    if learner in ("NCA", "MLKR"):  # not convex: what comes of it depends on the beginning
        contenders["likewise-identity"] = sys.executable
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "input.npz"
        np.savez(source, X=parts.X, y=parts.y, **given)
        for who, python in contenders.items():
            results[who] = fitted(who, learner, source, python, options.limit)
    for who, found in results.items():
        row[who] = {key: found[key] for key in ("seconds", "megabytes", "stopped") if key in found}
        if "components" not in found:
            continue
        components = found["components"]
        neighbours = KNeighborsClassifier(3).fit(parts.X @ components.T, parts.y)
        row[who]["accuracy"] = float(neighbours.score(parts.X_test @ components.T, parts.y_test))
        if value is not None:
            row[who]["objective"] = value(components)
    for own, told in (("likewise", "ours reached it in"), ("likewise-identity", "from the identity in")):
        for who in ("metric-learn", "scikit-learn"):
            if "objective" in row.get(who, {}) and "objective" in row.get(own, {}):
                row[who][told] = reached(results[own], row[own]["objective"], row[who]["objective"])
    return row


def reached(own: Row, final: float, goal: float) -> float | None:
    """When our history first stood at their objective or below; None where it never did."""
    history, ended = own["history"], own["ended"]
    if not len(ended) or len(history) < len(ended):
        return own["seconds"] if final <= goal + SAME * abs(goal) else None
    # The history may be in another unit than the common objective: the last value tells which.
    values = history[-len(ended) :] * (final / history[-1])
    below = np.flatnonzero(values <= goal + SAME * abs(goal))
    if len(below):
        return float(ended[below[0]])
    return own["seconds"] if final <= goal + SAME * abs(goal) else None


def versions(peer: str | None) -> str:
    """What the other environment holds, as a sentence."""
    if not peer:
        return "metric-learn was not asked."
    code = "import metric_learn, sklearn; print(metric_learn.__version__, sklearn.__version__)"
    told = subprocess.run([peer, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return f"metric-learn {told[0]} ran with scikit-learn {told[1]}."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peer", default=os.environ.get("METRIC_LEARN_PYTHON"), help="metric-learn's interpreter"
    )
    parser.add_argument(
        "--tables", nargs="+", choices=TABLES, help="by default nine, or none with --evaluations"
    )
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=LEARNERS)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds a fit may take")
    parser.add_argument("--data", help="the folder of data sets")
    parser.add_argument("--evaluations", nargs=2, type=int, metavar=("N", "D"), action="append", default=[])
    parser.add_argument("--repeats", type=int, default=30, help="of an evaluation")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument(
        "--from", dest="source", type=Path, help="the JSON of runs, to write their page again"
    )
    options = parser.parse_args()
    if options.source:
        write_page(
            options.page, [json.loads(line) for line in options.source.read_text("utf-8").splitlines()]
        )
        return
    rows: list[Row] = []
    run = {"kind": "run", "load": os.getloadavg()[0], "limit": options.limit, "peer": versions(options.peer)}
    for n, d in options.evaluations:
        rows.append(evaluations(n, d, repeats=options.repeats))
        print(rows[-1], flush=True)
    for table in options.tables or (() if options.evaluations else SPEED_TABLES):
        for learner in options.learners:
            rows.append(contest(learner, table, options))
            print(rows[-1], flush=True)
            if options.json:  # what was measured stays, should the next fit be interrupted
                write_lines(options.json, [run, *rows])
    if options.json:
        write_lines(options.json, [run, *rows])
    if options.page:
        write_page(options.page, [environment(), run, *rows])


if __name__ == "__main__":
    main()
