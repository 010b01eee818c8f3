"""A weighted sum of losses is the sum of their values and of their gradients."""

from __future__ import annotations

import copy

import pytest
import torch

from likewise.distances import Mahalanobis
from likewise.errors import InputError, UnsupportedError
from likewise.losses import (
    BinaryPair,
    Contrastive,
    CrossBatchMemory,
    GeometryAware,
    SupCon,
    TripletMargin,
    Weighted,
)
from reference.tables import random_tables


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_value_and_gradient_are_the_sums(reduction: str) -> None:
    parts = [Contrastive(margin=1.3, reduction=reduction), TripletMargin(margin=0.7, reduction=reduction)]
    loss = Weighted(parts, weights=[0.5, 2.0])
    for table in random_tables(200, seed=41):
        a, b = table.embeddings.clone().requires_grad_(), table.embeddings.clone().requires_grad_()
        options = {"columns": table.columns, **table.options}
        expected = 0.5 * parts[0](a, table.relation, **options) + 2.0 * parts[1](a, table.relation, **options)
        found = loss(b, table.relation, **options)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
        found.sum().backward()
        expected.sum().backward()
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-11, atol=1e-12)


def test_parameters_of_all_losses_are_learned_once() -> None:
    """A distance shared by two losses is one parameter; the wrapper adds no second name for it."""
    distance = Mahalanobis(torch.eye(3))
    loss = Weighted([Contrastive(distance=distance), BinaryPair(distance=distance)])
    assert sorted(loss.state_dict()) == [
        "losses.0.distance.components",
        "losses.1.bias",
        "losses.1.distance.components",
    ]
    assert len(list(loss.parameters())) == 2
    loss(torch.randn(6, 3), [0, 0, 1, 1, 2, 2]).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in loss.parameters())
    twin = copy.deepcopy(loss)
    assert twin.distance is twin.losses[0].distance
    assert twin.distance is not loss.distance


def test_inputs_go_to_those_that_read_them_and_sums_nest() -> None:
    x, inputs, labels = torch.randn(6, 3), torch.randn(6, 4), [0, 0, 1, 1, 2, 2]
    geometry, supcon = GeometryAware(), SupCon()
    inner = Weighted([geometry, supcon], weights=[1.0, 0.5])
    loss = Weighted([supcon, inner], weights=[1.0, 2.0])
    expected = 2 * supcon(x, labels) + 2 * geometry(x, labels, inputs=inputs)
    torch.testing.assert_close(loss(x, labels, inputs=inputs), expected)
    with pytest.raises(InputError, match="inputs must be given"):
        loss(x, labels)


def test_a_memory_can_be_one_of_the_losses() -> None:
    x, labels = torch.randn(6, 3), [0, 0, 1, 1, 2, 2]
    memory = CrossBatchMemory(SupCon(), 3, size=12)
    value = Weighted([SupCon(), memory])(x, labels)
    torch.testing.assert_close(value, 2 * SupCon()(x, labels))
    assert int(memory.filled) == 6


def test_gradcheck_and_half_precision() -> None:
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    loss = Weighted([SupCon(), TripletMargin()], weights=[1.0, 0.3])
    assert torch.autograd.gradcheck(lambda a: loss(a, [0, 0, 1, 1, 2, 2]), (x,))
    low = x.detach().to(torch.bfloat16).requires_grad_()
    value = loss(low, [0, 0, 1, 1, 2, 2])
    assert value.dtype == torch.float32
    value.backward()
    assert low.grad.dtype == torch.bfloat16


def test_hostile_input_is_refused() -> None:
    for losses, options, message in (
        ([], {}, "found none"),
        ([torch.nn.ReLU()], {}, "found ReLU"),
        ([SupCon()], {"weights": [1.0, 2.0]}, "expected 1, found 2"),
        ([SupCon()], {"weights": [-1.0]}, "weights"),
        ([SupCon()], {"weights": [float("nan")]}, "weights"),
        ([SupCon(), SupCon(reduction="none")], {}, "mean, none"),
    ):
        with pytest.raises(InputError, match=message):
            Weighted(losses, **options)
    with pytest.raises(InputError, match="expected 4, found 3"):
        Weighted([SupCon()])(torch.randn(4, 2), [0, 1, 1])
    with pytest.raises(UnsupportedError, match="single walk"):
        Weighted([SupCon()]).function()
