"""The page of the linear benchmark, made of nothing but the figures of a run, or of several in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness import table, told

__all__ = ["runs_told", "write_page"]

Row = dict[str, Any]

INTRODUCTION = """\
# Linear learners: time

Fits of the same rows by likewise, metric-learn 0.7 and scikit-learn: 70 % of each table, standardised;
learners from tuples get the same tuples, drawn from the labels. Every fit ran in a process of its own on
one thread, with each library's own defaults; times are seconds of the processor, peaks are beyond what the
libraries themselves take. "To theirs" is when our descent first stood at the other's final objective or below
(within a part of 1e-6), the objective being computed by one function for all; where it ended above, "never".
"Times faster" counts to there; where no objective is in common, to the end of both. Accuracy is that of 3
nearest neighbours on the other 30 %. A fit that was stopped by its limit is printed as "> limit".
{peer}
"""

FLOOR = """\
The floor is what any evaluation must do, in float32 and nothing else: the map, the table of products by tiles
that fit the cache, and the two products of a gradient. An evaluation's sums are float64; that it can come
below the floor is due to near columns being few, so that two of the three products are hardly there. Memory
is the peak beyond X and what the process held before."""

SAME_BEGINNING = """\
NCA's and MLKR's objectives have many ends, and which is reached depends on where a descent begins. Ours
begins, by default, where distances are short, and that is what the other tables show; here it begins, as the
others do, at the identity (`init="identity"`), and descends plainly."""

TRIED = """\
What was tried for a lower end of NCA and MLKR, judged by the objective alone. That a short beginning helps
was first seen on segment and digits; sizes and steps were chosen on other tables: MNIST at 7 x 7 pixels,
wdbc, glass, wheat-seeds, two that are called diabetes, and segment-challenge, which holds rows of segment.

- More memory of L-BFGS: no order in it. MLKR from the identity ends on segment at 72, 67, 69 and 67 with 5,
  10, 20 and 50 steps remembered, on digits at 192, 158, 179 and 159.
- Steps in whitened features, to the powers 1/4 and 1/2: MLKR ends on segment at 52 and 42, for 67, with
  more than ten times the evaluations, and on digits at 133 and 192, for 158.
- Going on from the end, made shorter, three times: lower in most cases, at two to four times the time.
- A shorter identity alone: MLKR ends lower in many dimensions (328 for 596 on MNIST), NCA on some tables
  only.
- Annealing, the length held at four sizes one after the other: NCA ends lower on each of these tables (of
  2,000 rows of MNIST 33 stay undecided, for 82), so it begins so. MLKR ends lower where targets are codes
  of classes and higher where they were measured (866,083 for 839,614 on the diabetes of scikit-learn), so
  it tries ten steps from a short beginning beside ten from the identity, and keeps the lower.

