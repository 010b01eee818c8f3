"""Every public name is meant: listed, sorted, real and documented; nothing public is unlisted."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import likewise

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(likewise.__path__, "likewise.")
    if not found.name.endswith("__main__")
)


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def defined_names(module: ModuleType) -> set[str]:
    """The names without an underscore that a module's own top level defines, not those it imports."""
    names: set[str] = set()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def test_all_is_there_sorted_and_without_doubles(module: ModuleType) -> None:
    listed = module.__all__
    assert list(listed) == sorted(set(listed), key=order)


def order(name: str) -> tuple[int, str]:
    """Constants, classes, functions; each by name, as ruff's RUF022 sorts them."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2, name


def test_every_listed_name_is_real(module: ModuleType) -> None:
    for name in module.__all__:
        assert not name.startswith("_")
        getattr(module, name)


def test_every_name_that_looks_public_is_listed(module: ModuleType) -> None:
    assert defined_names(module) <= set(module.__all__)


def test_every_module_and_every_public_thing_is_documented(module: ModuleType) -> None:
    assert module.__doc__
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) and thing.__module__.startswith("likewise"):
            own = vars(thing).get("__doc__") or ""
            # A dataclass without a text of its own is given its signature.
            assert own and not own.startswith(f"{thing.__name__}("), f"{name} has no docstring"
            for member, value in vars(thing).items():
                # The base's text serves a method that only fills in what the base has described.
                if not member.startswith("_") and inspect.isfunction(value):
                    assert inspect.getdoc(getattr(thing, member)), f"{name}.{member} has no docstring"
        elif inspect.isroutine(thing):
            assert inspect.getdoc(thing), f"{name} has no docstring"


def test_each_name_of_the_package_can_be_used() -> None:
    for name in likewise.__all__:
        assert getattr(likewise, name) is not None


def test_the_package_offers_what_it_lists() -> None:
    assert set(likewise.__all__) <= set(dir(likewise))
    with pytest.raises(AttributeError, match="'likewise' has no attribute 'nothing'"):
        likewise.nothing  # noqa: B018
