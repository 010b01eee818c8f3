"""Records in: what is read, and what is refused with one line that names the place."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets

from likewise.data import BUILT_IN, Records, check_trainable, load, record, records_from_arrays
from likewise.errors import DataError

X = np.arange(12.0).reshape(6, 2)
y = np.array([0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(
    ("name", "reader", "scale"),
    [
        ("digits", datasets.load_digits, 16.0),
        ("iris", datasets.load_iris, 1.0),
        ("wine", datasets.load_wine, 1.0),
        ("breast-cancer", datasets.load_breast_cancer, 1.0),
    ],
)
def test_built_in_sets_are_scikit_learns_copies(name: str, reader: Any, scale: float) -> None:
    source = reader()
    records = load(name)
    assert records.X.dtype == np.float32 and records.y.dtype == np.int64 and records.name == name
    np.testing.assert_allclose(records.X.reshape(len(records), -1) * scale, source.data, rtol=1e-6)
    np.testing.assert_array_equal(records.y, source.target)
    assert BUILT_IN[name].summary.startswith(f"{len(records):,} ")


def test_digits_are_images_in_the_unit_interval() -> None:
    digits = load("digits")
    assert digits.item_shape == (8, 8)
    assert (digits.X.min(), digits.X.max()) == (0.0, 1.0)


@pytest.mark.parametrize("labels", [y, y.astype(np.uint8), [0, 0, 1, 1, 2, 2], torch.tensor(y), y == 2])
def test_whole_numbers_are_int64(labels: Any) -> None:
    records = load((X, labels))
    assert records.y.dtype == np.int64
    assert records.y.tolist() == [int(label) for label in labels]


@pytest.mark.parametrize("as_type", [list, np.array, lambda names: np.array(names, dtype=object)])
def test_strings_stay_strings_and_codes_follow_their_order(as_type: Any) -> None:
    records = load((torch.tensor(X), as_type(["b", "b", "a", "a", "c", "01"])))
    assert records.y.tolist() == ["b", "b", "a", "a", "c", "01"]
    assert records.classes.tolist() == ["01", "a", "b", "c"]
    assert records.codes.tolist() == [2, 2, 1, 1, 3, 0]


@pytest.mark.parametrize(
    ("items", "labels", "found"),
    [
        (X, y.astype(float), "float64"),
        (X, [0.0, 0, 1, 1, 2, 2], "float64"),
        (X, torch.tensor(y).float(), "float32"),
        (X, [0, 0, 1, 1, "a", "a"], "both"),
        (X, np.array([0, 0, 1, 1, None, 2], dtype=object), "Python objects"),
        (X, np.array([b"a"] * 6), "whole numbers or strings"),
        (X, np.array([0, 0, 1, 1, 2, 2**63], dtype=np.uint64), "int64"),
        (X, y[:, None], r"\(6, 1\)"),
        (X, [[0], [0, 1]], "labels"),
        (X, y[:5], r"\(6, 2\) and y \(5,\)"),
        (X[:, 0], y, r"shape .* found \(6,\)"),
        (X[:0], y[:0], r"\(0, 2\)"),
        (np.zeros((6, 0)), y, r"\(6, 0\)"),
        (np.zeros((6, 1, 1, 1, 1)), y, r"\(6, 1, 1, 1, 1\)"),
        (X.astype(complex), y, "complex"),
        ([["a", "b"]] * 6, y, "numbers"),
        ([[1.0, 2.0], [3.0]], [0, 1], "one array of numbers"),
        (np.where(X == 7, np.nan, X), y, r"nan in row 3, position \(1,\)"),
        (np.where(X == 8, -np.inf, X), y, r"-inf in row 4, position \(0,\)"),
        (np.where(X == 8, 1e300, X), y, r"1e\+300 \(beyond float32\) in row 4"),
    ],
)
def test_bad_arrays_are_refused_in_one_line(items: Any, labels: Any, found: str) -> None:
    with pytest.raises(DataError, match=found) as error:
        load((items, labels), name="things")
    assert str(error.value).startswith("things: ")
    assert "\n" not in str(error.value)


def test_a_source_that_is_none_of_these_is_refused() -> None:
    for source, found in [((X,), "tuple of 1"), (X, "ndarray"), (None, "NoneType")]:
        with pytest.raises(DataError, match=found):
            load(source)  # type: ignore[arg-type]


def test_a_npz_is_read(tmp_path: Path) -> None:
    path = tmp_path / "things.npz"
    np.savez_compressed(path, X=X.astype(np.float64), y=np.array(list("aabbcc")), more=np.zeros(3))
    for source in (path, str(path)):
        records = load(source)
        np.testing.assert_array_equal(records.X, X.astype(np.float32))
        assert records.y.tolist() == list("aabbcc")
        assert records.name == str(path)


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("code from a file was run",))


@pytest.mark.parametrize("key", ["X", "y"])
def test_python_objects_in_a_npz_are_never_loaded(tmp_path: Path, key: str) -> None:
    path = tmp_path / "objects.npz"
    arrays = {"X": X, "y": y, key: np.array([Bomb()] * 6, dtype=object)}
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=rf"objects\.npz: {key} holds Python objects"):
        load(path)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.npz"
    np.savez(whole, X=X, y=y)
    np.savez(tmp_path / "no_y.npz", X=X, z=y)
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:100])
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "pickled.npz").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "text.csv").write_text("1,2")
    (tmp_path / "folder.npz").mkdir()
    np.save(tmp_path / "array.npy", X)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    for name, found in [
        ("cut.npz", "not a readable"),
        ("empty.npz", "not a .npz"),
        ("pickled.npz", "not a .npz"),
        ("array.npz", "not a .npz"),
        ("text.csv", r"\.csv"),
        ("folder.npz", "a folder"),
        ("no_y.npz", "must hold X and y; found X, z"),
        ("missing.npz", "no such file"),
    ]:
        with pytest.raises(DataError, match=found) as error:
            load(tmp_path / name)
        assert name in str(error.value) and "\n" not in str(error.value)


def test_mutated_npz_files_never_crash_and_never_give_nan(tmp_path: Path) -> None:
    whole = tmp_path / "whole.npz"
    np.savez(whole, X=X, y=y)
    good = whole.read_bytes()
    generator = np.random.default_rng(0)
    for trial in range(200):
        data = bytearray(good)
        for position in generator.integers(len(data), size=1 + trial % 8):
            data[position] = generator.integers(256)
        (tmp_path / "mutated.npz").write_bytes(bytes(data))
        try:
            records = load(tmp_path / "mutated.npz")
        except DataError:
            continue
        assert np.isfinite(records.X).all() and len(records.X) == len(records.y)


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(DataError, match=r"did you mean .*digits"):
        load("digit")
    with pytest.raises(DataError, match=r"built-in sets are 20newsgroups, .*digits"):
        load("zzz")


def test_parts_by_class() -> None:
    part = load("digits:classes=1,3-4")
    assert part.classes.tolist() == [1, 3, 4]
    assert len(part) == sum(int((load("digits").y == label).sum()) for label in (1, 3, 4))
    for text, found in [
        ("digits:classes=12", "no class 12"),
        ("digits:classes=x", "'x'"),
        ("digits:classes=20-30", "no class"),
    ]:
        with pytest.raises(DataError, match=found):
            load(text)


def test_one_record_is_read_by_row(tmp_path: Path) -> None:
    np.savez(tmp_path / "things.npz", X=X, y=np.array(list("aabbcc")))
    np.savez(tmp_path / "bare.npz", X=X)
    digit, part = record("digits:17"), record("digits:classes=5-9:0")
    np.testing.assert_array_equal(digit.item, load("digits").X[17])
    assert (digit.label, digit.id) == (int(load("digits").y[17]), "digits:17")
    np.testing.assert_array_equal(part.item, load("digits:classes=5-9").X[0])
    named = record(f"{tmp_path}/things.npz:5")
    assert (named.label, named.item.tolist()) == ("c", [10.0, 11.0])
    assert record(tmp_path / "bare.npz:0").label is None


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("digits", "SOURCE:ROW"),
        ("digits:", "SOURCE:ROW"),
        ("digits:1797", "rows 0 to 1796; found 1797"),
        ("digits:-1", "found -1"),
        ("nothing.npz:3", "no such file"),
        ("", "SOURCE:ROW"),
    ],
)
def test_a_record_that_is_not_there_is_refused(source: str, found: str) -> None:
    with pytest.raises(DataError, match=found):
        record(source)


def test_equal_records_have_equal_fingerprints_and_any_change_shows() -> None:
    base = records_from_arrays(X, y, name="one")
    assert base.fingerprint == records_from_arrays(X.tolist(), y.tolist(), name="two").fingerprint
    others = [
        records_from_arrays(X + np.eye(6, 2) * 1e-6, y),
        records_from_arrays(X, y[::-1]),
        records_from_arrays(X, y.astype(str)),
        records_from_arrays(X.reshape(6, 1, 2), y),
        base.take([0, 1, 2, 3, 5, 4]),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 6


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.data())
def test_taking_rows_takes_items_with_their_labels(labels: list[int], data: st.DataObject) -> None:
    records = records_from_arrays(np.arange(len(labels))[:, None], labels)
    rows = data.draw(st.lists(st.integers(0, len(labels) - 1), min_size=1))
    taken = records.take(rows)
    assert taken.y.tolist() == [labels[int(value)] for value in taken.X[:, 0]]
    assert taken.X[:, 0].tolist() == rows


def test_nothing_can_be_learned_from_one_class_or_from_single_items() -> None:
    with pytest.raises(DataError, match="two classes; found one"):
        check_trainable(records_from_arrays(X, [1] * 6))
    with pytest.raises(DataError, match="one item of 0, 1, 2 and 3 more"):
        check_trainable(records_from_arrays(X, range(6)))
    with pytest.raises(DataError, match="one item of lonely"):
        check_trainable(records_from_arrays(X, ["a", "a", "b", "b", "b", "lonely"]))
    assert isinstance(load((X, y)), Records)
    check_trainable(load((X, y)))
