"""Do the main job on real data, in about a minute: learn, judge, draw, index, search, verify.

The network learns from the digits 0 to 4; everything shown is about 5 to 9, which it never saw.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from likewise.recipes.demo import Demo

__all__ = ["HELP", "add_arguments", "run"]

HELP = "the main job on real data that is already here, in a minute"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise demo``."""
    folder = "likewise-demo"
    parser.add_argument("-o", "--out", metavar="DIR", default=folder, help=f"the folder ({folder})")
    parser.add_argument("--epochs", metavar="N", type=int, help="passes over the data (as the method says)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of every random choice (0)")


def run(request: argparse.Namespace) -> None:
    """Run the demo with progress bars; end with where everything lies and what to try next."""
    from likewise.cli.terminal import stages_bars
    from likewise.recipes.demo import run_demo

    with stages_bars() as progress:
        done = run_demo(request.out, epochs=request.epochs, seed=request.seed, progress=progress)
    _show(done)


def _show(done: Demo) -> None:
    from likewise.cli.terminal import figures_table, print_table, program_name
    from likewise.report import HEADLINES

    before, after = done.panels
    print(f"\nLearned from the digits 0-4. Judged on {done.items} digits 5-9, which it never saw:\n")
    names = {**HEADLINES, ("few_shot", "accuracy"): "5-way one-shot accuracy"}
    bare = figures_table(done.figures, names=names, bare_controls=True)
    print_table(figures_table(done.figures, names=names), narrower=bare)
    print("In brackets: 95 % intervals.")
    print(
        f"Pairs on the wrong side of the best threshold: {100 * before.error_rate:.1f} % by raw pixels, "
        f"{100 * after.error_rate:.1f} % after learning."
    )
    found = ", ".join(str(hit.label) for hit in done.hits)
    print(f"\nSearched for {done.query.id}, a {done.query.label}: found {found}")
    for pair in done.comparisons:
        print(f"Verified a {pair.first.label} with a {pair.second.label}: {pair.verdict}")
    folder, alike = done.folder, done.comparisons[0]
    places = {
        folder / "run" / "report.html": "the report: open it in a browser",
        folder / "distances.png": "the picture of distances, before and after",
        folder / "run": "the model: arrays and JSON",
        folder / "index": "the digits 5-9, searchable",
    }
    width = max(len(str(place)) for place in places)
    print("\nWhere everything lies")
    for place, told in places.items():
        print(f"  {place!s:<{width}}  {told}")
    program = program_name()
    print("\nTry next")
    print(f"  {program} search {folder / 'index'} digits:17 -k 5")
    print(f"  {program} verify {folder / 'run'} {alike.first.id} digits:17")
    print(f"  {program} train wine -o runs/wine")
    print(f"  {program} list methods")
