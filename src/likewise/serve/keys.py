"""API keys: shown once when they are made, kept only as SHA-256, each with scopes.

A key has 256 random bits, so a plain hash of it can't be guessed back. The file is JSON, written for its
owner alone: ``{"keys": [{"name": ..., "sha256": ..., "scopes": ["read", "write"]}]}``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from likewise.errors import ArtifactError, InputError

__all__ = ["SCOPES", "Key", "Keys", "new_key"]

SCOPES = ("read", "write")
_PREFIX = "lw_"
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Key:
    """One key: what it is called, its SHA-256, and what it may do."""

    name: str
    sha256: str
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class Keys:
    """The keys that a server takes."""

    keys: tuple[Key, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, secret: str) -> Key | None:
        """The key of a secret, or None; the time taken says nothing of how nearly it was right."""
        given = _hash(secret)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.sha256, given):
                found = key
        return found

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Keys:
        """Read a file of keys.

        Raises
        ------
        ArtifactError
            It can't be read, or isn't such a file.
        """
        place = Path(path)
        try:
            if place.stat().st_size > _LARGEST:
                raise ArtifactError(f"{place}: too large for a file of keys")
            content = json.loads(place.read_text("utf-8"))
            keys = tuple(
                Key(entry["name"], entry["sha256"], tuple(entry["scopes"])) for entry in content["keys"]
            )
        except OSError as error:
            raise ArtifactError(f"{place}: can't be read ({error.strerror or error})") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ArtifactError(f"{place}: not a file of keys; make one: likewise serve --new-key") from error
        for key in keys:
            sound = isinstance(key.name, str) and isinstance(key.sha256, str) and len(key.sha256) == 64
            if not sound or not key.sha256.isascii() or not key.scopes or not set(key.scopes) <= set(SCOPES):
                raise ArtifactError(
                    f"{place}: a key must have a name, a SHA-256, and scopes of read and write"
                )
        return cls(keys)


def new_key(path: str | os.PathLike[str], name: str, *, scopes: Sequence[str] = ("read",)) -> str:
    """Make a key, add its hash to a file, and return the key itself, which is kept nowhere.

    Raises
    ------
    InputError
        The name is taken or empty, or a scope isn't read or write.
    ArtifactError
        The file isn't one of keys, or can't be written.
    """
    wanted = tuple(dict.fromkeys(scopes))
    if not wanted or not set(wanted) <= set(SCOPES):
        raise InputError(f"scopes must be of {', '.join(SCOPES)}; found {', '.join(wanted) or 'none'}")
    place = Path(path)
    held = Keys.load(place) if place.exists() else Keys()
    if not name or not name.isprintable() or any(key.name == name for key in held.keys):
        raise InputError(f"name must be new and printable; found {name!r}")
    secret = _PREFIX + secrets.token_urlsafe(32)
    entries = [*held.keys, Key(name, _hash(secret), wanted)]
    content = {
        "keys": [{"name": key.name, "sha256": key.sha256, "scopes": list(key.scopes)} for key in entries]
    }
    try:
        # mkstemp makes a file that its owner alone may read.
        descriptor, beside = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent or Path())
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(content, indent=1) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, place)
    except OSError as error:
        raise ArtifactError(f"{place}: can't be written ({error.strerror or error})") from error
    return secret


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
