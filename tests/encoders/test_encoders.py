"""Encoders give (n, d), are built from JSON and back, and treat each item on its own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from likewise.encoders import (
    MLP,
    ConvNet,
    Standardize,
    config_of,
    encoder_for,
    encoder_from_config,
    fresh_copy,
    preprocessing_from_config,
)
from likewise.errors import InputError

ENCODERS = {
    "mlp": (lambda: MLP(6, dimension=3), (6,)),
    "deep": (lambda: MLP(6, dimension=9, hidden=[4, 5], shortcut=False), (6,)),
    "linear": (lambda: MLP(6, dimension=2, hidden=[]), (6,)),
    "pixels": (lambda: MLP(64, dimension=3), (8, 8)),
    "small": (lambda: ConvNet((8, 8), dimension=5, width=8), (8, 8)),
    "tiny": (lambda: ConvNet((4, 4), dimension=5, width=8), (4, 4)),
    "colour": (lambda: ConvNet((3, 64, 48), dimension=4, width=8), (3, 64, 48)),
    "shortcut": (lambda: ConvNet((9, 20), dimension=5, width=8, shortcut=True), (9, 20)),
    "stride": (lambda: ConvNet((3, 40, 36), dimension=5, width=8, shortcut=True, stride=2), (3, 40, 36)),
    "thin": (lambda: ConvNet((2, 64, 5), dimension=4, width=8), (2, 64, 5)),
}


@pytest.fixture(params=ENCODERS)
def case(request: pytest.FixtureRequest):
    make, shape = ENCODERS[request.param]
    return make(), shape


def test_items_become_vectors_each_on_its_own(case) -> None:
    encoder, shape = case
    encoder.eval()
    items = torch.rand(5, *shape)
    whole = encoder(items)
    assert whole.shape == (5, encoder.dimension) and whole.dtype == torch.float32
    alone = torch.cat([encoder(items[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-5)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(encoder(items[order]), whole[order], rtol=1e-4, atol=1e-5)


def test_a_config_of_json_builds_it_again(case) -> None:
    encoder, shape = case
    again = encoder_from_config(json.loads(json.dumps(encoder.config())))
    assert again.config() == encoder.config()
    again.load_state_dict(encoder.state_dict())
    items = torch.rand(3, *shape)
    torch.testing.assert_close(again(items), encoder(items), rtol=0, atol=0)


def test_every_parameter_learns(case) -> None:
    encoder, shape = case
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    for _ in range(2):  # a last layer that begins at zero lets nothing through the first time
        encoder.zero_grad()
        (encoder(torch.rand(4, *shape)) * torch.rand(4, encoder.dimension)).sum().backward()
        optimizer.step()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("dimension", [6, 4, 9])
def test_an_untrained_shortcut_keeps_the_items_geometry(dimension: int) -> None:
    items = torch.rand(7, 6)
    embeddings = MLP(6, dimension=dimension)(items)
    if dimension >= 6:
        torch.testing.assert_close(torch.cdist(embeddings, embeddings), torch.cdist(items, items))
    else:
        assert (torch.cdist(embeddings, embeddings) <= torch.cdist(items, items) + 1e-5).all()


def test_an_untrained_convnet_with_a_shortcut_is_a_rotation_of_the_image() -> None:
    images = torch.rand(7, 2, 6, 5)
    encoder = encoder_for((2, 6, 5), name="convnet", dimension=60)
    torch.testing.assert_close(
        torch.cdist(encoder(images), encoder(images)), torch.cdist(images.flatten(1), images.flatten(1))
    )
    coarse = encoder_for((64, 48), dimension=300)
    finer = torch.rand(4, 64, 48)
    means = finer.reshape(4, 16, 4, 16, 3).mean((2, 4)).flatten(1)  # 16 x 16 means of 4 x 3 pixels
    torch.testing.assert_close(torch.cdist(coarse(finer), coarse(finer)), torch.cdist(means, means))


@pytest.mark.parametrize(
    ("shape", "stride"), [((28, 28), 1), ((3, 32, 64), 1), ((56, 46), 2), ((3, 64, 33), 2)]
)
def test_a_default_convnet_has_its_shortcut_and_halves_large_images_first(
    shape: tuple[int, ...], stride: int
) -> None:
    config = encoder_for(shape, dimension=8).config()
    assert (config["shortcut"], config["stride"]) == (True, stride)
    plain = encoder_for(shape, dimension=8, name="convnet", shortcut=False, stride=1).config()
    assert (plain["shortcut"], plain["stride"]) == (False, 1)
    assert not encoder_for(shape, dimension=None).config()["shortcut"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"dimension": None, "shortcut": True}, "shortcut needs a dimension"),
        ({"dimension": 4, "stride": 3}, "stride must be 1 or 2"),
    ],
)
def test_a_convnet_that_cannot_be_is_refused(options: dict[str, Any], found: str) -> None:
    with pytest.raises(InputError, match=found):
        ConvNet((8, 8), **options)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((30,), MLP), ((7, 7), MLP), ((8, 8), ConvNet), ((3, 32, 40), ConvNet), ((32, 3), MLP)],
)
def test_the_default_follows_the_items_shape_and_the_seed(shape: tuple[int, ...], kind: type) -> None:
    first, again, other = (encoder_for(shape, dimension=4, seed=seed) for seed in (0, 0, 1))
    assert type(first) is kind
    items = torch.rand(2, *shape)
    assert first(items).shape == (2, 4)
    assert torch.equal(first(items), again(items))
    assert not torch.equal(first(items), other(items))


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fresh_copy(encoder_for((8,), dimension=2, seed=3), seed=4)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"name": "Transformer"}, "'Transformer'"),
        ({}, "None"),
        ({"name": "MLP"}, "don't fit"),
        ({"name": "MLP", "inputs": 3, "dimension": 2, "depth": 7}, "don't fit"),
        ({"name": "ConvNet", "item_shape": [8], "dimension": 2}, r"found \(8,\)"),
        ({"name": "ConvNet", "item_shape": [8, 8], "dimension": 2, "width": 12}, "multiple of 8"),
        ({"name": "MLP", "inputs": 0, "dimension": 2}, "at least 1"),
    ],
)
def test_a_config_that_is_not_one_is_refused(config: dict[str, object], found: str) -> None:
    with pytest.raises(InputError, match=found):
        encoder_from_config(config)


def test_standardising_is_the_definition() -> None:
    X = np.random.default_rng(0).normal(3, 2, size=(40, 5)).astype(np.float32)
    X[:, 2] = 0.1  # constant: its mean is taken away, and nothing is divided by a rounding error
    out = Standardize.learned_from(X)(torch.from_numpy(X)).numpy()
    for j in range(5):
        mean = sum(float(value) for value in X[:, j]) / 40
        deviation = (sum((float(value) - mean) ** 2 for value in X[:, j]) / 40) ** 0.5
        expected = [(float(value) - mean) / (deviation if j != 2 else 1.0) for value in X[:, j]]
        np.testing.assert_allclose(out[:, j], expected, atol=1e-5)


def test_images_are_standardised_by_channel() -> None:
    X = np.random.default_rng(0).random((10, 2, 4, 3)).astype(np.float32)
    X[:, 1] = 255 * X[:, 1]
    prepare = Standardize.learned_from(X)
    assert prepare.mean.shape == (2, 1, 1)
    out = prepare(torch.from_numpy(X))
    for channel in range(2):
        assert abs(float(out[:, channel].mean())) < 1e-5
        assert abs(float(out[:, channel].std(correction=0)) - 1) < 1e-5
    assert Standardize.learned_from(X[:, 0]).mean.shape == (1, 1)
    again = preprocessing_from_config(json.loads(json.dumps(prepare.config())))
    again.load_state_dict(prepare.state_dict())
    torch.testing.assert_close(again(torch.from_numpy(X)), out, rtol=0, atol=0)
    with pytest.raises(InputError, match="'Whiten'"):
        preprocessing_from_config({"name": "Whiten"})


class Odd(MLP):
    """A subclass may compute anything, so it isn't one of ours."""


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))


def test_only_our_own_classes_are_described() -> None:
    assert config_of(MLP(3, dimension=2)) is not None
    assert config_of(Odd(3, dimension=2)) is None
    assert config_of(nn.Linear(3, 2)) is None


def test_a_fresh_copy_has_other_weights_and_leaves_the_first_alone() -> None:
    for encoder in (MLP(4, dimension=3), nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))):
        before = {key: value.clone() for key, value in encoder.state_dict().items()}
        items = torch.rand(5, 4)
        encoder.eval()
        fresh, again = fresh_copy(encoder, seed=9).eval(), fresh_copy(encoder, seed=9).eval()
        assert torch.equal(fresh(items), again(items))
        assert not torch.allclose(fresh(items), encoder(items))
        assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    with pytest.raises(InputError, match="Bare has parameters but no reset_parameters"):
        fresh_copy(Bare(), seed=0)
