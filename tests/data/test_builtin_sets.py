"""Built-in sets of a data folder hold what their sources say they hold; without a folder they say so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from likewise.data import SHARED, load, missing_files
from likewise.errors import DataError

SHAPES = {
    "att-faces": (400, (56, 46), 40),
    "balance": (625, (4,), 3),
    "cifar10": (11_000, (3, 32, 32), 10),
    "emoji": (7259, (3, 32, 32), 1884),
    "glass": (214, (9,), 6),
    "ionosphere": (351, (34,), 2),
    "letter": (20_000, (16,), 26),
    "mnist": (70_000, (28, 28), 10),
    "newthyroid": (215, (5,), 3),
    "omniglot": (32_460, (28, 28), 1623),
    "optdigits": (5620, (64,), 10),
    "segment": (2310, (19,), 7),
    "segment-weka": (2310, (19,), 7),
    "soybean": (683, (35,), 19),
    "trec": (5952, (), 50),
    "wdbc": (569, (30,), 2),
    "wheat-seeds": (210, (7,), 3),
    "winequality-red": (1599, (11,), 6),
    "winequality-white": (4898, (11,), 7),
}


@pytest.fixture(scope="module")
def held(shared_data: Path):
    """Each set, read once."""
    read: dict[str, object] = {}

    def get(name: str):
        if name not in read:
            read[name] = load(name, data=shared_data)
        return read[name]

    return get


@pytest.mark.parametrize("name", SHAPES)
def test_counts_and_shapes_are_those_of_the_source(held, name: str) -> None:
    records = held(name)
    assert (len(records), records.item_shape, len(records.classes)) == SHAPES[name]
    if records.kind == "image":
        some = records.items(slice(0, None, 97))
        assert some.dtype == np.float32 and some.min() >= 0 and some.max() <= 1 and some.max() > 0.5


def test_published_splits(held) -> None:
    splits = {name: Counter(held(name).columns["split"].tolist()) for name in ("mnist", "cifar10", "trec")}
    assert splits["mnist"] == {"train": 60_000, "test": 10_000}
    assert splits["cifar10"] == {"train": 10_000, "test": 1000}
    assert splits["trec"] == {"train": 5452, "test": 500}
    weka = held("segment-weka").columns["split"]
    assert Counter(weka.tolist()) == {"train": 1500, "test": 810}
    assert sorted(set(held("letter").columns["fold"].tolist())) == list(range(1, 11))


def test_omniglot_has_its_halves_and_its_drawers(held) -> None:
    columns = held("omniglot").columns
    halves = {part: columns["part"] == part for part in ("background", "evaluation")}
    assert {part: int(chosen.sum()) for part, chosen in halves.items()} == {
        "background": 19_280,
        "evaluation": 13_180,
    }
    alphabets = {part: set(columns["alphabet"][chosen].tolist()) for part, chosen in halves.items()}
    assert (len(alphabets["background"]), len(alphabets["evaluation"])) == (30, 20)
    assert not alphabets["background"] & alphabets["evaluation"]
    assert set(columns["drawer"].tolist()) == set(range(1, 21))
    assert set(Counter(held("omniglot").y.tolist()).values()) == {20}


def test_the_original_size_of_omniglot_averages_to_the_smaller_one(shared_data: Path, held) -> None:
    original = load("omniglot:size=105", data=shared_data)
    assert original.item_shape == (105, 105)
    drawings = original.items([0, 12_345])
    assert set(np.unique(drawings)) == {0.0, 1.0}
    small = held("omniglot").items([0, 12_345])
    # 105 is 28 x 3.75, so each corner covers 3 pixels whole, 3 + 3 by three quarters, and one by 9/16.
    weight = np.array([1, 1, 1, 0.75]) / 3.75
    corner = drawings[:, :4, :4] * weight[:, None] * weight
    np.testing.assert_allclose(small[:, 0, 0], corner.sum((1, 2)), atol=1 / 255)
    np.testing.assert_allclose(small.mean((1, 2)), drawings.mean((1, 2)), rtol=0.02)  # the ink stays


def test_mnist_begins_as_published(held) -> None:
    """The first labels of both files, as everybody knows them."""
    mnist = held("mnist")
    assert mnist.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.y[60_000:60_005].tolist() == [7, 2, 1, 0, 4]
    part = load("mnist:split=test:classes=5-9")
    assert len(part) == 4861 and set(part.columns["split"].tolist()) == {"test"}


def test_emoji_have_styles_names_and_groups(held) -> None:
    columns = held("emoji").columns
    assert Counter(columns["style"].tolist()) == {
        "twemoji": 1884,
        "noto": 1884,
        "openmoji": 1884,
        "fluentui": 1607,
    }
    row = held("emoji").y.tolist().index("grinning_face")
    assert columns["char"][row] == "\N{GRINNING FACE}" and columns["group"][row] == "Smileys & Emotion"
    assert "cheerful" in columns["keywords"][row]
    assert held("emoji").items([row])[0, :, 0, 0].tolist() == [1, 1, 1]  # a clear corner lies on white


def test_newsgroups_don_t_tell_their_group(shared_data: Path) -> None:
    records = load("20newsgroups", data=shared_data)
    assert len(records.classes) == 20 and 18_000 < len(records) < 19_997
    texts = records.items()
    assert len(set(texts.tolist())) == len(texts)
    assert not any(text.startswith(("Newsgroups:", "Xref:")) for text in texts)
    assert set(records.columns["topic"].tolist()) == {"alt", "comp", "misc", "rec", "sci", "soc", "talk"}


def test_sts_is_pairs_with_scores(shared_data: Path) -> None:
    records = load("stsbenchmark", data=shared_data)
    assert Counter(records.entries["split"].tolist()) == {"train": 5749, "dev": 1500, "test": 1379}
    relation, texts = records.relation, records.items()
    assert (texts[relation.left[0]], texts[relation.right[0]], float(relation.score[0])) == (
        "A plane is taking off.",
        "An air plane is taking off.",
        5.0,
    )
    assert float(relation.score.min()) >= 0 and float(relation.score.max()) <= 5
    dev = load("stsbenchmark:split=dev", data=shared_data)
    assert len(dev.relation.left) == 1500 and len(dev) < 3000


def test_soybean_has_missing_categories(held) -> None:
    rows = held("soybean").items()
    assert set(rows["hail"].tolist()) == {"yes", "no", ""}
    assert "same-lst-sev-yrs" in rows["crop-hist"].tolist()


def test_what_is_not_here_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import likewise.data.places as places

    monkeypatch.setenv("LIKEWISE_DATA", str(tmp_path / "there"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "__file__", str(tmp_path / "a" / "b" / "c" / "d.py"))
    with pytest.raises(DataError, match=r"omniglot_105\.npz: this built-in set isn't here") as error:
        load("omniglot", data=tmp_path / "given")
    for part in ("given", "there", "cache", "LIKEWISE_DATA"):
        assert part in str(error.value)
    assert "\n" not in str(error.value) and missing_files("mnist")
    (tmp_path / "given" / "att_faces").mkdir(parents=True)
    (tmp_path / "given" / "att_faces" / "att_faces.npz").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(DataError, match=r"att-faces: can't be read from .*given"):
        load("att-faces", data=tmp_path / "given")
    with pytest.raises(DataError, match="takes no colour="):
        load("mnist:colour=grey")


@pytest.mark.parametrize("name", SHARED)
def test_a_set_that_is_not_here_says_where_it_is_published(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import likewise.data.places as places

    monkeypatch.delenv("LIKEWISE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "__file__", str(tmp_path / "a" / "b" / "c" / "d.py"))
    with pytest.raises(DataError) as error:
        load(name, data=tmp_path / "given")
    told = str(error.value)
    assert told.startswith(SHARED[name].files[0]) and str(tmp_path / "given") in told and "\n" not in told
    assert SHARED[name].home and told.endswith(f"it is published at {SHARED[name].home}")


def test_every_set_says_what_it_is() -> None:
    for name, found in SHARED.items():
        assert found.files and found.summary and name == name.lower()
        if name in SHAPES:
            assert found.summary.startswith(f"{SHAPES[name][0]:,} ") or name == "segment-weka"
