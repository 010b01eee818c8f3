"""Hostile pictures: none is decoded over the limit, none crashes, and memory stays where it was."""

from __future__ import annotations

import base64
import io
import os
import random
import resource
import struct
import warnings
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from PIL import Image

from likewise.distances import Cosine
from likewise.encoders import Standardize, encoder_for
from likewise.errors import LikewiseError
from likewise.model import Model
from likewise.serve.items import accepted
from likewise.serve.limits import Limits
from likewise.serve.schemas import ImageItem
from torture.trial import Result, Trial, outcomes

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "ICO", "TGA")


@dataclass
class Pictures:
    """What became of so many pictures."""

    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    extra_megabytes: float = 0.0

    @property
    def bad(self) -> int:
        """Anything but taken or refused, and memory beyond 200 MB."""
        other = sum(count for outcome, count in self.outcomes.items() if outcome not in ("taken", "refused"))
        return other + (self.extra_megabytes > 200)


def trials(*, short: bool) -> list[Trial]:
    """Pictures as items of requests."""

    def run() -> Result:
        found = run_pictures(100 if short else 1000)
        told = f"{outcomes(found.outcomes)}; +{max(0.0, found.extra_megabytes):.0f} MB at most"
        return Result(found.tried, told, found.bad)

    return [Trial("hostile pictures", run)]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + _chunk(b"IEND", b"")


@cache
def _packed(length: int) -> bytes:
    """So many zeros, compressed."""
    return zlib.compress(bytes(length), 9)


def hostile_picture(generator: random.Random) -> bytes:
    """One picture that isn't what it should be, or is just within what may be."""
    size = (generator.randrange(1, 40), generator.randrange(1, 40))
    array = np.frombuffer(generator.randbytes(size[0] * size[1] * 3), dtype=np.uint8).reshape(*size, 3)
    stream = io.BytesIO()
    form = generator.choice(_FORMATS)
    Image.fromarray(array).save(stream, form)
    good = stream.getvalue()
    match generator.randrange(14):
        case 0:
            side = generator.choice((30_000, 60_000, 2**31 - 1))
            return _png(side, side, _chunk(b"IDAT", _packed(4_000_000)))
        case 1:
            return _png(4000, 4000, _chunk(b"IDAT", _packed(4000 * 12_001)))
        case 2:
            return _png(100, 100, _chunk(b"zTXt", b"a\0\0" + _packed(80_000_000)))
        case 3:
            return _png(50, 50, _chunk(b"iCCP", b"a\0\0" + _packed(80_000_000)))
        case 4:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr("picture.png", good)
            return packed.getvalue()
        case 5:
            return good + b"PK\x03\x04" + generator.randbytes(200)
        case 6:
            return good[: generator.randrange(len(good))]
        case 7:
            return good[:20] + generator.randbytes(generator.randrange(1, 2000))
        case 8:
            wide = bytearray(good)
            for _ in range(generator.randrange(1, 20)):
                wide[generator.randrange(len(wide))] = generator.randrange(256)
            return bytes(wide)
        case 9:
            return bytes.fromhex("ffd8ffc0001108ffffffff03012200021101031101ffd9")
        case 10:
            return b"BM" + struct.pack(
                "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 65_000, -65_000, 1, 24, 0, 0, 1, 1, 0, 0
            )
        case 11:
            return b"P6\n99999 99999\n255\n" + generator.randbytes(100)
        case 12:
            entries = b"".join(
                struct.pack(
                    "<HHII",
                    generator.choice((256, 257, 258, 259, 273, 277, 279)),
                    4,
                    1,
                    generator.getrandbits(32),
                )
                for _ in range(9)
            )
            return b"II*\0\x08\0\0\0\x09\0" + entries + bytes(4)
        case _:
            return generator.choice(
                (b"", b"%!PS-Adobe\n", b"<svg/>", b"#!/bin/sh\n", generator.randbytes(500))
            )


def run_pictures(count: int, *, seed: int = 0) -> Pictures:
    """Take so many pictures as items of a request would be, in a child of its own."""
    import json
    import tempfile

    with tempfile.NamedTemporaryFile("r") as report:
        child = os.fork()
        if child == 0:
            try:
                _take(count, seed, report.name)
                os._exit(0)
            except BaseException:
                os._exit(3)
        _, status = os.waitpid(child, 0)
        found = Pictures(count)
        if os.WIFSIGNALED(status) or os.WEXITSTATUS(status):
            found.outcomes["crash"] += 1
            return found
        told = json.load(report)
        found.outcomes, found.extra_megabytes = Counter(told["outcomes"]), told["megabytes"]
    return found


def _take(count: int, seed: int, report: str) -> None:
    import json

    model = Model(encoder_for((16, 16), dimension=4), Cosine(), Standardize((16, 16)))
    generator = random.Random(seed)
    outcomes: Counter[str] = Counter()
    warnings.simplefilter("ignore")  # of Pillow, about damaged tags
    pictures = [hostile_picture(generator) for _ in range(count)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in pictures:
        item = ImageItem(image=base64.b64encode(data or b"\0").decode())
        try:
            model.embed(accepted(model, [item], pixels=Limits().pixels))
            outcomes["taken"] += 1
        except LikewiseError:
            outcomes["refused"] += 1
        except BaseException as error:
            outcomes[f"other error: {type(error).__name__}"] += 1
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open(report, "w") as out:
        json.dump({"outcomes": outcomes, "megabytes": (after - before) / 1024}, out)
