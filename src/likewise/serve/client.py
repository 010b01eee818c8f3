"""A typed client of the HTTP API: the same verbs, and the server's errors as the library's own."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError, LikewiseError, MissingExtraError
from likewise.model import Verdict
from likewise.search import Hit

__all__ = ["Client", "ServerError"]

_AT_ONCE = 256


class ServerError(LikewiseError, RuntimeError):
    """The server can't be reached, is too busy, or failed; trying again later may help."""


class Client:
    """Talks to ``likewise serve``.

    Parameters
    ----------
    address : str
        ``http://127.0.0.1:8000``.
    key : str, optional
        An API key; by default the environment's LIKEWISE_KEY.
    seconds : float
        To wait for an answer.

    Items are paths of pictures, texts, or arrays; what is a path and what is a text follows from the
    served model.
    """

    def __init__(self, address: str, *, key: str | None = None, seconds: float = 60.0) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("Client needs httpx: pip install 'likewise[serve]'") from error
        self._httpx = httpx
        secret = key or os.environ.get("LIKEWISE_KEY")
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        if not address.startswith(("http://", "https://")):
            raise InputError(f"address must begin with http:// or https://; found {address!r}")
        self._address = address.rstrip("/")
        self._http = httpx.Client(base_url=self._address, headers=headers, timeout=seconds, trust_env=False)
        self._about: dict[str, Any] | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ready(self) -> dict[str, Any]:
        """What is served: records, dimension, engine, the model's fingerprint, kind and shape of items."""
        self._about = self._call("GET", "/ready")
        return dict(self._about)

    def embed(self, items: Sequence[Any] | NDArray[Any]) -> NDArray[np.float32]:
        """Embed items (n, ...); float32 (n, d)."""
        sent = [self._sent(item) for item in items]
        parts = [
            self._call("POST", "/v1/embed", json={"items": sent[start : start + _AT_ONCE]})["embeddings"]
            for start in range(0, len(sent), _AT_ONCE)
        ]
        return np.array([row for part in parts for row in part], dtype=np.float32)

    def search(
        self,
        item: Any,
        k: int = 10,
        *,
        where: str | None = None,
        expand: int | None = None,
        rerank: bool = False,
        together: bool = False,
    ) -> list[Hit]:
        """Find the nearest records of one item, or of a sequence of items that are one query together.

        See :meth:`likewise.Index.search`.
        """
        items = [self._sent(one) for one in item] if together else [self._sent(item)]
        wanted = {"k": k, "where": where, "expand": expand, "rerank": rerank, "together": together}
        return self._hits({"items": items, **wanted})[0]

    def search_embeddings(
        self, embeddings: Any, k: int = 10, *, model: str, where: str | None = None
    ) -> list[list[Hit]]:
        """Find the nearest records of embeddings (n, d) of the served model, as its fingerprint says."""
        rows = np.asarray(embeddings, dtype=np.float32).tolist()
        return self._hits({"embeddings": rows, "model": model, "k": k, "where": where})

    def similar(self, name: str, k: int = 10, *, where: str | None = None) -> list[Hit]:
        """Find the nearest records of a record, itself among them."""
        return self._hits({"ids": [name], "k": k, "where": where})[0]

    def verify(self, a: Any, b: Any) -> Verdict:
        """Say whether two items are alike."""
        told = self._call("POST", "/v1/verify", json={"a": self._sent(a), "b": self._sent(b)})
        return Verdict(**{name: told[name] for name in ("alike", "distance", "threshold", "probability")})

    def add(
        self,
        items: Sequence[Any] | NDArray[Any],
        *,
        ids: Sequence[str],
        labels: Sequence[int | str | None] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> int:
        """Add records; they are on the server's disk when this returns."""
        wanted: dict[str, Any] = {"items": [self._sent(item) for item in items], "ids": list(ids)}
        if labels is not None:
            wanted["labels"] = np.asarray(labels, dtype=object).tolist()
        if metadata is not None:
            wanted["metadata"] = [dict(record) for record in metadata]
        return int(self._call("POST", "/v1/records", json=wanted)["added"])

    def records(self, *, where: str | None = None, limit: int = 100, offset: int = 0) -> list[dict[str, Any]]:
        """Records as they lie in the index, by row."""
        asked = {"limit": limit, "offset": offset, **({} if where is None else {"where": where})}
        found: list[dict[str, Any]] = self._call("GET", "/v1/records", params=asked)["records"]
        return found

    def remove(self, ids: Sequence[str]) -> int:
        """Remove records by id; all or none."""
        return int(self._call("DELETE", "/v1/records", params={"id": list(ids)})["removed"])

    def _hits(self, wanted: Mapping[str, Any]) -> list[list[Hit]]:
        sent = {name: value for name, value in wanted.items() if value is not None}
        return [[Hit(**hit) for hit in own] for own in self._call("POST", "/v1/search", json=sent)["hits"]]

    def _sent(self, item: Any) -> Any:
        if isinstance(item, Mapping):  # as the API takes it: {"text": ...} of a model of pictures with words
            return dict(item)
        kind = (self._about or self.ready())["kind"]
        if kind == "text" and isinstance(item, str):
            return {"text": item}
        if isinstance(item, (str, os.PathLike)):
            item = Path(item).read_bytes()
        if isinstance(item, bytes):
            return {"image": base64.b64encode(item).decode()}
        return np.asarray(item).tolist()

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **options)
        except (self._httpx.TransportError, self._httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ServerError(f"{self._address}: the server can't be reached ({reason})") from error
        except ValueError as error:  # NaN isn't JSON
            raise InputError(f"items must be finite numbers ({error})") from error
        try:
            content = answer.json()
        except ValueError as error:
            raise ServerError(
                f"{self._address}: answered {answer.status_code}, which isn't likewise's"
            ) from error
        if answer.status_code < 400:
            return dict(content)
        message = content.get("error", {}).get("message", "") if isinstance(content, dict) else ""
        told = f"{self._address}: {message or 'refused'} ({answer.status_code})"
        raise (InputError if answer.status_code < 500 and answer.status_code != 408 else ServerError)(told)
