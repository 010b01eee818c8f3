"""Which recipes there are: every module of this folder that has a ``Config``."""

from __future__ import annotations

import ast
import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likewise.errors import InputError

if TYPE_CHECKING:
    from likewise.recipes.experiment.config import RecipeConfig
    from likewise.recipes.experiment.outcome import Claim, Outcome, Table

__all__ = ["Recipe", "load_recipe", "recipe_summaries"]

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Recipe:
    """A published system as a module of this folder offers it.

    Parameters
    ----------
    name : str
        As on the command line: "proxy-nca".
    about : str
        The module's docstring: title, formula, departures from the paper.
    config : type of RecipeConfig
        ``Config`` of the module.
    quick : RecipeConfig
        ``QUICK``: a true small version.
    run : callable
        ``run(config, *, seed, data)`` gives the :class:`Outcome` of one seed.
    tables, claims
        ``TABLES`` and ``CLAIMS``.
    """

    name: str
    about: str
    config: type[RecipeConfig]
    quick: RecipeConfig
    run: Callable[..., Outcome]
    tables: tuple[Table, ...]
    claims: tuple[Claim, ...]


def recipe_summaries() -> dict[str, str]:
    """The first line of every recipe's docstring, by the recipe's name; nothing heavy is imported.

    >>> recipe_summaries()["proxy-nca"]
    'Proxy-NCA: no fuss distance metric learning using proxies (Movshovitz-Attias et al. 2017).'
    """
    found = {}
    for path in sorted(_FOLDER.glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        if any(isinstance(node, ast.ClassDef) and node.name == "Config" for node in tree.body):
            found[path.stem.replace("_", "-")] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def load_recipe(name: str) -> Recipe:
    """A recipe by its name.

    Raises
    ------
    InputError
        There is no such recipe; the nearest is told.
    """
    known = list(recipe_summaries())
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
        raise InputError(f"there is no recipe {name!r}; {hint}")
    module: Any = importlib.import_module(f"likewise.recipes.{name.replace('-', '_')}")
    return Recipe(name, module.__doc__, module.Config, module.QUICK, module.run, module.TABLES, module.CLAIMS)
