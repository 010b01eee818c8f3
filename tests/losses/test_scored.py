"""ScoreRegression, DifferenceRegression and CoSENT against loops over pairs.

No loss of pytorch-metric-learning 2.9 reads scores of pairs, so there is nothing to compare with; where the
formula is PyTorch's own, PyTorch is asked.
"""

from __future__ import annotations

import math
import random

import pytest
import torch

from likewise.distances import Bilinear, Euclidean
from likewise.errors import InputError, UnsupportedError
from likewise.losses import CoSENT, DifferenceRegression, ScoreRegression
from likewise.relations import Labels, Pairs, Scores
from reference.losses import cosine
from reference.tables import random_tables

LISTED = ("pairs", "triplets", "quadruplets")


def draw_pairs(draw: random.Random, n: int, m: int, *, levels: int = 4, items: int | None = None):
    """m pairs of different items with scores of which some are equal."""
    left = [draw.randrange(n) for _ in range(m)]
    right = [draw.choice([j for j in range(items or n) if items or j != i]) for i in left]
    return left, right, [draw.randint(-levels, levels) / 2 for _ in range(m)]


def points(seed: int, n: int, d: int) -> torch.Tensor:
    """Every fifth draw 1e-4 apart at offset 1,000."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 1000 + 1e-4 * x if seed % 5 == 2 else x


def loop_difference(x, z):
    return sum(a - b for a, b in zip(x, z, strict=True))


def regression(distances, scores, huber, offset=None, scale=1.0):
    for d, score in zip(distances, scores, strict=True):
        error = (d if offset is None else offset - scale * d) - score
        if huber is not None and abs(error) > huber:
            yield huber * (2 * abs(error) - huber)
        else:
            yield error**2


def cosent(distances, scores, temperature):
    total = distances[0] * 0 + 1 if distances else torch.ones((), dtype=torch.float64)
    for a, score in zip(distances, scores, strict=True):
        for b, other in zip(distances, scores, strict=True):
            if score > other:
                total = total + torch.exp((a - b) / temperature)
    return torch.log(total)


def reduced(terms, reduction, x):
    if reduction == "none":
        return torch.stack(terms) if terms else x.new_zeros(0)
    count = {"mean": len(terms), "sum": 1, "active": sum(bool(t != 0) for t in terms)}[reduction]
    return sum(terms, x.sum() * 0) / max(1, count)


@pytest.mark.parametrize("huber", [None, 0.4])
@pytest.mark.parametrize("name", ["score", "difference"])
def test_regressions_equal_the_loops(name: str, huber: float | None) -> None:
    draw = random.Random(1)
    for number in range(200):
        n, m = draw.randint(2, 7), draw.randint(0, 9)
        apart = draw.random() < 0.3
        left, right, score = draw_pairs(draw, n, m, items=5 if apart else None)
        d = 1 if name == "difference" else draw.choice([1, 3])
        x, y = points(number, n, d), points(number + 1000, 5, d)
        weights = points(number, n, 1)[:, 0].abs() if draw.random() < 0.3 else None
        reduction = ("mean", "active", "sum", "none")[number % 4]
        build, distance = (
            (DifferenceRegression(huber=huber, reduction=reduction), loop_difference)
            if name == "difference"
            else (ScoreRegression(huber=huber, reduction=reduction, offset=0.5, scale=2.0), cosine)
        )
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        columns = a if not apart else y
        distances = [distance(a[i], columns[j]) for i, j in zip(left, right, strict=True)]
        options = {} if name == "difference" else {"offset": 0.5, "scale": 2.0}
        terms = list(regression(distances, score, huber, **options))
        if weights is None:
            expected = reduced(terms, reduction, a)
        else:
            weighted = [t * weights[i] for t, i in zip(terms, left, strict=True)]
            expected = reduced(weighted, "none" if reduction == "none" else "sum", a)
            if reduction in ("mean", "active"):
                count = len(terms) if reduction == "mean" else sum(bool(t != 0) for t in terms)
                expected = expected / max(1, count)
        found = build(b, Scores(left, right, score), columns=y if apart else None, weights=weights)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        mix = torch.linspace(0.5, 1.5, found.numel(), dtype=torch.float64).reshape(found.shape)
        if m:
            (expected * mix).sum().backward()
            (found * mix).sum().backward()
            torch.testing.assert_close(b.grad, a.grad, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_cosent_equals_the_loops_over_pairs_of_pairs(temperature: float) -> None:
    """200 cases, with equal scores, one score only, no pairs, and duplicates of a pair."""
    draw = random.Random(2)
    for number in range(200):
        n, m = draw.randint(2, 7), draw.choice([0, 1, 2, 5, 12])
        left, right, score = draw_pairs(draw, n, m, levels=draw.choice([0, 1, 4]))
        if m > 2:
            left[1], right[1] = left[0], right[0]
        x = points(number, n, draw.choice([2, 5]))
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        expected = cosent([cosine(a[i], a[j]) for i, j in zip(left, right, strict=True)], score, temperature)
        found = CoSENT(temperature=temperature)(b, Scores(left, right, score))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        found.backward()
        if expected.requires_grad:
            expected.backward()
            torch.testing.assert_close(b.grad, a.grad, rtol=1e-8, atol=1e-10)
        else:
            assert not b.grad.any()


def test_cosent_of_many_pairs_needs_no_square_of_them() -> None:
    """200,000 pairs: 4e10 comparisons. With m_k pairs of score k at the same distance the sum is known."""
    m = 200_000
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    score = torch.arange(m) % 4
    loss = CoSENT(temperature=1.0)
    value = loss(x, Scores(torch.zeros(m, dtype=torch.int64), torch.ones(m, dtype=torch.int64), score))
    torch.testing.assert_close(float(value), math.log(1 + 6 * (m / 4) ** 2), rtol=1e-6, atol=0)


@pytest.mark.parametrize("build", [ScoreRegression, CoSENT])
def test_other_relations_count_as_one_and_zero(build) -> None:
    for table in random_tables(48, seed=8):
        if table.name in LISTED or "one row" in table.name:
            continue
        near = [cell for row in table.rows for cell in row.near]
        far = [cell for row in table.rows for cell in row.far]
        relation = Scores(
            [a for a, _ in near + far], [b for _, b in near + far], [1.0] * len(near) + [0.0] * len(far)
        )
        x = table.embeddings.clone().requires_grad_()
        y = table.embeddings.clone().requires_grad_()
        found = build()(x, table.relation, columns=table.columns, **table.options)
        expected = build()(y, relation, columns=table.columns)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)
        found.backward()
        expected.backward()
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-9, atol=1e-10)


def test_pairs_are_scores_of_one_and_zero() -> None:
    x = points(3, 5, 3)
    found = ScoreRegression()(x, Pairs([0, 2, 1], [1, 3, 4], [True, False, True]))
    expected = ScoreRegression()(x, Scores([0, 2, 1], [1, 3, 4], [1.0, 0.0, 1.0]))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_bilinear_similarity_with_offset_zero() -> None:
    """x' W z = 1 * 3 + 2 * 1 = 5 against a score of 4."""
    loss = ScoreRegression(distance=Bilinear(torch.eye(2)), offset=0.0)
    value = loss(torch.tensor([[1.0, 2.0], [3.0, 1.0]]), Scores([0], [1], [4.0]))
    torch.testing.assert_close(value, torch.tensor(1.0))
    value.backward()
    # dL/dW = 2 * (5 - 4) * x z'
    torch.testing.assert_close(loss.distance.weight.grad, torch.tensor([[6.0, 2.0], [12.0, 4.0]]))


