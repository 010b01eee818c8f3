"""Methods x seeds x folds: run what is missing, and sum up."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from likewise.bench.contender import by_class, trained, untrained
from likewise.bench.ledger import Ledger
from likewise.bench.protocol import Fold, Protocol, folds_of
from likewise.bench.summary import CONTROLS, Summary, summary_of
from likewise.bench.tuning import check_optuna, tuned
from likewise.data import Records
from likewise.errors import InputError
from likewise.evaluation import model_controls
from likewise.training import Method, NotFiniteError

__all__ = ["bench"]


def bench(
    records: Records,
    methods: Mapping[str, Method],
    *,
    out: str | os.PathLike[str],
    protocol: Protocol | None = None,
    folds: Sequence[Fold] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Summary:
    """Hold methods against each other under one protocol.

    Every method starts from the same weights and learns from the same batches for the same steps; the classes
    of a fold that it is judged on are seen by nothing before. Raw and whitened items and the untrained
    net are rows too. Each cell is a line of ``out/cells.jsonl`` as soon as it is known, and is never run
    again: a bench that was broken off, or that is asked for more methods or seeds, runs what is missing.

    Parameters
    ----------
    records : Records
        With labels, two items of every class.
    methods : mapping of name to Method
        See :func:`methods_from_names`.
    out : path
        The bench's folder.
    protocol : Protocol, optional
    folds : sequence of Fold, optional
        In place of ``folds_of(records, protocol)``, where a data set has parts of its own.
    tell : callable, optional
        Called with a line of text for each cell that was run.

    Returns
    -------
    Summary

    Raises
    ------
    DataError
        Too few classes, or no labels.
    InputError
        A method with the name of a control, or a folder begun with other data or another protocol.
    ArtifactError
        A folder that isn't a bench's.
    """
    chosen = Protocol() if protocol is None else protocol
    for name in methods:
        if name in CONTROLS:
            raise InputError(f"methods: {name} is a control, which is always a row; leave it out")
    if chosen.trials > 1:
        check_optuna()
    parts = tuple(folds_of(records, chosen) if folds is None else folds)
    if len(parts) != chosen.folds:
        raise InputError(f"folds must be {chosen.folds}, as in the protocol; found {len(parts)}")
    untrained(parts[0].learn, chosen, seed=0)  # an encoder that can't be made is refused before anything
    facts = {
        **chosen.to_dict(),
        "data": records.name,
        "fingerprint": records.fingerprint,
        "held_out": [fold.test.classes.tolist() for fold in parts],
    }
    ledger = Ledger(out, facts)
    say = tell or _nobody
    for fold in parts:
        _run_controls(fold, chosen, ledger)
        for name, method in methods.items():
            _run_method(name, method, fold, chosen, ledger, say)
    return summary_of(ledger.cells(), rows=[*methods, *CONTROLS], protocol=chosen, name=records.name)


def _run_controls(fold: Fold, protocol: Protocol, ledger: Ledger) -> None:
    for seed in range(protocol.seeds):
        if all(ledger.find(row=row, fold=fold.number, seed=seed) for row in CONTROLS):
            continue
        controls = model_controls(untrained(fold.learn, protocol, seed=seed), fold.test, seed=seed)
        for row, name in CONTROLS.items():
            if ledger.find(row=row, fold=fold.number, seed=seed):
                continue
            line: dict[str, Any] = {"kind": "cell", "row": row, "fold": fold.number, "seed": seed}
            line |= {"steps": 0, "items": 0, "trials": 0}
            if name in controls.made:
                made = controls.made[name]
                line |= by_class(made.embeddings, fold.test.labels, made.distance)
            else:
                line["failed"] = next((note for note in controls.notes if name in note), "can't be made")
            ledger.add(line)


def _run_method(
    name: str,
    method: Method,
    fold: Fold,
    protocol: Protocol,
    ledger: Ledger,
    say: Callable[[str], None],
) -> None:
    missing = [
        seed for seed in range(protocol.seeds) if not ledger.find(row=name, fold=fold.number, seed=seed)
    ]
    if not missing:
        return
    choice = tuned(name, method, fold, protocol, ledger) if protocol.trials else {}
    for seed in missing:
        line: dict[str, Any] = {"kind": "cell", "row": name, "fold": fold.number, "seed": seed}
        line |= {"steps": protocol.steps, "trials": protocol.trials, "choice": choice}
        try:
            made = trained(fold.learn, method, choice, protocol, seed=seed)
        except NotFiniteError as error:
            line |= {"items": 0, "failed": str(error)}
            say(f"{name}: fold {fold.number + 1}, seed {seed}: {error}")
        else:
            found = by_class(made.model.embed(fold.test), fold.test.labels, made.model.distance)
            line |= {"items": made.items, "seconds": round(made.seconds, 3), **found}
            say(
                f"{name}: fold {fold.number + 1} of {protocol.folds}, seed {seed}: "
                f"map@r {found['map@r']:.3f} in {made.seconds:.1f} s"
            )
        ledger.add(line)


def _nobody(_: str) -> None:
    """Tell nobody."""
