"""Search: recall against time beside bare faiss at the same parameters, rates of building and adding, and
an index served to several clients.

    python benchmarks/search.py [--n 100000] [--d 128] [--queries 1000] [--quick] [--engines hnsw ...]
    python benchmarks/search.py --only served [--clients 8] [--seconds 60]

The overhead is what an answer costs beyond the bare library's own, whose structure is the very same: the
distances taken again, ids, labels and probabilities left out on both sides. Records come in 1,000 clouds.
Engines are timed by the processor's seconds on one thread, best of several in turn, which other work on the
machine disturbs least; what is served is timed by the clock, with the clients on the same cores, and the
processor's time of the server and of the clients is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import faiss
import numpy as np
import torch
from harness import ROOT, best_of, environment, table, told

from likewise.distances import Euclidean
from likewise.encoders import MLP, Standardize
from likewise.model import Calibration, Model
from likewise.search import Index
from likewise.search.engine import Vectors, searched_exactly
from likewise.search.engines import engine_named

K = 10
_ENGINES = ("flat", "hnsw", "ivfpq", "binary")
_PARTS = ("engines", "batches", "served")


def clouds(n: int, d: int, *, seed: int) -> np.ndarray:
    """Records around 1,000 centres."""
    centres = np.random.default_rng(99).normal(size=(1000, d))
    generator = np.random.default_rng(seed)
    return (centres[generator.integers(1000, size=n)] + 0.5 * generator.normal(size=(n, d))).astype(
        np.float32
    )


def bare_search(engine: Any, name: str, k: int) -> Callable[[np.ndarray], np.ndarray]:
    """The same search by faiss alone, on the engine's own structure at its parameters."""
    index, effort = getattr(engine, "_index", None), getattr(engine, "_effort", None)
    if name == "hnsw":
        settings = faiss.SearchParametersHNSW(efSearch=max(effort.width, k))
        return lambda queries: index.search(queries, k, params=settings)[1]
    if name == "ivfpq":
        settings = faiss.SearchParametersIVF(nprobe=effort.width)
        flat = faiss.IndexFlatL2(engine.vectors.dimension)
        flat.add(np.ascontiguousarray(engine.vectors.embeddings[engine._order.view]))
        refined = faiss.IndexRefine(index, flat)
        refined.k_factor = effort.candidates
        both = faiss.IndexRefineSearchParameters(
            k_factor=float(effort.candidates), base_index_params=settings
        )
        return lambda queries: refined.search(queries, k, params=both)[1]
    if name == "binary":
        flat = faiss.IndexFlatL2(engine.vectors.dimension)
        flat.add(np.ascontiguousarray(engine.vectors.embeddings[engine._order.view]))

        def search(queries: np.ndarray) -> np.ndarray:
            found = index.search(engine._codes(queries, queries=True), k * effort.candidates)[1]
            distances = np.empty(found.shape, dtype=np.float32)
            flat.compute_distance_subset(
                len(queries),
                faiss.swig_ptr(queries),
                found.shape[1],
                faiss.swig_ptr(distances),
                faiss.swig_ptr(np.ascontiguousarray(found)),
            )
            order = np.argpartition(distances, k - 1, axis=1)[:, :k]
            return np.take_along_axis(found, order, 1)

        return search
    flat = faiss.IndexFlatL2(engine.vectors.dimension)
    flat.add(engine.vectors.embeddings)
    return lambda queries: flat.search(queries, k)[1]


