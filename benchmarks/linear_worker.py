"""One fit of one learner in a process of its own, for any of the contenders' interpreters.

    python benchmarks/linear_worker.py WHO LEARNER INPUT.npz OUTPUT.npz SECONDS

WHO is likewise, likewise-identity (which begins as the others do), metric-learn or scikit-learn. The input
holds X, y and, for learners from tuples, the lists of positions that all contenders get; the output holds L
and the figures: seconds of the processor, peak memory, the objective's history and when each step ended.
"""

from __future__ import annotations

import resource
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np

TUPLES = {
    "MMC": ("left", "right", "same"),
    "ITML": ("left", "right", "same"),
    "SDML": ("left", "right", "same"),
    "SCML": ("anchor", "positive", "negative"),
    "LSML": ("first", "second", "third", "fourth"),
}


def likewise(name: str, given: dict[str, np.ndarray], **options: str):
    """The fitted learner's L, its history, and the time of each step."""
    import likewise.linear as linear
    from likewise.linear import base
    from likewise.relations import Pairs, Quadruplets, Triplets

    kinds = {
        "left": ("pairs", Pairs),
        "anchor": ("triplets", Triplets),
        "first": ("quadruplets", Quadruplets),
    }
    supervision = {}
    if name in TUPLES:
        keyword, kind = kinds[TUPLES[name][0]]
        supervision[keyword] = kind(*(given[part] for part in TUPLES[name]))
    ended: list[float] = []
    plain = base.Progress.add

    def timed(self, value: float) -> None:
        plain(self, value)
        ended.append(time.thread_time())

    base.Progress.add = timed
    learner = getattr(linear, name)(**options)
    y = given["y"].astype(float) if name == "MLKR" else given["y"]

    def fit():
        learner.fit(given["X"], **supervision) if supervision else learner.fit(given["X"], y)
        return learner.components_, np.asarray(learner.objective_), ended

    return fit


def metric_learn(name: str, given: dict[str, np.ndarray]):
    """The same for metric-learn; its learners keep no history."""
    import metric_learn as theirs

    X, y = given["X"], given["y"]
    learner = getattr(theirs, name)()
    if name in TUPLES:
        lists = [given[part] for part in TUPLES[name]]
        if name in ("SCML", "LSML"):
            tuples = X[np.column_stack(lists)]

            def run() -> None:
                learner.fit(tuples)

        else:
            pairs, signs = X[np.column_stack(lists[:2])], np.where(lists[2], 1, -1)

            def run() -> None:
                learner.fit(pairs, signs)

    elif name == "RCA":

        def run() -> None:
            learner.fit(X, y)  # each class is a chunk

    else:

        def run() -> None:
            learner.fit(X, y.astype(float) if name == "MLKR" else y)

    def fit():
        run()
        return learner.components_, np.empty(0), []

    return fit


def scikit_learn(name: str, given: dict[str, np.ndarray]):
    """scikit-learn has NCA."""
    from sklearn.neighbors import NeighborhoodComponentsAnalysis

    if name != "NCA":
        raise SystemExit(f"scikit-learn has no {name}")
    learner = NeighborhoodComponentsAnalysis(init="identity", random_state=0)

    def fit():
        learner.fit(given["X"], given["y"])
        return learner.components_, np.empty(0), []

    return fit


def kilobytes(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))


def main() -> None:
    who, name, source, target, limit = sys.argv[1:]
    warnings.simplefilter("ignore")
    # What no machine of this kind has: a contender that asks for it fails here, not the machine.
    resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
    with np.load(source) as held:
        given = {key: held[key] for key in held.files}
    contenders = {
        "likewise": likewise,
        "likewise-identity": partial(likewise, init="identity"),
        "metric-learn": metric_learn,
        "scikit-learn": scikit_learn,
    }
    fit = contenders[who](name, given)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of the imports
    # There is one thread, and a limit on the process's time makes that clock as coarse as the system's ticks.
    before, begin = kilobytes("VmRSS"), time.thread_time()
    allowed = int(time.process_time() + float(limit)) + 1  # then the system ends the process
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, allowed))
    components, history, ended = fit()
    seconds = time.thread_time() - begin
    if np.iscomplexobj(components) or not np.isfinite(components).all():
        raise SystemExit("its components are " + ("complex" if np.iscomplexobj(components) else "NaN"))
    np.savez(
        Path(target),
        components=components,
        seconds=seconds,
        megabytes=(kilobytes("VmHWM") - before) / 1024,
        history=history,
        ended=np.array(ended) - begin,
    )


if __name__ == "__main__":
    main()
