"""PairwiseRank and DifferenceRegression from any relation, against loops over rows, near and far columns."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from likewise.losses import DifferenceRegression, PairwiseRank
from likewise.losses.base import Loss
from likewise.relations import Labels, Triplets
from reference.losses import hinge, reduced
from reference.tables import PlainTable, random_tables

BUILDS: dict[str, tuple[Callable[..., Loss], Callable[[Tensor], Tensor]]] = {
    "rank": (lambda **o: PairwiseRank(margin=0.6, **o), lambda gap: hinge(0.6 - gap)),
    "difference": (DifferenceRegression, lambda gap: (gap - 1) ** 2),
}


def of_grades(table: PlainTable) -> bool:
    labels = table.relation
    values = labels._values if isinstance(labels, Labels) else labels
    return isinstance(values, Tensor) and values.ndim == 1


TABLES = [table for table in random_tables(330, seed=41) if not of_grades(table)]


@pytest.mark.filterwarnings("ignore:.*no positive pair")
@pytest.mark.parametrize("name", sorted(BUILDS))
def test_near_is_better_than_far(name: str) -> None:
    """200 cases and more: strings, several labels, pairs, scores, triplets, quadruplets, masks, matches."""
    build, cost = BUILDS[name]
    draw, seen = random.Random(3), 0
    for number, table in enumerate(TABLES):
        x = table.embeddings[:, :1].clone().requires_grad_()
        y = x.detach().clone().requires_grad_()
        columns = None if table.columns is None else table.columns[:, :1].clone()
        if table.name == "pairs" and type(table.relation).__name__ == "Scores":
            continue  # their signs, or their values, say it: see test_rank.py and test_scored.py
        weights = torch.rand(len(x), dtype=torch.float64) if draw.random() < 0.3 else None
        reduction = ("mean", "active", "sum", "none")[number % 4]
        other = x if columns is None else columns
        terms, own = [], []
        for i, row in enumerate(table.rows):
            for _, p in sorted(row.near):
                for _, q in sorted(row.far):
                    terms.append([("joint", cost(other[p, 0] - other[q, 0]))])
                    own.append(row.near[0][0] if table.name in ("triplets", "quadruplets") else i)
        of_terms = None if weights is None else weights[own]
        expected = reduced(terms, reduction, of_terms, x)
        found = build(reduction=reduction)(
            y, table.relation, columns=columns, weights=weights, **table.options
        )
        where = lambda message, t=table: f"{t.name}: {message}"  # noqa: E731
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11, msg=where)
        (slope,) = torch.autograd.grad(expected.sum() + 0 * x.sum(), x)
        found.sum().backward()
        torch.testing.assert_close(y.grad, slope, rtol=1e-8, atol=1e-10, msg=where)
        seen += bool(terms)
    assert seen > 100


@pytest.mark.parametrize("number", range(200))
def test_integers_are_values_whose_differences_are_regressed(number: int) -> None:
    """Also integers near 2^63, of which a difference is exact, unlabelled items, ids and columns."""
    draw = random.Random(number)
    n, m = draw.randint(1, 7), draw.randint(1, 6)
    apart, marked = draw.random() < 0.5, draw.random() < 0.3
    start = draw.choice([0, 2**63 - 5])
    labels, other_labels = ([start + draw.randint(0, 4) for _ in range(k)] for k in (n, m))
    generator = torch.Generator().manual_seed(number)
    x, z = (torch.randn(k, 1, generator=generator, dtype=torch.float64) for k in (n, m))
    if draw.random() < 0.3:
        x, z = 1000 + 1e-4 * x, 1000 + 1e-4 * z
    ids, column_ids = ([draw.randint(0, 3) for _ in range(k)] for k in (n, m))
    mark = start if marked else None
    x.requires_grad_()
    y = x.detach().clone().requires_grad_()
    terms = []
    other, theirs = (z, other_labels) if apart else (x, labels)
    for i in range(n):
        for j in range(len(theirs)):
            same = ids[i] == (column_ids if apart else ids)[j]
            if same or mark in (labels[i], theirs[j]) or (not apart and j <= i):
                continue
            terms.append([("joint", (x[i, 0] - other[j, 0] - (labels[i] - theirs[j])) ** 2)])
    expected = reduced(terms, "mean", None, x)
    options = {"ids": ids}
    if apart:
        columns = {"columns": z, "column_relation": Labels(other_labels, unlabelled=mark)}
        options |= columns | {"column_ids": column_ids}
    found = DifferenceRegression()(y, Labels(labels, unlabelled=mark), **options)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    found.backward()
    (slope,) = torch.autograd.grad(expected, x)
    torch.testing.assert_close(y.grad, slope, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", sorted(BUILDS))
def test_gradcheck_and_the_order_of_a_list(name: str) -> None:
    build, _ = BUILDS[name]
    generator = torch.Generator().manual_seed(5)
    x, z = (torch.randn(k, 1, generator=generator, dtype=torch.float64).requires_grad_() for k in (7, 5))
    weights = torch.rand(7, generator=generator, dtype=torch.float64).requires_grad_()
    names, other = list("aabbbcc"), list("abbca")
    for reduction in ("mean", "none"):
        loss = build(reduction=reduction)
        assert torch.autograd.gradcheck(lambda a, w, f=loss: f(a, names, weights=w), (x, weights))
        assert torch.autograd.gradcheck(
            lambda a, b, f=loss: f(a, names, columns=b, column_relation=other), (x, z)
        )
    anchor, near, far = [0, 1, 2, 3], [1, 2, 3, 4], [5, 6, 5, 0]
    first = build()(x, Triplets(anchor, near, far))
    again = build()(x, Triplets(anchor[::-1], near[::-1], far[::-1]))
    torch.testing.assert_close(first, again, rtol=1e-12, atol=1e-14)


def test_a_value_a_preference() -> None:
    """Items 0 and 1 are of class a, 2 of class b: each of a asks for the other before 2."""
    x = torch.tensor([[0.0], [1.0], [3.0]])
    found = PairwiseRank(reduction="none")(x, ["a", "a", "b"])
    torch.testing.assert_close(found, torch.tensor([3.0, 4.0]))
    found = DifferenceRegression(reduction="none")(x, ["a", "a", "b"])
    torch.testing.assert_close(found, torch.tensor([9.0, 16.0]))
