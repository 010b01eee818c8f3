"""Routes of one JSON body, validated once and straight from its bytes.

FastAPI's own way parses the body to Python objects, looks through the route's dependencies, and validates
the objects then; for a search that is more work than all the rest of a request. The description (OpenAPI),
the statuses and the messages are the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

__all__ = ["BodyRoute"]


class BodyRoute(APIRoute):
    """A route whose endpoint takes one model, the body, and gives a Response.

    Its dependencies are given the request's credentials, as :class:`fastapi.security.HTTPBearer` reads them.
    """

    def get_route_handler(self) -> Callable[[Request], Any]:
        """What answers a request."""
        endpoint: Callable[[Any], Awaitable[Response]] = self.endpoint
        (name,) = inspect.signature(endpoint).parameters
        model: type[BaseModel] = get_type_hints(endpoint)[name]
        checks = [one.dependency for one in self.dependencies if one.dependency is not None]

        async def handle(request: Request) -> Response:
            for check in checks:
                await check(request)
            return await endpoint(_read(model, request.headers.get("content-type"), await request.body()))

        return handle


def _read(model: type[BaseModel], content_type: str | None, body: bytes) -> BaseModel:
    if not body:
        raise _wrong("missing", "Field required")
    # A page elsewhere may send a form or plain text without asking first, but not JSON.
    if content_type != "application/json" and not _is_json(content_type):
        raise _wrong("content_type", "content-type must be application/json")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise RequestValidationError([{**first, "loc": ("body", *first["loc"])}]) from None


def _is_json(content_type: str | None) -> bool:
    kind, _, subtype = (content_type or "").partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


def _wrong(kind: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"type": kind, "loc": ("body",), "msg": message}])
