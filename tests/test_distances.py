"""Distances: tests follow from what each declares, and each undeclared axiom has a counter-example."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float, jaxtyped
from torch import Tensor

from likewise import distances
from likewise.distances import Axiom, Distance, ProductDistance, distance_from_config
from likewise.errors import InputError

DIMENSION = 4


def _weighted() -> Distance:
    distance = distances.WeightedCityblock(DIMENSION)
    with torch.no_grad():
        distance.weight.copy_(torch.tensor([0.5, 2.0, -1.5, 0.3]))
    return distance


def _position_dependent() -> Distance:
    distance = distances.PositionDependent(DIMENSION, hidden=5)
    with torch.no_grad():
        distance.score.bias.fill_(2.0)  # similarities above zero, so distances below it
    return distance


BUILDERS: dict[str, Any] = {
    "Mahalanobis": lambda: distances.Mahalanobis(torch.tensor([[1.0, 0.5, 0.0, 0.0], [0.0, 1.0, 2.0, -1.0]])),
    "Bilinear": lambda: distances.Bilinear(torch.arange(16.0).reshape(4, 4) / 10),
    "WeightedCityblock": _weighted,
    "PositionDependent": _position_dependent,
}


def found() -> list[str]:
    names = []
    for name in distances.__all__:
        value = getattr(distances, name)
        if inspect.isclass(value) and issubclass(value, Distance) and not inspect.isabstract(value):
            names.append(name)
    return sorted(set(names) - {"ProductDistance"})


def build(name: str) -> Distance:
    torch.manual_seed(0)
    return BUILDERS.get(name, getattr(distances, name))().double()


def points(seed: int, n: int = 40) -> Tensor:
    """Random points, with signs for the codes, equal pairs and a zero among them."""
    x = torch.randn(n, DIMENSION, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x[5] = x[4]
    x[6] = 0.0
    x[10:20] = x[10:20].sign()
    return x


def holds(distance: Distance, axiom: Axiom) -> bool:
    """Whether an axiom holds on many points, up to rounding."""
    x, y, z = points(1), points(2), points(3)
    y[:4] = x[:4]
    z[20:] = (x[20:] + y[20:]) / 2  # points between, where a squared distance breaks the triangle
    with torch.no_grad():
        xy, yx, xz, yz, xx = (distance(a, b) for a, b in ((x, y), (y, x), (x, z), (y, z), (x, x)))
        zy = distance(z, y)
    del yz
    tolerance = 1e-12
    return {
        Axiom.NON_NEGATIVE: bool((xy >= 0).all()),
        Axiom.ZERO_ON_SELF: bool((xx.abs() <= tolerance).all()),
        Axiom.SYMMETRIC: bool(((xy - yx).abs() <= tolerance).all()),
        Axiom.ANTISYMMETRIC: bool(((xy + yx).abs() <= tolerance).all()),
        Axiom.TRIANGLE: bool((xy <= xz + zy + tolerance).all()),
    }[axiom]


@pytest.mark.parametrize("axiom", list(Axiom))
@pytest.mark.parametrize("name", found())
def test_axioms_hold_exactly_where_declared(name: str, axiom: Axiom) -> None:
    distance = build(name)
    assert holds(distance, axiom) == (axiom in distance.axioms)


@jaxtyped(typechecker=beartype)
def _pairs(distance: Distance, x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    return distance(x, y)


@jaxtyped(typechecker=beartype)
def _table(distance: Distance, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    return distance.table(x, y)


@pytest.mark.parametrize("name", found())
def test_a_table_is_its_pairs(name: str) -> None:
    distance, x, y = build(name), points(1, 22), points(2, 29)
    table = _table(distance, x, y)
    for i in range(22):
        torch.testing.assert_close(table[i], _pairs(distance, x[i].expand_as(y), y), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", found())
def test_gradients(name: str) -> None:
    """By finite differences in float64; codes have no slope."""
    distance = build(name)
    x = torch.randn(5, DIMENSION, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    y = torch.randn(5, DIMENSION, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    x.requires_grad_()
    y.requires_grad_()
    if name == "Hamming":
        assert not distance(x, y).requires_grad
        return
    assert torch.autograd.gradcheck(distance, (x, y))


@pytest.mark.parametrize("name", found())
def test_slopes_of_a_table_are_those_of_its_pairs(name: str) -> None:
    """By the points and by the parameters, of which one is zero."""
    distance = build(name)
    for parameter in distance.parameters():
        parameter.data.view(-1)[-1] = 0.0
    x, y = points(1, 22).requires_grad_(), points(2, 29).requires_grad_()
    slopes = torch.randn(22, 29, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    table, pairs = distance.table(x, y), distance(x[:, None].expand(22, 29, -1), y[None].expand(22, 29, -1))
    assert table.requires_grad == pairs.requires_grad
    if table.requires_grad:
        wanted = [x, y, *distance.parameters()]
        found, expected = (torch.autograd.grad(each, wanted, slopes) for each in (table, pairs))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", found())
def test_gradients_at_equal_and_zero_points_are_finite(name: str) -> None:
    """The slope of a norm at zero is zero; nothing is NaN, and equal points don't pull themselves apart."""
    distance = build(name)
    if name == "Hamming":
        return
    for start in (torch.ones(2, DIMENSION), torch.zeros(2, DIMENSION)):
        x, y = start.double().requires_grad_(), start.double().clone().requires_grad_()
        for value in (distance(x, y), distance.table(x, y)):
            gradients = torch.autograd.grad(value.sum(), (x, y))
            assert all(g.isfinite().all() for g in gradients)
            if Axiom.NON_NEGATIVE in distance.axioms:  # then equal points are a minimum
                assert not any(g.any() for g in gradients)


