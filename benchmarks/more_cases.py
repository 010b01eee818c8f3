"""The losses that came later, and the regularizers, beside dense ones of the same formula."""

from __future__ import annotations

from collections.abc import Callable

import dense
import dense_more as more
import torch
from batch_cases import batch_case, pairs_of_pairs, triplets
from class_cases import class_case
from contenders import Batch, Builder, Case, Contender, floor, squares
from pytorch_metric_learning import losses as theirs
from torch import Tensor, nn
from torch.nn import functional

from likewise import losses
from likewise.distances import Cosine, Euclidean
from likewise.losses.proxy import UnitSquared
from likewise.relations import Matches

__all__ = ["MORE_CASES"]


def _two_views(name: str, module: losses.Loss, plain: Callable[[Tensor, Tensor], Tensor]) -> Case:
    """A loss of two views of every item."""

    def build(value: Callable[[Tensor, Tensor], Tensor]) -> Builder:
        def made(batch: Batch) -> Contender:
            x = batch.x.clone().requires_grad_()
            z = functional.normalize(batch.more(*batch.x.shape)).requires_grad_()
            return Contender(lambda: value(x, z), [x, z])

        return made

    ours = build(lambda x, z: module(x, Matches(), columns=z))
    return Case(name, False, ours, build(plain), lambda size: 40.0 * size.n * size.d, per_class=False)


def _vectors(
    name: str, module: nn.Module, plain: Callable[[Tensor], Tensor], *, squared: bool = False, times: int = 1
) -> Case:
    """A penalty on vectors, of which there are n, or several times as many."""

    def build(value: Callable[[Tensor], Tensor]) -> Builder:
        def made(batch: Batch) -> Contender:
            n, d = batch.x.shape
            x = batch.more(n * times, d).requires_grad_()
            return Contender(lambda: value(x), [x])

        return made

    cost = squares(4) if squared else (lambda size: 20.0 * times * size.n * size.d)
    return Case(name, False, build(module), build(plain), cost, per_class=False)


def _margin() -> Case:
    def ours(batch: Batch) -> Contender:
        module, x = losses.Margin(), batch.x.clone().requires_grad_()
        return Contender(lambda: module(x, batch.y), [x, module.boundary])

    def plain(batch: Batch) -> Contender:
        x, boundary = batch.x.clone().requires_grad_(), torch.tensor([1.2], requires_grad=True)
        return Contender(lambda: more.margin(x, batch.y, batch.k, boundary, margin=0.2), [x, boundary])

    return Case("Margin", False, ours, plain, squares(6), floor=lambda batch: floor(Euclidean(), batch.x))


def _instance() -> Case:
    """Two modalities classified by the same vectors, one an item."""

    def build(our: bool) -> Builder:
        def made(batch: Batch) -> Contender:
            n, d = batch.x.shape
            x = batch.x.clone().requires_grad_()
            z = functional.normalize(batch.more(2, n, d)[1]).requires_grad_()
            module, numbers = losses.Instance(n, d), torch.arange(n)
            with torch.no_grad():
                module.weight.copy_(batch.more(n, d).div_(d**0.5))

            def plain() -> Tensor:
                sides = [64 * dense.cosines(side, module.weight) for side in (x, z)]
                return sum((functional.cross_entropy(side, numbers) for side in sides), torch.zeros(()))

            value = (lambda: module(x, numbers, columns=z)) if our else plain
            return Contender(value, [x, z, module.weight])

        return made

    return Case("Instance", False, build(True), build(False), squares(12), per_class=False)


