"""Every engine keeps the same contract; a new one is tested by standing in the list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

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
)
from likewise.encoders import Standardize
from likewise.errors import ArtifactError, InputError
from likewise.model import Model
from likewise.search import ENGINES, Index
from likewise.search.engine import Vectors, searched_exactly
from likewise.search.engines import engine_named

D, N = 12, 1600
AddressFor = Callable[[str], "str | None"]
DISTANCES: dict[str, Callable[[], Distance]] = {
    "euclidean": Euclidean,
    "cosine": Cosine,
    "mahalanobis": lambda: Mahalanobis(torch.eye(D)[:8] * torch.arange(1.0, 9)[:, None]),
    "bilinear": lambda: Bilinear(torch.eye(D).roll(1, 0)),
    "cityblock": Cityblock,
    "pddm": lambda: PositionDependent(D, hidden=4),
}


class Same(nn.Module):
    """Items are their own embeddings."""

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        return items


def model(distance: Distance) -> Model:
    return Model(Same(), distance, Standardize((D,)))


def clouds(n: int = N, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(20, D))
    return (centres[generator.integers(20, size=n)] + 0.6 * generator.normal(size=(n, D))).astype(np.float32)


def recall(found: list, truth: list) -> float:
    """The share of true neighbours found, by distance, so that ties count."""
    shares = [
        np.mean([hit.distance <= own[-1].distance + 1e-6 for hit in hits])
        for hits, own in zip(found, truth, strict=True)
    ]
    return float(np.mean(shares))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def size(engine: str) -> int:
    """Enough for a structure; fewer where a server takes its time to fill."""
    return 320 if engine in ("milvus", "postgres") else N


def built(engine: str, address_for: AddressFor, distance: Distance, n: int | None = None) -> Index:
    n = size(engine) if n is None else n
    made = Index(model(distance), engine=engine, recall=0.9, address=address_for(engine))
    made.add_embeddings(
        clouds(n),
        ids=[f"r{i}" for i in range(n)],
        labels=[i % 7 for i in range(n)],
        metadata={"price": [i % 100 for i in range(n)], "shop": ["AB"[i % 2] for i in range(n)]},
    )
    return made


@pytest.mark.parametrize("distance", DISTANCES)
def test_neighbours_are_found_with_their_own_distances(
    engine: str, distance: str, address_for: AddressFor
) -> None:
    if engine in ("milvus", "postgres") and distance in ("mahalanobis", "pddm"):
        pytest.skip("the same path as euclidean and city block, and slow to fill")
    index = built(engine, address_for, DISTANCES[distance]())
    queries = clouds(40, seed=5)
    found = index.search_embeddings(queries, 10)
    truth = index.with_engine("flat").search_embeddings(queries, 10)
    reached = recall(found, truth)
    if engine == "flat":
        assert reached == 1
    elif index.engine.measured_recall is not None and index.engine.measured_recall >= 0.9:
        assert reached >= 0.8  # what was measured on 200 others holds here
    elif distance in ("euclidean", "cosine", "bilinear"):
        assert reached >= 0.9
    held = index.embeddings
    for query, hits in zip(queries, found, strict=True):
        rows = [hit.row for hit in hits]
        assert len(hits) == len(set(rows)) == 10
        expected = index.model.distances(np.repeat(query[None], 10, 0), held[rows])
        np.testing.assert_allclose([hit.distance for hit in hits], expected, rtol=1e-4, atol=1e-5)
        assert [hit.distance for hit in hits] == sorted(hit.distance for hit in hits)
        assert all(hit.id == f"r{hit.row}" and hit.label == hit.row % 7 for hit in hits)
    index.drop()
    index.close()


def test_a_record_finds_itself_and_batch_size_changes_nothing(engine: str, address_for: AddressFor) -> None:
    index = built(engine, address_for, Euclidean())
    together = index.search_embeddings(index.embeddings[:70], 3)
    assert np.mean([hits[0].id == f"r{i}" for i, hits in enumerate(together)]) >= (engine == "flat" or 0.9)
    alone = [index.search_embeddings(index.embeddings[i : i + 1], 3)[0] for i in range(0, 70, 23)]
    assert alone == together[::23]
    index.drop()
    index.close()


def test_records_at_the_same_distance_come_by_row(engine: str, address_for: AddressFor) -> None:
    """Each record three times over: found together, and in the order they were added."""
    n = size(engine) // 3
    index = Index(model(Euclidean()), engine=engine, recall=0.9, address=address_for(engine))
    index.add_embeddings(np.tile(clouds(n), (3, 1)), ids=[f"r{i}" for i in range(3 * n)])
    for hits in index.search_embeddings(clouds(30, seed=5), 9):
        order = [(hit.distance, hit.row) for hit in hits]
        assert order == sorted(order)
    index.drop()
    index.close()


def test_a_filter_is_kept_whether_it_lets_few_or_many_through(engine: str, address_for: AddressFor) -> None:
    index = built(
        engine,
        address_for,
        Euclidean(),
        n=9000 if engine in ("flat", "hnsw", "ivfpq") else 1200 if engine == "binary" else 320,
    )
    queries = clouds(10, seed=5)
    for where, holds in [
        ("price = 3", lambda hit: hit.metadata["price"] == 3),
        ("shop = 'A' and price < 98", lambda hit: hit.metadata["shop"] == "A" and hit.metadata["price"] < 98),
        ("label in (1, 2, 3, 4)", lambda hit: hit.label in (1, 2, 3, 4)),
    ]:
        found = index.search_embeddings(queries, 10, where=where)
        assert all(holds(hit) for hits in found for hit in hits)
        truth = index.with_engine("flat").search_embeddings(queries, 10, where=where)
        assert [len(hits) for hits in found] == [len(hits) for hits in truth]
        assert recall(found, truth) >= (1 if engine == "flat" else 0.8)
    assert index.search_embeddings(queries, 10, where="price > 1000") == [[]] * 10
    index.drop()
    index.close()


def test_what_is_removed_is_never_found_and_what_is_updated_is(engine: str, address_for: AddressFor) -> None:
    index = built(engine, address_for, Euclidean())
    gone = [f"r{i}" for i in range(0, size(engine), 2)]
    index.remove(gone)
    assert len(index) == size(engine) // 2
    found = index.search_embeddings(clouds(20, seed=6), 10)
    assert not {hit.id for hits in found for hit in hits} & set(gone)
    far = np.full((1, D), 50, dtype=np.float32)
    index.update(["r1"], (far, ["new"]), metadata=[{"price": 1}])
    hit = index.search_embeddings(far, 1)[0][0]
    assert (hit.id, hit.label, dict(hit.metadata)) == ("r1", "new", {"price": 1})
    assert index.ids[hit.row] == "r1"
    assert hit.distance == 0
    index.add_embeddings(-far, ids=["extra"])
    assert index.search_embeddings(-far, 1)[0][0].id == "extra"
    index.drop()
    index.close()


def test_it_comes_back_from_a_folder_and_moves_to_another_engine(
    engine: str, address_for: AddressFor, tmp_path: Path
) -> None:
    index = built(engine, address_for, Cosine())
    index.remove(["r5", "r6"])
    queries = clouds(20, seed=7)
    index.save(tmp_path / "index")
    before = index.search_embeddings(queries, 5)
    index.close()
    back = Index.load(tmp_path / "index", model=model(Cosine()))
    assert back.search_embeddings(queries, 5) == before
    assert back.engine == index.engine
    assert back.fingerprint == index.fingerprint
    back.close()
    with Index.open(tmp_path / "index", model=model(Cosine())) as opened:
        opened.add_embeddings(np.full((1, D), -3, np.float32), ids=["late"], metadata=[{"price": 7}])
    with Index.open(tmp_path / "index", model=model(Cosine())) as again:
        assert again.search_embeddings(np.full((1, D), -3, np.float32), 1)[0][0].id == "late"
        again.save()
        moved = again.with_engine("flat")
        assert (moved.ids, moved.labels) == (again.ids, again.labels)
        assert dict(moved.record("late").metadata) == {"price": 7}
        assert recall(again.search_embeddings(queries, 5), moved.search_embeddings(queries, 5)) >= 0.8
        again.drop()


def test_range_search_finds_all_within_the_radius(engine: str, address_for: AddressFor) -> None:
    index = built(engine, address_for, Euclidean())
    query = clouds(1, seed=8)
    distances = index.model.distances(np.repeat(query, size(engine), 0), index.embeddings)
    for radius in (0.0, float(np.sort(distances)[4]), float(np.sort(distances)[200])):
        expected = {f"r{i}" for i in np.flatnonzero(distances <= radius)}
        found = index.range_search_embeddings(query, radius)[0]
        assert {hit.id for hit in found} <= expected
        assert len(found) >= (1 if engine == "flat" else 0.9) * len(expected)
    assert len(index.range_search_embeddings(query, 1e9, limit=70)[0]) == 70
    index.drop()
    index.close()


def test_the_recall_that_is_told_is_that_of_records_it_has_not_seen() -> None:
    for engine in ("hnsw", "ivfpq", "binary"):
        vectors = Vectors(D)
        made = engine_named(engine, Euclidean(), vectors, recall=0.9)
        assert made.report().measured_recall is None
        made.add(vectors.append(clouds(3000)))
        told = made.report()
        assert told.queries == 200
        assert told.measured_recall >= 0.9
        queries = clouds(300, seed=11)
        truth = searched_exactly(Euclidean(), vectors, queries, 10)
        found = made.search(queries, 10)
        reached = (found.distances <= truth.distances[:, -1:] * (1 + 1e-6)).mean()
        assert abs(reached - told.measured_recall) < 0.05
        assert "recall@10" in str(told)


def test_an_unreached_recall_is_told() -> None:
    vectors = Vectors(D)
    made = engine_named("hnsw", PositionDependent(D, hidden=4), vectors, recall=1.0)
    made.add(vectors.append(clouds(1500)))
    if made.report().measured_recall < 1:
        assert "isn't reached" in str(made.report())


def test_hamming_codes_are_found_by_the_binary_engine() -> None:
    bits = np.random.default_rng(0).integers(0, 2, size=(1500, 32)).astype(np.float32) * 2 - 1
    queries = bits[:20].copy()
    queries[:, 0] *= -1
    vectors = Vectors(32)
    made = engine_named("binary", Hamming(), vectors)
    made.add(vectors.append(bits))
    found = made.search(queries, 5)
    truth = np.sort((queries[:, None] != bits[None]).sum(-1), axis=1)[:, :5]
    np.testing.assert_array_equal(found.distances, truth)
    vectors = Vectors(D)
    made = engine_named("binary", Hamming(), vectors)
    rows = vectors.append(clouds(1200))
    with pytest.raises(InputError, match="two values"):
        made.add(rows)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"engine": "fast"}, "engine must be one of flat"),
        ({"recall": 0}, "recall"),
        ({"recall": 1.5}, "recall"),
        ({"engine": "flat", "address": "x.db"}, "address"),
        ({"engine": "postgres"}, "address must be given"),
        ({"engine": "postgres", "address": "postgresql://me:secret@host/db"}, "PGPASSWORD"),
        ({"engine": "milvus", "address": "http://me:secret@host:1"}, "MILVUS_TOKEN"),
    ],
)
def test_a_wrong_choice_of_engine_is_refused_at_once(arguments: dict, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        Index(model(Euclidean()), **arguments)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("engine_name", ["hnsw", "ivfpq", "binary", "milvus"])
def test_a_signed_difference_has_no_structure(engine_name: str) -> None:
    address = "x.db" if engine_name == "milvus" else None
    with pytest.raises(InputError, match="flat"):
        Index(model(SignedDifference()), engine=engine_name, address=address)


@pytest.mark.parametrize(
    ("engine_name", "address"),
    [
        ("postgres", "postgresql://nobody@127.0.0.1:9/nothing"),
        ("milvus", "http://127.0.0.1:9"),
        ("milvus", "/proc/nothing/x.db"),
    ],
)
def test_a_server_that_is_not_there_is_named(engine_name: str, address: str) -> None:
    index = Index(model(Euclidean()), engine=engine_name, address=address)
    with pytest.raises(InputError, match=address):
        index.add_embeddings(clouds(3), ids=list("abc"))


def test_an_index_opens_for_moving_although_its_server_is_gone(
    tmp_path: Path, address_for: AddressFor
) -> None:
    index = built("milvus", address_for, Euclidean(), n=50)
    index.save(tmp_path / "index")
    index.close()
    index.drop()
    index.close()
    back = Index.load(tmp_path / "index", model=model(Euclidean()))
    assert back.with_engine("flat").search_embeddings(back.embeddings[:1], 1)[0][0].id == "r0"
    with pytest.raises(InputError, match=r"store\.db: there is no likewise_"):
        back.search_embeddings(clouds(1), 1)
    with Index.open(tmp_path / "index", model=model(Euclidean())) as opened:
        assert opened.search_embeddings(opened.embeddings[:1], 1)[0][0].id == "r0"


def lead_off_the_level(arrays: dict, described: dict) -> None:
    """On the second level of a record that has one, name a record that is on the first alone."""
    links, levels = described["links"], arrays["levels"]
    ends = np.cumsum(2 * links + (levels - 1) * links)
    high = int(np.flatnonzero(levels >= 2)[0])
    begin = 0 if high == 0 else ends[high - 1]
    arrays["neighbours"][begin + 2 * links] = int(levels.argmin())


def damaged_states(engine: str) -> dict[str, Callable[[dict, dict], None]]:
    """Changes of a structure's arrays that a checksum made right would hide."""
    general: dict[str, Callable[[dict, dict], None]] = {
        "order twice": lambda arrays, _: arrays["order"].__setitem__(0, arrays["order"][1]),
        "order gone": lambda arrays, _: arrays.pop("order"),
        "effort": lambda _, described: described["effort"].__setitem__("width", -1),
        "no candidates": lambda _, described: described["effort"].__setitem__("candidates", 0),
        "effort gone": lambda _, described: described.pop("effort"),
        "recall": lambda _, described: described.__setitem__("measured", 7),
    }
    own: dict[str, dict[str, Callable[[dict, dict], None]]] = {
        "hnsw": {
            "neighbour beyond": lambda a, _: a["neighbours"].__setitem__(3, 10**6),
            "neighbour below": lambda a, _: a["neighbours"].__setitem__(3, -2),
            "levels": lambda a, _: a["levels"].__setitem__(3, a["levels"][3] + 1),
            "level high": lambda a, _: a["levels"].__setitem__(3, 31),
            "off the level": lead_off_the_level,
            "cut": lambda a, _: a.__setitem__("neighbours", a["neighbours"][:-1]),
            "entry": lambda _, described: described.__setitem__("entry", 10**9),
            "links": lambda _, described: described.__setitem__("links", 7),
            "type": lambda a, _: a.__setitem__("levels", a["levels"].astype(np.int64)),
        },
        "ivfpq": {
            "NaN": lambda a, _: a["centroids"].__setitem__((0, 0), np.nan),
            "codebooks": lambda a, _: a.__setitem__("codebooks", a["codebooks"][:-1]),
            "bits": lambda _, described: described.__setitem__("bits", 3),
        },
        "binary": {
            "planes": lambda a, _: a.__setitem__("planes", a["planes"][:, :-1].copy()),
            "centre": lambda a, _: a.__setitem__("centre", a["centre"][:-1]),
        },
    }
    return {**general, **own[engine]}


