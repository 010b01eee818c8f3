"""Models by name: a folder here, or a repository of the Hugging Face hub.

What lies there is a run as :meth:`likewise.Model.save` writes it: arrays and JSON with checksums, so that
loading runs no code, wherever it came from.
"""

from __future__ import annotations

import importlib
import os
import re
from typing import Any

from likewise.errors import InputError, MissingExtraError
from likewise.model import Model

__all__ = ["from_pretrained", "save_pretrained"]

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_FILES = ["*.json", "*.jsonl", "*.safetensors", "*.toml", "*.html"]


def save_pretrained(model: Model, path: str | os.PathLike[str]) -> None:
    """Save a model as a folder that :func:`from_pretrained` reads; what :meth:`Model.save` does."""
    model.save(path)


def from_pretrained(name: str | os.PathLike[str], *, revision: str | None = None) -> Model:
    """Load a model from a folder, or from ``owner/name`` on the Hugging Face hub.

    Parameters
    ----------
    name : path or str
    revision : str, optional
        A commit or a tag of the hub; give a commit to be sure of the bytes.

    Raises
    ------
    ArtifactError
        Not a run, or a byte was changed.
    InputError
        Neither a folder nor a repository's name, or the hub can't be reached.
    MissingExtraError
        huggingface_hub isn't installed.

    >>> from_pretrained("no such folder")
    Traceback (most recent call last):
    ...
    likewise.errors.InputError: name must be a folder that exists, or owner/name on the hub; ...
    """
    text = os.fspath(name)
    if os.path.isdir(text.replace("\0", "?")):
        if revision is not None:
            raise InputError(f"revision is of the hub; {text} is a folder")
        return Model.load(text)
    if not _REPOSITORY.fullmatch(text) or ".." in text:
        raise InputError(f"name must be a folder that exists, or owner/name on the hub; found {text!r}")
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtraError(
            f"{text} isn't a folder here, and the hub needs huggingface_hub: pip install huggingface_hub"
        ) from error
    try:
        folder = hub.snapshot_download(repo_id=text, revision=revision, allow_patterns=_FILES)
    except Exception as error:  # the hub's library and its transport raise many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"{text}: can't be taken from the hub ({reason})") from error
    return Model.load(_without_links(folder))


def _without_links(folder: str) -> str:
    """The folder as plain files: the hub's cache is made of links, which a run may not hold."""
    import shutil
    import tempfile

    plain = tempfile.mkdtemp(prefix="likewise-")
    shutil.copytree(folder, plain, dirs_exist_ok=True, symlinks=False)
    return plain
