"""The HTTP API: routes, keys, and errors that say what is wrong without repeating what was sent."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from likewise import __version__
from likewise.errors import ArtifactError, InputError, LikewiseError
from likewise.search import Hit, Index
from likewise.search.remote import StoreError
from likewise.serve import schemas
from likewise.serve.batching import Batcher, Job
from likewise.serve.bodies import BodyRoute
from likewise.serve.explorer import Explorer
from likewise.serve.gate import Gate
from likewise.serve.keys import Keys
from likewise.serve.limits import Limits
from likewise.serve.logs import log
from likewise.serve.metrics import Metrics
from likewise.serve.scopes import Scope
from likewise.serve.served import AnotherModelError, Embedding, Question, Served

__all__ = ["create_app"]

_CODES = {400: "bad_request", 401: "no_key", 403: "forbidden", 404: "not_found", 405: "wrong_method"}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.ErrorAnswer, "description": told}
    for status, told in {
        400: "The body can't be read",
        401: "No key, or one that isn't known",
        403: "The key doesn't allow it",
        404: "An id that is not in the index",
        405: "Another method",
        408: "The body came too late",
        409: "Another model's embeddings, or ids that are taken",
        413: "The body is too large",
        414: "The address is too long",
        422: "Something in the request is wrong",
        500: "The server failed",
        503: "Too many requests, or too slow; try later",
    }.items()
}


def create_app(
    served: Served,
    *,
    keys: Keys | None = None,
    limits: Limits | None = None,
    explorer: Explorer | None = None,
    hosts: frozenset[str] | None = None,
) -> FastAPI:
    """The application over an index.

    Parameters
    ----------
    served : Served
    keys : Keys, optional
        Without any, everybody may read and write: for this machine alone.
    limits : Limits, optional
    explorer : Explorer, optional
        The page at ``/`` and what it asks for; by default of the index alone, without pictures.
    hosts : set of str, optional
        Names by which the server may be called.
    """
    rules, metrics = limits or Limits(), Metrics()
    batcher = Batcher(served.work, watch=metrics.batch)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        # After the last request: nothing more is put into the queue.
        await asyncio.to_thread(batcher.close)
        served.index.close()
        del app

    app = FastAPI(
        title="likewise",
        version=__version__,
        description="Embed, search and verify with a learned distance. Smaller distances are more alike.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=_REFUSALS,
    )
    app.state.metrics, app.state.served, app.state.batcher = metrics, served, batcher
    app.add_middleware(Gate, limits=rules, metrics=metrics, hosts=hosts)
    _add_error_handlers(app)

    reader, writer = Depends(Scope("read", keys)), Depends(Scope("write", keys))

    def check_batch(count: int) -> None:
        if count > rules.batch:
            raise InputError(f"at most {rules.batch} items in one request; found {count}")

    async def alone(payload: Callable[[Index], Any]) -> Any:
        return await batcher.do(Job(None, payload))

    def bodied(path: str, **options: Any) -> Callable[[Any], Any]:
        def register(endpoint: Any) -> Any:
            app.router.add_api_route(
                path, endpoint, methods=["POST"], route_class_override=BodyRoute, **options
            )
            return endpoint

        return register

    @app.get("/health", response_model=schemas.Health)
    async def health() -> Response:
        """Whether the process answers."""
        return JSONResponse({"status": "ok"})

    @app.get("/ready", response_model=schemas.Ready)
    async def ready() -> Response:
        """Whether the model and the index are there, and what they are."""
        index = served.index
        report = index.engine
        return JSONResponse(
            {
                "status": "ready",
                "records": len(index),
                "dimension": index.dimension,
                "engine": report.name,
                "model": index.model.fingerprint,
                "kind": index.model.preprocessing.kind,
                "item_shape": list(index.model.item_shape),
            }
        )

    @app.get("/metrics", dependencies=[reader])
    async def figures() -> Response:
        """Prometheus' figures."""
        metrics.records.set(len(served.index))
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @bodied("/v1/embed", response_model=schemas.Embedded, dependencies=[reader])
    async def embed(request: schemas.EmbedRequest) -> Response:
        """Embed items."""
        check_batch(len(request.items))
        vectors, model = await batcher.do(Job("embed", Embedding(request.items), len(request.items)))
        return _json({"embeddings": vectors.tolist(), "dimension": vectors.shape[1], "model": model})

    @bodied("/v1/search", response_model=schemas.SearchAnswer, dependencies=[reader])
    async def search(request: schemas.SearchRequest) -> Response:
        """Find the nearest records of items, of embeddings, or of records."""
        wanted = _one_of(items=request.items, embeddings=request.embeddings, ids=request.ids)
        check_batch(len(wanted))
        if request.k > rules.k:
            raise InputError(f"k must be at most {rules.k}; found {request.k}")
        embedding = Embedding(
            request.items, request.embeddings, request.ids, request.model, request.k, request.together
        )
        question = Question(request.where, request.radius, request.expand, request.rerank)
        hits, model = await batcher.do(Job(question, embedding, len(wanted)))
        return _json({"hits": [[_hit(hit) for hit in own] for own in hits], "model": model})

    @bodied("/v1/verify", response_model=schemas.VerifyAnswer, dependencies=[reader])
    async def verify(request: schemas.VerifyRequest) -> Response:
        """Say whether two things are alike, with the calibrated probability."""
        a, b = (
            Embedding(None if item is None else [item], None, None if name is None else [name])
            for item, name in ((request.a, request.a_id), (request.b, request.b_id))
        )
        _one_of(a=request.a, a_id=request.a_id)
        _one_of(b=request.b, b_id=request.b_id)

        def both(index: Index) -> dict[str, Any]:
            return {**served.verdict(index, a, b).to_dict(), "model": index.model.fingerprint}

        return _json(await alone(both))

    @bodied("/v1/records", response_model=schemas.Added, status_code=201, dependencies=[writer])
    async def add(request: schemas.RecordsRequest) -> Response:
        """Add records; the answer comes when they are on the disk."""
        wanted = _one_of(items=request.items, embeddings=request.embeddings)
        check_batch(len(wanted))
        added = await alone(lambda index: served.add(index, request))
        if explorer is not None:
            explorer.forget()
        return _json({"added": added}, 201)

    @app.get("/v1/records", response_model=schemas.RecordsAnswer, dependencies=[reader])
    async def records(
        id: Annotated[list[str] | None, Query(description="Ids, each as id=...")] = None,
        where: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        offset: Annotated[int, Query(ge=0, le=2**40)] = 0,
    ) -> Response:
        """Records by id, by a filter, or all, in the order of their rows."""
        check_batch(len(id or ()))

        def listed(index: Index) -> dict[str, Any]:
            if id is not None:
                names: Sequence[str] = id
            else:
                names = index.ids if where is None else index.find(where)
            chosen = [index.record(name) for name in names[offset : offset + limit]]
            told = [
                {"id": one.id, "label": one.label, "row": one.row, "metadata": dict(one.metadata)}
                for one in chosen
            ]
            return {"records": told, "total": len(names)}

        return _json(await alone(listed))

    @app.delete("/v1/records", response_model=schemas.Removed, dependencies=[writer])
    async def remove(
        id: Annotated[list[str], Query(description="Ids, each as id=...")],
    ) -> Response:
        """Remove records by id; all or none."""
        check_batch(len(id))
        removed = await alone(lambda index: served.remove(index, id))
        if explorer is not None:
            explorer.forget()
        return _json({"removed": removed})

    page = explorer or Explorer(served)
    page.add_routes(app, alone=alone, reader=reader, writer=writer)
    return app