A fit of the other library that was stopped gives no objective to reach: then "times faster" is its limit
over the whole of our fit, and can't be more than that: our MLKR on optdigits stands at 61.5 after a quarter
of its time."""

PEERS = ("metric-learn", "scikit-learn")


def _contests(rows: Iterable[Row]) -> list[Row]:
    """A line a learner, table and other library."""
    found = []
    for row in rows:
        own = row["likewise"]
        for who in PEERS:
            if who not in row:
                continue
            theirs = row[who]
            line: Row = {"table": row["table"], "n": f"{row['n']:,}", "d": row["d"], "beside": who}
            line |= {"ours, s": _time(own), "theirs, s": _time(theirs)}
            if "objective" in theirs:
                line |= {
                    "our objective": f"{own.get('objective', float('nan')):.6g}",
                    "theirs": f"{theirs['objective']:.6g}",
                    "to theirs, s": _reached(theirs),
                }
            line |= {"times faster": _ratio(own, theirs)}
            line |= {"3-NN, ours": _accuracy(own), "3-NN, theirs": _accuracy(theirs)}
            line |= {"MB, ours": _megabytes(own), "MB, theirs": _megabytes(theirs)}
            found.append(line)
    return found


AIMS = (  # learner, beside, times faster
    *((learner, "metric-learn", 12.0) for learner in ("LMNN", "MLKR", "MMC", "SCML")),
    ("NCA", "scikit-learn", 3.0),
    ("NCA", "metric-learn", 10.0),
)
MANY = 1000  # rows learned from, which the digits of scikit-learn have


def _aims(rows: Sequence[Row]) -> list[Row]:
    """What was aimed at for tables of many rows, and what came of it, table by table."""
    found = []
    for learner, who, times in AIMS:
        reached = [
            (row["table"], _ratio(row["likewise"], row[who]) or "-")
            for row in rows
            if row["learner"] == learner and row["n"] >= MANY and who in row
        ]
        if reached:
            found.append(
                {
                    "learner": learner,
                    "beside": who,
                    "aim, times faster": f"{times:g}",
                    "reached": ", ".join(f"{table_} {ratio}" for table_, ratio in reached),
                    "not reached, or not shown": ", ".join(
                        table_ for table_, ratio in reached if not _met(ratio, times)
                    )
                    or "-",
                }
            )
    return found


def _met(ratio: str, times: float) -> bool:
    if ratio == "it fails":
        return True
    return ratio != "-" and float(ratio.removeprefix("> ")) >= times


def _itml(rows: Sequence[Row]) -> str:
    """ITML on many rows, to its residual of 1e-6, beside metric-learn's on iris."""
    own = [row for row in rows if row["learner"] == "ITML" and row["n"] >= MANY and row["d"] == 64]
    iris = [row for row in rows if row["learner"] == "ITML" and row["table"] == "iris"]
    if not own or not iris or "seconds" not in iris[0].get("metric-learn", {}):
        return ""
    told_ = ", ".join(f"{row['table']} {_time(row['likewise'])} s" for row in own)
    theirs = _time(iris[0]["metric-learn"])
    return f"ITML to a residual of 1e-6: {told_}; metric-learn's takes {theirs} s for iris."


def _identity(rows: Iterable[Row]) -> list[Row]:
    """A line where all began at the identity."""
    found = []
    for row in rows:
        own = row.get("likewise-identity", {})
        for who in PEERS:
            if own and who in row:
                theirs = row[who]
                reached = {**theirs, "ours reached it in": theirs.get("from the identity in")}
                if "objective" not in theirs:
                    reached.pop("ours reached it in")
                found.append(
                    {
                        "learner": row["learner"],
                        "table": row["table"],
                        "beside": who,
                        "ours, s": _time(own),
                        "theirs, s": _time(theirs),
                        "our objective": f"{own['objective']:.6g}" if "objective" in own else "-",
                        "theirs": f"{theirs['objective']:.6g}" if "objective" in theirs else "-",
                        "to theirs, s": _reached(reached) if "objective" in theirs else "-",
                        "times faster": _ratio(own, reached) or "-",
                    }
                )
    return found


def _alone(rows: Iterable[Row]) -> list[Row]:
    """Fits that no other library was asked for."""
    return [
        {
            "table": row["table"],
            "n": f"{row['n']:,}",
            "d": row["d"],
            "ours, s": _time(row["likewise"]),
            "3-NN, ours": _accuracy(row["likewise"]),
            "MB, ours": _megabytes(row["likewise"]),
        }
        for row in rows
        if not any(who in row for who in PEERS)
    ]


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _time(found: Row) -> str:
    if "seconds" in found:
        return _seconds(found["seconds"])
    stopped = str(found.get("stopped", "-")).replace("|", "/")
    if "MemoryError" in stopped:
        return "asks for more than 12 GiB"
    return "its graphical lasso fails" if "problem in SDML" in stopped else stopped


def _accuracy(found: Row) -> str | None:
    return f"{found['accuracy']:.3f}" if "accuracy" in found else None


def _megabytes(found: Row) -> str | None:
    return f"{found['megabytes']:.0f}" if "megabytes" in found else None


