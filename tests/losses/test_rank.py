"""PairwiseRank against loops over preferences; pytorch-metric-learning 2.9 has no such loss."""

from __future__ import annotations

import random

import pytest
import torch

from likewise.distances import Euclidean
from likewise.errors import InputError, UnsupportedError
from likewise.losses import PairwiseRank
from likewise.relations import Labels, Pairs, Scores, Triplets


def hinge(value):
    return value if value > 0 else value * 0


def values(seed: int, n: int, d: int = 1) -> torch.Tensor:
    """Every fifth draw 1e-4 apart at offset 1,000."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 1000 + 1e-4 * x if seed % 5 == 2 else x


def loops(terms, reduction, like, n_rows):
    """terms are (row, weight, value)."""
    if reduction == "none":
        rows = [like.sum() * 0 for _ in range(n_rows)]
        for row, weight, value in terms:
            rows[row] = rows[row] + weight * value
        return torch.stack(rows) if rows else like.new_zeros(0)
    active = sum(bool(value != 0) for _, _, value in terms)
    count = {"mean": len(terms), "sum": 1, "active": active}[reduction]
    return sum((weight * value for _, weight, value in terms), like.sum() * 0) / max(1, count)


def check(number, x, make_terms, relation, n_rows, **options):
    reduction = ("mean", "active", "sum", "none")[number % 4]
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected = loops(make_terms(a), reduction, a, n_rows)
    found = PairwiseRank(margin=0.6, reduction=reduction)(b, relation, **options)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    mix = torch.linspace(0.5, 1.5, found.numel(), dtype=torch.float64).reshape(found.shape)
    (found * mix).sum().backward()
    if expected.requires_grad:
        (expected * mix).sum().backward()
    torch.testing.assert_close(
        b.grad, torch.zeros_like(x) if a.grad is None else a.grad, rtol=1e-9, atol=1e-11
    )


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
def test_signed_preferences_equal_the_loops() -> None:
    draw = random.Random(1)
    for number in range(200):
        n, m, apart = draw.randint(2, 7), draw.randint(1, 8), draw.random() < 0.4
        left = [draw.randrange(n) for _ in range(m)]
        right = [draw.choice([j for j in range(5 if apart else n) if apart or j != i]) for i in left]
        sign = [draw.choice([-1.5, -1.0, 0.0, 0.5, 2.0]) for _ in range(m)]
        x, y = values(number, n), values(number + 500, 5)
        kept = [(i, j, s) for i, j, s in zip(left, right, sign, strict=True) if s != 0]
        weights = values(number, n)[:, 0].abs() if draw.random() < 0.3 else None

        def make(a, kept=kept, weights=weights, y=y, apart=apart):
            other, found = y if apart else a, []
            for row, (i, j, s) in enumerate(kept):
                better, worse = (a[i, 0], other[j, 0]) if s > 0 else (other[j, 0], a[i, 0])
                owner = i if apart or s > 0 else j
                weight = 1.0 if weights is None else weights[owner]
                found.append((row, weight, hinge(0.6 - better + worse)))
            return found

        options = {"columns": y} if apart else {}
        check(number, x, make, Scores(left, right, sign), len(kept), weights=weights, **options)


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
def test_grades_equal_the_loops() -> None:
    draw = random.Random(2)
    for number in range(200):
        n, apart = draw.randint(1, 8), draw.random() < 0.4
        unlabelled = draw.random() < 0.3
        grades = [draw.randint(0, 3) for _ in range(n)]
        other_grades = [draw.randint(0, 3) for _ in range(6)]
        x, y = values(number, n), values(number + 500, 6)
        if number % 7 == 0 and n > 2:
            x[1] = x[0]

        def make(a, grades=grades, other_grades=other_grades, y=y, apart=apart, unlabelled=unlabelled):
            other, columns = (y, other_grades) if apart else (a, grades)
            found = []
            for i, mine in enumerate(grades):
                for j, theirs in enumerate(columns):
                    if unlabelled and 0 in (mine, theirs):
                        continue
                    if mine > theirs:
                        found.append((i, 1.0, hinge(0.6 - a[i, 0] + other[j, 0])))
                    elif apart and mine < theirs:
                        found.append((i, 1.0, hinge(0.6 - other[j, 0] + a[i, 0])))
            return found

        mark = 0 if unlabelled else None
        options = {}
        if apart:
            options = {"columns": y, "column_relation": Labels(other_grades, unlabelled=mark)}
        check(number, x, make, Labels(grades, unlabelled=mark), n, **options)


def test_listed_pairs_are_pytorchs_margin_ranking() -> None:
    x = values(3, 8)
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0])
    found = PairwiseRank(margin=0.4)(x, Scores([0, 1, 2, 3], [4, 5, 6, 7], sign))
    expected = torch.nn.functional.margin_ranking_loss(x[:4, 0], x[4:, 0], sign.double(), margin=0.4)
    torch.testing.assert_close(found, expected)


def test_laws() -> None:
    """A common shift changes nothing; scores far enough apart in the right order cost nothing."""
    x = values(4, 12)
    grades = torch.arange(12) % 4
    loss = PairwiseRank()
    torch.testing.assert_close(loss(x + 1000.0, grades), loss(x, grades), rtol=1e-10, atol=0)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loss(x[order], grades[order]), loss(x, grades), rtol=1e-12, atol=0)
    assert float(loss(grades[:, None].double() * 1.5, grades)) == 0.0
    assert float(loss(grades[:, None].double() * 0.5, grades)) > 0.0


def test_gradcheck_and_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = values(5, 7).requires_grad_(), values(6, 5).requires_grad_()
    grades, other = [0, 1, 2, 1, 0, 3, 2], [1, 1, 2, 0, 3]
    weights = torch.rand(7, dtype=torch.float64, requires_grad=True)
    for reduction in ("mean", "none"):
        loss = PairwiseRank(reduction=reduction)
        assert torch.autograd.gradcheck(lambda a, w, f=loss: f(a, grades, weights=w), (x, weights))
        assert torch.autograd.gradcheck(
            lambda a, b, f=loss: f(a, grades, columns=b, column_relation=other), (x, y)
        )
    many, labels = values(7, 60).requires_grad_(), torch.arange(60) % 5
    (whole,) = torch.autograd.grad(PairwiseRank()(many, labels), many)
    monkeypatch.setattr("likewise.table.blocks.TILE", 64)
    monkeypatch.setattr("likewise.table.blocks.WHOLE_ROWS", 2)
    (small,) = torch.autograd.grad(PairwiseRank()(many, labels), many)
    torch.testing.assert_close(small, whole, rtol=1e-12, atol=1e-14)


def test_low_precision_and_empty() -> None:
    x = values(8, 9)
    grades = torch.arange(9) % 3
    exact = PairwiseRank()(x, grades)
    torch.testing.assert_close(PairwiseRank()(x.float(), grades).double(), exact, rtol=1e-5, atol=1e-6)
    near = 1000 + 1e-3 * x.float()
    torch.testing.assert_close(
        PairwiseRank()(near, grades).double(), PairwiseRank()(near.double(), grades), rtol=1e-6, atol=1e-7
    )
    low = x.to(torch.bfloat16).requires_grad_()
    PairwiseRank()(low, grades).backward()
    assert low.grad.dtype == torch.bfloat16
    for n in (0, 1, 3):
        same = torch.randn(n, 1, requires_grad=True)
        with pytest.warns(UserWarning, match="the loss is zero"):
            value = PairwiseRank()(same, torch.zeros(n, dtype=torch.int64))
        value.backward()
        assert float(value.detach()) == 0.0
        assert not same.grad.any()


def test_hostile_input_is_refused() -> None:
    loss, x = PairwiseRank(), values(9, 4)
    bad = x.clone()
    bad[1] = torch.inf
    for arguments, options, message in (
        ((bad, [0, 1, 1, 2]), {}, "row 1"),
        ((x, [0, 1, 2]), {}, "expected 4, found 3"),
        ((x, [0.0, 1.0, 1.0, 2.0]), {}, "whole numbers or strings"),
        ((x, Pairs([1], [1], [True])), {}, "paired with itself"),
        ((x, Triplets([0], [1], [4])), {}, "expected under 4, found 4"),
        ((x, [0, 1, 1, 2]), {"columns": x}, "column_relation=Labels"),
        (
            (x, [0, 1, 1, 2]),
            {"columns": x, "column_relation": ["a", "b", "c", "d"]},
            "integers and strings",
        ),
        ((x, Scores([0], [9], [1.0])), {}, "expected under 4, found 9"),
        ((values(1, 4, 2), [0, 1, 1, 2]), {}, r"\(n, 1\)"),
        ((x, [0, 1, 1, 2]), {"weights": torch.ones(3)}, "weights"),
    ):
        with pytest.raises(InputError, match=message):
            loss(*arguments, **options)
    for options, message in (
        ({"margin": -0.1}, "margin"),
        ({"distance": Euclidean()}, "antisymmetric"),
        ({"distance": "signed"}, "distance"),
        ({"reduction": "average"}, "reduction"),
    ):
        with pytest.raises(InputError, match=message):
            PairwiseRank(**options)
    with pytest.raises(UnsupportedError, match="single walk"):
        loss.function()