def test_huber_is_pytorchs() -> None:
    x = points(4, 6, 1)
    relation = Scores([0, 1, 2], [3, 4, 5], [0.3, -1.0, 2.0])
    target = relation.score
    difference = x[:3, 0] - x[3:, 0]
    expected = 2 * torch.nn.functional.huber_loss(difference, target, delta=0.7)
    torch.testing.assert_close(DifferenceRegression(huber=0.7)(x, relation), expected)


def test_the_difference_is_antisymmetric() -> None:
    """Swapping a pair and the sign of its target changes nothing; a common shift of all values neither."""
    x = points(5, 6, 1)
    left, right, target = [0, 2, 4], [1, 3, 5], torch.tensor([0.5, -2.0, 1.0])
    loss = DifferenceRegression()
    value = loss(x, Scores(left, right, target))
    torch.testing.assert_close(loss(x, Scores(right, left, -target)), value, rtol=1e-12, atol=0)
    torch.testing.assert_close(loss(x + 7.0, Scores(left, right, target)), value, rtol=1e-12, atol=0)
    assert float(loss(x, Scores(right, left, target))) != pytest.approx(float(value))


@pytest.mark.parametrize("build", [ScoreRegression, DifferenceRegression, CoSENT])
def test_gradcheck_float32_and_order(build) -> None:
    d = 1 if build is DifferenceRegression else 3
    x, y = points(6, 7, d), points(7, 5, d)
    draw = random.Random(3)
    left, right, score = draw_pairs(draw, 7, 9)
    to_left, to_right, to_score = draw_pairs(draw, 7, 9, items=5)
    loss = build()
    a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda u: loss(u, Scores(left, right, score)), (a,))
    assert torch.autograd.gradcheck(
        lambda u, v: loss(u, Scores(to_left, to_right, to_score), columns=v), (a, b)
    )
    exact = loss(x, Scores(left, right, score))
    low = loss(x.float(), Scores(left, right, score))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), exact, rtol=2e-5, atol=2e-5)
    order = torch.tensor([3, 8, 1, 0, 7, 2, 6, 5, 4])
    mixed = Scores(*(torch.tensor(part)[order] for part in (left, right, score)))
    torch.testing.assert_close(loss(x, mixed), exact, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("build", [ScoreRegression, DifferenceRegression, CoSENT])
def test_half_precision_and_nothing_to_learn(build) -> None:
    d = 1 if build is DifferenceRegression else 8
    x = points(8, 6, d)
    relation = Scores([0, 1, 2], [3, 4, 5], [0.3, -1.0, 2.0])
    for dtype in (torch.bfloat16, torch.float16):
        low = x.to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = build()(low, relation)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, build()(low.detach().float(), relation))
        found.backward()
        assert low.grad.dtype == dtype
    for rows in (x[:0], x):
        empty = rows.clone().requires_grad_()
        value = build()(empty, Scores([], [], []))
        value.backward()
        assert float(value.detach()) == 0.0
        assert not empty.grad.any()


