"""The explorer page, and what it asks for beyond the API: map, columns, thumbnails, suspects, corrections."""

from __future__ import annotations

import asyncio
import base64
import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from fastapi import FastAPI, Query
from fastapi.responses import Response
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from likewise.data import Records
from likewise.encoders import WordMapped
from likewise.errors import ArtifactError, InputError
from likewise.search import Index
from likewise.serve.served import Served
from likewise.serve.suspects import search_of_suspects

__all__ = ["Correction", "Explorer", "Selection", "colours", "example_filter", "map_of", "thumbnail"]

_Alone: TypeAlias = Callable[[Callable[[Index], Any]], Awaitable[Any]]
_SIDE = 64
_MOST_THUMBNAILS = 200
_MOST_CATEGORIES = 1_000
_MOST_ROWS = 5_000
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


class Correction(BaseModel):
    """A verdict on a suspect: its label stays (reject), or becomes the suggested one (accept)."""

    model_config = ConfigDict(extra="forbid")
    id: Annotated[str, Field(min_length=1, max_length=1_000)]
    decision: Literal["accept", "reject"]
    suggested: Annotated[str, Field(max_length=10_000)]


class Selection(BaseModel):
    """Records by row, of which a table is wanted."""

    model_config = ConfigDict(extra="forbid")
    rows: Annotated[
        list[Annotated[int, Field(ge=0, strict=True)]], Field(min_length=1, max_length=_MOST_ROWS)
    ]


