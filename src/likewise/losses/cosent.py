"""CoSENT: the order of similarities must follow the order of scores, for all pairs of pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.errors import InputError, UnsupportedError
from likewise.losses.base import ReductionName, positive
from likewise.losses.scored import ScoredLoss

__all__ = ["CoSENT"]


class CoSENT(ScoredLoss):
    r"""Cosine sentence loss: one log-sum-exp over all pairs of scored pairs in the wrong order (Su 2022).

    ``log(1 + sum exp((d_a - d_b) / t))`` over all ordered pairs (a, b) of scored pairs where a has the
    larger score. The m pairs are sorted by score once and the inner sums taken as one running log-sum-exp, so
    that all m^2 comparisons cost O(m log m) and no m x m array; the result is exact. Equal scores aren't
    compared.

    ``Scores`` gives the pairs; ``Pairs`` counts as scores 1 and 0, and so do the near and far cells of any
    other relation, which for labels are listed in full.

    Defaults: cosine distance (so embeddings are normalised), temperature 0.05 (the source's factor 20). The
    loss is one logarithm for the batch: mean, active and sum are the same; "none" and ``weights`` are
    refused.
    sentence-transformers' CoSENTLoss is the same with scale ``1 / t``.

    Parameters
    ----------
    temperature : float, above 0
        t.

    References
    ----------
    Su Jianlin, "CoSENT: a more effective sentence vector scheme than Sentence-BERT", 2022 (a note on
    kexue.fm, number 8847 from memory; its last formula).

    >>> from likewise.relations import Scores
    >>> loss = CoSENT(temperature=1.0)
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> round(float(loss(x, Scores([0, 0], [1, 2], [0.0, 1.0]))), 4)  # log(1 + e)
    1.3133
    """

    def __init__(
        self,
        *,
        temperature: float = 0.05,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
    ) -> None:
        if reduction == "none":
            raise InputError('reduction must be "mean", "active" or "sum" (all the same here); found "none"')
        super().__init__(distance=distance or Cosine(), reduction=reduction)
        self.temperature = positive("temperature", temperature)

    def terms(self, distances: Tensor, score: Tensor) -> Tensor:
        """The one term (1,), in float64 on the way."""
        if not distances.numel():
            return distances
        found: Tensor = _Inversions.apply(distances, score, 1.0 / self.temperature)  # type: ignore[no-untyped-call]
        return found

    def reduce(self, terms: Tensor, weights: Tensor | None, rows: Tensor) -> Tensor:
        """The term itself."""
        if weights is not None:
            raise InputError("weights can't be given: CoSENT is one logarithm, not a sum over rows")
        return terms.sum() if terms.numel() else terms.sum() + rows[:0].sum()


class _Inversions(torch.autograd.Function):
    """``log(1 + sum exp(rate (d_a - d_b)))`` over pairs a of a larger score than pair b, with its slopes.

    Distances (k,) and scores (k,) give (1,). Everything is read off running sums in the order of the scores.
    """

    @staticmethod
    def forward(ctx: Any, distances: Tensor, score: Tensor, rate: float) -> Tensor:
        descending, order = torch.sort(score.neg(), stable=True)
        logits = distances.detach()[order].double().mul_(rate)
        # the pairs of a larger score than the b-th in this order are the first larger[b]
        larger = torch.searchsorted(descending, descending)
        first = int(torch.searchsorted(larger, 1))  # from here on there are such pairs
        if first == len(larger):
            ctx.save_for_backward(torch.zeros_like(distances))
            return distances.new_zeros(1)
        above = torch.logcumsumexp(logits, 0)[larger[first:] - 1] - logits[first:]
        total = above.logsumexp(0)
        # each pair a is above the pairs from begin[a] on
        count = int(larger[-1])
        begin = torch.searchsorted(larger, torch.arange(count, device=larger.device), right=True)
        below = logits.neg().flip(0).logcumsumexp(0).flip(0)[begin] + logits[:count]
        slopes = torch.zeros_like(logits)
        slopes[:count] = (below - total).exp_()
        slopes[first:] -= (above - total).exp_()
        slopes *= torch.sigmoid(total) * rate
        ctx.save_for_backward(torch.empty_like(distances).index_copy_(0, order, slopes.to(distances.dtype)))
        # log(1 + exp(total)), which the logarithm of a sigmoid gives for any total
        return -torch.nn.functional.logsigmoid(-total).to(distances.dtype).view(1)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "CoSENT can't be differentiated twice: call backward without create_graph=True"
            )
        (slopes,) = ctx.saved_tensors
        return slopes * upstream, None, None