def test_hostile_input_is_refused() -> None:
    x = points(9, 4, 1)
    bad = x.clone()
    bad[2] = torch.nan
    good = Scores([0], [1], [1.0])
    for build in (ScoreRegression, DifferenceRegression, CoSENT):
        for arguments, options, message in (
            ((bad, good), {}, "row 2"),
            ((x, Scores([0], [4], [1.0])), {}, "expected under 4, found 4"),
            ((x, Scores([1], [1], [1.0])), {}, "paired with itself"),
            ((x, good), {"weights": torch.ones(3)}, "weights"),
            ((x[:, 0], good), {}, "shape"),
            ((x, good), {"ids": [1, 2]}, "ids"),
        ):
            with pytest.raises(InputError, match=message):
                build()(*arguments, **options)
        for options, message in (
            ({"reduction": "average"}, "reduction"),
            ({"distance": "cosin"}, "distance"),
        ):
            with pytest.raises(InputError, match=message):
                build(**options)
        with pytest.raises(UnsupportedError, match="reads pairs"):
            build().function()
    with pytest.raises(InputError, match="paired with itself"):
        CoSENT()(x, Pairs([2], [2], [True]))
    with pytest.raises(InputError, match="expected 4, found 3"):
        DifferenceRegression()(x, Labels([0, 1, 1]))
    with pytest.raises(InputError, match=r"\(n, 1\); found \(4, 2\)"):
        DifferenceRegression()(torch.randn(4, 2), good)
    with pytest.raises(InputError, match="antisymmetric"):
        DifferenceRegression(distance=Euclidean())
    with pytest.raises(InputError, match="temperature"):
        CoSENT(temperature=0.0)
    with pytest.raises(InputError, match="none"):
        CoSENT(reduction="none")
    with pytest.raises(InputError, match="weights can't be given"):
        CoSENT()(x, good, weights=torch.ones(4))
    for options, message in (
        ({"scale": -1.0}, "scale"),
        ({"huber": 0}, "huber"),
        ({"offset": math.inf}, "offset"),
    ):
        with pytest.raises(InputError, match=message):
            ScoreRegression(**options)


def test_pairs_of_one_item_are_left_out() -> None:
    x = points(10, 4, 2)
    relation = Scores([0, 2], [1, 3], [1.0, 0.0])
    found = ScoreRegression()(x, relation, ids=[5, 5, 6, 7])
    expected = ScoreRegression()(x, Scores([2], [3], [0.0]))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
