"""Losses whose columns are their rows, beside pytorch-metric-learning's and dense ones of the same formula.

Where the defaults of ours and theirs differ, the options here make them equal: embeddings as given where
ours takes them so, and the same average.
"""

from __future__ import annotations

from collections.abc import Callable

import dense
import torch
from contenders import Batch, Case, Contender, Cost, Size, floor, squares
from pytorch_metric_learning import distances as their_distances
from pytorch_metric_learning import losses as theirs
from pytorch_metric_learning import miners as their_miners
from pytorch_metric_learning import reducers as their_reducers
from torch import Tensor

from likewise import losses, mining
from likewise.distances import Cosine, Distance, Euclidean, SquaredEuclidean

__all__ = ["BATCH_CASES", "batch_case", "pairs_of_pairs", "triplets"]


def triplets(numbers: float) -> Cost:
    """So many float32 a triplet."""
    return lambda size: 4.0 * numbers * size.n**2 * size.k


def _their_triplets(size: Size) -> float:
    # a mask of all n^3 below 2^31, and three indices and a few floats a triplet
    n, k = size.n, size.k
    return max(62.0 * n * (k - 1) * (n - k), float(n**3) if n**3 < 2**31 else 0.0) + 80.0 * n * n


def pairs_of_pairs(size: Size) -> float:
    # a few arrays of all positive pairs by all negative pairs of the batch
    return 20.0 * size.n**2 * (size.k - 1) * (size.n - size.k)


_THEIR_PAIRS = squares(22)

Plain = Callable[[Tensor, Tensor, int], Tensor]
Their = Callable[[Tensor, Tensor], Tensor]


def batch_case(
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
        dense_bytes or squares(6),
        None if other is None else their,
        None if other is None else their_bytes or _THEIR_PAIRS,
        None if bare is None else lambda batch: floor(bare, batch.x),
    )


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


def _weighted() -> losses.Loss:
    return losses.Weighted([losses.TripletMargin(), losses.SupCon()])


