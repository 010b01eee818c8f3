"""TOML text is read back by Python's own reader as what was written."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.errors import InputError
from likewise.settings import toml_text

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
VALUE = st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False), TEXT)
TREE = st.recursive(
    st.dictionaries(TEXT, st.one_of(VALUE, st.lists(VALUE, max_size=3)), max_size=4),
    lambda inner: st.dictionaries(TEXT, st.one_of(VALUE, inner), max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(TREE)
def test_what_is_written_is_read(tree: dict[str, object]) -> None:
    assert tomllib.loads(toml_text(tree)) == tree


def test_none_is_left_out_and_nothing_else_is_guessed() -> None:
    assert tomllib.loads(toml_text({"a": None, "b": {"c": None, "d": 1}})) == {"b": {"d": 1}}
    with pytest.raises(InputError, match="found object"):
        toml_text({"a": object()})
