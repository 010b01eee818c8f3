"""Exact search against a sort of every distance, on data made to break products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise import distances
from likewise.distances import distance_from_name
from likewise.errors import DataError, InputError
from likewise.search.exact import nearest, nearest_blocks, vectors


def by_sorting(queries, gallery, k, to_all, exclude=None):
    """All distances in float64 rounded to float32, sorted with ties by place."""
    gallery = np.asarray(gallery, dtype=np.float64)
    found_distances, found_indices = [], []
    for i, query in enumerate(np.asarray(queries, dtype=np.float64)):
        row = [
            (distance, place)
            for place, distance in enumerate(to_all(query, gallery).astype(np.float32).tolist())
            if exclude is None or place != exclude[i]
        ]
        row = sorted(row)[:k]
        row += [(np.inf, -1)] * (k - len(row))
        found_distances.append([distance for distance, _ in row])
        found_indices.append([place for _, place in row])
    return np.array(found_distances, dtype=np.float32), np.array(found_indices)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


TO_ALL = {
    "euclidean": lambda x, y: np.sqrt(np.sum((x - y) ** 2, 1)),
    "squared_euclidean": lambda x, y: np.sum((x - y) ** 2, 1),
    "cosine": lambda x, y: np.sum((unit(x) - unit(y)) ** 2, 1) / 2,
    "cityblock": lambda x, y: np.sum(np.abs(x - y), 1),
    "hamming": lambda x, y: np.sum(x != y, 1),
}
euclidean = TO_ALL["euclidean"]


def same(found, expected, tolerance=1e-6):
    assert found.indices.tolist() == expected[1].tolist()
    np.testing.assert_allclose(found.distances.numpy(), expected[0], rtol=tolerance, atol=1e-12)


@pytest.mark.parametrize("name", TO_ALL)
@pytest.mark.parametrize("k", [1, 7, 80])
def test_equals_a_sort_of_all_distances(name, k):
    generator = np.random.default_rng(0)
    # Whole coordinates: many exact ties. Cosine gets real ones, where ties are a matter of rounding.
    draw = generator.normal if name == "cosine" else lambda size: generator.integers(0, 3, size)
    queries, gallery = draw(size=(37, 3)).astype(np.float32), draw(size=(90, 3)).astype(np.float32)
    found = nearest(queries, gallery, k, distance=name, block_rows=10)
    # Directions are float32 before they are subtracted.
    same(found, by_sorting(queries, gallery, k, TO_ALL[name]), tolerance=1e-4 if name == "cosine" else 1e-6)


@pytest.mark.parametrize("k", [5, 100])
def test_large_gallery_goes_through_chunks_and_stays_exact(k):
    generator = np.random.default_rng(1)
    gallery = generator.normal(size=(5000, 6)).astype(np.float32)
    queries = np.concatenate([gallery[:9], generator.normal(size=(9, 6)).astype(np.float32)])
    same(nearest(queries, gallery, k), by_sorting(queries, gallery, k, euclidean))


@pytest.mark.parametrize("k", [3, 70])
def test_small_distances_far_from_the_origin_keep_their_order(k):
    """Two products of about 1e6 differ by 1e-6 here: without a second look all would come out 0."""
    generator = np.random.default_rng(2)
    gallery = (1000 + generator.normal(size=(400, 4)) * 1e-2).astype(np.float32)
    expected = by_sorting(gallery, gallery, k, euclidean, exclude=range(400))
    same(nearest(gallery, gallery, k, exclude=torch.arange(400)), expected)


@pytest.mark.parametrize("k", [3, 70])
def test_tight_clusters_far_apart_are_ordered_inside(k):
    """The centre doesn't help here: each cluster is far from it."""
    generator = np.random.default_rng(3)
    centres = generator.normal(size=(4, 8)) * 100
    gallery = (centres[np.arange(400) % 4] + generator.normal(size=(400, 8)) * 1e-3).astype(np.float32)
    same(nearest(gallery, gallery, k), by_sorting(gallery, gallery, k, euclidean), tolerance=1e-5)


@pytest.mark.parametrize("k", [4, 66])
def test_duplicates_are_at_zero_and_in_order(k):
    gallery = np.tile(np.random.default_rng(4).normal(size=(3, 5)).astype(np.float32), (50, 1))
    found = nearest(gallery[:3], gallery, k)
    for row in range(3):
        wanted = min(k, 50)
        assert found.distances[row, :wanted].tolist() == [0.0] * wanted
        assert found.indices[row, :wanted].tolist() == list(range(row, 150, 3))[:wanted]