BATCH_CASES = (
    batch_case(
        "Contrastive",
        lambda: losses.Contrastive(margin=1.5),
        lambda x, y, k: dense.contrastive(x, y, k, margin=1.5, squared=True),
        fused=True,
        bare=Euclidean(),
    ),
    batch_case(
        "Contrastive, unsquared",
        lambda: losses.Contrastive(margin=1.5, squared=False, reduction="active"),
        lambda x, y, k: dense.contrastive(x, y, k, margin=1.5, squared=False),
        lambda: theirs.ContrastiveLoss(neg_margin=1.5, distance=_plain_lp()),
        fused=True,
        bare=Euclidean(),
    ),
    batch_case(
        "SupCon",
        losses.SupCon,
        lambda x, y, k: dense.sup_con(x, y, k, temperature=0.1),
        lambda: theirs.SupConLoss(temperature=0.1),
        fused=True,
        bare=Cosine(),
    ),
    batch_case(
        "NTXent",
        losses.NTXent,
        lambda x, y, k: dense.nt_xent(x, y, k, temperature=0.1),
        lambda: theirs.NTXentLoss(temperature=0.1),
        fused=True,
        bare=Cosine(),
        their_bytes=pairs_of_pairs,
    ),
    batch_case(
        "NCA",
        lambda: losses.NCA(logarithm=True),
        dense.nca,
        lambda: theirs.NCALoss(distance=_plain_lp(2)),
        fused=True,
        bare=SquaredEuclidean(),
    ),
    batch_case(
        "MultiSimilarity",
        losses.MultiSimilarity,
        lambda x, y, k: dense.multi_similarity(x, y, k, near_scale=2.0, far_scale=50.0, base=0.5, mining=0.1),
        lambda: _mined(theirs.MultiSimilarityLoss(), their_miners.MultiSimilarityMiner(epsilon=0.1)),
        fused=True,
        bare=Cosine(),
    ),
    batch_case(
        "MultiSimilarity, all pairs",
        lambda: losses.MultiSimilarity(mining=None),
        lambda x, y, k: dense.multi_similarity(
            x, y, k, near_scale=2.0, far_scale=50.0, base=0.5, mining=None
        ),
        theirs.MultiSimilarityLoss,
        fused=True,
        bare=Cosine(),
    ),
    batch_case(
        "TripletMargin, batch-hard",
        lambda: losses.TripletMargin(miner=mining.BatchHard()),
        lambda x, y, k: dense.batch_hard(x, y, k, margin=0.2),
        _their_batch_hard,
        fused=True,
        bare=Euclidean(),
    ),
    batch_case(
        "TripletMargin",
        losses.TripletMargin,
        lambda x, y, k: dense.all_triplets(x, y, k, margin=0.2),
        _their_triplet,
        bare=Euclidean(),
        dense_bytes=triplets(4),
        their_bytes=_their_triplets,
    ),
    batch_case(
        "TripletMargin, semi-hard",
        lambda: losses.TripletMargin(miner=mining.SemiHard()),
        lambda x, y, k: dense.semi_hard(x, y, k, margin=0.2),
        bare=Euclidean(),
        dense_bytes=triplets(4),
    ),
    batch_case(
        "TripletRatio",
        losses.TripletRatio,
        dense.triplet_ratio,
        bare=Euclidean(),
        dense_bytes=triplets(5),
    ),
    batch_case(
        "LiftedStructure",
        losses.LiftedStructure,
        lambda x, y, k: dense.lifted(x, y, k, margin=1.0),
        lambda: theirs.LiftedStructureLoss(distance=_plain_lp()),
        bare=Euclidean(),
        their_bytes=pairs_of_pairs,
    ),
    batch_case(
        "GeneralizedLiftedStructure",
        losses.GeneralizedLiftedStructure,
        lambda x, y, k: dense.generalized_lifted(x, y, k, margin=1.0),
        lambda: theirs.GeneralizedLiftedStructureLoss(distance=_plain_lp()),
        bare=Euclidean(),
    ),
    batch_case(
        "Circle",
        losses.Circle,
        lambda x, y, k: dense.circle(x, y, k, margin=0.4, scale=80.0),
        lambda: theirs.CircleLoss(reducer=their_reducers.MeanReducer()),
        bare=Cosine(),
    ),
    batch_case(
        "FastAP",
        losses.FastAP,
        lambda x, y, k: dense.fast_ap(x, y, k, bins=10),
        theirs.FastAPLoss,
        bare=Cosine(),
        dense_bytes=squares(60),
        their_bytes=squares(60),
    ),
    batch_case(
        "PNP",
        lambda: losses.PNP(count_self=True),
        lambda x, y, k: dense.penalised_negatives(x, y, k, temperature=0.01),
        theirs.PNPLoss,
        bare=Cosine(),
        dense_bytes=triplets(5),
        their_bytes=lambda size: 36.0 * size.n**3,
    ),
    batch_case(
        "SmoothAP",
        lambda: losses.SmoothAP(count_self=True),
        lambda x, y, k: dense.smooth_ap(x, y, k, temperature=0.01),
        bare=Cosine(),
        dense_bytes=triplets(5),
    ),
    batch_case(
        "ChopraContrastive",
        lambda: losses.ChopraContrastive(upper_bound=2.0, distance=Euclidean()),
        lambda x, y, k: dense.chopra(x, y, k, bound=2.0, decay=2.77),
        bare=Euclidean(),
    ),
    batch_case(
        "RowFunction, batch-hard",
        lambda: losses.RowFunction(_hardest, reduction="active"),
        lambda x, y, k: dense.batch_hard(x, y, k, margin=0.2),
        _their_batch_hard,
        bare=Euclidean(),
    ),
    batch_case(
        "Weighted, TripletMargin and SupCon",
        _weighted,
        lambda x, y, k: dense.all_triplets(x, y, k, margin=0.2) + dense.sup_con(x, y, k, temperature=0.1),
        dense_bytes=triplets(5),
    ),
)
