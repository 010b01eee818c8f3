"""Hostile names, in every place where one is taken: nothing outside is read, written or told."""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from likewise.artifacts import sha256
from likewise.data import load, record
from likewise.errors import LikewiseError
from likewise.export import from_pretrained
from likewise.model import Model
from likewise.search import Index
from torture.kills import small_model
from torture.trial import Result, Trial, outcomes

_SECRET = b"the secret beside the folder"


@dataclass
class Names:
    """What became of so many names."""

    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def bad(self) -> int:
        """Escapes, and errors that aren't the library's own."""
        return sum(
            count for outcome, count in self.outcomes.items() if outcome not in ("refused", "kept as a name")
        )


def trials(*, short: bool) -> list[Trial]:
    """Names in all places that take one."""

    def run() -> Result:
        with tempfile.TemporaryDirectory() as place:
            found = run_names(Path(place), 200 if short else 1000)
        return Result(found.tried, outcomes(found.outcomes), found.bad)

    return [Trial("hostile names", run)]


def hostile_name(generator: random.Random, secret: Path) -> str:
    """One name that would lead elsewhere, or break what handles it."""
    up = "../" * generator.randrange(1, 12)
    return generator.choice(
        [
            f"{up}secret",
            f"{up}etc/passwd",
            str(secret),
            f"file://{secret}",
            f"a/{up}{secret.name}",
            "..\\..\\secret",
            "link",
            "link/secret",
            "/dev/zero",
            "/proc/self/environ",
            "a\0b",
            "secret\0.json",
            "\ud800",
            "." * generator.randrange(1, 9),
            "a" * generator.choice((255, 256, 5000)),
            "CON",
            "a:b",
            "~/secret",
            "$HOME/secret",
            "%2e%2e%2fsecret",
            "\u202egnp.exe",
            "\n",
            "a\nb",
            "-rf",
            "",
            " ",
            "💥" * generator.randrange(1, 300),
            "".join(chr(generator.randrange(1, 0x2FF)) for _ in range(12)),
            "<script>",
            "'; drop table records; --",
        ]
    )


def run_names(place: Path, count: int, *, seed: int = 0) -> Names:
    """Try so many names in each place that takes one."""
    generator, found = random.Random(seed), Names()
    secret = place / "secret"
    secret.write_bytes(_SECRET)
    inner = place / "inner"
    empty = inner / "empty"
    empty.mkdir(parents=True)
    small_model().save(inner / "run")
    index = Index(small_model())
    index.add_embeddings(np.ones((2, 4)), ids=["a", "b"])
    index.save(inner / "index")
    (inner / "link").symlink_to(secret)
    before = sorted(str(path) for path in place.rglob("*"))

    def in_manifest(name: str) -> object:
        return _load_with_file(inner / "run", name)

    def as_id(name: str) -> object:
        grown = Index.load(inner / "index")
        grown.add_embeddings(np.ones((1, 4)), ids=[name], labels=[name[:50]], metadata=[{"path": name}])
        return grown.record(name).id == name or "changed"

    places: dict[str, Callable[[str], object]] = {
        "a file of a manifest": in_manifest,
        "an id": as_id,
        "a pretrained model": from_pretrained,
        "a data set": load,
        "a query": record,
        "a run": lambda name: Model.load(inner / "nothing" / name),
        "a column": lambda name: index.find(f'"{name}" = 1'),
        "a filter": lambda name: index.find(name),
    }
    for _ in range(count):
        name = hostile_name(generator, secret)
        where, take = generator.choice(list(places.items()))
        found.tried += 1
        try:
            with chdir(empty):  # "." names what lies here, and that is nothing
                got = take(name)
        except LikewiseError as error:
            told = str(error)
            outcome = "told a secret" if _SECRET.decode() in told else "refused"
        except Exception as error:
            outcome = f"other error: {type(error).__name__} ({where})"
        else:
            outcome = (
                "kept as a name" if where in ("an id", "a filter") and got is not None else f"taken ({where})"
            )
        found.outcomes[outcome] += 1
    if secret.read_bytes() != _SECRET or sorted(str(path) for path in place.rglob("*")) != before:
        found.outcomes["something was written"] += 1
    return found


def _load_with_file(run: Path, name: str) -> Model:
    """Load a copy of a run whose manifest names one more file, its checksums all right."""
    import shutil

    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "run")
        shutil.copytree(run, copy)
        (copy / "link").symlink_to(run.parent.parent / "secret")
        content = json.loads((copy / "model.json").read_text())
        content["files"][name] = sha256(_SECRET)
        content["manifest_sha256"] = "0" * 64
        text = json.dumps(content)
        signed = text.replace(
            '"manifest_sha256": "' + "0" * 64, '"manifest_sha256": "' + sha256(text.encode())
        )
        (copy / "model.json").write_text(signed)
        return Model.load(copy)
