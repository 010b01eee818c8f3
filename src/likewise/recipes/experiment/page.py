"""The page of a recipe's results, and the same tables for a terminal: Markdown either way."""

from __future__ import annotations

import json
import math
import os
from dataclasses import fields
from pathlib import Path

from likewise.evaluation import Figure
from likewise.recipes.experiment.outcome import Paper, Table
from likewise.recipes.experiment.runner import Finding, Result

__all__ = ["results_page", "results_tables", "write_results"]

_NOT_RUN = "not run"


def results_tables(result: Result) -> str:
    """Every table with at least one cell that was run, and the findings.

    Figures are means with 95 % intervals; "paper" stands beside ours, and a star marks what is from memory.
    """
    parts = [
        _table(result, table)
        for table in result.recipe.tables
        if any(k[0] == table.name for k in _run(result))
    ]
    found = result.findings()
    if found:
        parts.append("## Findings\n\n" + "\n".join(f"- {_sentence(result, each)}" for each in found))
    return "\n\n".join(parts)


def results_page(result: Result) -> str:
    """The whole page, in Markdown."""
    recipe, facts = result.recipe, result.facts
    title, _, rest = recipe.about.partition("\n")
    seconds = [outcome.seconds for outcome in result.outcomes.values()]
    own = [
        f"| `{each.name}` | {getattr(result.config, each.name)} | {each.metadata['about']} |"
        for each in fields(result.config)
    ]
    filled = {key[0] for key in _run(result)}
    missing = [table.name for table in recipe.tables if table.name not in filled]
    starred = any(paper.from_memory for table in recipe.tables for paper in table.paper.values())
    over = f"{len(seconds)} seeds" if len(seconds) > 1 else "the test set's own units, of one seed"
    parts = [
        f"# {recipe.name}",
        "Written by the program that ran it; don't edit it by hand.",
        "| | |\n| --- | --- |\n"
        f"| command | `{facts['command']}` |\n| commit | {facts['commit']} |\n| date | {facts['when']} |\n"
        f"| seeds | {', '.join(map(str, result.outcomes))} |\n| machine | {facts['machine']} |\n"
        f"| versions | {facts['versions']} |\n"
        f"| time | {sum(seconds) / 60:.1f} minutes of processor time"
        f" ({', '.join(f'{each:.0f} s' for each in seconds)}) |",
        f"Intervals are of 95 %, over {over}. "
        + ("A star marks a number of the paper that is from memory and wasn't checked. " if starred else "")
        + "Nothing was tuned on the data that is reported, unless the text below says so.",
        results_tables(result),
        *([f"Tables {_NOT_RUN}: {'; '.join(missing)}."] if missing else []),
        f"## What is done\n\n{title}\n\n```text\n{rest.strip()}\n```",
        "## Configuration\n\n| field | value | what it is |\n| --- | --- | --- |\n" + "\n".join(own),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_results(result: Result, page: str | os.PathLike[str]) -> None:
    """Write the page, and beside it one JSON line a seed with every cell."""
    path = Path(page)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(line) + "\n" for line in result.lines())
    path.with_suffix(".jsonl").write_text(lines, "utf-8")
    path.write_text(results_page(result), "utf-8")


def _run(result: Result) -> set[tuple[str, str, str]]:
    return {key for outcome in result.outcomes.values() for key in outcome.cells}


def _table(result: Result, table: Table) -> str:
    lines = [f"## {table.name}"]
    if table.about:
        lines += ["", table.about]
    lines += ["", "| | " + " | ".join(table.figures) + " |", "| --- |" + " --- |" * len(table.figures)]
    for row in table.rows:
        cells = [
            _cell(result.cell(table.name, row, figure), table.paper.get((row, figure)), table.digits)
            for figure in table.figures
        ]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(figure: Figure | None, paper: Paper | None, digits: int) -> str:
    ours = _NOT_RUN if figure is None else _number(figure, digits)
    return ours if paper is None else f"{ours} ({paper})"


def _number(figure: Figure, digits: int, *, sign: str = "") -> str:
    if math.isnan(figure.value):
        return "-"
    value = f"{figure.value:{sign}.{digits}f}"
    if math.isnan(figure.low):
        return value
    return f"{value} [{figure.low:{sign}.{digits}f}, {figure.high:{sign}.{digits}f}]"


def _sentence(result: Result, found: Finding) -> str:
    claim = found.claim
    digits = next(table.digits for table in result.recipe.tables if table.name == claim.table)
    ours = result.cell(claim.table, claim.better, claim.figure)
    if isinstance(claim.than, float):
        against = f"{claim.than:.{digits}f}"
    else:
        other = result.cell(claim.table, claim.than, claim.figure)
        against = f"{'-' if other is None else f'{other.value:.{digits}f}'} ({claim.than})"
    value = "-" if ours is None else f"{ours.value:.{digits}f}"
    side = "less, which is better," if claim.smaller else "more"
    return (
        f"**{claim.says}**: {found.verdict}. {claim.table}, {claim.figure}: {value} ({claim.better}) "
        f"against {against}; by {_number(found.difference, digits, sign='+')} {side} in paired runs."
    )