def _reached(theirs: Row) -> str:
    value = theirs.get("ours reached it in")
    return "never" if value is None else _seconds(value)


def _ratio(own: Row, theirs: Row) -> str | None:
    """How many times faster to the same objective, or to the end where there is none in common."""
    if "seconds" not in own:
        return None
    if "seconds" not in theirs:
        stopped = theirs.get("stopped", "")
        return f"> {float(stopped[2:-2]) / own['seconds']:.3g}" if stopped.startswith("> ") else "it fails"
    reached = theirs.get("ours reached it in", own["seconds"])
    return "-" if reached is None else f"{theirs['seconds'] / max(reached, 1e-9):.3g}"


def _columns(lines: Sequence[Row]) -> list[str]:
    """Those that any line has, in the order of the line that has most."""
    fullest = max(lines, key=len)
    return [column for column in fullest if any(line.get(column) is not None for line in lines)]


def _evaluations(rows: Sequence[Row]) -> list[Row]:
    return [
        {
            "n": f"{row['n']:,}",
            "d": row["d"],
            "evaluations": row["evaluations"],
            "all, s": _seconds(row["seconds"]),
            "slowest, s": _seconds(row["slowest"]),
            "floor, s": _seconds(row["floor"]),
            "slowest, in floors": f"{row['slowest, in floors']:.2f}",
            "MB": f"{row['megabytes']:.0f}",
            "X, MB": f"{row['X, megabytes']:.0f}",
        }
        for row in rows
    ]


def runs_told(environments: Sequence[Row]) -> list[str]:
    """What each run was, a sentence a run; not where its results went, and no version twice."""
    sentences: list[str] = []
    seen: Row = {}
    for line in environments:
        words = re.sub(r" --(json|page|peer|data) \S+", "", line["command"])
        if {**seen, "command": "", "commit": ""} == {**line, "command": "", "commit": ""}:
            sentences.append(f"Then `{words}` at commit `{line['commit']}`, there.")
        else:
            sentences.append(told({**line, "command": words}))
        seen = line
    return ["  \n".join(sentences)]


def write_page(path: Path, lines: Sequence[Row]) -> None:
    """Write the page of the lines of a JSON; of what was measured twice the later stands."""
    runs = [line for line in lines if line.get("kind") == "run"]
    parts = [INTRODUCTION.format(peer=next((run["peer"] for run in runs if "0.7" in run["peer"]), ""))]
    parts += runs_told([line for line in lines if "kind" not in line])
    if runs:
        loads = ", ".join(f"{run['load']:.0f}" for run in runs)
        parts.append(f"The machine's load was {loads} as they began.")
    measured = {
        tuple(line.get(name) for name in ("kind", "learner", "table", "n", "d")): line
        for line in lines
        if line.get("kind") in ("fit", "evaluations")
    }
    rows = list(measured.values())
    evaluations = [row for row in rows if row["kind"] == "evaluations"]
    if evaluations:
        told_of = _evaluations(evaluations)
        parts += ["## NCA, one evaluation", FLOOR, table(told_of, list(told_of[0]))]
    fits = sorted((row for row in rows if row["kind"] == "fit"), key=lambda row: row["n"])
    if aims := _aims(fits):
        parts += [
            "## What was aimed at",
            "On tables with 1,000 rows to learn from or more. A dash beside a table is where our descent "
            "ended above theirs: objectives of NCA and MLKR have many ends.",
            table(aims, list(aims[0])),
            _itml(fits),
        ]
    if same := _identity(fits):
        parts += ["## From the same beginning", SAME_BEGINNING, table(same, list(same[0]))]
        parts += ["## What was tried", TRIED]
    for learner in dict.fromkeys(row["learner"] for row in fits):
        own = [row for row in fits if row["learner"] == learner]
        parts.append(f"## {learner}")
        for told_of in (_contests(own), _alone(own)):
            if told_of:
                parts.append(table(told_of, _columns(told_of)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(part.strip() for part in parts if part) + "\n", encoding="utf-8")
