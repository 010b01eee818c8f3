"""An index finds exactly what sorting all distances finds, comes back whole, and knows its model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from likewise.data import load, record, records_from_arrays
from likewise.distances import (
    Bilinear,
    Cityblock,
    Cosine,
    Distance,
    Euclidean,
    Hamming,
    Mahalanobis,
    PositionDependent,
    SignedDifference,
    SquaredEuclidean,
    WeightedCityblock,
)
from likewise.encoders import MLP, Standardize, encoder_for
from likewise.errors import ArtifactError, InputError
from likewise.model import Model
from likewise.search import Hit, Index
from likewise.search.engine import Vectors
from likewise.search.flat import FlatEngine

DISTANCES = {
    "euclidean": Euclidean,
    "squared": SquaredEuclidean,
    "cosine": Cosine,
    "mahalanobis": lambda: Mahalanobis(torch.tensor([[1.0, 2, 0], [0, -1, 1]])),
    "bilinear": lambda: Bilinear(torch.tensor([[1.0, 0, 2], [0, -1, 0], [3, 0, 1]])),
    "cityblock": Cityblock,
    "weighted": lambda: WeightedCityblock(3),
    "position": lambda: PositionDependent(3, hidden=4),
    "hamming": Hamming,
    "signed": SignedDifference,
}


class Same(nn.Module):
    """Items are their own embeddings."""

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        return items


def plain(distance: Distance, dimension: int = 3) -> Model:
    return Model(Same(), distance, Standardize((dimension,)))


def sorted_rows(distance: Distance, query: np.ndarray, gallery: np.ndarray) -> list[tuple[float, int]]:
    """Every distance alone, in float64, rounded to float32 as the answers are; then sorted."""
    double = distance.double()
    found = [
        (
            float(
                np.float32(double(torch.from_numpy(query).double(), torch.from_numpy(row).double()).item())
            ),
            i,
        )
        for i, row in enumerate(gallery)
    ]
    return sorted(found)


@pytest.mark.parametrize("name", DISTANCES)
def test_search_equals_sorting_all_distances(name: str) -> None:
    generator = np.random.default_rng(3)
    gallery = generator.normal(size=(60, 3)).astype(np.float32)
    queries = np.concatenate([generator.normal(size=(25, 3)), gallery[:3]]).astype(np.float32)
    index = Index.build(plain(DISTANCES[name]()), (gallery, np.arange(60)))
    many = index.search(queries, k=7)
    for query, hits in zip(queries, many, strict=True):
        expected = sorted_rows(index.model.distance, query, gallery)
        by_row = {row: distance for distance, row in expected}
        np.testing.assert_allclose(
            [hit.distance for hit in hits], [distance for distance, _ in expected[:7]], rtol=1e-5, atol=1e-6
        )
        for hit in hits:
            assert hit.distance == pytest.approx(by_row[hit.row], rel=1e-5, abs=1e-6)
        assert len({hit.row for hit in hits}) == 7


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["euclidean", "squared", "cosine", "mahalanobis", "bilinear"]),
    st.integers(0, 2**16),
    st.sampled_from([0.0, 1.0, 1e3, 1e4]),
    st.sampled_from([1e-4, 1.0]),
    st.integers(1, 50),
)
def test_the_flat_engine_finds_the_same_as_subtraction_also_far_from_the_origin_and_with_ties(
    name: str, seed: int, offset: float, spread: float, k: int
) -> None:
    generator = np.random.default_rng(seed)
    gallery = (offset + spread * generator.integers(-3, 4, size=(120, 3))).astype(np.float32)
    queries = (offset + spread * generator.integers(-3, 4, size=(24, 3))).astype(np.float32)
    vectors = Vectors(3)
    engine = FlatEngine(DISTANCES[name](), vectors)  # type: ignore[operator]
    engine.add(vectors.append(gallery[:50]))
    engine.add(vectors.append(gallery[50:]))
    with torch.inference_mode():
        features = engine.distance.features(torch.from_numpy(queries)).double()
        columns = engine.distance.column_features(torch.from_numpy(gallery)).double()
        table = engine.distance.form.pairs(features[:, None], columns[None]).float().numpy()
    found = engine.search(queries, k)
    for row in range(len(queries)):
        order = sorted(range(120), key=lambda column: (table[row, column], column))[:k]
        assert found.rows[row].tolist() == order
        assert found.distances[row].tolist() == table[row, order].tolist()


@pytest.mark.parametrize("name", ["euclidean", "squared", "mahalanobis"])
def test_neighbours_closer_than_a_product_can_tell_are_still_found(name: str) -> None:
    """Two clusters 20,000 apart and 0.01 wide: products in float32 are off by more than the width."""
    generator = np.random.default_rng(0)
    side = np.where(np.arange(200) % 2 == 0, 1e4, -1e4)[:, None]
    gallery = (side + generator.normal(size=(200, 3)) * 0.01).astype(np.float32)
    queries = gallery[:40] + np.float32(0.004)
    vectors = Vectors(3)
    engine = FlatEngine(DISTANCES[name](), vectors)  # type: ignore[operator]
    engine.add(vectors.append(gallery))
    with torch.inference_mode():
        features = engine.distance.features(torch.from_numpy(queries)).double()
        columns = engine.distance.features(torch.from_numpy(gallery)).double()
        table = engine.distance.form.pairs(features[:, None], columns[None]).float().numpy()
    found = engine.search(queries, 5)
    for row in range(len(queries)):
        order = sorted(range(200), key=lambda column: (table[row, column], column))[:5]
        assert found.rows[row].tolist() == order
        assert found.distances[row].tolist() == table[row, order].tolist()


def test_one_item_gives_hits_and_several_give_lists_of_them() -> None:
    model = Model(encoder_for((8, 8), dimension=8), Cosine(), Standardize((8, 8)))
    digits = load("digits").take(slice(0, 50))
    index = Index.build(model, digits)
    assert len(index) == 50
    one = index.search("digits:17", k=3)
    assert one[0] == Hit(id="digits:17", label=7, distance=pytest.approx(0, abs=1e-6), row=17)
    assert [hit.distance for hit in one] == sorted(hit.distance for hit in one)
    assert index.search(record("digits:17"), k=3) == one
    assert index.search(digits.X[17], k=3) == one
    many = index.search(digits.X[16:18], k=3)
    assert [hits[0].id for hits in many] == ["digits:16", "digits:17"]
    assert [hit.row for hit in many[1]] == [hit.row for hit in one]
    assert len(index.search(digits.X[0], k=500)) == 50
    assert one[0].to_dict() == {
        "id": "digits:17",
        "label": 7,
        "distance": one[0].distance,
        "row": 17,
        "probability": None,
        "metadata": {},
    }


X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
Y = ["a", "a", "b", "b", "c", "c"]


def test_added_records_are_found_and_a_refused_addition_leaves_the_index_as_it_was() -> None:
    index = Index.build(plain(Euclidean()), records_from_arrays(X, Y, name="first"))
    index.add((X + 10, Y), ids=[f"new-{i}" for i in range(6)])
    assert (len(index), index.ids[6], index.labels[6]) == (12, "new-0", "a")
    assert index.search(X[2] + 10, k=1)[0] == Hit(id="new-2", label="b", distance=0.0, row=8)
    for data, ids, found in [
        (records_from_arrays(X, Y, name="first"), None, "'first:0' is in the index already"),
        ((X, Y), ["x"] * 6, "'x' twice"),
        ((X, Y), ["x"], "found 1 for 6"),
        ((X, Y), [1, 2, 3, 4, 5, 6], "strings"),
        ((X[:, :2], Y), None, r"found \(6, 2\)"),
        ((np.where(X[1, 1] == X, np.nan, X), Y), None, "row 1"),
    ]:
        with pytest.raises(InputError, match=found):
            index.add(data, ids=ids)  # type: ignore[arg-type]
        assert len(index) == len(index.embeddings) == 12
    assert index.search(X[2], k=1)[0].id == "first:2"


@pytest.mark.parametrize(
    ("query", "k", "found"),
    [
        (X[0], 0, "k must be"),
        (X[0], -3, "k must be"),
        (X[0], 2.5, "k must be"),
        (X[0], True, "k must be"),
        (X[0, :2], 1, r"found \(1, 2\)"),
        (np.float32(3), 1, "found"),
        (np.full(3, np.nan), 1, "nan"),
        ("nothing:3", 1, "no such file"),
        ("nothing", 1, "SOURCE:ROW"),
    ],
)
def test_a_query_that_does_not_fit_is_refused(query: object, k: object, found: str) -> None:
    index = Index.build(plain(Euclidean()), (X, Y))
    with pytest.raises(InputError, match=found):
        index.search(query, k=k)  # type: ignore[arg-type]


def test_an_empty_index_is_refused(tmp_path: Path) -> None:
    for attempt in (lambda index: index.search(X[0]), lambda index: index.save(tmp_path / "index")):
        with pytest.raises(InputError, match="empty"):
            attempt(Index(plain(Euclidean())))
    assert list(tmp_path.iterdir()) == []


def trained(seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return Model(MLP(3, dimension=3), Mahalanobis(torch.rand(2, 3)), Standardize.learned_from(X))


def test_an_index_comes_back_with_its_model_inside(tmp_path: Path) -> None:
    made = Index.build(trained(), (X, Y))
    made.save(tmp_path / "index")
    made.add((X + 1, Y), ids=list("uvwxyz"))
    made.save(tmp_path / "index")
    back = Index.load(tmp_path / "index")
    assert (back.ids, back.labels, back.fingerprint) == (made.ids, made.labels, made.fingerprint)
    assert back.search(X, k=4) == made.search(X, k=4)
    assert Index.load(tmp_path / "index", model=made.model).search(X[0], k=4) == made.search(X[0], k=4)
    np.testing.assert_array_equal(Model.load(tmp_path / "index" / "model").embed(X), made.model.embed(X))


def test_another_models_index_is_refused(tmp_path: Path) -> None:
    Index.build(trained(0), (X, Y)).save(tmp_path / "index")
    with pytest.raises(ArtifactError, match="filled by another model"):
        Index.load(tmp_path / "index", model=trained(1))
    for change in (
        lambda model: setattr(model, "distance", Euclidean()),
        lambda model: model.preprocessing.scale.mul_(1.001),
        lambda model: model.encoder.shortcut.weight.data.view(-1)[0].add_(1e-6),
    ):
        other = trained(0)
        change(other)
        with pytest.raises(ArtifactError, match="filled by another model"):
            Index.load(tmp_path / "index", model=other)


def test_every_changed_byte_in_an_index_is_refused_before_any_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Index.build(trained(), (X, Y)).save(tmp_path / "index")
    from likewise.search import storage as module

    reads: list[bytes] = []
    true = module.safetensors.numpy.load
    monkeypatch.setattr(module.safetensors.numpy, "load", lambda data: reads.append(data) or true(data))
    generator = np.random.default_rng(0)
    files = [path for path in (tmp_path / "index").rglob("*") if path.is_file() and path.name != "journal"]
    assert len(files) == 7  # the journal has a test of its own
    for path in files:
        whole = path.read_bytes()
        for position in [0, len(whole) - 1, *generator.integers(len(whole), size=15)] if whole else []:
            changed = bytearray(whole)
            changed[position] ^= 1 << int(generator.integers(8))
            path.write_bytes(bytes(changed))
            with pytest.raises(ArtifactError, match=path.name.replace(".", r"\.")):
                Index.load(tmp_path / "index")
        path.write_bytes(whole)
    assert reads == []
    assert len(Index.load(tmp_path / "index")) == 6


def test_an_index_is_not_written_over_anything_else(tmp_path: Path) -> None:
    trained().save(tmp_path / "run")
    with pytest.raises(ArtifactError, match="isn't ours"):
        Index.build(trained(), (X, Y)).save(tmp_path / "run")
    assert Model.load(tmp_path / "run").fingerprint == trained().fingerprint
    with pytest.raises(ArtifactError, match=r"no index\.json"):
        Index.load(tmp_path / "run")


def test_a_module_of_ones_own_is_needed_again(tmp_path: Path) -> None:
    made = Index.build(plain(Cityblock()), (X, Y))
    made.save(tmp_path / "index")
    with pytest.raises(ArtifactError, match="encoder is a Same"):
        Index.load(tmp_path / "index")
    back = Index.load(tmp_path / "index", model=plain(Cityblock()))
    assert back.search(X[3], k=2) == made.search(X[3], k=2)
