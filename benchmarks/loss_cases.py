"""What the benchmark of losses compares: ours, pytorch-metric-learning's, and a dense one, in equal words.

Each case builds contenders for one batch: something that gives a value, and the tensors whose gradients
count. Options are such that all contenders compute the same formula; :func:`differences` says how far they
are apart, and nothing is timed that isn't equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dense
import torch
from pytorch_metric_learning import distances as their_distances
from pytorch_metric_learning import losses as theirs
from pytorch_metric_learning import miners as their_miners
from pytorch_metric_learning import reducers as their_reducers
from torch import Tensor

from likewise import losses, mining
from likewise.distances import Cosine, Distance, Dot, Euclidean, ProductDistance, SquaredEuclidean
from likewise.relations import Labels, Matches, Scores, Sides
from likewise.table import Near, Part, Rows, TableFunction, Tile
from likewise.table.product import ProductKernel
from likewise.table.walk import Reduction, walk

__all__ = ["CASES", "Batch", "Case", "Contender", "Cost", "differences", "floor", "make_batch"]

Cost = Callable[[int, int, int], float]
"""Bytes that a contender holds at once, from the batch, the dimension and the items a class."""


@dataclass(frozen=True)
class Batch:
    """Random unit embeddings x (n, d), and labels y (n,) in classes of k items, in no order."""

    x: Tensor
    y: Tensor
    k: int

    def more(self, *shape: int) -> Tensor:
        """Other random numbers, the same for the same batch."""
        return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def make_batch(n: int, d: int, k: int) -> Batch:
    """A batch of n items with d numbers each, k a class."""
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(n, d, generator=generator))
    return Batch(x, (torch.arange(n) // k)[torch.randperm(n, generator=generator)], k)


@dataclass(frozen=True)
class Contender:
    """A loss ready to be evaluated: its value, and the leaves whose gradients count."""

    value: Callable[[], Tensor]
    leaves: list[Tensor]

    def step(self) -> Tensor:
        """Forward and backward."""
        for leaf in self.leaves:
            leaf.grad = None
        value = self.value()
        value.backward()
        return value

    def gradients(self) -> list[Tensor]:
        """The gradients of the last step."""
        return [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in self.leaves]


Builder = Callable[[Batch], Contender]


@dataclass(frozen=True)
class Case:
    """A loss and what it is compared with.

    fused : whether it belongs to those that the targets hold to 1.3 floors (one pass over a tile).
    floor : the bare walk over the same table, or None for losses that aren't one walk of a product.
    per_class : whether the items a class change anything.
    """

    name: str
    fused: bool
    ours: Builder
    dense: Builder
    dense_bytes: Cost
    theirs: Builder | None = None
    their_bytes: Cost | None = None
    floor: Callable[[Batch], Callable[[], object]] | None = None
    per_class: bool = True


class _FloorKernel(ProductKernel):
    """A kernel that takes each product once, also where the engine looks at tiles before their slopes."""

    looking = False
    _blank: Tensor | None = None

    def tile(self, first: int, last: int) -> Tensor:
        if not self.looking:
            return super().tile(first, last)
        shape = (self._stop - self._start, last - first)
        if self._blank is None or self._blank.shape != shape:
            self._blank = torch.ones(shape)
        return self._blank

    def mend(self, tile: Tensor) -> None:
        if not self.looking:
            super().mend(tile)


class _NoLoss(TableFunction[Near]):
    """No loss: every slope is one constant."""

    def __init__(self, kernel: _FloorKernel) -> None:
        self._kernel = kernel
        self._slopes: Tensor | None = None

    def begin(self, near: Near) -> Near:
        self._kernel.looking = True
        return near

    def observe(self, tile: Tile, state: Near) -> None:
        """Nothing."""

    def finish(self, state: Near) -> Rows:
        self._kernel.looking = False
        return Rows(joint=Part(state.count, state.count, state.count))

    def slope(self, tile: Tile, state: Near) -> Tensor:
        if self._slopes is None or self._slopes.shape != tile.distances.shape:
            self._slopes = torch.empty_like(tile.distances)
        return self._slopes.fill_(1e-3)  # the engine overwrites them

    def near_slope(self, state: Near) -> Tensor:
        return torch.full_like(state.distances, 1e-3)


def floor(distance: Distance, rows: Tensor, columns: Tensor | None = None) -> Callable[[], object]:
    """The design's floor: the engine's own walk with its own tiles and constant slopes, no loss.

    It takes three products a tile, one for the distances and two for the gradients, at every size: a walk
    that looks at tiles before their slopes takes the first of them twice. Every item is a class of its own,
    so that no work for near cells is in it.
    """
    assert isinstance(distance, ProductDistance)
    n, m = rows.shape[0], rows.shape[0] if columns is None else columns.shape[0]
    numbers = Labels(torch.arange(n))
    column_numbers = None if columns is None else Labels(torch.arange(n, n + m))

    def work() -> object:
        kernel = _FloorKernel(distance.form, rows, columns, unit=distance.unit, want_gradient=True)
        resolved = numbers.resolve(column_numbers, Sides(n, m, columns is None, rows.device))
        loss, reduction = _NoLoss(kernel), Reduction("mean")
        return walk(loss, kernel, resolved, reduction, weights=None, want_gradient=True, like=rows)

    return work


def _squares(numbers: float) -> Cost:
    """So many arrays of float32 the size of the table."""
    return lambda n, d, k: 4.0 * numbers * n * n


def _triplets(numbers: float) -> Cost:
    """So many float32 a triplet."""
    return lambda n, d, k: 4.0 * numbers * n * n * k


def _their_triplets(n: int, d: int, k: int) -> float:
    return max(62.0 * n * (k - 1) * (n - k), float(n**3) if n**3 < 2**31 else 0.0) + 80.0 * n * n


def _pairs_of_pairs(n: int, d: int, k: int) -> float:
    return 20.0 * n * (k - 1) * n * (n - k)


_THEIR_PAIRS = _squares(22)

Plain = Callable[[Tensor, Tensor, int], Tensor]
Their = Callable[[Tensor, Tensor], Tensor]


def _batch_case(
    name: str,
    loss: Callable[[], losses.Loss],
    plain: Plain,
    other: Callable[[], Their] | None = None,
    *,
    fused: bool = False,
    bare: Distance | None = None,
    dense_bytes: Cost | None = None,
    their_bytes: Cost | None = None,
) -> Case:
    """A loss whose columns are its rows."""

    def ours(batch: Batch) -> Contender:
        module, x = loss(), batch.x.clone().requires_grad_()
        return Contender(lambda: module(x, batch.y), [x])

    def plainly(batch: Batch) -> Contender:
        x = batch.x.clone().requires_grad_()
        return Contender(lambda: plain(x, batch.y, batch.k), [x])

    def their(batch: Batch) -> Contender:
        assert other is not None
        function, x = other(), batch.x.clone().requires_grad_()
        return Contender(lambda: function(x, batch.y), [x])

    return Case(
        name,
        fused,
        ours,
        plainly,
        dense_bytes or _squares(12),
        None if other is None else their,
        None if other is None else their_bytes or _THEIR_PAIRS,
        None if bare is None else lambda batch: floor(bare, batch.x),
    )


def _class_case(
    name: str,
    loss: Callable[[int, int], Any],
    plain: Callable[[Tensor, Tensor, Tensor], Tensor],
    other: Callable[..., torch.nn.Module],
    *,
    centres: int = 1,
    fused: bool = True,
    proxies_are_rows: bool = False,
) -> Case:
    """A loss against as many learned vectors as there are rows, or several times as many."""

    def vectors(batch: Batch) -> Tensor:
        n, d = batch.x.shape
        return batch.more(n * centres, d) / d**0.5

    def ours(batch: Batch) -> Contender:
        module, x = loss(*batch.x.shape), batch.x.clone().requires_grad_()
        with torch.no_grad():
            module.weight.copy_(vectors(batch))
        return Contender(lambda: module(x, batch.y), [x, module.weight])

    def plainly(batch: Batch) -> Contender:
        x, weight = batch.x.clone().requires_grad_(), vectors(batch).requires_grad_()
        return Contender(lambda: plain(x, batch.y, weight), [x, weight])

    def their(batch: Batch) -> Contender:
        n, d = batch.x.shape
        module, x = other(num_classes=n, embedding_size=d), batch.x.clone().requires_grad_()
        (weight,) = module.parameters()
        given = vectors(batch)
        turned = weight.shape != given.shape or name in ("NormalizedSoftmax", "CosFace", "ArcFace")
        with torch.no_grad():
            weight.copy_(given.T if turned else given)
        return _Turned(lambda: module(x, batch.y), [x, weight], turned)

    def bare(batch: Batch) -> Callable[[], object]:
        both = (vectors(batch), batch.x) if proxies_are_rows else (batch.x, vectors(batch))
        return floor(Cosine(), *both)

    cost = _squares(12 * centres)
    return Case(name, fused, ours, plainly, cost, their, cost, bare)


@dataclass(frozen=True)
class _Turned(Contender):
    """Theirs keep some vectors as columns."""

    turned: bool

    def gradients(self) -> list[Tensor]:
        x, weight = super().gradients()
        return [x, weight.T if self.turned else weight]


def _plain_lp(power: int = 1) -> their_distances.LpDistance:
    return their_distances.LpDistance(power=power, normalize_embeddings=False)


def _mined(loss: torch.nn.Module, miner: torch.nn.Module) -> Their:
    return lambda x, y: loss(x, y, miner(x, y))


def _hardest(distances: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """Batch-hard in three lines, for RowFunction."""
    farthest = distances.masked_fill(~near, 0.0).amax(1)
    nearest = distances.masked_fill(~far, torch.inf).amin(1)
    return (farthest - nearest + 0.2).relu()


def _their_triplet() -> torch.nn.Module:
    return theirs.TripletMarginLoss(margin=0.2, distance=_plain_lp())


def _their_batch_hard() -> Their:
    return _mined(_their_triplet(), their_miners.BatchHardMiner(distance=_plain_lp()))


def _n_pairs() -> Case:
    def build(loss: Callable[[Tensor, Tensor], Tensor]) -> Builder:
        def made(batch: Batch) -> Contender:
            x = batch.x.clone().requires_grad_()
            z = torch.nn.functional.normalize(batch.more(*batch.x.shape)).requires_grad_()
            return Contender(lambda: loss(x, z), [x, z])

        return made

    def their(x: Tensor, z: Tensor) -> Tensor:
        function = theirs.NPairsLoss(distance=their_distances.DotProductSimilarity(normalize_embeddings=False))
        labels = torch.arange(len(x))
        return function(torch.cat([x, z]), torch.cat([labels, labels]))

    def bare(batch: Batch) -> Callable[[], object]:
        return floor(Dot(), batch.x, batch.more(*batch.x.shape))

    module = losses.NPairs()
    return Case(
        "NPairs",
        True,
        build(lambda x, z: module(x, Matches(), columns=z)),
        build(dense.n_pairs),
        _squares(6),
        build(their),
        _squares(80),
        bare,
        per_class=False,
    )


def _hinge_rank() -> Case:
    module = losses.HingeRank()

    def build(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Builder:
        def made(batch: Batch) -> Contender:
            x = batch.x.clone().requires_grad_()
            words = torch.nn.functional.normalize(batch.more(*batch.x.shape)).requires_grad_()
            return Contender(lambda: loss(x, batch.y, words), [x, words])

        return made

    def ours(x: Tensor, y: Tensor, words: Tensor) -> Tensor:
        return module(x, y, columns=words, column_relation=torch.arange(len(words)))

    def bare(batch: Batch) -> Callable[[], object]:
        return floor(Dot(), batch.x, batch.more(*batch.x.shape))

    plain = build(lambda x, y, words: dense.hinge_rank(x, y, words, margin=0.1))
    return Case("HingeRank", False, build(ours), plain, _squares(8), floor=bare)


def _geometry() -> Case:
    module = losses.GeometryAware()

    def build(loss: Callable[[Tensor, Batch, Tensor], Tensor]) -> Builder:
        def made(batch: Batch) -> Contender:
            x, inputs = batch.x.clone().requires_grad_(), batch.more(*batch.x.shape)
            return Contender(lambda: loss(x, batch, inputs), [x])

        return made

    return Case(
        "GeometryAware",
        False,
        build(lambda x, batch, inputs: module(x, batch.y, inputs=inputs)),
        build(lambda x, batch, inputs: dense.geometry_aware(x, batch.y, batch.k, inputs, weight=0.5)),
        lambda n, d, k: 32.0 * n * n + 16.0 * n * k * d,
        floor=lambda batch: floor(Cosine(), batch.x),
    )


def _binary_pair() -> Case:
    def ours(batch: Batch) -> Contender:
        module, x = losses.BinaryPair(bias=1.0, distance=Euclidean()), batch.x.clone().requires_grad_()
        return Contender(lambda: module(x, batch.y), [x, module.bias])

    def plain(batch: Batch) -> Contender:
        x, bias = batch.x.clone().requires_grad_(), torch.tensor(1.0, requires_grad=True)
        return Contender(lambda: dense.binary_pair(x, batch.y, batch.k, bias), [x, bias])

    bare = Euclidean()
    return Case(
        "BinaryPair",
        False,
        ours,
        plain,
        _squares(8),
        floor=lambda batch: floor(bare, batch.x),
    )


def _double_header() -> Case:
    def build(ours: bool) -> Builder:
        def made(batch: Batch) -> Contender:
            torch.manual_seed(0)
            module, x = losses.DoubleHeaderHinge(batch.x.shape[1]), batch.x.clone().requires_grad_()
            options: dict[str, Any] = {"margins": (0.5, 1.0), "weight": 0.5}

            def plain() -> Tensor:
                return dense.double_header(x, batch.y, batch.k, module.unit, **options)

            return Contender((lambda: module(x, batch.y)) if ours else plain, [x])

        return made

    return Case("DoubleHeaderHinge", False, build(True), build(False), lambda n, d, k: 40.0 * n * n * d)


def _listed(name: str, module: losses.Loss, plain: Callable[..., Tensor], *, one: bool, quadratic: bool) -> Case:
    """A loss over n scored pairs of n items, of d numbers or of one."""

    def build(ours: bool) -> Builder:
        def made(batch: Batch) -> Contender:
            n = batch.x.shape[0]
            x = (batch.x[:, :1] if one else batch.x).clone().requires_grad_()
            left, right = torch.arange(n), torch.arange(n).roll(1)
            score = batch.more(n)
            relation = Scores(left, right, score)
            value = (lambda: module(x, relation)) if ours else (lambda: plain(x, left, right, score))
            return Contender(value, [x])

        return made

    cost = _squares(5) if quadratic else (lambda n, d, k: 24.0 * n * d)
    return Case(name, False, build(True), build(False), cost, per_class=False)


def _pairwise_rank() -> Case:
    module = losses.PairwiseRank()

    def build(ours: bool) -> Builder:
        def made(batch: Batch) -> Contender:
            x, grades = batch.x[:, :1].clone().requires_grad_(), batch.y % 5
            plain = lambda: dense.pairwise_rank(x, grades, margin=1.0)  # noqa: E731
            return Contender((lambda: module(x, grades)) if ours else plain, [x])

        return made

    return Case("PairwiseRank", False, build(True), build(False), _squares(6), per_class=False)


def _weighted() -> losses.Loss:
    return losses.Weighted([losses.TripletMargin(), losses.SupCon()])


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        _batch_case(
            "Contrastive",
            lambda: losses.Contrastive(margin=1.5),
            lambda x, y, k: dense.contrastive(x, y, k, margin=1.5, squared=True),
            fused=True,
            bare=Euclidean(),
        ),
        _batch_case(
            "Contrastive, unsquared",
            lambda: losses.Contrastive(margin=1.5, squared=False, reduction="active"),
            lambda x, y, k: dense.contrastive(x, y, k, margin=1.5, squared=False),
            lambda: theirs.ContrastiveLoss(neg_margin=1.5, distance=_plain_lp()),
            fused=True,
            bare=Euclidean(),
        ),
        _batch_case(
            "SupCon",
            losses.SupCon,
            lambda x, y, k: dense.sup_con(x, y, k, temperature=0.1),
            lambda: theirs.SupConLoss(temperature=0.1),
            fused=True,
            bare=Cosine(),
        ),
        _batch_case(
            "NTXent",
            losses.NTXent,
            lambda x, y, k: dense.nt_xent(x, y, k, temperature=0.1),
            lambda: theirs.NTXentLoss(temperature=0.1),
            fused=True,
            bare=Cosine(),
            their_bytes=_pairs_of_pairs,
        ),
        _batch_case(
            "NCA",
            lambda: losses.NCA(logarithm=True),
            dense.nca,
            lambda: theirs.NCALoss(distance=_plain_lp(2)),
            fused=True,
            bare=SquaredEuclidean(),
        ),
        _n_pairs(),
        _batch_case(
            "MultiSimilarity",
            losses.MultiSimilarity,
            lambda x, y, k: dense.multi_similarity(
                x, y, k, near_scale=2.0, far_scale=50.0, base=0.5, mining=0.1
            ),
            lambda: _mined(theirs.MultiSimilarityLoss(), their_miners.MultiSimilarityMiner(epsilon=0.1)),
            fused=True,
            bare=Cosine(),
        ),
        _batch_case(
            "MultiSimilarity, all pairs",
            lambda: losses.MultiSimilarity(mining=None),
            lambda x, y, k: dense.multi_similarity(
                x, y, k, near_scale=2.0, far_scale=50.0, base=0.5, mining=None
            ),
            theirs.MultiSimilarityLoss,
            fused=True,
            bare=Cosine(),
        ),
        _batch_case(
            "TripletMargin, batch-hard",
            lambda: losses.TripletMargin(miner=mining.BatchHard()),
            lambda x, y, k: dense.batch_hard(x, y, k, margin=0.2),
            _their_batch_hard,
            fused=True,
            bare=Euclidean(),
        ),
        _class_case(
            "NormalizedSoftmax",
            losses.NormalizedSoftmax,
            lambda x, y, w: dense.softmax(x, y, w, temperature=0.05),
            lambda **sizes: theirs.NormalizedSoftmaxLoss(distance=their_distances.CosineSimilarity(), **sizes),
        ),
        _class_case(
            "CosFace",
            losses.CosFace,
            lambda x, y, w: dense.cos_face(x, y, w, margin=0.35, scale=64.0),
            theirs.CosFaceLoss,
        ),
        _class_case(
            "ArcFace",
            losses.ArcFace,
            lambda x, y, w: dense.arc_face(x, y, w, margin=0.5, scale=64.0),
            lambda **sizes: theirs.ArcFaceLoss(margin=math.degrees(0.5), **sizes),
        ),
        _class_case(
            "ProxyNCA",
            lambda n, d: losses.ProxyNCA(n, d, include_positive=True),
            lambda x, y, w: dense.softmax(x, y, w, temperature=0.5),
            theirs.ProxyNCALoss,
        ),
        _class_case(
            "ProxyAnchor",
            losses.ProxyAnchor,
            lambda x, y, w: dense.proxy_anchor(x, y, w, margin=0.1, alpha=32.0),
            theirs.ProxyAnchorLoss,
            proxies_are_rows=True,
        ),
        _batch_case(
            "TripletMargin",
            losses.TripletMargin,
            lambda x, y, k: dense.all_triplets(x, y, k, margin=0.2),
            _their_triplet,
            bare=Euclidean(),
            dense_bytes=_triplets(4),
            their_bytes=_their_triplets,
        ),
        _batch_case(
            "TripletMargin, semi-hard",
            lambda: losses.TripletMargin(miner=mining.SemiHard()),
            lambda x, y, k: dense.semi_hard(x, y, k, margin=0.2),
            bare=Euclidean(),
            dense_bytes=_triplets(4),
        ),
        _batch_case(
            "TripletRatio",
            losses.TripletRatio,
            dense.triplet_ratio,
            bare=Euclidean(),
            dense_bytes=_triplets(5),
        ),
        _hinge_rank(),
        _batch_case(
            "LiftedStructure",
            losses.LiftedStructure,
            lambda x, y, k: dense.lifted(x, y, k, margin=1.0),
            lambda: theirs.LiftedStructureLoss(distance=_plain_lp()),
            bare=Euclidean(),
            their_bytes=_pairs_of_pairs,
        ),
        _batch_case(
            "GeneralizedLiftedStructure",
            losses.GeneralizedLiftedStructure,
            lambda x, y, k: dense.generalized_lifted(x, y, k, margin=1.0),
            lambda: theirs.GeneralizedLiftedStructureLoss(distance=_plain_lp()),
            bare=Euclidean(),
        ),
        _batch_case(
            "Circle",
            losses.Circle,
            lambda x, y, k: dense.circle(x, y, k, margin=0.4, scale=80.0),
            lambda: theirs.CircleLoss(reducer=their_reducers.MeanReducer()),
            bare=Cosine(),
        ),
        _batch_case(
            "FastAP",
            losses.FastAP,
            lambda x, y, k: dense.fast_ap(x, y, k, bins=10),
            theirs.FastAPLoss,
            bare=Cosine(),
            dense_bytes=_squares(60),
            their_bytes=_squares(60),
        ),
        _batch_case(
            "PNP",
            lambda: losses.PNP(count_self=True),
            lambda x, y, k: dense.penalised_negatives(x, y, k, temperature=0.01),
            theirs.PNPLoss,
            bare=Cosine(),
            dense_bytes=_triplets(5),
            their_bytes=lambda n, d, k: 36.0 * n**3,
        ),
        _batch_case(
            "SmoothAP",
            lambda: losses.SmoothAP(count_self=True),
            lambda x, y, k: dense.smooth_ap(x, y, k, temperature=0.01),
            bare=Cosine(),
            dense_bytes=_triplets(5),
        ),
        _batch_case(
            "ChopraContrastive",
            lambda: losses.ChopraContrastive(upper_bound=2.0, distance=Euclidean()),
            lambda x, y, k: dense.chopra(x, y, k, bound=2.0, decay=2.77),
            bare=Euclidean(),
        ),
        _binary_pair(),
        _geometry(),
        _class_case(
            "SoftTriple",
            lambda n, d: losses.SoftTriple(n, d, centres=2, regularization=0.0),
            lambda x, y, w: dense.soft_triple(
                x, y, w, centres=2, margin=0.01, scale=20.0, temperature=0.1
            ),
            lambda **sizes: theirs.SoftTripleLoss(centers_per_class=2, **sizes),
            centres=2,
            fused=False,
        ),
        _class_case(
            "SubCenterArcFace",
            lambda n, d: losses.SubCenterArcFace(n, d, centres=2),
            lambda x, y, w: dense.sub_centers(x, y, w, centres=2, margin=0.5, scale=64.0),
            lambda **sizes: theirs.SubCenterArcFaceLoss(sub_centers=2, margin=math.degrees(0.5), **sizes),
            centres=2,
            fused=False,
        ),
        _batch_case(
            "RowFunction, batch-hard",
            lambda: losses.RowFunction(_hardest, reduction="active"),
            lambda x, y, k: dense.batch_hard(x, y, k, margin=0.2),
            _their_batch_hard,
            bare=Euclidean(),
        ),
        _batch_case(
            "Weighted, TripletMargin and SupCon",
            _weighted,
            lambda x, y, k: dense.all_triplets(x, y, k, margin=0.2) + dense.sup_con(x, y, k, temperature=0.1),
            dense_bytes=_triplets(5),
        ),
        _double_header(),
        _pairwise_rank(),
        _listed("ScoreRegression", losses.ScoreRegression(), dense.score_regression, one=False, quadratic=False),
        _listed(
            "DifferenceRegression",
            losses.DifferenceRegression(),
            dense.difference_regression,
            one=True,
            quadratic=False,
        ),
        _listed(
            "CoSENT",
            losses.CoSENT(),
            lambda *given: dense.cosent(*given, temperature=0.05),
            one=False,
            quadratic=True,
        ),
    )
}


def differences(case: Case, batch: Batch) -> dict[str, float]:
    """How far ours and theirs are from the dense version: value and gradients, relative to the largest."""
    plain = case.dense(batch)
    value, wanted = plain.step().detach(), plain.gradients()
    found: dict[str, float] = {}
    for who, builder in (("ours", case.ours), ("theirs", case.theirs)):
        if builder is None:
            continue
        contender = builder(batch)
        gaps = [float((contender.step().detach() - value).abs() / value.abs().clamp(min=1e-6))]
        for gradient, expected in zip(contender.gradients(), wanted, strict=True):
            size = float(expected.abs().max())  # a batch that moves nothing would show nothing
            gaps.append(float((gradient - expected).abs().max()) / size if size else math.inf)
        found[who] = max(gaps)
    return found
