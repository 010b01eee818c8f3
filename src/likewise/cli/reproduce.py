"""Run a published system again, over several seeds, and print its figures beside the paper's.

Every field of the recipe's configuration is an option too: `likewise reproduce NAME --help` lists them.
"""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["HELP", "add_arguments", "run"]

HELP = "run a published system and print its figures beside the paper's"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise reproduce``."""
    parser.add_argument("name", metavar="NAME", help="a recipe; likewise list recipes names them")
    _add_common(parser)
    # What the fields are is known when the recipe is, so a second parser reads the words after its name.
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(parser_class=type(parser))


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="a true small version, half a minute at most")
    parser.add_argument("--seeds", metavar="N", type=int, help="how many seeds (5; with --quick 1)")
    parser.add_argument("--parallel", metavar="N", type=int, help="how many seeds to run at a time (1)")
    parser.add_argument("--data", metavar="DIR", help="where built-in sets are looked for first")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is standard output")
    parser.add_argument("--page", metavar="FILE", help="write a page of results there, JSON lines beside it")


def run(request: argparse.Namespace) -> None:
    """Run the recipe and print its tables and findings."""
    import sys
    from functools import partial

    from likewise.cli.terminal import write_json
    from likewise.recipes.experiment.page import results_tables, write_results
    from likewise.recipes.experiment.runner import Result, experiment
    from likewise.recipes.registry import load_recipe

    recipe = load_recipe(request.name)
    given = _fields(request, recipe)
    config = _config(recipe, given, quick=request.quick)
    seeds = request.seeds if request.seeds is not None else 1 if request.quick else 5
    told: set[int] = set()

    def tell(result: Result, page: str | None) -> None:
        for seed in result.outcomes.keys() - told:
            told.add(seed)
            spent = result.outcomes[seed].seconds
            print(f"{recipe.name}: seed {len(told)} of {seeds} done in {spent:.0f} s", file=sys.stderr)
        if page is not None:
            write_results(result, page)

    result = experiment(
        recipe,
        config,
        quick=request.quick,
        seeds=seeds,
        data=request.data,
        parallel=1 if request.parallel is None else request.parallel,
        after=partial(tell, page=request.page),
    )
    if request.json is not None:
        write_json(result.to_dict(), request.json)
    if request.json != "-":
        print(results_tables(result))


def _fields(request: argparse.Namespace, recipe: Any) -> dict[str, Any]:
    """Read what stands after the recipe's name: the common options into the request, fields apart."""
    from dataclasses import fields

    from likewise.cli.parser import nearest
    from likewise.errors import InputError

    parser = request.parser_class(
        prog=f"likewise reproduce {recipe.name}",
        description=recipe.about.partition("\n")[0],
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    _add_common(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    group = parser.add_argument_group("fields of this recipe")
    options = {f"--{own.name.replace('_', '-')}": own for own in fields(recipe.config)}
    for option, own in options.items():
        about = f"{own.metadata['about']} ({own.default})".replace("%", "%%")
        rule = own.metadata["rule"]
        if rule.kind is bool:
            group.add_argument(option, action=argparse.BooleanOptionalAction, help=about)
        else:
            group.add_argument(option, type=rule.kind, metavar="VALUE", help=about)
    read, left = parser.parse_known_args(request.rest)
    if left:
        word = left[0].split("=")[0]
        if word.startswith("-"):
            raise InputError(f"recipe {recipe.name} has no field {word!r}; {nearest(word, options)}")
        raise InputError(f"likewise reproduce can't use {left[0]!r}: one argument too many")
    names = {own.name for own in fields(recipe.config)}
    found = vars(read)
    for name, value in found.items():
        if name not in names:
            setattr(request, name, value)
    return {name: value for name, value in found.items() if name in names}


def _config(recipe: Any, given: dict[str, Any], *, quick: bool) -> Any:
    from likewise.recipes.experiment.config import config_from_mapping

    return config_from_mapping(recipe.config, given, start=recipe.quick if quick else None)
