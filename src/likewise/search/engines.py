"""The engines by name, each behind the same interface, and imported only when it is asked for."""

from __future__ import annotations

import importlib
from types import MappingProxyType

from likewise.distances import Distance
from likewise.errors import InputError
from likewise.search.engine import Engine, Vectors

__all__ = ["ENGINES", "engine_named"]

ENGINES = MappingProxyType(
    {
        "flat": "exact; the default, up to about 100,000 records",
        "hnsw": "a graph of neighbours (faiss): fast, takes memory and time to build",
        "ivfpq": "cells and short codes (faiss): for many records and little memory beside the embeddings",
        "binary": "one bit a direction (faiss): candidates by Hamming distance, then exact distances",
        "milvus": "a Milvus Lite file or a Milvus cluster, by --address; needs likewise[scale]",
        "postgres": "a PostgreSQL server with pgvector, by --address; needs likewise[scale]",
    }
)
_CLASSES = {
    "flat": ("likewise.search.flat", "FlatEngine"),
    "hnsw": ("likewise.search.hnsw", "HNSWEngine"),
    "ivfpq": ("likewise.search.ivfpq", "IVFPQEngine"),
    "binary": ("likewise.search.binary", "BinaryEngine"),
    "milvus": ("likewise.search.milvus", "MilvusEngine"),
    "postgres": ("likewise.search.postgres", "PostgresEngine"),
}


def engine_named(
    name: str, distance: Distance, vectors: Vectors, *, recall: float = 0.95, address: str | None = None
) -> Engine:
    """An empty engine over vectors.

    Raises
    ------
    InputError
        A name that isn't known, a recall out of (0, 1], an address missing or not used.
    MissingExtraError
        The engine's library isn't installed.

    >>> from likewise.distances import Cosine
    >>> engine_named("flat", Cosine(), Vectors(3)).report()
    EngineReport(name='flat', exact=True, ...)
    """
    if name not in _CLASSES:
        raise InputError(f"engine must be one of {', '.join(_CLASSES)}; found {name!r}")
    if isinstance(recall, bool) or not isinstance(recall, (int, float)) or not 0 < recall <= 1:
        raise InputError(f"recall must lie in (0, 1]; found {recall!r}")
    if address is not None and name not in ("milvus", "postgres"):
        raise InputError(f"address is of the engines milvus and postgres; found it with {name}")
    module, kind = _CLASSES[name]
    made: Engine = getattr(importlib.import_module(module), kind)(
        distance, vectors, recall=float(recall), address=address
    )
    return made