class Explorer:
    """The page and its routes.

    Parameters
    ----------
    served : Served
    records : Records, optional
        The items that were indexed, for thumbnails; found by the records' ids.
    corrections : path, optional
        A CSV that accepted and rejected suspects are appended to; without it the page keeps its own table.
    """

    def __init__(
        self,
        served: Served,
        *,
        records: Records | None = None,
        corrections: str | os.PathLike[str] | None = None,
    ) -> None:
        self._served, self._records = served, records
        self._corrections = None if corrections is None else Path(corrections)
        self._rows = {} if records is None else {name: row for row, name in enumerate(records.ids)}
        self._kept: dict[Any, Any] = {}
        self._kept_of: Index | None = None

    @cached_property
    def page(self) -> str:
        """The page's HTML."""
        return files("likewise.serve").joinpath("explorer.html").read_text("utf-8")

    @cached_property
    def policy(self) -> str:
        """The page's content security policy: its own script by its hash, nothing from elsewhere."""
        hashes = [
            base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            for script in _SCRIPT.findall(self.page)
        ]
        scripts = " ".join(f"'sha256-{one}'" for one in hashes)
        return (
            f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def forget(self) -> None:
        """The index has changed: the map and the suspects are made anew when they are asked for."""
        self._kept = {}

    def add_routes(self, app: FastAPI, *, alone: _Alone, reader: Any, writer: Any) -> None:
        """Add the page and its routes; they are no part of the API's description."""

        @app.get("/", include_in_schema=False)
        async def page() -> Response:
            return Response(
                self.page,
                media_type="text/html; charset=utf-8",
                headers={"Content-Security-Policy": self.policy},
            )

        @app.get("/explorer/about", include_in_schema=False, dependencies=[reader])
        async def about() -> Response:
            return _json(await alone(self.about))

        @app.get("/explorer/map", include_in_schema=False, dependencies=[reader])
        async def points() -> Response:
            made = await alone(lambda index: self._keep(index, "map", lambda: map_of(index.embeddings)))
            return Response(made.tobytes(), media_type="application/octet-stream")

        @app.get("/explorer/column", include_in_schema=False, dependencies=[reader])
        async def column(name: str) -> Response:
            made = await alone(
                lambda index: self._keep(index, ("column", name), lambda: colours(index, name))
            )
            return _json(made)

        @app.get("/explorer/records", include_in_schema=False, dependencies=[reader])
        async def some(row: Annotated[list[int], Query(max_length=_MOST_THUMBNAILS)]) -> Response:
            return _json(await alone(lambda index: self.shown(index, row)))

        @app.get("/explorer/thumbnail", include_in_schema=False, dependencies=[reader])
        async def one(id: str) -> Response:
            return _json({"thumbnail": await alone(lambda _: self.thumbnail(id))})

        @app.get("/explorer/suspects", include_in_schema=False, dependencies=[reader])
        async def doubtful() -> Response:
            begun = await alone(
                lambda index: self._keep(index, "suspects", lambda: search_of_suspects(index))
            )
            # Whoever stops waiting doesn't stop the search: asked again, it may be done.
            return _json(await asyncio.shield(asyncio.wrap_future(begun)))

        @app.post("/explorer/corrections", include_in_schema=False, dependencies=[writer])
        async def correct(correction: Correction) -> Response:
            return _json(await alone(lambda index: self.correct(index, correction)))

        @app.post("/explorer/table", include_in_schema=False, dependencies=[reader])
        async def table(selection: Selection) -> Response:
            return _json(await alone(lambda index: self.table(index, selection.rows)))

    def about(self, index: Index) -> dict[str, Any]:
        """What the page shows before anything is asked."""
        calibration = index.model.calibration
        return {
            "records": len(index),
            "dimension": index.dimension,
            "engine": str(index.engine),
            "distance": type(index.model.distance).__name__,
            "kind": index.model.preprocessing.kind,
            "words": isinstance(index.model.encoder, WordMapped),
            "item_shape": list(index.model.item_shape),
            "columns": ["label", *index.columns],
            "filter": example_filter(index),
            "threshold": None if calibration is None else calibration.threshold,
            "pictures": self._records is not None and self._records.kind in ("image", "text"),
            "corrections": self._corrections is not None,
            "example": index.ids[0] if len(index) else None,
        }

    def shown(self, index: Index, rows: list[int]) -> list[dict[str, Any]]:
        """Records by row, with their thumbnails."""
        ids = self._ids(index, rows)
        return [
            {
                "row": row,
                "id": name,
                "label": index.record(name).label,
                "thumbnail": self.thumbnail(name),
            }
            for row, name in zip(rows, ids, strict=True)
        ]

    def table(self, index: Index, rows: list[int]) -> dict[str, Any]:
        """All that is known of records by row: the columns' names, and a list of values for each."""
        chosen = [index.record(name) for name in self._ids(index, rows)]
        names = index.columns
        return {
            "columns": ["id", "label", *names],
            "rows": [[one.id, one.label, *(one.metadata.get(name) for name in names)] for one in chosen],
        }

    def _ids(self, index: Index, rows: list[int]) -> list[str]:
        if any(not 0 <= row < len(index) for row in rows):
            raise InputError(f"rows must lie from 0 to {len(index) - 1}")
        ids = self._keep(index, "ids", lambda: index.ids)
        return [ids[row] for row in rows]

    def thumbnail(self, name: str) -> str | None:
        """A record's picture as a data URL, or its text, or nothing."""
        row = self._rows.get(name)
        if row is None or self._records is None:
            return None
        if self._records.kind == "image":
            return (
                "data:image/png;base64," + base64.b64encode(thumbnail(self._records.items([row])[0])).decode()
            )
        if self._records.kind == "text":
            return str(self._records.items([row])[0])[:300]
        return None

    def correct(self, index: Index, correction: Correction) -> dict[str, Any]:
        """Append a verdict to the table of corrections; it is on the disk when this returns."""
        record = index.record(correction.id)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        row = {
            "id": record.id,
            "label": record.label,
            "suggested": correction.suggested,
            "decision": correction.decision,
            "time": now,
        }
        if self._corrections is not None:
            _append_row(self._corrections, row)
        return {"saved": self._corrections is not None, "row": row}

    def _keep(self, index: Index, key: Any, make: Callable[[], Any]) -> Any:
        """What is made once for an index as it is."""
        if self._kept_of is not index:
            self._kept, self._kept_of = {}, index
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


def example_filter(index: Index) -> str | None:
    """A filter that finds the first record, as an example; None where nothing is known of it."""
    if not len(index):
        return None
    first = index.record(index.ids[0])
    known = {"label": first.label, **first.metadata}
    name, value = next(((name, value) for name, value in known.items() if value is not None), ("", None))
    if value is None or len(str(value)) > 60:
        return None
    column = name if re.fullmatch(r"[a-z_]+", name) else '"' + name.replace('"', '""') + '"'
    match value:
        case bool():
            made = f"{column} = {str(value).lower()}"
        case str():
            made = f"{column} = '" + value.replace("'", "''") + "'"
        case _:
            made = f"{column} = {value}"
    try:
        return made if index.find(made) else None
    except InputError:  # a column called "in", numbers among texts
        return None


def map_of(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """The two principal components of embeddings (n, d), scaled to [-1, 1]; float32 (n, 2)."""
    n, d = embeddings.shape
    if n == 0:
        return np.zeros((0, 2), dtype=np.float32)
    centred = embeddings - embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
    values, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    axes = vectors[:, np.argsort(values)[::-1][:2]]
    # A sign that doesn't depend on the solver: the largest entry of an axis is positive.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    points = centred @ axes.astype(np.float32)
    if d == 1:
        points = np.concatenate([points, np.zeros_like(points)], axis=1)
    scale = float(np.abs(points).max()) or 1.0
    return np.ascontiguousarray(points / scale, dtype=np.float32)


def colours(index: Index, name: str) -> dict[str, Any]:
    """One column for colouring: categories with a code a row, or numbers; by row.

    Raises
    ------
    InputError
        There is no such column.
    """
    if name == "label":
        values: list[Any] = list(index.labels)
    elif name in index.columns:
        values = [told.get(name) for told in index.metadata]
    else:
        raise InputError(f"there is no column {name!r}; columns are label, {', '.join(index.columns)}")
    known = [value for value in values if value is not None]
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known)
    if numeric and name != "label" and len(set(known)) > 20:
        numbers = np.array([np.nan if value is None else value for value in values], dtype="<f4")
        return {"kind": "number", "values": base64.b64encode(numbers.tobytes()).decode()}
    texts = ["" if value is None else str(value) for value in values]
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    order = sorted(counts, key=lambda text: (-counts[text], text))[:_MOST_CATEGORIES]
    code = {text: place for place, text in enumerate(order)}
    codes = np.array([code.get(text, 65535) for text in texts], dtype="<u2")
    return {
        "kind": "category",
        "categories": [{"name": text, "count": counts[text]} for text in order],
        "codes": base64.b64encode(codes.tobytes()).decode(),
    }


def thumbnail(item: NDArray[Any]) -> bytes:
    """An image (height, width) or (channels, height, width) in [0, 1] as a small PNG."""
    pixels = np.asarray(item, dtype=np.float32)
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        pixels = (pixels - low) / ((high - low) or 1.0)
    shown = (pixels * 255).round().astype(np.uint8)
    if shown.ndim == 3:
        shown = shown[0] if shown.shape[0] in (1, 2) else shown[:3].transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(shown))
    factor = _SIDE / max(image.size)
    size = tuple(max(1, round(side * factor)) for side in image.size)
    resample = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BILINEAR
    stream = io.BytesIO()
    image.resize((size[0], size[1]), resample).save(stream, "PNG")
    return stream.getvalue()


def _append_row(path: Path, row: Mapping[str, Any]) -> None:
    """One row more in a CSV; a text that a spreadsheet would run as a formula is led by an apostrophe."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(row), lineterminator="\n")
    try:
        with open(path, "ab") as file:
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow({name: _inert(value) for name, value in row.items()})
            file.write(stream.getvalue().encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ArtifactError(f"{path}: can't be written ({error.strerror or error})") from error


def _inert(value: Any) -> Any:
    formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if formula else value


def _json(content: Any) -> Response:
    return Response(json.dumps(content, allow_nan=False), media_type="application/json")
