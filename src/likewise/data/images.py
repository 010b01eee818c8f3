"""One image in, from a file, safely: formats, depths, orientation and size are brought to one form.

PNG, JPEG, WebP, BMP, TIFF and the PNM family (PGM, PPM, PBM) are read; of any other nothing is tried. What is
transparent lies on white. It doesn't know of folders or tables; those are their own files.
"""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from likewise.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "Colour", "Header", "common_form", "image_from", "read_header", "read_image"]

Colour: TypeAlias = Literal["grey", "rgb"]

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm", ".pnm"}
)
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")
_MOST_PIXELS = 89_478_485  # a third of a gigabyte in RGB; Pillow's own limit
_LONGEST_SIDE = 64
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F"})
_ORIENTATION, _TURNED_A_QUARTER = 0x0112, (5, 6, 7, 8)
_TELL_ORIENTATION = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
# What ends a whole file; a file cut short lacks it.
_ENDS = {b"\x89PNG": b"IEND\xaeB`\x82", b"\xff\xd8\xff": b"\xff\xd9"}


@dataclass(frozen=True)
class Header:
    """What a file says of its image before it is decoded, the right way up."""

    height: int
    width: int
    colour: Colour


def read_header(path: str | os.PathLike[str]) -> Header:
    """Look at an image without decoding it.

    Raises
    ------
    DataError
        The file is empty, cut short, not an image, or holds more than 89 million pixels.
    """
    place = Path(path)
    try:
        if place.stat().st_size == 0:
            raise DataError(f"{place}: the image is empty (0 bytes)")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(place, formats=_FORMATS) as image:
                _check_size(image, str(place))
                width, height = image.size
                # Asking a PNG for what it doesn't tell at its beginning would decode all of it.
                told = image.format != "PNG" or "exif" in image.info
                if told and image.getexif().get(_ORIENTATION) in _TURNED_A_QUARTER:
                    width, height = height, width
                colour: Colour = "grey" if image.mode in _GREY_MODES else "rgb"
        _check_end(place)
    except DataError:
        raise
    except Exception as error:  # a damaged file makes Pillow raise a dozen kinds
        raise _unreadable(str(place), error) from error
    return Header(height, width, colour)


def read_image(
    source: str | os.PathLike[str] | bytes | Image.Image,
    *,
    size: tuple[int, int] | None = None,
    colour: Colour | None = None,
    name: str | None = None,
) -> NDArray[np.uint8]:
    """Decode one image.

    Parameters
    ----------
    source : path, bytes of a file, or PIL image
    size : (height, width), optional
        Resized to this, whatever its shape was, with smoothing; its own size when not given.
    colour : "grey" or "rgb", optional
        By default grey where the file holds grey.
    name : str, optional
        What messages call it; the path by default.

    Returns
    -------
    uint8 array (height, width) for grey or (3, height, width)
        16-bit greys keep their upper 8 bits.

    Raises
    ------
    DataError
        It can't be decoded, or holds more than 89 million pixels.
    """
    called = name or (os.fspath(source) if isinstance(source, (str, os.PathLike)) else "the image")
    try:
        if isinstance(source, Image.Image):
            return _decoded(source, size, colour, called)
        stream: Any = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(stream, formats=_FORMATS) as image:
            _check_size(image, called)
            if size is not None and image.format == "JPEG":
                # The decoder itself halves what is much too large; twice the size is left for smoothing.
                turned = image.getexif().get(_ORIENTATION) in _TURNED_A_QUARTER
                high, wide = size[::-1] if turned else size
                image.draft(image.mode, (2 * wide, 2 * high))
            return _decoded(image, size, colour, called)
    except DataError:
        raise
    except Exception as error:
        raise _unreadable(called, error) from error


def image_from(value: Any, *, size: tuple[int, int], colour: Colour, name: str) -> NDArray[np.float32]:
    """An image given as a path, as bytes or by PIL, as float32 in [0, 1] of a wanted form."""
    return np.divide(read_image(value, size=size, colour=colour, name=name), np.float32(255))


