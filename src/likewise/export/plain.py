"""A linear model in NumPy alone: one matrix, one offset, one distance; no PyTorch is imported.

It stands in one ``.npz`` that any program can read: ``matrix`` (k, d), ``offset`` (k,), and the names of the
distance and the model's fingerprint as text. The archive's comment is the SHA-256 of all bytes before it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import ArtifactError, InputError

__all__ = ["NumpyModel"]

_DISTANCES = ("Cosine", "Euclidean", "SquaredEuclidean")
_MAGIC = b"PK\x03\x04"
_LARGEST = 2**31
_DIGEST = 64  # the comment's length, and the last bytes of the file


@dataclass(frozen=True, eq=False)
class NumpyModel:
    """``z = A x + b``, compared by a distance; smaller is more alike.

    Parameters
    ----------
    matrix : float32 array (k, d)
        A.
    offset : float32 array (k,)
        b.
    distance : str
        ``Euclidean``, ``SquaredEuclidean`` or ``Cosine``.
    threshold : float, optional
        Alike where the distance is at most this.
    fingerprint : str
        Of the model that it was made from.

    >>> model = NumpyModel(np.float32([[2, 0]]), np.float32([1]), "Euclidean")
    >>> model.embed([[3, 9]]), model.distances([[3, 9]], [[4, 0]])
    (array([[7.]], dtype=float32), array([2.], dtype=float32))
    """

    matrix: NDArray[np.float32]
    offset: NDArray[np.float32]
    distance: str
    threshold: float | None = None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.offset.shape != self.matrix.shape[:1]:
            raise InputError(
                f"matrix must be (k, d) and offset (k,); found {self.matrix.shape} and {self.offset.shape}"
            )
        if self.distance not in _DISTANCES:
            raise InputError(f"distance must be one of {', '.join(_DISTANCES)}; found {self.distance!r}")
        if not (np.isfinite(self.matrix).all() and np.isfinite(self.offset).all()):
            raise InputError("matrix and offset must be finite")

    def embed(self, X: Any) -> NDArray[np.float32]:
        """Embeddings (n, k) of rows (n, d)."""
        rows = np.asarray(X, dtype=np.float64)
        if rows.ndim < 2 or int(np.prod(rows.shape[1:])) != self.matrix.shape[1]:
            raise InputError(f"X must have shape (n, {self.matrix.shape[1]}); found {rows.shape}")
        if not np.isfinite(rows).all():
            raise InputError("X must be finite; found NaN or infinity")
        flat = rows.reshape(len(rows), -1)
        out: NDArray[np.float32] = (flat @ self.matrix.T.astype(np.float64) + self.offset).astype(np.float32)
        return out

    def distances(self, A: Any, B: Any) -> NDArray[np.float32]:
        """Distances row by row of A (n, d) and B (n, d); (n,)."""
        u, v = self.embed(A).astype(np.float64), self.embed(B).astype(np.float64)
        if self.distance == "Cosine":
            u, v = _unit(u), _unit(v)
        squared = ((u - v) ** 2).sum(axis=1)
        if self.distance == "Euclidean":
            squared = np.sqrt(squared)
        elif self.distance == "Cosine":
            squared = squared / 2
        out: NDArray[np.float32] = squared.astype(np.float32)
        return out

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one ``.npz``, whole or not at all."""
        told = json.dumps(
            {"distance": self.distance, "threshold": self.threshold, "fingerprint": self.fingerprint}
        )
        held = io.BytesIO()
        np.savez(held, matrix=self.matrix, offset=self.offset, described=np.array(told))
        with zipfile.ZipFile(held, "a") as archive:
            archive.comment = b"0" * _DIGEST
        data = held.getvalue()[:-_DIGEST]
        place = os.fspath(path)
        beside = f"{place}.{os.getpid()}.partial"
        try:
            with open(beside, "wb") as stream:
                stream.write(data + _digest(data))
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(beside, place)
        except OSError as error:
            if os.path.exists(beside):
                os.unlink(beside)
            raise ArtifactError(f"{place}: can't be written ({error.strerror or error})") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NumpyModel:
        """Read what :meth:`save` wrote; every byte is verified before a parser sees it.

        Raises
        ------
        ArtifactError
            It isn't such a file, or a byte was changed.
        """
        place = os.fspath(path)
        try:
            if os.path.getsize(place) > _LARGEST:
                raise ArtifactError(f"{place}: too large for a linear model")
            with open(place, "rb") as stream:
                data = stream.read()
            if data[:4] != _MAGIC:
                raise ArtifactError(f"{place}: not a .npz of a model")
            if _digest(data[:-_DIGEST]) != data[-_DIGEST:]:
                raise ArtifactError(f"{place}: the file was changed or damaged (its SHA-256 differs)")
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:
                    raise ArtifactError(f"{place}: too large for a linear model")
            with np.load(io.BytesIO(data), allow_pickle=False) as held:
                told = json.loads(str(held["described"]))
                matrix, offset = held["matrix"], held["offset"]
            if matrix.dtype != np.float32 or offset.dtype != np.float32:
                raise ArtifactError(f"{place}: matrix and offset must be float32")
            threshold = None if told["threshold"] is None else float(told["threshold"])
            return cls(matrix, offset, str(told["distance"]), threshold, str(told["fingerprint"]))
        except ArtifactError:
            raise
        except FileNotFoundError as error:
            raise ArtifactError(f"{place}: there is no such file") from error
        except Exception as error:  # a damaged zip makes zipfile, zlib and numpy raise a dozen kinds
            reason = (str(error).splitlines() or [""])[0]
            raise ArtifactError(
                f"{place}: not a readable model ({type(error).__name__}: {reason})"
            ) from error


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, np.inf)
