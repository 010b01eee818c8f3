"""Changed artifacts: none may be taken for whole, none may crash what reads it.

In the first form a byte or more of a file is changed: the reader must refuse it. In the second, the changed
file's checksum is made right, so that only the reader's own checks stand between it and the arrays: it may
refuse or take it, but it must neither crash, hang, nor raise anything but the library's own errors.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from likewise.artifacts import signed_files
from likewise.distances import Cosine
from likewise.encoders import MLP, Standardize
from likewise.errors import LikewiseError
from likewise.export import NumpyModel
from likewise.model import Calibration, Model
from likewise.search import Index
from likewise.search.journal import empty_journal
from likewise.training.run_folder import RunFolder
from likewise.training.state import Saved
from torture.trial import Result, Trial, outcomes

_BATCH = 250
_SECONDS = 120
_MEMORY = 6 * 2**30
_D = 6


@dataclass
class Mutations:
    """What became of so many changed artifacts of one format."""

    format: str
    checksums_right: bool
    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def bad(self) -> int:
        """Outcomes that break the promise."""
        good = {"refused", "taken"} if self.checksums_right else {"refused"}
        return sum(count for outcome, count in self.outcomes.items() if outcome not in good)


def trials(*, short: bool) -> list[Trial]:
    """Each format, with changed bytes, and with changes that were signed again."""

    def run(name: str, right: bool) -> Result:
        count = (10 if right else 40) if short else (2_000 if right else 10_000)
        found = run_mutations(name, count, checksums_right=right)
        return Result(found.tried, outcomes(found.outcomes), found.bad)

    return [
        Trial(
            f"changed {name}" + (", checksums made right" if right else ""),
            lambda name=name, right=right: run(name, right),  # type: ignore[misc]
        )
        for name, form in FORMATS.items()
        for right in ((False, True) if form.manifest or form.only else (False,))
    ]


def _model() -> Model:
    import torch

    torch.manual_seed(0)
    calibration = Calibration(slope=2.0, offset=1.0, threshold=0.5, held_out="classes")
    return Model(MLP(_D, dimension=_D, hidden=(8,)), Cosine(), Standardize((_D,)), calibration)


def _rows(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, _D)).astype(np.float32)


def _index(folder: Path, *, engine: str, n: int) -> None:
    index = Index(_model(), engine=engine, recall=0.8)
    told = {"price": list(range(n)), "shop": ["AB"[i % 2] for i in range(n)]}
    index.add_embeddings(
        _rows(n), ids=[f"r{i}" for i in range(n)], labels=[i % 3 for i in range(n)], metadata=told
    )
    index.save(folder)


def _journaled(folder: Path) -> None:
    _index(folder, engine="flat", n=20)
    with Index.open(folder) as index:
        for i in range(4):
            index.add_embeddings(_rows(3) + i, ids=[f"{i}-{j}" for j in range(3)])
        index.remove(["0-0", "r3"])
        index.update(["1-1"], labels=["new"], metadata=[{"price": 5}])


def _use_index(folder: Path) -> object:
    index = Index.load(folder)
    index.search_embeddings(_rows(2), 3)
    index.search_embeddings(_rows(1), 3, where="price < 9")
    return index.fingerprint


def _use_model(folder: Path) -> object:
    model = Model.load(folder)
    model.embed(np.zeros((2, *model.item_shape), dtype=np.float32))
    return model.fingerprint


def _checkpoint(folder: Path) -> None:
    import torch

    arrays = {"encoder.weight": torch.from_numpy(_rows(3)), "optimizer.0.step": torch.tensor(3.0)}
    RunFolder(folder.parents[1]).save(Saved(arrays, {"epoch": 3, "best": 0.5, "lines": [{"loss": 0.25}]}))


def _use_checkpoint(folder: Path) -> object:
    state = RunFolder(folder.parents[1]).load()
    return {name: value.numpy().tobytes() for name, value in state.arrays.items()}, state.facts


def _linear(folder: Path) -> None:
    folder.mkdir()
    generator = np.random.default_rng(0)
    matrix, offset = generator.normal(size=(3, _D)), generator.normal(size=3)
    NumpyModel(matrix.astype(np.float32), offset.astype(np.float32), "Euclidean", 0.5).save(
        folder / "model.npz"
    )


def _use_linear(folder: Path) -> object:
    held = NumpyModel.load(folder / "model.npz")
    return held.embed(_rows(2)).tobytes(), held.distance, held.threshold


@dataclass(frozen=True)
class Format:
    """One kind of artifact: how it is made, how it is read, which files are changed.

    Without a manifest there is no way to make checksums right from outside.
    """

    make: Callable[[Path], None]
    use: Callable[[Path], object]
    manifest: str = ""
    kind: str = ""
    only: str | None = None


FORMATS = {
    "run": Format(lambda folder: _model().save(folder), _use_model, "model.json", "likewise-run"),
    "index": Format(
        lambda folder: _index(folder, engine="flat", n=40), _use_index, "index.json", "likewise-index"
    ),
    **{
        f"index ({engine})": Format(
            lambda folder, engine=engine: _index(folder, engine=engine, n=1100),  # type: ignore[misc]
            _use_index,
            "index.json",
            "likewise-index",
        )
        for engine in ("hnsw", "ivfpq", "binary")
    },
    "journal": Format(_journaled, _use_index, "index.json", "likewise-index", only="journal"),
    "checkpoint": Format(_checkpoint, _use_checkpoint, "checkpoint.json", "likewise-checkpoint"),
    "linear model in NumPy": Format(_linear, _use_linear),
}


def mutated(data: bytes, generator: random.Random) -> bytes:
    """The same bytes with something changed; never equal."""
    while True:
        changed = bytearray(data)
        place = generator.randrange(len(changed)) if changed else 0
        match generator.randrange(7):
            case 0 | 1 if changed:
                changed[place] ^= 1 << generator.randrange(8)
            case 2 if changed:
                changed[place : place + generator.randrange(1, 9)] = generator.randbytes(
                    generator.randrange(1, 9)
                )
            case 3 if changed:
                del changed[place:]
            case 4 if changed:
                del changed[place : place + generator.randrange(1, 40)]
            case 5 if changed:
                stop = min(len(changed), place + generator.randrange(1, 64))
                changed[place:stop] = bytes(stop - place)
            case _:
                changed[place:place] = generator.randbytes(generator.randrange(1, 20))
        if bytes(changed) != data:
            return bytes(changed)


def mutated_json(text: bytes, generator: random.Random) -> bytes:
    """JSON in which some values are others; JSON still."""
    content = json.loads(text)
    places: list[tuple[object, object]] = []

    def walk(node: object) -> None:
        pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in list(pairs):
            places.append((node, key))
            walk(value)

    walk(content)
    for _ in range(generator.choice((1, 1, 1, 3))):
        node, key = generator.choice(places)
        if generator.random() < 0.15 and isinstance(node, dict):
            node.pop(key, None)
            continue
        try:
            node[key] = generator.choice(  # type: ignore[index]
                [
                    None,
                    True,
                    -1,
                    0,
                    1,
                    2,
                    7,
                    65,
                    2**31,
                    2**63,
                    10**30,
                    0.5,
                    -1e308,
                    "",
                    "x",
                    "../x",
                    "\ud800",
                    [],
                    {},
                    [[]],
                    [1, "a"],
                ]
            )
        except (KeyError, IndexError):
            continue
    return json.dumps(content).encode()


def run_mutations(name: str, count: int, *, checksums_right: bool, seed: int = 0) -> Mutations:
    """Read so many changed artifacts of a format, in children that may crash alone."""
    form = FORMATS[name]
    found = Mutations(name, checksums_right)
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place, "whole", "checkpoint", "state")  # where a checkpoint must lie; others may
        whole.parent.mkdir(parents=True)
        form.make(whole)
        truth = form.use(whole)
        for start in range(0, count, _BATCH):
            amount = min(_BATCH, count - start)
            report = Path(place, "report")
            report.write_text("")
            child = os.fork()
            if child == 0:
                try:
                    _batch(form, whole, truth, amount, f"{seed}-{start}", checksums_right, report)
                    os._exit(0)
                except BaseException:
                    os._exit(3)
            _, status = os.waitpid(child, 0)
            lines = report.read_text().splitlines()
            for line in lines:
                outcome, _, example = line.partition("\t")
                found.outcomes[outcome] += 1
                found.examples.setdefault(outcome, example)
            if os.WIFSIGNALED(status):
                hung = os.WTERMSIG(status) == signal.SIGALRM
                found.outcomes["hang" if hung else "crash"] += 1
            elif os.WEXITSTATUS(status):
                found.outcomes["failure of the test"] += 1
            found.tried += amount
    return found


def _batch(
    form: Format, whole: Path, truth: object, amount: int, seed: str, checksums_right: bool, report: Path
) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    generator = random.Random(seed)
    names = sorted(str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file())
    chosen = [form.only] if form.only else [name for name in names if (whole / name).stat().st_size]
    with tempfile.TemporaryDirectory() as place, open(report, "a", buffering=1) as out:
        copy = Path(place, "checkpoint", "state")
        shutil.copytree(whole, copy)
        for _ in range(amount):
            signal.alarm(_SECONDS)
            name = str(generator.choice(chosen))
            data = (copy / name).read_bytes()
            if checksums_right and name != "journal":
                _resigned(copy, form, name, data, generator)
            else:
                (copy / name).write_bytes(mutated(data, generator))
            try:
                same = form.use(copy) == truth
            except LikewiseError:
                outcome = "refused"
            except MemoryError:
                outcome = "out of memory"
            except Exception as error:
                outcome = f"other error: {type(error).__name__}"
            else:
                # A tail that was never acknowledged changes nothing.
                outcome = (
                    "taken" if checksums_right else "refused" if same and name == "journal" else "taken whole"
                )
            out.write(f"{outcome}\t{name}\n")
            for changed in {name, form.manifest, "journal"} & set(names):
                shutil.copy(whole / changed, copy / changed)


def _resigned(copy: Path, form: Format, name: str, data: bytes, generator: random.Random) -> None:
    """Change a file, or the manifest's own values, and make all checksums right again."""
    content = json.loads((copy / form.manifest).read_text())
    files = {held: (copy / held).read_bytes() for held in content.pop("files")}
    content.pop("manifest_sha256")
    content.pop("format")
    if name == form.manifest:
        changed = json.loads(mutated_json(json.dumps(content).encode(), generator))
        content = changed if isinstance(changed, dict) else content
    elif name.endswith(".json") and name != "model/model.json":
        files[name] = mutated_json(data, generator)
    else:
        files[name] = mutated(data, generator)
    for held, value in signed_files(files, content, manifest=form.manifest, kind=form.kind).items():
        (copy / held).write_bytes(value)
    if (copy / "journal").exists():  # it names the manifest that it continues
        stated = json.loads((copy / form.manifest).read_bytes())["manifest_sha256"]
        (copy / "journal").write_bytes(empty_journal(stated))
