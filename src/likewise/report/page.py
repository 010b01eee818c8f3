"""A page of one HTML file: nothing is loaded from elsewhere, and no script runs but the page's own.

Light or dark as the reader's system asks, readable at 400 pixels. Every text is escaped: names of
classes and files come from strangers. The page's own policy lets a browser load nothing and run only the
one script whose hash it states.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from types import MappingProxyType
from typing import Any

from likewise.report.figures import PairDistances, Theme, panel_svg

__all__ = ["HEADLINES", "Column", "Markup", "Section", "data_uri", "report_page", "table"]


@dataclass(frozen=True)
class Markup:
    """A piece of HTML that one of our own functions wrote, every text in it escaped."""

    html: str


@dataclass(frozen=True)
class Column:
    """One thing that was measured: its name, and its figures as ``{task: {name: figure}}``."""

    title: str
    figures: Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Section:
    """A headed part of the page: a sentence, panels, pieces of markup, and lines of facts."""

    title: str
    text: str = ""
    panels: Sequence[PairDistances] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    pieces: Sequence[Markup] = ()


HEADLINES = MappingProxyType(
    {
        ("retrieval", "recall@1"): "recall@1",
        ("retrieval", "map@r"): "MAP@R",
        ("verification", "eer"): "EER (lower is better)",
        ("few_shot", "accuracy"): "few-shot accuracy",
    }
)
_MEANINGS = {
    ("verification", "auc"): "how often a pair of one class is nearer than a pair of two",
    ("retrieval", "r_precision"): "matches among the R nearest",
    ("retrieval", "recall@1"): "the nearest other thing is of the same class",
    ("retrieval", "map@r"): "how well the R others of a class fill the first R places",
    ("verification", "eer"): "pairs judged wrongly, at the threshold where both errors are equal",
    ("few_shot", "accuracy"): "things given to the right one of five new classes, from one example of each",
}

_CSS = """
:root { color-scheme: light dark; --back: #fff; --ink: #1c2128; --faint: #5a6472; --line: #d9dee4;
  --good: #0072b2; --bad: #b3480a; --panel: #f5f7f9 }
@media (prefers-color-scheme: dark) { :root { --back: #15191e; --ink: #e8ebef; --faint: #a3adb8;
  --line: #333b45; --good: #56b4e9; --bad: #e69f00; --panel: #1d232a } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 62rem; background: var(--back);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0 } h1, p, li { overflow-wrap: anywhere }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem }
p { max-width: 44rem; margin: .4rem 0 }
.lead { font-size: 1.1rem } .faint { color: var(--faint); font-size: .9rem }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: .6rem }
.panels img { width: 100%; max-width: 34rem; height: auto; display: block }
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
nav { display: flex; flex-wrap: wrap; gap: .2rem .9rem; font-size: .9rem; margin: .8rem 0 }
a { color: var(--good) } section { scroll-margin-top: 1rem }
.strip { display: block; width: 100%; max-width: 9rem; height: .5rem; margin-top: .15rem }
.strip rect { fill: var(--line) } .strip .span { fill: var(--good); opacity: .45 }
.strip .mark { fill: var(--ink) }
.alarm { border-left: .25rem solid var(--bad); padding: .1rem 0 .1rem .8rem }
.wide { overflow-x: auto } .wide table { min-width: 26rem } .wide tr { display: table-row }
.wide thead { display: table-header-group } .wide th, .wide td { padding: .3rem .8rem .3rem 0 }
.wide td::before { content: none }
code { background: var(--panel); padding: .1rem .3rem; border-radius: .2rem }
@media (max-width: 34rem) { thead { display: none } tr { display: grid;
  grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .2rem .5rem;
  border-bottom: 1px solid var(--line); padding: .4rem 0 } tbody th { grid-column: 1 / -1 }
  th, td { border: 0; padding: .15rem 0 } td::before { content: attr(data-column); display: block;
  color: var(--faint); font-size: .85rem } dl { grid-template-columns: 1fr; gap: 0 }
  dd { margin-bottom: .4rem } }
"""


def report_page(
    *,
    title: str,
    lead: str,
    columns: Sequence[Column],
    sections: Sequence[Section],
    footer: str = "",
    script: str = "",
    style: str = "",
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
    script, style : str
        A program and rules of our own; the page's policy lets no other script run.

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
    program = f"<script>{script}</script>" if script else ""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>",
            f"<style>{_CSS}{style}</style></head><body>",
            f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>',
            _contents(sections) if len(sections) > 4 else "",
            first,
            _figures(columns),
            *others,
            f'<p class="faint">{escape(footer)}</p>',
            f"{program}</body></html>\n",
        ]
    )


def _policy(script: str) -> str:
    """Nothing from elsewhere; of scripts only this one, by its hash."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    allowed = f"script-src 'sha256-{digest}'" if script else "script-src 'none'"
    return f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; {allowed}"


def _anchor(title: str) -> str:
    return "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in title.lower())


def _contents(sections: Sequence[Section]) -> str:
    links = (f'<a href="#{_anchor(section.title)}">{escape(section.title)}</a>' for section in sections)
    return f'<nav aria-label="Contents">{" ".join(links)}</nav>'


def _section(section: Section) -> str:
    parts = [f'<section id="{_anchor(section.title)}"><h2>{escape(section.title)}</h2>']
    if section.panels:
        panels = "".join(_panel(pairs) for pairs in section.panels)
        caption = f"<figcaption>{escape(section.text)}</figcaption>"
        parts.append(f'<figure><div class="panels">{panels}</div>{caption}</figure>')
    elif section.text:
        parts.append(f"<p>{escape(section.text)}</p>")
    parts += [piece.html for piece in section.pieces]
    if section.facts:
        facts = (f"<dt>{escape(name)}</dt><dd>{escape(told)}</dd>" for name, told in section.facts.items())
        parts.append(f"<dl>{''.join(facts)}</dl>")
    return "".join([*parts, "</section>"])


def _panel(pairs: PairDistances) -> str:
    told = (
        f"{pairs.title}: distances of same-class and different-class pairs; "
        f"{100 * pairs.error_rate:.1f} % lie on the wrong side of the threshold {pairs.threshold:.3g}"
    )
    light, dark = (
        data_uri(panel_svg(pairs, theme=theme).encode("utf-8"), "image/svg+xml")
        for theme in (Theme.light(), Theme.dark())
    )
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" width="520" height="350" alt="{escape(told)}"></picture>'
    )


def data_uri(content: bytes, kind: str) -> str:
    """A file as an address that holds it.

    >>> data_uri(b"hi", "text/plain")
    'data:text/plain;base64,aGk='
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


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
        interval += _strip(figure["value"], figure["low"], figure["high"])
    return f'<td data-column="{escape(column.title)}"><strong>{figure["value"]:.3f}</strong>{interval}</td>'


def _strip(value: float, low: float, high: float) -> str:
    """The interval drawn on a line from 0 to 1."""
    if not 0 <= low <= value <= high <= 1:
        return ""
    wide = max(100 * (high - low), 0.6)
    return (
        '<svg class="strip" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect y="2.6" width="100" height=".8"/>'
        f'<rect class="span" x="{100 * low:.1f}" y="1" width="{wide:.1f}" height="4"/>'
        f'<rect class="mark" x="{min(100 * value, 99):.1f}" width="1" height="6"/></svg>'
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A plain table; where the page is narrow it scrolls by itself.

    >>> table(["a"], [["<b>"]]).html.count("&lt;b&gt;")
    1
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return Markup(
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )
