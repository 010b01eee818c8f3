"""What one request, and all of them together, may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass, fields

from likewise.errors import InputError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Limits of the server; each is told in the answer that refuses what goes beyond it.

    Parameters
    ----------
    body_bytes : int
        Of a request's body: 413 above.
    batch : int
        Items in one request: 422 above.
    pixels : int
        In one picture, before it is decoded: 422 above.
    k : int
        Neighbours of one item: 422 above.
    seconds : float
        From a request's first byte to its answer: 503 after, 408 where the body itself is late.
    concurrency : int
        Requests at once: 503 above.
    """

    body_bytes: int = 16 * 2**20
    batch: int = 256
    pixels: int = 16_000_000
    k: int = 1_000
    seconds: float = 30.0
    concurrency: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise InputError(f"{field.name} must be above 0; found {getattr(self, field.name)!r}")
