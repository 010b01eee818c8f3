"""CoSENT: the order of similarities must follow the order of scores, for all pairs of pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.errors import InputError
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
        order = torch.argsort(score, descending=True, stable=True)
        logits = (distances[order] / self.temperature).double()
        descending = -score[order]
        # the pairs of a larger score than pair b are the first larger[b] in this order
        larger = torch.searchsorted(descending, descending)
        has = (larger > 0).nonzero().view(-1)
        if not has.numel():
            return (logits[:1] * 0).to(distances.dtype)
        last = int(larger.max())
        running = torch.logcumsumexp(logits[:last], 0)
        total = (running[larger[has] - 1] - logits[has]).logsumexp(0)
        # log(1 + exp(total)), which the logarithm of a sigmoid gives for any total
        return -torch.nn.functional.logsigmoid(-total).to(distances.dtype).view(1)

    def reduce(self, terms: Tensor, weights: Tensor | None, rows: Tensor) -> Tensor:
        """The term itself."""
        if weights is not None:
            raise InputError("weights can't be given: CoSENT is one logarithm, not a sum over rows")
        return terms.sum() + rows[:0].sum()