def common_form(headers: list[Header], *, longest: int = _LONGEST_SIDE) -> tuple[tuple[int, int], Colour]:
    """One size and colour for some images.

    The size is the median height and the median width, made smaller, never larger, until the longer side
    is at most ``longest``; at least 8 of each. They are grey when all of them are.

    >>> common_form([Header(480, 640, "rgb"), Header(480, 640, "grey"), Header(100, 100, "rgb")])
    ((48, 64), 'rgb')
    """
    height, width = (
        float(np.median([getattr(header, side) for header in headers])) for side in ("height", "width")
    )
    factor = min(1.0, longest / max(height, width))
    size = (max(8, round(height * factor)), max(8, round(width * factor)))
    return size, "grey" if all(header.colour == "grey" for header in headers) else "rgb"


def _decoded(
    image: Image.Image, size: tuple[int, int] | None, colour: Colour | None, name: str
) -> NDArray[np.uint8]:
    wanted = colour or ("grey" if image.mode in _GREY_MODES else "rgb")
    flat = _eight_bits(_upright(image), name)
    if flat.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in flat.info:
        clear = flat.convert("RGBA")
        flat = Image.new("RGBA", clear.size, "white")
        flat.alpha_composite(clear)
    mode = "L" if wanted == "grey" else "RGB"
    if flat.mode != mode:  # else it would be copied
        flat = flat.convert(mode)
    if size is not None and flat.size != (size[1], size[0]):
        flat = flat.resize((size[1], size[0]), Image.Resampling.BILINEAR, reducing_gap=3.0)
    pixels: NDArray[np.uint8] = np.asarray(flat)
    return pixels if wanted == "grey" else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _upright(image: Image.Image) -> Image.Image:
    """The image as its file says it is to be turned; itself, rather than a copy, where nothing is said."""
    image.load()  # a PNG may say so at its end
    told = image.format == "TIFF" or any(key in image.info for key in _TELL_ORIENTATION)
    if not told or image.getexif().get(_ORIENTATION, 1) == 1:
        return image
    return ImageOps.exif_transpose(image) or image


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """The image with at most 8 bits a channel: of 16 bits the upper 8, of floats those in [0, 1]."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise DataError(f"{name}: an image of floats must lie in [0, 1]; convert it")
        return Image.fromarray((values * 255).round().astype(np.uint8))
    if values.min() < 0 or values.max() > 65535:
        raise DataError(f"{name}: an image of {image.mode} must hold 0 to 65535; found {values.max()}")
    return Image.fromarray((values // 256).astype(np.uint8))


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise DataError(
            f"{name}: the image claims {width} x {height} pixels, more than {_MOST_PIXELS:,} in all; "
            "make it smaller"
        )


def _check_end(place: Path) -> None:
    with open(place, "rb") as stream:
        ending = _ENDS.get(stream.read(4)) or _ENDS.get((stream.seek(0), stream.read(3))[1])
        if ending is None:
            return
        stream.seek(-min(place.stat().st_size, 4096), os.SEEK_END)
        if ending not in stream.read():
            raise DataError(f"{place}: the image is cut short")


def _unreadable(name: str, error: Exception) -> DataError:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return DataError(f"{name}: the image claims more than {_MOST_PIXELS:,} pixels; make it smaller")
    if isinstance(error, FileNotFoundError):
        return DataError(f"{name}: there is no such file")
    if isinstance(error, PermissionError):
        return DataError(f"{name}: may not be read (permission denied)")
    if isinstance(error, UnidentifiedImageError):
        place = Path(name)
        if place.is_file() and place.stat().st_size == 0:
            return DataError(f"{name}: the image is empty (0 bytes)")
        return DataError(f"{name}: not an image of a known format (PNG, JPEG, WebP, BMP, TIFF, PGM)")
    reason = (str(error).splitlines() or [""])[0]
    return DataError(f"{name}: the image can't be read ({reason or type(error).__name__})")
