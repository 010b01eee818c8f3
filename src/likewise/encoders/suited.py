"""The preprocessing that suits some records."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data import ArrayItems, Records
from likewise.encoders.base import Preprocessing
from likewise.encoders.preprocessing import Standardize
from likewise.encoders.pretrained_texts import PRETRAINED_TEXT, PretrainedTokens, pretrained_text
from likewise.encoders.tabular import TableFeatures
from likewise.encoders.texts import HashedNgrams, Words
from likewise.errors import InputError

__all__ = ["preprocessing_for"]

_LETTERS = (3, 4)  # runs of them say what words share, as forms of one do
_MOST_IMAGES = 5000
_ENOUGH_NUMBERS = 2**27


def preprocessing_for(
    records: Records, *, encoder: str | None = None, like: Preprocessing | None = None
) -> Preprocessing:
    """What prepares these items for an encoder, learned from them.

    Features and images are standardised (of many large images an even sample is looked at); rows of a
    table become numbers, marks of what is missing and categories; texts become hashed n-grams, or words
    for a transformer.

    Parameters
    ----------
    records : Records
    encoder : str, optional
        A name that :func:`~likewise.encoders.encoder_for` takes, where it isn't the default.
    like : Preprocessing, optional
        Keep the vocabulary and the categories of another, so that one encoder fits both; means, scales
        and rarities are learned anew.

    >>> from likewise.data import load
    >>> preprocessing_for(load("digits")).item_shape
    (8, 8)
    """
    if like is not None and like.kind != records.kind:
        raise InputError(f"{records.name}: holds items of kind {records.kind}; found {like.kind} in like=")
    if isinstance(like, PretrainedTokens):
        return like
    if records.kind == "text":
        if encoder is not None and encoder.startswith(PRETRAINED_TEXT):
            return pretrained_text(encoder.removeprefix(PRETRAINED_TEXT))[0]
        texts = records.items()
        if isinstance(like, Words):
            return like
        if isinstance(like, HashedNgrams):
            options = {key: value for key, value in like.config().items() if key != "name"}
            return HashedNgrams.learned_from(texts, **options)
        if encoder == "transformer":
            return Words.learned_from(texts)
        return HashedNgrams.learned_from(texts, letters=_LETTERS)
    if records.kind == "table":
        columns = like.columns if isinstance(like, TableFeatures) else None
        return TableFeatures.learned_from(records.items(), columns=columns)
    held = records.held
    names = held.names if isinstance(held, ArrayItems) else None
    return Standardize.learned_from(records.items(_sample(records)), names=names)


def _sample(records: Records) -> NDArray[Any] | slice:
    """All of them; of more images than are easily looked at, an even sample."""
    if records.kind == "features" or len(records) * int(np.prod(records.item_shape)) <= _ENOUGH_NUMBERS:
        return slice(None)
    return np.unique(np.linspace(0, len(records) - 1, min(_MOST_IMAGES, len(records))).astype(np.int64))
