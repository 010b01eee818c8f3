"""TOML text is read back by Python's own reader as what was written."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.errors import InputError
from likewise.settings import (
    TrainingSettings,
    merged_settings,
    read_toml,
    settings_from_assignments,
    settings_from_mapping,
    toml_text,
    toml_value,
)

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


@settings(deadline=None, max_examples=60)
@given(VALUE)
def test_a_value_of_the_command_line_is_read_as_toml_has_it(value: object) -> None:
    assert toml_value(toml_text({"x": value}).removeprefix("x = ").rstrip("\n")) == value


@pytest.mark.parametrize("text", ["bf16", "a b", "1\ny = 2", "", "[1", "2020-13-01"])
def test_what_is_no_toml_is_text(text: str) -> None:
    assert toml_value(text) == text


def test_all_settings_survive_toml_and_none_is_left_out() -> None:
    made = TrainingSettings(epochs=3, loss={"margin": 0.5}, clip_gradient=1, encoder="ConvNet")
    assert made.clip_gradient == 1.0 and isinstance(made.clip_gradient, float)
    text = toml_text(made.to_mapping())
    assert settings_from_mapping(tomllib.loads(text)) == made
    assert "dimension" not in text
    bare = TrainingSettings(augmentation={})
    assert settings_from_mapping(tomllib.loads(toml_text(bare.to_mapping()))) == bare != TrainingSettings()
    assert settings_from_mapping({"trained": {"best_epoch": 3}}) == TrainingSettings()


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"epochs": 1.5}, "epochs must be a whole number, at least 1; found 1.5"),
        ({"epochs": True}, "found True"),
        ({"refit": 1}, "refit must be true or false; found 1"),
        ({"average": 1.0}, r"average must be at least 0 and below 1; found 1.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number; found nan"),
        ({"precision": "fp8"}, "precision must be one of float32, bf16; found 'fp8'"),
        ({"loss": "supcon"}, "loss must be a table; found 'supcon'"),
        ({"encoder": 3}, "encoder must be a name or a table; found 3"),
        ({"metod": "supcon"}, "no setting 'metod'; did you mean method"),
        ({"zzzz": 1}, "settings are data, label"),
    ],
)
def test_a_wrong_setting_is_refused(values: dict[str, object], found: str) -> None:
    with pytest.raises(InputError, match=found):
        settings_from_mapping(values)


def test_assignments_go_into_tables_and_layers_over_each_other() -> None:
    said = settings_from_assignments(["loss.margin = 0.2", "loss.scale=3", "seed=1", "figure=map@r"])
    assert said == {"loss": {"margin": 0.2, "scale": 3}, "seed": 1, "figure": "map@r"}
    assert merged_settings({"loss": {"margin": 1.0}, "seed": 5}, said)["loss"] == {"margin": 0.2, "scale": 3}
    for wrong in (["seed"], ["=1"], ["loss.=1"], ["seed=1", "seed.x=2"]):
        with pytest.raises(InputError, match="--set"):
            settings_from_assignments(wrong)


def test_a_file_that_cannot_be_read_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"nothing\.toml: can't be read"):
        read_toml(tmp_path / "nothing.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"bad\.toml: not TOML"):
        read_toml(tmp_path / "bad.toml")
