"""Open Metric Learning's retrieval figures, for an environment of its own: it pins other packages.

    PYTHON benchmarks/oml_worker.py N DIMENSION

Imports nothing of ours. Prints one line of JSON: seconds of the processor of OML's search and figures and of
the bare product in the same process, peak megabytes beyond what was held before, and the versions.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib.metadata import version

import torch
from oml.functional.metrics import calc_retrieval_metrics
from oml.retrieval.retrieval_results import batched_knn

BLOCK = 256


def timed(work: object) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    n, dimension = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(n, dimension, generator=generator), dim=1)
    labels = torch.arange(n) // 5

    def product() -> None:
        out = torch.empty(BLOCK, n)
        for start in range(0, n - BLOCK + 1, BLOCK):
            torch.mm(rows[start : start + BLOCK], rows.T, out=out)

    def figures(n: int = n) -> None:
        every = torch.arange(n)
        found = batched_knn(rows[:n], every, every, top_n=8, labels_gt=labels[:n])
        calc_retrieval_metrics(
            found[1],
            found[2],
            cmc_top_k=(1, 2, 4, 8),
            precision_top_k=(1, 2, 4, 8),
            map_top_k=(5,),
            verbose=False,
        )

    figures(600)  # what the libraries themselves take
    seconds = {"product": min(timed(product) for _ in range(2))}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds["figures"] = timed(figures)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    versions = {name: version(name) for name in ("open-metric-learning", "torch")}
    print(json.dumps({**seconds, "megabytes": peak, "versions": versions}))


if __name__ == "__main__":
    main()
