"""List what there is: methods, losses, estimators, built-in data sets, recipes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

__all__ = ["HELP", "add_arguments", "run"]

HELP = "list methods, losses, estimators, datasets or recipes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise list``."""
    parser.add_argument("kind", metavar="KIND", choices=sorted(_KINDS), help=", ".join(sorted(_KINDS)))
    parser.add_argument("--json", action="store_true", help="print the names as JSON")


def run(request: argparse.Namespace) -> None:
    """Print one line for each name."""
    import json

    found = _KINDS[request.kind]()
    if request.json:
        print(json.dumps(sorted(found)))
        return
    width = max(len(name) for name in found)
    for name, about in found.items():
        print(f"{name:<{width}}  {about}")


def _methods() -> Mapping[str, str]:
    from likewise.training import METHODS
    from likewise.training.linear_heads import linear_methods

    linear = {name: f"linear, on fixed features: {_about(kind)}" for name, kind in linear_methods().items()}
    return _sorted({name: method.about for name, method in METHODS.items()}) | _sorted(linear)


def _losses() -> Mapping[str, str]:
    from likewise import losses

    kinds = {name: getattr(losses, name) for name in losses.__all__}
    return _sorted(
        {
            name: _about(kind)
            for name, kind in kinds.items()
            if isinstance(kind, type) and issubclass(kind, losses.Loss) and kind is not losses.Loss
        }
    )


def _estimators() -> Mapping[str, str]:
    from likewise import linear
    from likewise.linear.base import Learner

    kinds = {name: getattr(linear, name) for name in linear.__all__}
    return _sorted(
        {
            name: _about(kind)
            for name, kind in kinds.items()
            if isinstance(kind, type) and issubclass(kind, Learner)
        }
    )


def _sorted(told: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(told.items(), key=lambda item: item[0].lower()))


def _about(kind: type) -> str:
    """The first line of its docstring, without marks for code and references."""
    import re

    first = (kind.__doc__ or "").strip().splitlines()[0]
    return re.sub(r":\w+:`~?([\w.]+)`", r"\1", first).replace("``", "")


def _datasets() -> Mapping[str, str]:
    from likewise.data import BUILT_IN, SHARED, missing_files

    told = {name: held.summary for name, held in BUILT_IN.items()}
    for name, held in SHARED.items():
        missing = missing_files(name)
        told[name] = f"{held.summary} (not here: {missing[0]})" if missing else held.summary
    return _sorted(told)


def _recipes() -> Mapping[str, str]:
    from likewise.recipes.registry import recipe_summaries

    return _sorted(recipe_summaries())


_KINDS = {
    "methods": _methods,
    "losses": _losses,
    "estimators": _estimators,
    "datasets": _datasets,
    "recipes": _recipes,
}