def engines(
    names: Sequence[str], n: int, d: int, queries: int, recalls: tuple[float, ...], repeats: int
) -> Iterator[dict[str, Any]]:
    """Each of these engines at each wanted recall."""
    X, Q = clouds(n, d, seed=0), clouds(queries, d, seed=1)
    vectors = Vectors(d)
    flat = engine_named("flat", Euclidean(), vectors)
    flat.add(vectors.append(X))
    truth = searched_exactly(Euclidean(), vectors, Q, K)
    for name in names:
        for recall in recalls if name != "flat" else (1.0,):
            held = Vectors(d)
            engine = engine_named(name, Euclidean(), held, recall=recall)
            begin = time.process_time()
            engine.add(held.append(X))
            build = time.process_time() - begin
            ours, bare = (lambda e=engine: e.search(Q, K)), bare_search(engine, name, K)
            works = {"ours": ours, "bare": lambda b=bare: b(Q)}
            best = best_of(works, repeats=repeats, seconds=40, clock=time.process_time)
            found = engine.search(Q, K)
            more = clouds(max(200, n // 100), d, seed=2)
            begin = time.process_time()
            engine.add(held.append(more))
            add = time.process_time() - begin
            report = engine.report()
            yield {
                "engine": name,
                "records": n,
                "wanted": recall,
                "recall@10": float((found.distances <= truth.distances[:, -1:] * (1 + 1e-6)).mean()),
                "parameters": ", ".join(f"{key} {value}" for key, value in report.parameters.items()),
                "queries/s": queries / best["ours"],
                "faiss queries/s": queries / best["bare"],
                "overhead %": 100 * (best["ours"] / best["bare"] - 1),
                "build s": build,
                "records/s built": n / build,
                "records/s added": len(more) / add,
            }


def batches(n: int, d: int) -> Iterator[dict[str, Any]]:
    """Exact search at every size of batch, beside faiss: no size falls off a cliff."""
    vectors = Vectors(d)
    flat = engine_named("flat", Euclidean(), vectors)
    flat.add(vectors.append(clouds(n, d, seed=0)))
    bare = bare_search(flat, "flat", K)
    for size in (1, 8, 32, 64, 200, 500, 2000):
        Q = clouds(size, d, seed=1)
        works = {"ours": lambda q=Q: flat.search(q, K), "bare": lambda q=Q: bare(q)}
        best = best_of(works, repeats=5, seconds=15, clock=time.process_time)
        yield {"batch": size, "queries/s": size / best["ours"], "faiss queries/s": size / best["bare"]}


def served(n: int, d: int, clients: int, seconds: float) -> dict[str, Any]:
    """Clients in a process of their own, each asking again as soon as it is answered."""
    model = Model(
        MLP(d, dimension=d, hidden=()), Euclidean(), Standardize((d,)), Calibration(1.0, 1.0, 1.0, "classes")
    )
    with tempfile.TemporaryDirectory() as place:
        index = Index(model)
        index.add_embeddings(
            clouds(n, d, seed=0), ids=[str(i) for i in range(n)], labels=[i % 100 for i in range(n)]
        )
        index.save(Path(place, "index"))
        del index
        server = subprocess.Popen(
            [sys.executable, "-m", "likewise", "serve", str(Path(place, "index")), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert server.stdout is not None
            address = next(word for word in server.stdout.readline().split() if word.startswith("http"))
            host = address.removeprefix("http://")
            _clients(host, clients, 2.0, d)
            busy = os.getloadavg()[0]  # of everything else on the machine, before the clients begin
            before, used = _resident(server.pid), _processor_seconds(server.pid)
            answer = _clients(host, clients, seconds, d)
            after, used = _resident(server.pid), _processor_seconds(server.pid) - used
        finally:
            server.terminate()
            server.wait(30)
            if server.stdout is not None:
                server.stdout.close()
    times = np.sort(answer["times"]) * 1000
    return {
        "clients": clients,
        "records": n,
        "dimension": d,
        "seconds": seconds,
        "cores": len(os.sched_getaffinity(0)),
        "load before": busy,
        "requests": len(times),
        "requests/s": len(times) / answer["spent"],
        "p50 ms": float(times[len(times) // 2]),
        "p99 ms": float(times[int(len(times) * 0.99)]),
        "server's processor ms a request": 1000 * used / len(times),
        "clients' processor ms a request": 1000 * answer["processor"] / len(times),
        "errors": answer["wrong"],
        "memory MB": after,
        "memory grown MB": after - before,
    }


def _clients(host: str, count: int, seconds: float, d: int) -> dict[str, Any]:
    program = str(Path(__file__).with_name("search_clients.py"))
    told = [host, str(count), str(seconds), str(d)]
    finished = subprocess.run(
        [sys.executable, program, *told], capture_output=True, text=True, timeout=seconds + 120, check=True
    )
    answer: dict[str, Any] = json.loads(finished.stdout)
    return answer


def _resident(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) / 1024


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--d", type=int, default=128)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--engines", nargs="+", choices=_ENGINES, default=_ENGINES)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--quick", action="store_true", help="small, and nothing is written")
    parser.add_argument("--only", choices=_PARTS, nargs="+", default=_PARTS)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/search.md")
    request = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    if request.quick:
        request.n, request.d, request.queries, request.seconds = 10_000, 64, 300, 5
    for part in request.only:
        for row in _rows_of(part, request):
            print(json.dumps(row), flush=True)
            if not request.quick:
                keep(request.out, {"part": part, **row, "environment": environment()})


def _rows_of(part: str, request: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if part == "engines":
        recalls = (0.95,) if request.quick else (0.8, 0.9, 0.95, 0.99)
        repeats = 3 if request.quick else 9
        yield from engines(request.engines, request.n, request.d, request.queries, recalls, repeats)
    elif part == "batches":
        yield from batches(request.n, request.d)
    else:
        yield served(request.n, request.d, request.clients, request.seconds)


def keep(page: Path, row: dict[str, Any]) -> None:
    """Put a row in place of the one of the same setting, and write the page anew from all of them."""
    lines = page.with_suffix(".jsonl")
    held = [json.loads(line) for line in lines.read_text("utf-8").splitlines()] if lines.exists() else []

    def setting(one: dict[str, Any]) -> list[Any]:
        return [one.get(key) for key in ("part", "engine", "records", "wanted", "batch", "seconds")]

    held = [one for one in held if setting(one) != setting(row)] + [row]
    held.sort(key=lambda one: (_PARTS.index(one["part"]), _ENGINES.index(one.get("engine", "flat"))))
    tables = []
    for part in _PARTS:
        rows = [one for one in held if one["part"] == part]
        if rows:
            columns = [key for key in rows[0] if key not in ("part", "environment")]
            tables.append(f"## {part.capitalize()}\n\n{table(rows, columns)}")
    lead = (__doc__ or "").split("\n\n")[2].strip()
    written = "\n\n".join(dict.fromkeys(told(one["environment"]) for one in held))
    lines.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(["# Search", lead, *tables, written]) + "\n", encoding="utf-8")
    lines.write_text("".join(json.dumps(one) + "\n" for one in held), encoding="utf-8")


if __name__ == "__main__":
    main()