@pytest.mark.parametrize("engine_name", ["hnsw", "ivfpq", "binary"])
def test_a_structure_that_does_not_fit_is_refused_before_faiss_reads_it(engine_name: str) -> None:
    vectors = Vectors(D)
    made = engine_named(engine_name, Euclidean(), vectors, recall=0.9)
    made.add(vectors.append(clouds(1200)))
    for change in damaged_states(engine_name).values():
        arrays, described = made.state()
        copied = {key: value.copy() for key, value in arrays.items()}
        told = {**described, "effort": dict(described["effort"])}
        change(copied, told)
        with pytest.raises((InputError, KeyError)):
            engine_named(engine_name, Euclidean(), vectors, recall=0.9).restore(copied, told)


def test_another_process_store_is_not_shared_by_a_second_folder(
    tmp_path: Path, address_for: AddressFor
) -> None:
    index = built("milvus", address_for, Euclidean(), n=20)
    index.save(tmp_path / "one")
    with pytest.raises(InputError, match="likewise index --from"):
        index.save(tmp_path / "two")
    index.close()


def test_another_models_index_is_refused_by_every_field_of_its_fingerprint(tmp_path: Path) -> None:
    index = Index(model(Mahalanobis(torch.eye(D))))
    index.add_embeddings(clouds(20), ids=[str(i) for i in range(20)])
    index.save(tmp_path / "index")
    others = [
        model(Mahalanobis(torch.eye(D) * 1.0001)),
        model(Mahalanobis(torch.eye(D)[:5])),
        model(Euclidean()),
        Model(nn.Identity(), Mahalanobis(torch.eye(D)), Standardize((D,))),
    ]
    shifted = model(Mahalanobis(torch.eye(D)))
    shifted.preprocessing.mean[3] = 1e-3
    for other in [*others, shifted]:
        with pytest.raises(ArtifactError, match="another model"):
            Index.load(tmp_path / "index", model=other)
        with pytest.raises(ArtifactError, match="another model"):
            index.search_embeddings(clouds(1), 1, fingerprint=other.fingerprint)
    hits = index.search_embeddings(index.embeddings[:1], 1, fingerprint=index.model.fingerprint)[0]
    assert hits[0].id == "0"
