"""Milvus: a Milvus Lite file, or a cluster by address, through the same client.

An address that ends in ``.db`` is a file; else it is a server's, as ``http://host:19530``. A token comes
from the environment's MILVUS_TOKEN.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import MissingExtraError
from likewise.search.remote import RemoteEngine

__all__ = ["MilvusEngine"]

_SECONDS = 20  # to connect
_PATIENCE = 60  # for an answer, of a store that may be busy
_MOST_FOUND = 16_384  # Milvus' own limit on a search
_MOST_KEYS = 10_000


class MilvusEngine(RemoteEngine):
    """Records in a collection of Milvus, by key and features."""

    name = "milvus"
    _client: Any = None

    @classmethod
    def _secret_hint(cls) -> str:
        return "set MILVUS_TOKEN"

    def _errors(self) -> tuple[type[Exception], ...]:
        try:
            exceptions = importlib.import_module("pymilvus.exceptions")
        except ImportError:  # what opens the connection says so
            return (OSError,)
        return (exceptions.MilvusException, OSError)

    def _exists(self) -> bool:
        return bool(self._connected().has_collection(self.store, timeout=_PATIENCE))

    def _create(self, width: int) -> None:
        client = self._connected()
        if self._exists():
            client.load_collection(self.store, timeout=_PATIENCE)
            return
        kinds = importlib.import_module("pymilvus").DataType
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", kinds.INT64, is_primary=True)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=max(width, 2))
        metric = "IP" if self._inner else "L2"
        index = client.prepare_index_params()
        index.add_index(
            field_name="vector", index_type="FLAT" if self._is_file else "AUTOINDEX", metric_type=metric
        )
        client.create_collection(
            self.store, schema=schema, index_params=index, consistency_level="Strong", timeout=_PATIENCE
        )

    @property
    def _is_file(self) -> bool:
        return str(self.address).endswith(".db")

    def _connected(self) -> Any:
        if self._client is None:
            try:
                library = importlib.import_module("pymilvus")
            except ImportError as error:
                raise MissingExtraError(
                    "engine milvus needs pymilvus and milvus-lite: pip install 'likewise[scale]'"
                ) from error
            quiet = logging.getLogger("pymilvus")
            before = quiet.level
            quiet.setLevel(logging.CRITICAL)  # what goes wrong is raised, and told once
            try:
                self._client = library.MilvusClient(
                    str(self.address), token=os.environ.get("MILVUS_TOKEN", ""), timeout=_SECONDS
                )
            finally:
                quiet.setLevel(before)
        return self._client

    def _upsert(self, keys: NDArray[np.int64], columns: NDArray[np.float32]) -> None:
        rows = [
            {"key": key, "vector": column} for key, column in zip(keys.tolist(), _wide(columns), strict=True)
        ]
        self._connected().upsert(self.store, rows, timeout=_PATIENCE)

    def _delete(self, keys: NDArray[np.int64]) -> None:
        for start in range(0, len(keys), 1_000):
            part = keys[start : start + 1_000].tolist()
            self._connected().delete(self.store, ids=part, timeout=_PATIENCE)

    def _keys_held(self) -> NDArray[np.int64]:
        found: list[int] = []
        pages = self._connected().query_iterator(self.store, batch_size=1_000, output_fields=["key"])
        try:
            while page := pages.next():
                found += [row["key"] for row in page]
        finally:
            pages.close()
        return np.array(sorted(found), dtype=np.int64)

    def _nearest(
        self, rows: NDArray[np.float32], count: int, keys: NDArray[np.int64] | None
    ) -> Sequence[Sequence[int]]:
        wanted = min(count, _MOST_FOUND)
        condition, few = "", None
        if keys is not None and len(keys) <= _MOST_KEYS:
            condition = f"key in {keys.tolist()}"
        elif keys is not None:
            # A list of keys of that length isn't taken: more are found, and those not wanted are left out.
            few, wanted = keys, min(_MOST_FOUND, 4 * wanted * max(1, len(self.vectors) // len(keys)))
        found = self._connected().search(
            self.store,
            data=list(_wide(rows)),
            limit=wanted,
            filter=condition,
            output_fields=["key"],
            timeout=_PATIENCE,
        )
        answers = [[int(hit["key"]) for hit in hits] for hits in found]
        if few is not None:
            chosen = set(few.tolist())
            answers = [[key for key in own if key in chosen][:count] for own in answers]
        return answers

    def drop(self) -> None:
        """Remove the collection and all that it holds."""
        with self._reached():
            self._connected().drop_collection(self.store, timeout=_PATIENCE)
            self._ready = False

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None
            self._ready = False


def _wide(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of at least two numbers, as Milvus asks for."""
    return columns if columns.shape[1] > 1 else np.pad(columns, ((0, 0), (0, 1)))
