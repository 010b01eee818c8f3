"""Matryoshka: the sum of a loss over nested dimensions, and what it refuses."""

from __future__ import annotations

import warnings

import pytest
import torch

from likewise.errors import InputError, UnsupportedError
from likewise.losses import CosFace, Matryoshka, NTXent, SupCon, TripletMargin
from likewise.relations import Matches
from reference.losses import all_references, reduced, terms_of
from reference.tables import PlainTable, random_tables

X = torch.randn(9, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(9) // 3


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_it_is_the_sum_over_parts(reduction: str) -> None:
    plain = SupCon(reduction=reduction)
    x, z = X.clone().requires_grad_(), X.clone().requires_grad_()
    expected = 0.5 * plain(x[:, :2], Y) + 2.0 * plain(x[:, :6], Y)
    found = Matryoshka(SupCon(reduction=reduction), dimensions=[2, 6], weights=[0.5, 2.0])(z, Y)
    torch.testing.assert_close(found, expected)
    expected.sum().backward()
    found.sum().backward()
    torch.testing.assert_close(z.grad, x.grad)


def test_value_and_gradient_equal_the_loops() -> None:
    """200 random tables of every relation: the loops over each part, weighted."""
    (reference, *_) = all_references()["Contrastive"]
    for table in random_tables(200, seed=17):
        d = table.embeddings.shape[1]
        sizes = [1, d] if d > 1 else [1]
        x, y = table.embeddings.clone().requires_grad_(), table.embeddings.clone().requires_grad_()
        expected = x.sum() * 0
        for size in sizes:
            columns = None if table.columns is None else table.columns[:, :size]
            part = PlainTable(table.name, x[:, :size], table.relation, table.rows, columns)
            expected = expected + size * reduced(terms_of(reference, part, x[:, :size]), "sum", None, x)
        loss = Matryoshka(reference.loss(reduction="sum"), dimensions=sizes, weights=sizes)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*no positive pair.*")
            found = loss(y, table.relation, columns=table.columns, **table.options)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
        found.backward()
        torch.testing.assert_close(y.grad, torch.autograd.grad(expected, x)[0], rtol=1e-8, atol=1e-9)


def test_columns_are_cut_too() -> None:
    other = X.flip(1)
    expected = sum(NTXent()(X[:, :m], Matches(), columns=other[:, :m]) for m in (3, 6))
    found = Matryoshka(NTXent(), dimensions=[3, 6])(X, Matches(), columns=other)
    torch.testing.assert_close(found, expected)


def test_learned_vectors_are_those_of_each_part() -> None:
    parts = [CosFace(3, 2).double(), CosFace(3, 6).double()]
    loss = Matryoshka(parts, dimensions=[2, 6])
    torch.testing.assert_close(loss(X, Y), parts[0](X[:, :2], Y) + parts[1](X, Y))
    assert len(list(loss.parameters())) == 2


def test_hostile_input_is_refused() -> None:
    for options, message in (
        ({"dimensions": []}, "ascend"),
        ({"dimensions": [4, 2]}, "ascend"),
        ({"dimensions": [0, 2]}, "ascend"),
        ({"dimensions": [2], "weights": [1.0, 2.0]}, "expected 1, found 2"),
    ):
        with pytest.raises(InputError, match=message):
            Matryoshka(TripletMargin(), **options)
    with pytest.raises(InputError, match="vectors of dimension 6: give one of dimension 2"):
        Matryoshka(CosFace(3, 6), dimensions=[2, 6])
    loss = Matryoshka(TripletMargin(), dimensions=[2, 7])
    with pytest.raises(InputError, match=r"\(n, 7 or more\); found \(9, 6\)"):
        loss(X, Y)
    with pytest.raises(UnsupportedError):
        loss.function()