@pytest.mark.parametrize("name", found())
def test_config_builds_it_again(name: str) -> None:
    distance = build(name)
    again = distance_from_config(distance.config()).double()
    again.load_state_dict(distance.state_dict())
    x, y = points(1), points(2)
    assert torch.equal(again(x, y), distance(x, y))
    assert all(isinstance(value, str | int | float | bool | list) for value in distance.config().values())


def test_an_unknown_distance_is_refused() -> None:
    with pytest.raises(InputError, match="Euclidean"):
        distance_from_config({"name": "Euclid"})
    with pytest.raises(InputError, match=r"\(k, d\)"):
        distances.Mahalanobis(torch.zeros(3))
    with pytest.raises(InputError, match=r"\(d, e\)"):
        distances.Bilinear(torch.zeros(2, 2, dtype=torch.int64))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=8, max_size=8), st.floats(0, math.pi))
def test_rotation_leaves_euclidean_and_cosine_unchanged(numbers: list[float], angle: float) -> None:
    x, y = torch.tensor(numbers, dtype=torch.float64).reshape(2, 1, 4)
    turn = torch.eye(4, dtype=torch.float64)
    turn[0, 0] = turn[1, 1] = math.cos(angle)
    turn[0, 1], turn[1, 0] = -math.sin(angle), math.sin(angle)
    for distance in (distances.Euclidean(), distances.SquaredEuclidean(), distances.Cosine()):
        torch.testing.assert_close(distance(x @ turn.T, y @ turn.T), distance(x, y), rtol=1e-9, atol=1e-9)


def test_cosine_of_a_zero_vector() -> None:
    zero, other = torch.zeros(1, 3), torch.ones(1, 3)
    cosine = distances.Cosine()
    assert float(cosine(zero, zero)) == 0.0
    assert float(cosine(zero, other)) == pytest.approx(0.5)


def test_small_cosine_distances_keep_their_digits() -> None:
    """1 - cos of an angle of 1e-4 is 5e-9: one minus a float32 product would give 0 or 6e-8."""
    x = torch.tensor([[1.0, 0.0]])
    y = torch.tensor([[math.cos(1e-4), math.sin(1e-4)]])
    assert float(distances.Cosine()(x, y)) == pytest.approx(5e-9, rel=1e-4)


def test_product_distances_declare_a_form() -> None:
    for name in found():
        kind = getattr(distances, name)
        if issubclass(kind, ProductDistance):
            assert isinstance(kind.form, distances.Form)