def _json(content: Any, status: int = 200) -> Response:
    return Response(_encoded(content), status, media_type="application/json")


def _encoded(content: Any) -> bytes:
    """JSON, in a third of the time that the standard library takes where there is nothing unusual."""
    try:
        made = to_json(content)
    except (ValueError, UnicodeError):  # a text of lone surrogates
        made = b"NaN"
    if (
        b"NaN" in made or b"Infinity" in made
    ):  # in a text, or as a number, which JSON hasn't: that is an error
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    return made


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        "id": hit.id,
        "label": hit.label,
        "distance": hit.distance,
        "row": hit.row,
        "probability": hit.probability,
        "metadata": dict(hit.metadata),
    }


def _one_of(**given: Any) -> Any:
    """The one that is given of several; an InputError where it isn't exactly one."""
    there = [name for name, value in given.items() if value is not None]
    if len(there) != 1:
        raise InputError(f"exactly one of {', '.join(given)} must be given; found {len(there)}")
    return given[there[0]]


def _add_error_handlers(app: FastAPI) -> None:
    def answer(request: Request, status: int, code: str, message: str) -> JSONResponse:
        number = str(request.scope.get("state", {}).get("request", ""))
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        return JSONResponse(
            {"error": {"code": code, "message": ascii(message)[1:-1], "request": number}}, status, headers
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # Only where and what: the input itself may be anything, and may not even be text.
        first = error.errors()[0]
        unread = first["type"] == "json_invalid"
        place = ".".join(str(part)[:40] for part in first["loc"][:6])
        told = "the body isn't JSON" if unread else f"{place}: {str(first['msg'])[:200]}"
        return answer(request, 400 if unread else 422, "invalid", told)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return answer(request, error.status_code, _CODES.get(error.status_code, "refused"), str(error.detail))

    @app.exception_handler(LikewiseError)
    async def wrong(request: Request, error: LikewiseError) -> JSONResponse:
        if isinstance(error, AnotherModelError):
            return answer(request, 409, "another_model", str(error))
        # What the server's own disk or store does names paths and addresses: those are for its log.
        if isinstance(error, (ArtifactError, StoreError)):
            log("unavailable", level=logging.ERROR, reason=str(error))
            return answer(request, 503, "unavailable", "the index can't be changed or asked now; try later")
        if not isinstance(error, InputError):
            return answer(request, 500, "failure", "the server failed; its log has more")
        taken = "in the index already" in str(error)
        unknown = "isn't in the index" in str(error)
        status, code = (409, "taken") if taken else (404, "unknown") if unknown else (422, "invalid")
        return answer(request, status, code, str(error))
