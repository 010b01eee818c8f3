"""The kernels in Triton on a GPU, in bfloat16, beside dense PyTorch, eager and compiled.

    python benchmarks/gpu.py [--sizes 4096 16384 65536 262144] [--dimension 128] [--losses softmax ...]

Rows are their own columns, at unit length, in classes of four. A time is that of sums and gradients, the best
of nine by the GPU's own clock. What the kernels and dense PyTorch do counts as three products alike, 6 N^2 d
operations, and is given as a part of the rate at which this GPU multiplies two bfloat16 matrices of 8,192 x
8,192. Before a size is timed, where the dense table fits, the kernels' gradient is held against the dense
one. Nothing of this has been run on a GPU yet; ``make bench``, which needs none, leaves it out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from likewise.distances import Form

MARGIN, RATE = 1.2, 10.0
LOSSES = ("softmax", "gaps", "limits")
_DENSE = 32_768
"""Most rows of a dense table: 4 GB in float32, of which autograd holds several."""

Work = Callable[[], Tensor]


def run(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The kernels in Triton on a GPU, beside dense PyTorch.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 16_384, 65_536, 262_144])
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    request = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("benchmarks/gpu.py: expected a GPU that PyTorch can use; found none", file=sys.stderr)
        return 2
    rate = matrix_rate()
    print(f"{torch.cuda.get_device_name()}: {rate / 1e12:.0f} Tflop/s in bfloat16 matrix products")
    print(f"{'loss':<9}{'N':>8}  {'version':<9}{'ms':>10}{'of the rate':>13}{'MB more':>10}")
    for name in request.losses:
        for size in request.sizes:
            x, codes = rows(size, request.dimension, torch.device("cuda"))
            versions = {"Triton": by_kernels(name, x, codes)}
            if size <= _DENSE:
                versions["dense"] = by_table(name, x, codes)
                versions["compiled"] = by_table(name, x, codes, prepare=torch.compile)
                error = deviation(versions["Triton"](), versions["dense"]())
                print(f"{name:<9}{size:>8}  gradients differ by {error:.1e} of the largest")
            for version, work in versions.items():
                seconds, more = timed(work)
                part = 6.0 * size * size * request.dimension / seconds / rate
                print(f"{name:<9}{size:>8}  {version:<9}{seconds * 1e3:>10.3f}{part:>12.0%} {more:>10.0f}")
    return 0


def rows(size: int, dimension: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Embeddings (n, d) in bfloat16 and the class of each (n,)."""
    generator = torch.Generator(device).manual_seed(0)
    x = torch.randn(size, dimension, device=device, generator=generator).to(torch.bfloat16)
    return x, torch.arange(size, device=device) // 4


def by_kernels(name: str, x: Tensor, codes: Tensor) -> Work:
    """The gradient of the mean over rows by features at unit length (n, d), as of distances ``1 - u.v``."""
    from likewise.table.far_terms import FarTerms, Gaps, Limits, LogSum
    from likewise.table.triton_table import Features, TritonTable

    def work() -> Tensor:
        side = Features.plain(x, codes, unit=True)
        table = TritonTable(Form.HALF_SQUARED, side, None)
        terms: FarTerms
        if name == "softmax":
            highest, total = table.sums(LogSum(RATE))
            terms = LogSum(RATE, -(highest + total.log()))
        elif name == "gaps":
            terms = Gaps(MARGIN, squared=True)
            table.sums(terms)
        else:
            terms = Limits(limits(side.scale), torch.full_like(side.scale, MARGIN), 1.0)
            table.sums(terms)
        (gradient, _), _ = table.gradients(terms, torch.full_like(side.scale, 1 / len(x)), columns=False)
        return gradient  # sums of slopes add what lies along the rows, which unit length takes off

    return work


def limits(like: Tensor) -> Tensor:
    """Three limits a row (n, 3), as three positives give."""
    return torch.tensor([MARGIN - 0.1, MARGIN, MARGIN + 0.1], device=like.device).expand(len(like), 3)


def by_table(
    name: str, x: Tensor, codes: Tensor, prepare: Callable[[Work], Work] = lambda work: work
) -> Work:
    """The same by autograd on the whole table."""
    unit = torch.nn.functional.normalize(x.float(), dim=1).to(torch.bfloat16).requires_grad_()

    def value() -> Tensor:
        cells = 1.0 - (unit @ unit.T).float()
        cells = cells.masked_fill(codes[:, None] == codes, torch.inf)
        if name == "softmax":
            return (cells * -RATE).logsumexp(1).mean()
        if name == "gaps":
            return (MARGIN - cells).clamp(min=0).square().sum(1).mean() / 2
        total = sum((limit - cells).clamp(min=0).sum(1) for limit in (MARGIN - 0.1, MARGIN, MARGIN + 0.1))
        assert isinstance(total, Tensor)
        return total.mean()

    prepared = prepare(value)

    def work() -> Tensor:
        (gradient,) = torch.autograd.grad(prepared(), unit)
        return gradient

    return work


def deviation(found: Tensor, expected: Tensor) -> float:
    """The largest difference over the largest number expected."""
    return float((found.float() - expected.float()).abs().max() / expected.float().abs().max())


def timed(work: Work, repeats: int = 9) -> tuple[float, float]:
    """The best time in seconds by the GPU's clock, and the most memory taken beyond what was there in MB."""
    work()  # compiles
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before, best = torch.cuda.memory_allocated(), float("inf")
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        best = min(best, start.elapsed_time(end) / 1e3)
    return best, (torch.cuda.max_memory_allocated() - before) / 1e6


def matrix_rate() -> float:
    """Operations a second of a large product of bfloat16 matrices."""
    side = 8192
    a, b = torch.randn(2, side, side, device="cuda").to(torch.bfloat16)
    return 2.0 * side**3 / timed(lambda: a @ b)[0]


if __name__ == "__main__":
    sys.exit(run())
