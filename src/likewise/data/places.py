"""Where the files of built-in sets are looked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from likewise.errors import DataError

__all__ = ["Place", "data_file", "data_folder", "data_places"]


@dataclass(frozen=True)
class Place:
    """A folder in which built-in sets are looked for, and why."""

    path: Path
    told: str


def data_places(data: str | os.PathLike[str] | None = None) -> list[Place]:
    """Where built-in sets are looked for, in this order; none of these has to exist.

    The folder given as ``data``; ``$LIKEWISE_DATA``; ``shared/data`` beside a checkout; the user's cache.
    """
    places = []
    if data is not None:
        places.append(Place(Path(data), "--data"))
    named = os.environ.get("LIKEWISE_DATA")
    if named:
        places.append(Place(Path(named), "$LIKEWISE_DATA"))
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "pyproject.toml").is_file():
        places.append(Place(checkout.parent / "shared" / "data", "beside the checkout"))
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    places.append(Place(Path(cache) / "likewise" / "data", "the user's cache"))
    return places


def data_folder(data: str | os.PathLike[str] | None = None) -> Path | None:
    """The first folder of :func:`data_places` that exists, or None."""
    return next((place.path for place in data_places(data) if place.path.is_dir()), None)


def data_file(name: str, *, data: str | os.PathLike[str] | None = None) -> Path:
    """A file of a built-in set, such as ``mnist/train-images-idx3-ubyte.gz``.

    Raises
    ------
    DataError
        It is in none of the places, which are named.
    """
    places = data_places(data)
    for place in places:
        if (place.path / name).is_file():
            return place.path / name
    looked = ", ".join(f"{place.path} ({place.told})" for place in places)
    raise DataError(
        f"{name}: this built-in set isn't here; looked in {looked}; "
        "put it there, or name its folder with LIKEWISE_DATA (embed and reproduce: also --data)"
    )