def test_excluded_rows_are_not_found_and_leave_gaps_marked():
    found = nearest([[0.0], [1.0]], [[0.0], [1.0]], 2, exclude=[0, -1])
    assert found.indices.tolist() == [[1, -1], [1, 0]]
    assert found.distances.tolist() == [[1.0, float("inf")], [0.0, 1.0]]


def test_excluded_row_of_a_large_gallery():
    gallery = np.random.default_rng(5).normal(size=(4000, 3)).astype(np.float32)
    exclude = np.arange(20)
    expected = by_sorting(gallery[:20], gallery, 3, euclidean, exclude)
    same(nearest(gallery[:20], gallery, 3, exclude=exclude), expected)


def test_learned_distances_are_taken_as_they_are():
    generator = torch.Generator().manual_seed(6)
    x, y = torch.randn(11, 4, generator=generator), torch.randn(70, 4, generator=generator)
    bilinear = distances.Bilinear(torch.randn(4, 4, generator=generator))
    torch.manual_seed(0)
    for measure in [bilinear, distances.Mahalanobis(torch.randn(2, 4)), distances.PositionDependent(4)]:
        table = measure.table(x, y).detach()
        expected = table.sort(dim=1, stable=True)
        found = nearest(x, y, 9, distance=measure)
        assert torch.equal(found.indices, expected.indices[:, :9])
        assert torch.allclose(found.distances, expected.values[:, :9], rtol=1e-5, atol=1e-6)
        assert not found.distances.requires_grad


def test_bilinear_may_compare_different_dimensions():
    weight = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    found = nearest([[1.0, 2.0]], [[1.0, 1.0, 9.0], [2.0, 2.0, 0.0]], 1, distance=distances.Bilinear(weight))
    assert (found.indices.item(), found.distances.item()) == (1, -6.0)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 12),
    st.integers(1, 90),
    st.integers(1, 3),
    st.integers(0, 10**6),
    st.sampled_from([1, 4, 75]),
)
def test_any_small_integer_table(n, m, d, seed, k):
    generator = np.random.default_rng(seed)
    queries, gallery = generator.integers(-2, 3, (n, d)), generator.integers(-2, 3, (m, d))
    k = min(k, m)
    same(nearest(queries, gallery, k), by_sorting(queries, gallery, k, euclidean))


def test_blocks_cover_all_queries_once():
    blocks = list(nearest_blocks(np.eye(10), np.eye(10), 1, block_rows=4))
    assert [(block.start, block.stop) for block in blocks] == [(0, 4), (4, 8), (8, 10)]
    assert torch.cat([block.indices for block in blocks]).squeeze(1).tolist() == list(range(10))


def test_float64_stays_float64():
    """These two differ by less than float32 can hold."""
    gallery = np.array([[1.0 + 2e-12], [1.0 + 1e-12]])
    found = nearest(np.array([[1.0]]), gallery, 2)
    assert found.indices.tolist() == [[1, 0]] and found.distances.dtype == torch.float64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be a whole number from 1"),
        ({"k": 4}, "gallery's 3 rows"),
        ({"k": 1.0}, "found 1.0"),
        ({"distance": "manhattan"}, "distance must be"),
        ({"exclude": [5, 0]}, "below 3"),
        ({"exclude": [0.0, 1.0]}, "whole number"),
        ({"exclude": [0]}, "each of the 2 queries"),
        ({"queries": [[1.0, 2.0]] * 2}, "same dimension"),
        ({"queries": [[np.nan], [0.0]]}, "first of them row 0"),
        ({"queries": [1.0]}, "shape"),
        ({"gallery": [["a"]]}, "gallery must be"),
        ({"gallery": np.zeros((0, 1))}, "n, d >= 1"),
    ],
)
def test_wrong_requests_are_refused(change, message):
    arguments = {"queries": [[0.0], [1.0]], "gallery": [[0.0], [1.0], [2.0]], "k": 1} | change
    queries, gallery, k = arguments.pop("queries"), arguments.pop("gallery"), arguments.pop("k")
    with pytest.raises(InputError, match=message):
        nearest(queries, gallery, k, **arguments)


def test_a_distance_that_gives_nan_is_refused():
    class Broken(distances.Distance):
        def forward(self, x, y):
            return (x - y).sum(-1) * float("nan")

    with pytest.raises(DataError, match="Broken"):
        nearest([[0.0]], [[1.0]], 1, distance=Broken())


def test_vectors_keeps_precision():
    assert vectors(torch.zeros(1, 1, dtype=torch.bfloat16)).dtype == torch.float32
    assert vectors(np.zeros((1, 1), dtype=np.uint8)).dtype == torch.float32
    assert vectors([[2**30 + 1]])[0, 0].item() == 2**30 + 1
    assert isinstance(distance_from_name("Cosine"), distances.Cosine)
