"""Encoders by description: the default for a shape of item, from JSON and back, and with fresh weights."""

from __future__ import annotations

import copy
import math
from typing import Any, TypeAlias

import torch
from torch import nn

from likewise.encoders.convolution import ConvNet
from likewise.encoders.mlp import MLP
from likewise.errors import InputError

__all__ = ["Encoder", "config_of", "encoder_for", "encoder_from_config", "fresh_copy"]

Encoder: TypeAlias = MLP | ConvNet

_SMALLEST_IMAGE = 8


def encoder_for(item_shape: tuple[int, ...], *, dimension: int | None, seed: int = 0) -> Encoder:
    """The default encoder: a ConvNet for images, an MLP for rows and for images under 8 x 8.

    ``dimension=None`` is a ConvNet without its last map, and 64 for an MLP.

    >>> encoder_for((28, 28), dimension=16).config()["name"]
    'ConvNet'
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if len(item_shape) >= 2 and min(item_shape[-2:]) >= _SMALLEST_IMAGE:
            return ConvNet(item_shape, dimension=dimension)
        return MLP(math.prod(item_shape), dimension=64 if dimension is None else dimension)


def encoder_from_config(config: dict[str, Any]) -> Encoder:
    """Build an encoder from its ``config()``; its arrays are then loaded by ``load_state_dict``.

    Raises
    ------
    InputError
        The name isn't an encoder of ours, or its options don't fit.

    >>> encoder_from_config({"name": "MLP", "inputs": 4, "dimension": 2, "hidden": []}).dimension
    2
    """
    options = dict(config)
    name = options.pop("name", None)
    try:
        if name == "MLP":
            return MLP(options.pop("inputs"), **options)
        if name == "ConvNet":
            return ConvNet(tuple(options.pop("item_shape")), **options)
    except (TypeError, KeyError) as error:
        raise InputError(f"encoder {name}: the options {sorted(config)} don't fit ({error})") from error
    raise InputError(f"encoder must be ConvNet or MLP; found {name!r}")


def config_of(encoder: nn.Module) -> dict[str, Any] | None:
    """What builds this encoder again, or None where it isn't one of ours (a subclass isn't)."""
    if type(encoder) in (MLP, ConvNet) and isinstance(encoder, (MLP, ConvNet)):
        return encoder.config()
    return None


def fresh_copy(encoder: nn.Module, *, seed: int) -> nn.Module:
    """The same architecture with freshly drawn weights.

    An encoder of ours is built again; any other is copied, and every layer in it draws its weights by
    PyTorch's ``reset_parameters``.

    Raises
    ------
    InputError
        A layer holds parameters and has no ``reset_parameters``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = config_of(encoder)
        if config is not None:
            return encoder_from_config(config)
        made = copy.deepcopy(encoder)
        for name, module in made.named_modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
            elif list(module.parameters(recurse=False)):
                raise InputError(
                    f"encoder: layer {name or type(module).__name__} has parameters but no "
                    "reset_parameters(), so an untrained copy can't be made"
                )
        return made