def _matryoshka() -> Case:
    """SupCon over a quarter, a half and all of the numbers."""

    def parts(d: int) -> list[int]:
        return [d // 4, d // 2, d]

    def ours(batch: Batch) -> Contender:
        module = losses.Matryoshka(losses.SupCon(), dimensions=parts(batch.x.shape[1]))
        x = batch.x.clone().requires_grad_()
        return Contender(lambda: module(x, batch.y), [x])

    def plain(batch: Batch) -> Contender:
        x = batch.x.clone().requires_grad_()

        def value() -> Tensor:
            sizes = parts(x.shape[1])
            found = [dense.sup_con(x[:, :size], batch.y, batch.k, temperature=0.1) for size in sizes]
            return torch.stack(found).sum()

        return Contender(value, [x])

    return Case("Matryoshka", False, ours, plain, squares(18))


MORE_CASES = (
    batch_case(
        "Angular",
        losses.Angular,
        lambda x, y, k: more.angular(x, y, k, degrees=40.0),
        bare=Cosine(),
        dense_bytes=triplets(5),
    ),
    batch_case(
        "DynamicSoftMargin", lambda: losses.DynamicSoftMargin().eval(), more.dynamic, bare=Euclidean()
    ),
    batch_case(
        "Histogram",
        losses.Histogram,
        lambda x, y, k: more.histogram(x, y, k, bins=100),
        bare=Cosine(),
        dense_bytes=squares(14),
    ),
    batch_case(
        "IntraPair",
        losses.IntraPair,
        lambda x, y, k: more.intra_pair(x, y, k, slack=0.01),
        bare=Cosine(),
        dense_bytes=squares(10),
    ),
    _margin(),
    batch_case(
        "RankedList",
        losses.RankedList,
        lambda x, y, k: more.ranked_list(x, y, k, boundary=1.2, margin=0.4, rate=10.0),
        bare=Euclidean(),
        dense_bytes=squares(9),
    ),
    batch_case(
        "SignalToNoise",
        lambda: losses.SignalToNoise(margin=2.0),
        lambda x, y, k: more.signal_to_noise(x, y, k, near_margin=0.01, margin=2.0),
        dense_bytes=lambda size: 16.0 * size.n**2 * size.d,
    ),
    batch_case(
        "ThresholdConsistentMargin",
        lambda: losses.ThresholdConsistentMargin(far_cosine=0.0),
        lambda x, y, k: more.threshold_consistent(x, y, k, near_cosine=0.9, far_cosine=0.0),
        fused=True,
        bare=Cosine(),
    ),
    batch_case(
        "Tuplet",
        losses.Tuplet,
        lambda x, y, k: more.tuplet(x, y, k, slack=5.73, scale=64.0),
        theirs.TupletMarginLoss,
        fused=True,
        bare=Cosine(),
        their_bytes=pairs_of_pairs,
    ),
    batch_case(
        "SurrogatePrecision",
        losses.SurrogatePrecision,
        lambda x, y, k: more.surrogate_precision(x, y, k, ranks=(1, 2, 4, 8, 16), temperature=0.01),
        bare=Cosine(),
        dense_bytes=triplets(5),
    ),
    class_case(
        "MultiProxy",
        losses.MultiProxy,
        lambda x, y, w: more.multi_proxy(x, y, w, centres=3, scale=9.0),
        bare=UnitSquared(),
        centres=3,
    ),
    class_case("P2SGrad", losses.P2SGrad, more.p2s_grad),
    class_case(
        "Manifold",
        losses.Manifold,
        lambda x, y, w: more.manifold(x, y, w, alpha=0.8, margin=5e-4),
        fused=False,
        walked=False,
    ),
    _instance(),
    _matryoshka(),
    _two_views("VICReg", losses.VICReg(), more.vicreg),
    _two_views("BarlowTwins", losses.BarlowTwins(), lambda x, z: more.barlow_twins(x, z, redundancy=0.0051)),
    _vectors("EmbeddingNorm", losses.EmbeddingNorm(), lambda x: x.norm(dim=1).mean()),
    _vectors("ZeroMean", losses.ZeroMean(), lambda x: x.sum(1).abs().mean()),
    _vectors("CenterInvariant", losses.CenterInvariant(), more.center_invariant),
    _vectors("RegularFace", losses.RegularFace(), more.regular_face, squared=True),
    _vectors("SparseCenters", losses.SparseCenters(centres=2), more.sparse_centers, times=2),
)
