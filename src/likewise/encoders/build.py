"""Encoders by description: the default for some items, from JSON and back, and with fresh weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from likewise.encoders.base import Encoder, Preprocessing
from likewise.encoders.convolution import ConvNet
from likewise.encoders.heads import Headed
from likewise.encoders.mlp import MLP
from likewise.encoders.ngrams import NgramMLP
from likewise.encoders.preprocessing import Standardize
from likewise.encoders.pretrained_images import PRETRAINED_IMAGE, TimmNetwork
from likewise.encoders.pretrained_texts import PRETRAINED_TEXT, PretrainedTokens, TextNetwork, pretrained_text
from likewise.encoders.tabular import TableFeatures, TableMLP
from likewise.encoders.texts import HashedNgrams, Words
from likewise.encoders.transformers import TextTransformer, VisionTransformer
from likewise.encoders.worded import WordMapped
from likewise.errors import InputError

__all__ = [
    "ENCODERS",
    "config_of",
    "encoder_for",
    "encoder_from_config",
    "fresh_copy",
    "is_encoder_name",
    "preprocessing_from_config",
]

_SMALLEST_IMAGE = 8
_DIMENSION, _TEXT_DIMENSION = 64, 256
_LARGE_IMAGE = 32  # its smaller side; above, the first convolution takes every other pixel


def _headed(**options: Any) -> Encoder:
    return Headed(encoder_from_config(options.pop("body")), **options)


def _worded(**options: Any) -> Encoder:
    return WordMapped(encoder_from_config(options.pop("body")), **options)


# name -> class, and what builds one from the options of its config
_ENCODERS: dict[str, tuple[type[Encoder], Callable[..., Encoder]]] = {
    "ConvNet": (ConvNet, lambda item_shape, **options: ConvNet(tuple(item_shape), **options)),
    "Headed": (Headed, _headed),
    "MLP": (MLP, lambda inputs, **options: MLP(inputs, **options)),
    "NgramMLP": (NgramMLP, lambda buckets, **options: NgramMLP(buckets, **options)),
    "TableMLP": (TableMLP, lambda numbers, sizes, **options: TableMLP(numbers, sizes, **options)),
    "TextNetwork": (TextNetwork, lambda architecture, **options: TextNetwork(architecture, **options)),
    "TextTransformer": (TextTransformer, lambda size, **options: TextTransformer(size, **options)),
    "TimmNetwork": (TimmNetwork, lambda model, **options: TimmNetwork(model, **options)),
    "VisionTransformer": (
        VisionTransformer,
        lambda item_shape, **options: VisionTransformer(tuple(item_shape), **options),
    ),
    "WordMapped": (WordMapped, _worded),
}

_PREPROCESSING: dict[str, Callable[..., Preprocessing]] = {
    "HashedNgrams": HashedNgrams,
    "PretrainedTokens": PretrainedTokens,
    "Standardize": lambda item_shape, **options: Standardize(tuple(item_shape), **options),
    "TableFeatures": lambda columns: TableFeatures.from_config(columns),
    "Words": Words,
}

ENCODERS = MappingProxyType(
    {
        "convnet": "a small convolutional network for images",
        "vit": "a small vision transformer for images",
        "mlp": "a multilayer perceptron for features and tables",
        "linear": "one linear map of features, or of a table's numbers and categories",
        "ngrams": "weighted sums of learned vectors of hashed n-grams of texts",
        "transformer": "a small transformer over the words of texts",
    }
)


def encoder_for(
    items: tuple[int, ...] | Preprocessing,
    *,
    dimension: int | None,
    seed: int = 0,
    name: str | None = None,
    head: str | None = None,
    **options: Any,
) -> Encoder:
    """An encoder that suits some items: the default for their kind, or the one that is named.

    By default a ConvNet for images (with its shortcut, where it has a last map, and a stride of 2 above 32
    pixels), an MLP for rows of features and for images under 8 x 8, a TableMLP
    for rows of a table, an NgramMLP after hashed n-grams and a TextTransformer after words.

    Parameters
    ----------
    items : tuple of int, or Preprocessing
        The shape of an item, or what prepares the items.
    dimension : int >= 1, or None
        d, the length of an embedding; None is a ConvNet without its last map, 256 for an NgramMLP, and 64
        for any other.
    seed : int
        Of the first weights.
    name : str, optional
        One of :data:`ENCODERS`, or a pretrained network: ``timm:resnet18``, or ``text:`` and the name or
        folder of one of transformers or sentence-transformers.
    head : "linear", "normalized", "binary" or "score", optional
        What the embedding ends in; see :mod:`likewise.encoders.heads`.
    options
        More for the encoder's class, such as ``hidden`` or ``depth``.

    Raises
    ------
    InputError
        The named encoder isn't one, or isn't for such items.

    >>> encoder_for((28, 28), dimension=16).config()["name"]
    'ConvNet'
    >>> encoder_for((28, 28), dimension=16, name="vit", head="binary").config()["head"]
    'binary'
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        prepared = Standardize(items) if isinstance(items, tuple) else items
        kind = _default_name(prepared) if name is None else name
        if head is None:
            return _built(kind, prepared, dimension, options)
        body = _built(kind, prepared, None, options)
        return Headed(body, head=head, dimension=dimension or (1 if head == "score" else _DIMENSION))


