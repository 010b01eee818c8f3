"""All losses that the benchmark compares: of a batch, of classes, and with inputs of their own.

The last are here: pairs of two views, word vectors, inputs beside embeddings, learned distances, and lists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dense
import dense_more
import torch
from batch_cases import BATCH_CASES
from class_cases import CLASS_CASES
from contenders import Batch, Builder, Case, Contender, floor, squares
from more_cases import MORE_CASES
from pytorch_metric_learning import distances as their_distances
from pytorch_metric_learning import losses as theirs
from torch import Tensor

from likewise import losses
from likewise.distances import Cosine, Dot, Euclidean
from likewise.relations import Matches, Scores

__all__ = ["CASES"]


def _n_pairs() -> Case:
    def build(loss: Callable[[Tensor, Tensor], Tensor]) -> Builder:
        def made(batch: Batch) -> Contender:
            x = batch.x.clone().requires_grad_()
            z = torch.nn.functional.normalize(batch.more(*batch.x.shape)).requires_grad_()
            return Contender(lambda: loss(x, z), [x, z])

        return made

    def their(x: Tensor, z: Tensor) -> Tensor:
        function = theirs.NPairsLoss(
            distance=their_distances.DotProductSimilarity(normalize_embeddings=False)
        )
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
        squares(6),
        build(their),
        squares(80),
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
    return Case("HingeRank", False, build(ours), plain, squares(8), floor=bare)


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
        lambda size: 32.0 * size.n**2 + 16.0 * size.n * size.k * size.d,
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
        squares(8),
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

    return Case("DoubleHeaderHinge", False, build(True), build(False), lambda size: 40.0 * size.n**2 * size.d)


def _listed(
    name: str, module: losses.Loss, plain: Callable[..., Tensor], *, one: bool, quadratic: bool
) -> Case:
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

    cost = squares(5) if quadratic else (lambda size: 24.0 * size.n * size.d)
    return Case(name, False, build(True), build(False), cost, per_class=False)


def _pairwise_rank() -> Case:
    module = losses.PairwiseRank()

    def build(ours: bool) -> Builder:
        def made(batch: Batch) -> Contender:
            x, grades = batch.x[:, :1].clone().requires_grad_(), batch.y % 5
            plain = lambda: dense.pairwise_rank(x, grades, margin=1.0)  # noqa: E731
            return Contender((lambda: module(x, grades)) if ours else plain, [x])

        return made

    return Case("PairwiseRank", False, build(True), build(False), squares(6), per_class=False)


OTHER_CASES = (
    _n_pairs(),
    _hinge_rank(),
    _binary_pair(),
    _geometry(),
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
    _listed(
        "AnglE",
        losses.AnglE(),
        lambda *given: dense_more.angle(*given, temperature=0.05),
        one=False,
        quadratic=True,
    ),
)

CASES: dict[str, Case] = {case.name: case for case in (*BATCH_CASES, *CLASS_CASES, *OTHER_CASES, *MORE_CASES)}
