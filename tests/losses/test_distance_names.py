"""Every loss that takes a distance takes it by its name too; by discovery."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor

from likewise import distances, losses
from likewise.distances import Cosine, Distance, ProductDistance, distance_from_name
from likewise.errors import InputError
from likewise.losses import Loss
from reference.building import NAMES as EVERY
from reference.building import D, build

KINDS = ("cityblock", "cosine", "dot", "euclidean", "hamming", "signed_difference", "squared_euclidean")
NAMES = [name for name in EVERY if "distance" in inspect.signature(getattr(losses, name)).parameters]


def value(loss: Loss) -> Tensor:
    width = 1 if isinstance(loss.distance, distances.SignedDifference) else D
    x = torch.randn(8, width, generator=torch.Generator().manual_seed(1))
    return loss(x, torch.arange(8) // 2).detach()


def test_many_losses_take_a_distance() -> None:
    assert len(NAMES) > 35


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_distance_itself(name: str) -> None:
    own = type(build(name).distance)
    by_type = {type(distance_from_name(kind)): kind for kind in KINDS}
    kind = by_type.get(own, "cosine")  # the default, where it has a name
    found = build(name, distance=kind)
    assert type(found.distance) is type(distance_from_name(kind))
    assert type(build(name, distance=kind.title()).distance) is type(found.distance)
    assert torch.equal(value(found), value(build(name, distance=distance_from_name(kind))))


@pytest.mark.parametrize("name", NAMES)
def test_a_misspelt_name_is_told_the_nearest(name: str) -> None:
    with pytest.raises(InputError, match=r"^distance must be .*; found 'cosin'; did you mean 'cosine'\?$"):
        build(name, distance="cosin")
    with pytest.raises(InputError, match=r"^distance must be .*; found 3$"):
        build(name, distance=3)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_loss_does_not_take_is_refused_by_name_as_by_itself(name: str) -> None:
    for kind in KINDS:
        told = []
        for given in (kind, distance_from_name(kind)):
            try:
                built = build(name, distance=given)
            except InputError as error:
                told.append(str(error))
            else:
                assert isinstance(built.distance, type(distance_from_name(kind)))
        assert len(told) in (0, 2)
        assert len(set(told)) < 2


def test_the_names_are_those_of_the_distances_without_parameters() -> None:
    plain = set()
    for kind in vars(distances).values():
        if (
            not isinstance(kind, type)
            or not issubclass(kind, Distance)
            or kind in (Distance, ProductDistance)
        ):
            continue
        parameters = inspect.signature(kind).parameters.values()
        if all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
            plain.add(kind)
    assert {type(distance_from_name(kind)) for kind in KINDS} == plain
    assert distance_from_name("COSINE").axioms == Cosine().axioms


def test_the_unit_of_the_double_header_is_a_distance_too() -> None:
    loss = losses.DoubleHeaderHinge(D, unit="cityblock")
    assert isinstance(loss.unit, distances.Cityblock)
    with pytest.raises(InputError, match=r"^unit must be .* did you mean 'cityblock'"):
        losses.DoubleHeaderHinge(D, unit="citiblock")