def _default_name(prepared: Preprocessing) -> str:
    if prepared.kind == "text":
        return "transformer" if isinstance(prepared, Words) else "ngrams"
    if prepared.kind == "image" and min(prepared.item_shape[-2:]) >= _SMALLEST_IMAGE:
        return "convnet"
    return "mlp"


def _built(name: str, prepared: Preprocessing, dimension: int | None, options: dict[str, Any]) -> Encoder:
    if name.startswith(PRETRAINED_IMAGE) and prepared.kind == "image":
        grey = len(prepared.item_shape) == 2
        channels = 1 if grey else prepared.item_shape[0]
        named = name.removeprefix(PRETRAINED_IMAGE)
        return TimmNetwork(
            named, channels=channels, dimension=dimension, grey=grey, pretrained=True, **options
        )
    if name.startswith(PRETRAINED_TEXT) and isinstance(prepared, PretrainedTokens):
        return pretrained_text(name.removeprefix(PRETRAINED_TEXT), dimension=dimension, **options)[1]
    if not is_encoder_name(name):
        from difflib import get_close_matches

        near = get_close_matches(name, ENCODERS, n=1)
        told = f"did you mean {near[0]}?" if near else f"known are {', '.join(ENCODERS)}"
        raise InputError(f"encoder must be one of ours or a module; found {name!r}; {told}")
    d = _DIMENSION if dimension is None else dimension
    extra: dict[str, Any] = {"hidden": ()} if name == "linear" else {}
    try:
        if name == "convnet" and prepared.kind == "image":
            stride = 2 if min(prepared.item_shape[-2:]) > _LARGE_IMAGE else 1
            suited = {"shortcut": dimension is not None, "stride": stride}
            return ConvNet(prepared.item_shape, dimension=dimension, **{**suited, **options})
        if name == "vit" and prepared.kind == "image":
            return VisionTransformer(prepared.item_shape, dimension=d, **options)
        if name in ("mlp", "linear") and isinstance(prepared, TableFeatures):
            numbers = 2 * len(prepared.numbers)
            return TableMLP(numbers, prepared.sizes, dimension=d, **extra, **options)
        if name in ("mlp", "linear") and isinstance(prepared, Standardize):
            return MLP(math.prod(prepared.item_shape), dimension=d, **extra, **options)
        if name == "ngrams" and isinstance(prepared, HashedNgrams):
            return NgramMLP(prepared.buckets, dimension=dimension or _TEXT_DIMENSION, **options)
        if name == "transformer" and isinstance(prepared, Words):
            return TextTransformer(prepared.size, dimension=d, longest=prepared.longest, **options)
    except TypeError as error:
        raise InputError(f"encoder {name}: the options {sorted(options)} don't fit ({error})") from error
    told = ENCODERS.get(name, "pretrained")
    found = prepared.kind if prepared.kind != "text" else f"text prepared by {type(prepared).__name__}"
    raise InputError(f"encoder {name} ({told}) isn't for items of kind {found}")


def is_encoder_name(name: str) -> bool:
    """Whether :func:`encoder_for` knows an encoder of this name, or takes it for a pretrained one.

    >>> is_encoder_name("vit"), is_encoder_name("timm:resnet18"), is_encoder_name("ConvNet")
    (True, True, False)
    """
    return name in ENCODERS or name.startswith((PRETRAINED_IMAGE, PRETRAINED_TEXT))


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
    if name not in _ENCODERS:
        raise InputError(f"encoder must be one of {', '.join(_ENCODERS)}; found {name!r}")
    try:
        return _ENCODERS[name][1](**options)
    except (TypeError, KeyError) as error:
        raise InputError(f"encoder {name}: the options {sorted(config)} don't fit ({error})") from error


def config_of(encoder: nn.Module) -> dict[str, Any] | None:
    """What builds this encoder again, or None where it isn't one of ours (a subclass isn't)."""
    ours = any(type(encoder) is kind for kind, _ in _ENCODERS.values())
    if not ours or not isinstance(encoder, Encoder):
        return None
    if isinstance(encoder, Headed) and config_of(encoder.body) is None:
        return None
    return encoder.config()


def preprocessing_from_config(config: dict[str, Any]) -> Preprocessing:
    """Build preprocessing from its config; its arrays are then loaded by ``load_state_dict``.

    Raises
    ------
    InputError
        The name isn't one of ours, or its options don't fit.
    """
    options = dict(config)
    name = options.pop("name", None)
    if name not in _PREPROCESSING:
        raise InputError(f"preprocessing must be one of {', '.join(_PREPROCESSING)}; found {name!r}")
    try:
        return _PREPROCESSING[name](**options)
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"preprocessing {name}: the options don't fit ({error})") from error


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
