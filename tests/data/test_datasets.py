"""Any map-style dataset becomes records; what has another form than the first item is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import likewise.data.datasets as datasets
from likewise.data import load
from likewise.errors import DataError


class Things:
    """A dataset as torchvision and Hugging Face have them: a length, and items by number."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def picture(value: int, size: tuple[int, int] = (10, 8)) -> Image.Image:
    return Image.fromarray(np.full(size, value, dtype=np.uint8))


def test_pairs_of_image_and_label() -> None:
    records = load(Things([(picture(51 * i), i % 2) for i in range(4)]), name="mine")
    assert (records.kind, records.item_shape, records.y.tolist()) == ("image", (10, 8), [0, 1, 0, 1])
    np.testing.assert_allclose(records.X[:, 3, 3], [0, 0.2, 0.4, 0.6], atol=1e-6)


def test_dicts_and_texts() -> None:
    found = load(Things([{"text": f"text {i}", "label": "ab"[i % 2], "more": None} for i in range(3)]))
    assert (found.kind, found.X.tolist(), found.y.tolist()) == (
        "text",
        ["text 0", "text 1", "text 2"],
        ["a", "b", "a"],
    )
    named = load(Things([{"q": "x", "topic": 3}, {"q": "y", "topic": 4}]), text="q", label="topic")
    assert (named.X.tolist(), named.y.tolist()) == (["x", "y"], [3, 4])
    assert load(Things(["one", "two"])).y is None


def test_tensors_of_torch() -> None:
    X, y = torch.rand(5, 3, 6, 6), torch.tensor([4, 4, 5, 5, 5])
    records = load(TensorDataset(X, y))
    np.testing.assert_array_equal(records.X, X.numpy())
    assert records.y.tolist() == y.tolist() and records.kind == "image"
    rows = load(Things([(torch.full((3,), float(i)), i) for i in range(3)]))
    assert rows.kind == "features" and rows.X[:, 0].tolist() == [0, 1, 2]


def test_large_ones_are_asked_when_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [(picture(10 * i), i % 2) for i in range(6)]
    kept = load(Things(items))
    monkeypatch.setattr(datasets, "_KEPT_BYTES", 0)
    asked: list[int] = []
    source = Things(items)
    source.__class__ = type("Asked", (Things,), {"__getitem__": lambda self, i: asked.append(i) or items[i]})
    lazy = load(source)
    asked.clear()
    np.testing.assert_array_equal(lazy.take([4, 1]).items([1, 0]), kept.X[[1, 4]])
    assert set(asked) <= {4, 1}
    assert lazy.fingerprint == kept.fingerprint and lazy.held.costly


@pytest.mark.parametrize(
    ("items", "found"),
    [
        ([], "empty"),
        ([(picture(1), 0), ("text", 1)], "item 1 must be an image"),
        ([("text", 0), (3, 1)], "item 1 must be a text"),
        ([(torch.rand(3), 0), (torch.rand(4), 1)], r"item 1 has shape \(4,\); item 0 has \(3,\)"),
        ([(torch.rand(3), 0.5)], "label of item 0 must be a whole number"),
        ([(torch.tensor([1.0, torch.nan]), 0)], "must be finite"),
        ([(1, 2, 3)], "found 3 things in item 0"),
        ([{"picture": picture(1)}], "say image= or text="),
        ([{"text": "a", "label": 0}, {"text": "b"}], "item 1 has no 'label'"),
        ([(torch.rand(3), 0), (torch.rand(3), "a")], "both"),
    ],
)
def test_what_does_not_fit_is_named(items: list[Any], found: str) -> None:
    with pytest.raises(DataError, match=found) as error:
        load(Things(items), name="mine")
    assert str(error.value).startswith("mine") and "\n" not in str(error.value)


def test_texts_as_a_list_and_unlabelled_arrays() -> None:
    texts = load((["one", "two", "three"], [0, 0, 1]))
    assert texts.kind == "text" and texts.take([2]).X.tolist() == ["three"]
    assert texts.fingerprint != load((["one", "two", "four"], [0, 0, 1])).fingerprint
    assert load((np.eye(3), None)).y is None
    for bad, found in [(["a", "  "], "row 1 is empty"), (["a", 3], "found int in row 1")]:
        with pytest.raises(DataError, match=found):
            load((bad, [0, 1]))
    with pytest.raises(DataError, match="one label an item"):
        load((["a", "b"], [0]))
