"""What a key must allow before a route answers."""

from __future__ import annotations

from fastapi import Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from likewise.serve.keys import Keys

__all__ = ["Scope"]


class Scope(HTTPBearer):
    """A dependency of a route: the request's key must have a scope; without keys everybody has it.

    Parameters
    ----------
    name : str
        ``read`` or ``write``.
    keys : Keys, optional
    """

    def __init__(self, name: str, keys: Keys | None) -> None:
        told = "An API key; needed where the server has keys."
        super().__init__(scheme_name="HTTPBearer", auto_error=False, description=told)
        self._name, self._keys = name, keys

    async def __call__(self, request: Request) -> HTTPAuthorizationCredentials | None:  # type: ignore[override]
        """The credentials; an HTTPException of 401 without a key that is known, of 403 without the scope."""
        if self._keys is None or not len(self._keys):
            return None
        given = await super().__call__(request)
        key = self._keys.find(given.credentials) if given is not None else None
        if key is None:
            raise HTTPException(401, "give a key: Authorization: Bearer KEY")
        if self._name not in key.scopes:
            raise HTTPException(403, f"this key has no scope {self._name!r}")
        return given
