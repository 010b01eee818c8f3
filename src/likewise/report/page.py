"""A report of one HTML file: nothing is loaded from elsewhere, no script runs.

Light or dark as the reader's system asks, readable at 400 pixels. Every text is escaped: names of
classes and files come from strangers.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from types import MappingProxyType
from typing import Any

from likewise.report.figures import PairDistances, Theme, panel_svg

__all__ = ["HEADLINES", "Column", "Section", "report_page"]


@dataclass(frozen=True)
class Column:
    """One thing that was measured: its name, and its figures as ``{task: {name: figure}}``."""

    title: str
    figures: Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Section:
    """A headed part of the page: a sentence, panels, and lines of facts."""

    title: str
    text: str = ""
    panels: Sequence[PairDistances] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


HEADLINES = MappingProxyType(
    {
        ("retrieval", "recall@1"): "recall@1",
        ("retrieval", "map@r"): "MAP@R",
        ("verification", "eer"): "EER (lower is better)",
        ("few_shot", "accuracy"): "few-shot accuracy",
    }
)
_MEANINGS = {
    ("retrieval", "recall@1"): "the nearest other thing is of the same class",
    ("retrieval", "map@r"): "how well the R others of a class fill the first R places",
    ("verification", "eer"): "pairs judged wrongly, at the threshold where both errors are equal",
    ("few_shot", "accuracy"): "things given to the right one of five new classes, from one example of each",
}

_CSS = """
:root { color-scheme: light dark; --back: #fff; --ink: #1c2128; --faint: #5a6472; --line: #d9dee4;
  --good: #0072b2; --panel: #f5f7f9 }
@media (prefers-color-scheme: dark) { :root { --back: #15191e; --ink: #e8ebef; --faint: #a3adb8;
  --line: #333b45; --good: #56b4e9; --panel: #1d232a } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 62rem; background: var(--back);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0 }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem }
p { max-width: 44rem; margin: .4rem 0 }
.lead { font-size: 1.1rem } .faint { color: var(--faint); font-size: .9rem }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: .6rem }
.panels img { width: 100%; height: auto; display: block }
figure { margin: .8rem 0 } figcaption { color: var(--faint); font-size: .9rem }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 }
th, td { text-align: left; padding: .45rem .8rem .45rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top } thead th { font-size: .9rem; color: var(--faint); font-weight: 600 }
td strong { font-size: 1.05rem } td small { color: var(--faint); white-space: nowrap; display: block }
tbody th { font-weight: 600 } tbody th small { display: block; color: var(--faint); font-weight: 400 }
tbody td:nth-child(2) strong { color: var(--good) } td { font-variant-numeric: tabular-nums }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .6rem 0 }
dt { color: var(--faint) } dd { margin: 0; overflow-wrap: anywhere }
summary { cursor: pointer; color: var(--faint) }
code { background: var(--panel); padding: .1rem .3rem; border-radius: .2rem }
@media (max-width: 34rem) { thead { display: none } tr { display: grid;
  grid-template-columns: repeat(3, 1fr); gap: 0 .5rem;
  border-bottom: 1px solid var(--line); padding: .4rem 0 } tbody th { grid-column: 1 / -1 }
  th, td { border: 0; padding: .15rem 0 } td::before { content: attr(data-column); display: block;
  color: var(--faint); font-size: .85rem } dl { grid-template-columns: 1fr; gap: 0 }
  dd { margin-bottom: .4rem } }
"""


def report_page(
    *, title: str, lead: str, columns: Sequence[Column], sections: Sequence[Section], footer: str = ""
) -> str:
    """Write the page.

    Parameters
    ----------
    title, lead : str
        The heading, and the sentence that says what was found.
    columns : sequence of Column
        What was measured, the model first, then what it is held against.
    sections : sequence of Section
        The first stands above the table of figures, the others below it.
    footer : str
        What made the page.

    Returns
    -------
    str
        A whole HTML document.

    >>> figure = {"value": 0.9, "low": 0.8, "high": 0.95}
    >>> page = report_page(title="<Digits>", lead="Better.", sections=[],
    ...                    columns=[Column("this model", {"retrieval": {"recall@1": figure}})])
    >>> "<h1>&lt;Digits&gt;</h1>" in page, "0.900" in page, "0.800 to 0.950" in page
    (True, True, True)
    """
    first, *others = [_section(section) for section in sections] or [""]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>",
            f"<style>{_CSS}</style></head><body>",
            f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>',
            first,
            _figures(columns),
            *others,
            f'<p class="faint">{escape(footer)}</p>',
            "</body></html>\n",
        ]
    )


def _section(section: Section) -> str:
    parts = [f"<section><h2>{escape(section.title)}</h2>"]
    if section.panels:
        panels = "".join(_panel(pairs) for pairs in section.panels)
        caption = f"<figcaption>{escape(section.text)}</figcaption>"
        parts.append(f'<figure><div class="panels">{panels}</div>{caption}</figure>')
    elif section.text:
        parts.append(f"<p>{escape(section.text)}</p>")
    if section.facts:
        facts = (f"<dt>{escape(name)}</dt><dd>{escape(told)}</dd>" for name, told in section.facts.items())
        parts.append(f"<dl>{''.join(facts)}</dl>")
    return "".join([*parts, "</section>"])


def _panel(pairs: PairDistances) -> str:
    told = (
        f"{pairs.title}: distances of same-class and different-class pairs; "
        f"{100 * pairs.error_rate:.1f} % lie on the wrong side of the threshold {pairs.threshold:.3g}"
    )
    light, dark = (_data_uri(panel_svg(pairs, theme=theme)) for theme in (Theme.light(), Theme.dark()))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" width="520" height="350" alt="{escape(told)}"></picture>'
    )


def _data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")


def _figures(columns: Sequence[Column]) -> str:
    if not columns:
        return ""
    every = [(task, name) for task, measured in columns[0].figures.items() for name in measured]
    first = [key for key in HEADLINES if key in every] or every
    rest = [key for key in every if key not in first]
    more = f"<details><summary>All figures</summary>{_table(columns, rest)}</details>" if rest else ""
    return (
        f"<section><h2>Figures</h2>{_table(columns, first)}"
        f'<p class="faint">Small: 95 % intervals.</p>{more}</section>'
    )


def _table(columns: Sequence[Column], keys: Sequence[tuple[str, str]]) -> str:
    heads = "".join(f'<th scope="col">{escape(column.title)}</th>' for column in columns)
    rows = [
        f'<tr><th scope="row">{_name(key)}</th>'
        + "".join(_cell(column, column.figures.get(key[0], {}).get(key[1])) for column in columns)
        + "</tr>"
        for key in keys
    ]
    return f"<table><thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _name(key: tuple[str, str]) -> str:
    told = HEADLINES.get(key, f"{key[0].replace('_', '-')} {key[1]}")
    meaning = f"<small>{escape(_MEANINGS[key])}</small>" if key in _MEANINGS else ""
    return escape(told) + meaning


def _cell(column: Column, figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure["value"] is None or not math.isfinite(figure["value"]):
        return f'<td data-column="{escape(column.title)}">-</td>'
    interval = ""
    if figure.get("low") is not None and figure.get("high") is not None:
        interval = f"<small>{figure['low']:.3f} to {figure['high']:.3f}</small>"
    return f'<td data-column="{escape(column.title)}"><strong>{figure["value"]:.3f}</strong>{interval}</td>'
