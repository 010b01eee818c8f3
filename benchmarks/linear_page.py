"""The page of the linear benchmark, made of nothing but the figures of a run, or of several in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import table, told

__all__ = ["write_page"]

Row = dict[str, Any]

INTRODUCTION = """\
# Linear learners: time

Fits of the same rows by likewise, metric-learn 0.7 and scikit-learn: 70 % of each table, standardised;
learners from tuples get the same tuples, drawn from the labels. Every fit ran in a process of its own on
one thread, with each library's own defaults; times are seconds of the processor, peaks are beyond what the
libraries themselves take. "Same objective" is when our descent first stood at the other's final objective
or below (within a part of 1e-6), the objective being computed by one function for all; "never" where it
ended above. Accuracy is that of 3 nearest neighbours on the other 30 %. A fit was stopped after {limit:.0f}
s. The machine's load was {load:.1f} at the beginning. {peer}
"""

PEERS = ("metric-learn", "scikit-learn")


def _rows(rows: Sequence[Row], learner: str) -> list[Row]:
    found = []
    for row in rows:
        if row["kind"] != "fit" or row["learner"] != learner:
            continue
        own = row["likewise"]
        line: Row = {"table": row["table"], "n": f"{row['n']:,}", "d": row["d"]}
        line |= {"ours, s": _time(own), "ours, 3-NN": own.get("accuracy"), "ours, MB": own.get("megabytes")}
        for who in PEERS:
            if who in row:
                theirs = row[who]
                line |= {f"{who}, s": _time(theirs), f"{who}, 3-NN": theirs.get("accuracy")}
                line |= {f"{who}, MB": theirs.get("megabytes"), f"faster than {who}": _ratio(own, theirs)}
                if "objective" in theirs:
                    line[f"objective, ours / {who}"] = (
                        f"{own.get('objective', 0):.5g} / {theirs['objective']:.5g}"
                    )
                    line[f"same objective as {who}, s"] = _reached(theirs)
        found.append(line)
    return found


def _time(found: Row) -> Any:
    return found.get("seconds", found.get("stopped"))


def _reached(theirs: Row) -> Any:
    value = theirs.get("ours reached it in")
    return "never" if value is None else value


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
    return list(dict.fromkeys(column for line in lines for column in line))


def write_page(path: Path, lines: Sequence[Row]) -> None:
    """Write the page of the lines of a JSON; of what was measured twice the later stands."""
    run = [line for line in lines if line.get("kind") == "run"][-1]
    environments = [line for line in lines if "kind" not in line]
    parts = [INTRODUCTION.format(**run), *map(told, environments)]
    measured = {
        tuple(line.get(name) for name in ("kind", "learner", "table", "n", "d")): line
        for line in lines
        if line.get("kind") in ("fit", "evaluations")
    }
    rows = list(measured.values())
    evaluations = [row for row in rows if row["kind"] == "evaluations"]
    if evaluations:
        columns = [name for name in evaluations[0] if name != "kind"]
        parts += [
            "## NCA, one evaluation",
            "The floor is the table of products and the two products of a "
            "gradient, in blocks of the same size, in float64, and nothing else.",
            table(evaluations, columns),
        ]
    for learner in dict.fromkeys(row["learner"] for row in rows if row["kind"] == "fit"):
        fits = _rows(rows, learner)
        parts += [f"## {learner}", table(fits, _columns(fits))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
