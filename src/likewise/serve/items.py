"""Items of requests as what a model takes: rows of numbers, arrays of pixels, pictures, texts."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from likewise.errors import DataError, InputError
from likewise.model import Model
from likewise.serve.schemas import ImageItem, Item, TextItem

__all__ = ["accepted"]

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")


def accepted(model: Model, items: Sequence[Item], *, pixels: int) -> NDArray[Any]:
    """Items in the form that the model takes, each checked before anything of its size is allocated.

    Parameters
    ----------
    model : Model
    items : sequence of Item
    pixels : int
        That a picture may have.

    Raises
    ------
    InputError
        An item of another kind or shape than the model's; which one is told.
    """
    kind = model.preprocessing.kind
    taken: list[Any] = []
    for place, item in enumerate(items):
        if isinstance(item, ImageItem):
            if kind != "image":
                raise InputError(f"items[{place}] is a picture; this model takes {_told(model)}")
            taken.append(_picture(item.image, place, pixels))
        elif isinstance(item, TextItem):
            if kind != "text":
                raise InputError(f"items[{place}] is a text; this model takes {_told(model)}")
            taken.append(item.text)
        elif kind not in ("features", "image"):
            raise InputError(f"items[{place}] is an array; this model takes {_told(model)}")
        else:
            found = _shape(item)
            if found != tuple(model.item_shape):
                raise InputError(
                    f"items[{place}] must be an array of shape {tuple(model.item_shape)}; "
                    f"found {_said(found)}"
                )
            taken.append(item)
    return model.preprocessing.accept(taken)


def _told(model: Model) -> str:
    kind = model.preprocessing.kind
    if kind == "text":
        return 'texts: {"text": "..."}'
    if kind == "image":
        return f'pictures: {{"image": base64}}, or arrays of shape {tuple(model.item_shape)}'
    return f"arrays of shape {tuple(model.item_shape)}"


def _shape(item: Any) -> tuple[int, ...] | None:
    """The shape of nested lists; None where they are ragged."""
    if not isinstance(item, list):
        return ()
    shapes = {_shape(part) for part in item} if item and isinstance(item[0], list) else {()}
    if len(shapes) != 1 or None in shapes:
        return None
    return (len(item), *shapes.pop())  # type: ignore[misc]


def _said(shape: tuple[int, ...] | None) -> str:
    return "lists of different lengths" if shape is None else str(shape)


def _picture(text: str, place: int, pixels: int) -> bytes:
    """The bytes of a picture, its claimed size checked by its header alone."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"items[{place}].image must be base64") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                width, height = image.size
    except Image.DecompressionBombError as error:
        raise DataError(f"items[{place}].image claims more than {pixels:,} pixels") from error
    except Exception as error:  # a damaged file makes Pillow raise a dozen kinds
        raise DataError(
            f"items[{place}].image isn't a picture of a known format (PNG, JPEG, WebP, BMP, TIFF, PGM)"
        ) from error
    if width * height > pixels:
        raise DataError(
            f"items[{place}].image claims {width} x {height} pixels; at most {pixels:,} are taken"
        )
    return data
