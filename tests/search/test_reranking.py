"""Re-ranking and expansion, against loops written from the papers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likewise.distances import Cosine, Distance, Euclidean
from likewise.encoders import Standardize
from likewise.errors import InputError
from likewise.model import Model
from likewise.search import Index, KReciprocal, QueryExpansion
from likewise.search.reranking import expanded, k_reciprocal_order


def reference_order(points: np.ndarray, k1: int, k2: int, weight: float) -> list[int]:
    """Zhong et al. 2017 as it is written: sets and loops; point 0 is the probe, the rest the gallery."""
    n = len(points)
    d = [[float(np.linalg.norm(points[i] - points[j])) for j in range(n)] for i in range(n)]
    d = [[value / (max(row) or 1) for value in row] for row in d]
    ranks = [sorted(range(n), key=lambda j, i=i: (d[i][j], j)) for i in range(n)]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in ranks[i][: k + 1] if i in ranks[j][: k + 1]}

    encoded = []
    for i in range(n):
        own = reciprocal(i, k1)
        extended = set(own)
        for j in own:
            theirs = reciprocal(j, round(k1 / 2))
            if len(theirs & own) > 2 / 3 * len(theirs):
                extended |= theirs
        total = sum(np.exp(-d[i][j]) for j in extended)
        encoded.append([np.exp(-d[i][j]) / total if j in extended else 0.0 for j in range(n)])
    if k2 > 1:
        encoded = [np.mean([encoded[j] for j in ranks[i][:k2]], axis=0).tolist() for i in range(n)]
    scores = []
    for g in range(1, n):
        low = sum(min(a, b) for a, b in zip(encoded[0], encoded[g], strict=True))
        high = sum(max(a, b) for a, b in zip(encoded[0], encoded[g], strict=True))
        scores.append((1 - weight) * (1 - low / high) + weight * d[0][g])
    return sorted(range(n - 1), key=lambda g: scores[g])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("k1", "k2", "weight"), [(6, 3, 0.3), (4, 1, 0.0), (10, 6, 0.5), (3, 2, 1.0)])
def test_k_reciprocal_order_is_the_papers(seed: int, k1: int, k2: int, weight: float) -> None:
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(25, 3))
    order = np.argsort([np.linalg.norm(points[0] - point) for point in points[1:]])
    gallery = points[1:][order]
    found = k_reciprocal_order(
        points[0].astype(np.float32),
        gallery.astype(np.float32),
        reranking=KReciprocal(k1=k1, k2=k2, weight=weight),
        distance=Euclidean(),
    )
    expected = reference_order(np.concatenate([points[:1], gallery]).astype(np.float32), k1, k2, weight)
    assert found.tolist() == expected


def test_with_all_weight_on_the_distance_nothing_moves() -> None:
    gallery = np.arange(1, 9, dtype=np.float32)[:, None]
    only = KReciprocal(k1=3, k2=2, weight=1.0)
    order = k_reciprocal_order(np.float32([0]), gallery, reranking=only, distance=Euclidean())
    assert order.tolist() == list(range(8))


def test_a_far_member_of_the_querys_own_cluster_overtakes_a_near_stranger() -> None:
    """The query at 0 has a chain of friends to 1.2; at -1 sits a stranger whose friends are all at -1.1."""
    friends = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9, 1.05])
    strangers = np.array([-1.0, -1.1, -1.11, -1.12, -1.13, -1.14, -1.15])
    points = np.concatenate([friends, strangers])[:, None].astype(np.float32)
    points = points[np.argsort(np.abs(points[:, 0]))]
    before = points[:, 0].tolist()
    assert before.index(np.float32(-1.0)) < before.index(np.float32(1.05))
    order = k_reciprocal_order(
        np.float32([0]), points, reranking=KReciprocal(k1=8, k2=1, weight=0.0), distance=Euclidean()
    )
    after = points[order, 0].tolist()
    assert after.index(np.float32(-1.0)) > after.index(np.float32(1.05))


def test_expansion_is_the_weighted_mean_of_query_and_neighbours() -> None:
    query, near = np.float32([3, 4]), np.float32([[4, 3], [-3, -4], [0, 2]])
    cosines = [0.96, 0.0, 0.8]  # the second looks away: cut off at zero
    total = query.copy().astype(float)
    for cosine, neighbour in zip(cosines, near, strict=True):
        total += cosine**3 * neighbour
    mean = total / (1 + sum(cosine**3 for cosine in cosines))
    found = expanded(query, near, expansion=QueryExpansion(3, alpha=3), distance=Euclidean())
    np.testing.assert_allclose(found, mean, rtol=1e-6)
    plain = expanded(query, near, expansion=QueryExpansion(3, alpha=0), distance=Euclidean())
    np.testing.assert_allclose(plain, (query + near.sum(0)) / 4, rtol=1e-6)
    found = expanded(query, 7 * near, expansion=QueryExpansion(3), distance=Cosine())
    again = expanded(query / 5, near, expansion=QueryExpansion(3), distance=Cosine())
    np.testing.assert_allclose(found, again, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: QueryExpansion(0),
        lambda: QueryExpansion(alpha=-1),
        lambda: KReciprocal(k1=0),
        lambda: KReciprocal(k2=True),
        lambda: KReciprocal(weight=1.5),
        lambda: KReciprocal(candidates=2.5),  # type: ignore[arg-type]
    ],
)
def test_options_out_of_range_are_refused(make) -> None:
    with pytest.raises(InputError):
        make()


def test_a_duplicate_of_the_query_divides_nothing_by_zero() -> None:
    same = np.zeros((5, 2), dtype=np.float32)
    order = k_reciprocal_order(np.zeros(2, np.float32), same, reranking=KReciprocal(), distance=Euclidean())
    assert sorted(order.tolist()) == list(range(5))
    assert torch.isfinite(
        torch.from_numpy(expanded(same[0], same, expansion=QueryExpansion(), distance=Cosine()))
    ).all()


@pytest.mark.parametrize("distance", [Cosine(), Euclidean()])
def test_several_queries_together_are_the_nearest_to_their_mean(distance: Distance) -> None:
    """By hand: of unit vectors under cosine, where a long vector counts no more than others."""
    queries = np.array([[10, 0, 0], [0, 1, 0]], dtype=np.float32)
    rows = np.array([[1, 1, 0], [1, 0, 0], [5, 0.5, 0], [0, 0, 1]], dtype=np.float32)
    index = Index(Model(torch.nn.Identity(), distance, Standardize((3,))))
    index.add_embeddings(rows, ids=["between", "one", "middle", "off"])
    (hits,) = index.search_embeddings(queries, 4, together=True)
    mean = np.array([0.5, 0.5, 0]) if isinstance(distance, Cosine) else np.array([5, 0.5, 0])
    assert hits[0].id == ("between" if isinstance(distance, Cosine) else "middle")
    assert hits[0].distance == pytest.approx(0, abs=1e-6)
    expected = sorted(
        float(distance(torch.tensor(mean)[None], torch.tensor(row)[None].double())) for row in rows
    )
    assert [hit.distance for hit in hits] == pytest.approx(expected, abs=1e-5)
    assert index.search(queries, 4, together=True) == hits
    assert index.search_embeddings(queries[:1], 4, together=True) == index.search_embeddings(queries[:1], 4)


def test_queries_that_cancel_out_or_are_none_are_refused() -> None:
    index = Index(Model(torch.nn.Identity(), Cosine(), Standardize((3,))))
    index.add_embeddings(np.eye(3, dtype=np.float32), ids=list("abc"))
    with pytest.raises(InputError, match="cancel each other out"):
        index.search_embeddings(np.array([[1, 0, 0], [-2, 0, 0]], dtype=np.float32), together=True)
    with pytest.raises(InputError, match="at least one"):
        index.search([], together=True)
