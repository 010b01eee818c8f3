"""PostgreSQL with pgvector: records in a table, found by pgvector's HNSW index.

The address is a connection string, as ``postgresql://user@host/database``. A password comes from PGPASSWORD
or ``~/.pgpass``. The extension ``vector`` must be there, or the user must be allowed to create it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import MissingExtraError
from likewise.search.remote import RemoteEngine

__all__ = ["PostgresEngine"]

_SECONDS = 20  # to connect
_MOST_INDEXED = 2_000  # dimensions that pgvector's HNSW takes
_WIDEST_WALK = 1_000  # hnsw.ef_search at most


class PostgresEngine(RemoteEngine):
    """Records in a table of PostgreSQL, by key and features; exact above 2,000 dimensions."""

    name = "postgres"
    _connection: Any = None

    @classmethod
    def _secret_hint(cls) -> str:
        return "set PGPASSWORD, or use ~/.pgpass"

    def _errors(self) -> tuple[type[Exception], ...]:
        try:
            import psycopg
        except ImportError:  # what opens the connection says so
            return (OSError,)
        return (psycopg.Error, OSError)

    def _connected(self) -> Any:
        if self._connection is None or self._connection.closed:
            psycopg = _psycopg()
            self._connection = psycopg.connect(str(self.address), autocommit=True, connect_timeout=_SECONDS)
        return self._connection

    def _execute(self, query: str, values: Sequence[Any] = ()) -> Any:
        sql = _psycopg().sql
        table = sql.Identifier(self.store)
        composed = sql.SQL(query).format(table=table, index=sql.Identifier(f"{self.store}_hnsw"))
        return self._connected().execute(composed, values)

    def _exists(self) -> bool:
        return self._connected().execute("SELECT to_regclass(%s)", [self.store]).fetchone()[0] is not None

    def _create(self, width: int) -> None:
        self._connected().execute("CREATE EXTENSION IF NOT EXISTS vector")
        self._execute(
            f"CREATE TABLE IF NOT EXISTS {{table}} (key bigint PRIMARY KEY, features vector({int(width)}))"
        )
        if width <= _MOST_INDEXED:
            kind = "vector_ip_ops" if self._inner else "vector_l2_ops"
            self._execute(f"CREATE INDEX IF NOT EXISTS {{index}} ON {{table}} USING hnsw (features {kind})")

    def _upsert(self, keys: NDArray[np.int64], columns: NDArray[np.float32]) -> None:
        with self._connected().transaction(), self._connected().cursor() as cursor:
            cursor.executemany(
                self._composed(
                    "INSERT INTO {table} VALUES (%s, %s::vector) "
                    "ON CONFLICT (key) DO UPDATE SET features = EXCLUDED.features"
                ),
                [(key, _text(column)) for key, column in zip(keys.tolist(), columns, strict=True)],
            )

    def _composed(self, query: str) -> Any:
        sql = _psycopg().sql
        return sql.SQL(query).format(table=sql.Identifier(self.store))

    def _delete(self, keys: NDArray[np.int64]) -> None:
        if len(keys):
            self._execute("DELETE FROM {table} WHERE key = ANY(%s)", [keys.tolist()])

    def _keys_held(self) -> NDArray[np.int64]:
        rows = self._execute("SELECT key FROM {table} ORDER BY key").fetchall()
        return np.array([row[0] for row in rows], dtype=np.int64)

    def _nearest(
        self, rows: NDArray[np.float32], count: int, keys: NDArray[np.int64] | None
    ) -> Sequence[Sequence[int]]:
        sign = "<#>" if self._inner else "<->"
        condition, values = ("", []) if keys is None else ("WHERE key = ANY(%s) ", [keys.tolist()])
        answers = []
        with self._connected().transaction():
            self._connected().execute(f"SET LOCAL hnsw.ef_search = {min(_WIDEST_WALK, max(100, 2 * count))}")
            self._connected().execute("SET LOCAL hnsw.iterative_scan = strict_order")
            for row in rows:
                found = self._execute(
                    f"SELECT key FROM {{table}} {condition}"
                    f"ORDER BY features {sign} %s::vector LIMIT {int(count)}",
                    [*values, _text(row)],
                )
                answers.append([int(hit[0]) for hit in found.fetchall()])
        return answers

    def drop(self) -> None:
        """Remove the table and all that it holds."""
        with self._reached():
            self._execute("DROP TABLE IF EXISTS {table}")
            self._ready = False

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._ready = False


def _psycopg() -> Any:
    try:
        import psycopg
        import psycopg.sql
    except ImportError as error:
        raise MissingExtraError("engine postgres needs psycopg: pip install 'likewise[scale]'") from error
    return psycopg


def _text(vector: NDArray[np.float32]) -> str:
    """A vector as pgvector reads it; nine digits give float32 back to the bit."""
    return "[" + ",".join(f"{value:.9g}" for value in vector.tolist()) + "]"
