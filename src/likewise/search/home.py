"""Where an index lies: its folder, and the journal that every change goes to while it is open."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from likewise.artifacts import check_output
from likewise.errors import ArtifactError, InputError
from likewise.model import Model
from likewise.search.changes import applied
from likewise.search.holdings import EngineChoice, Holdings
from likewise.search.journal import Entry, Journal, check_free, read_journal
from likewise.search.storage import JOURNAL, KIND, MANIFEST, Snapshot, read_snapshot, write_snapshot

__all__ = ["Home", "loaded", "opened"]


class Home:
    """The folder that an index was opened from, or whose server's store it uses; or none yet.

    Parameters
    ----------
    path : Path, optional
    journal : Journal, optional
        Open, where every change is to be on the disk before it is made.
    """

    def __init__(self, path: Path | None = None, journal: Journal | None = None) -> None:
        self.path, self.journal = path, journal

    def log(self, entry: Entry) -> None:
        """Put a change on the disk, where the index is open for writing."""
        if self.journal is not None:
            self.journal.append(entry)

    def close(self) -> None:
        """Let another process write."""
        if self.journal is not None:
            self.journal.close()
            self.journal = None

    def save(self, holdings: Holdings, model: Model, path: str | os.PathLike[str] | None) -> None:
        """Write a folder, here or elsewhere; here, the journal is folded in. See :meth:`Index.save`."""
        target = self.path if path is None else Path(path)
        if target is None:
            raise InputError("path must be given: the index wasn't opened from a folder")
        check_output(target, manifest=MANIFEST, kind=KIND)
        if not len(holdings):
            raise InputError("the index is empty; add records first")
        at_home = self.path is not None and os.path.realpath(target) == os.path.realpath(self.path)
        if self.path is not None and not at_home and holdings.choice.address is not None:
            raise InputError(
                f"path must be {self.path}, as two folders can't share one store of a server; give the "
                "records a store of their own: likewise index --from"
            )
        if not at_home or self.journal is None:
            check_free(target / JOURNAL)
        holdings.renumber()
        arrays, state = holdings.engine.state()
        choice = holdings.choice
        stated = write_snapshot(
            target,
            model=model,
            embeddings=holdings.embeddings,
            records=holdings.catalogue.to_json(holdings.alive),
            engine={"name": choice.name, "recall": choice.recall, "address": choice.address, "state": state},
            engine_arrays=arrays,
        )
        if choice.address is not None:
            self.path = target
        if at_home and self.journal is not None:
            self.journal.close()  # stays, and refuses every change, where the new one can't be had
            self.journal = Journal(target / JOURNAL, stated)


def loaded(
    path: str | os.PathLike[str], *, model: Model | None, as_saved: bool = False
) -> tuple[Model, Holdings, Home]:
    """Read a folder with its journal; see :meth:`Index.load`."""
    entries: list[Entry] = []
    for attempt in range(3):
        snapshot = read_snapshot(path, model=model)
        if as_saved:
            break
        try:
            entries = read_journal(Path(path) / JOURNAL, snapshot.manifest_sha256)
        except ArtifactError:
            # A writer may have folded its journal in between the two.
            if attempt < 2 and read_snapshot(path, model=model).manifest_sha256 != snapshot.manifest_sha256:
                continue
            raise
        break
    holdings = _restored(path, snapshot, entries)
    # Two folders can't share one store of a server: the index belongs where it lies.
    home = Home(None if holdings.choice.address is None else Path(path))
    return snapshot.model, holdings, home


def opened(path: str | os.PathLike[str], *, model: Model | None) -> tuple[Model, Holdings, Home]:
    """Read a folder and hold its journal; see :meth:`Index.open`."""
    snapshot = read_snapshot(path, model=model)
    journal = Journal(Path(path) / JOURNAL, snapshot.manifest_sha256)
    try:
        holdings = _restored(path, snapshot, journal.entries)
        holdings.engine.reconcile()
    except BaseException:
        journal.close()
        raise
    journal.entries.clear()
    return snapshot.model, holdings, Home(Path(path), journal)


def _restored(path: str | os.PathLike[str], snapshot: Snapshot, entries: Sequence[Entry]) -> Holdings:
    described, place = snapshot.engine, MANIFEST
    try:
        choice = EngineChoice(described["name"], described["recall"], described["address"])
        held = Holdings(snapshot.model.distance, choice)
        held.catalogue.check_kinds(snapshot.metadata)
        held.catalogue.append(snapshot.ids, snapshot.labels, snapshot.metadata)
        vectors, engine = held.start(snapshot.embeddings.shape[1])
        vectors.append(held.checked(snapshot.embeddings))
        engine.restore(snapshot.engine_arrays, described["state"])
        place = JOURNAL
        for entry in entries:
            applied(entry, held)
    except (InputError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__} {error}"
        raise ArtifactError(f"{os.path.join(os.fspath(path), place)}: can't be used ({reason})") from error
    return held
