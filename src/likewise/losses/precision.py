"""A surrogate of precision and recall at k: how softly many positives come among the first k columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from likewise.distances import Distance
from likewise.errors import InputError
from likewise.losses.base import Miner, ReductionName, positive
from likewise.losses.ranking import Ranking, Ranks

__all__ = ["SurrogatePrecision"]


class SurrogatePrecision(Ranking):
    r"""One minus a smooth precision (or recall) at k (Patel et al. 2022).

    With ``R_p = sum_{j != p} sigmoid((d_p - d_j) / t2)`` columns before positive p, near or far, p counts as
    among the first k by ``sigmoid((k - 1 - R_p) / t1)``. An anchor costs one minus the sum over its positives
    P, divided by ``min(k, |P|)`` (precision), or by ``|P|`` (recall, the paper). Several k are averaged.

    Defaults: cosine distance (so embeddings are normalised), k = 1, 2, 4, 8 and 16, t1 = 1 and t2 = 0.01 as
    in the paper, precision, mean over the anchors that have a positive and a negative. OML's
    SurrogatePrecision has one k. With sigmoids this soft the value can be a little below zero: beyond k
    positives can count.

    Time: one sigmoid for each positive and column of a row; of float32 and many positives hardly more than
    one for each column, by bins (:mod:`~likewise.table.sigmoids`).

    Parameters
    ----------
    k : int or sequence of int, above 0
    divisor : {"precision", "recall"}
    rank_temperature : float, above 0
        t1, in ranks.
    temperature : float, above 0
        t2, in units of the distance.

    References
    ----------
    Y. Patel, G. Tolias, J. Matas, "Recall@k surrogate loss with large batches and similarity mixup", 2022,
    equations 4 to 6 (numbers from memory).

    >>> loss = SurrogatePrecision(k=1, temperature=1e-3, rank_temperature=1e-3)
    >>> x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]])
    >>> round(float(loss(x, [0, 0, 1])), 4)  # each positive is the first: at the edge of k
    0.5
    """

    def __init__(
        self,
        *,
        k: int | Sequence[int] = (1, 2, 4, 8, 16),
        divisor: Literal["precision", "recall"] = "precision",
        rank_temperature: float = 1.0,
        temperature: float = 0.01,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(
            temperature=temperature, count_self=False, distance=distance, reduction=reduction, miner=miner
        )
        ranks = (k,) if isinstance(k, int) else tuple(k)
        if not ranks or not all(isinstance(rank, int) and rank > 0 for rank in ranks):
            raise InputError(f"k must be one or more whole numbers above zero; found {k!r}")
        if divisor not in ("precision", "recall"):
            raise InputError(f'divisor must be "precision" or "recall"; found {divisor!r}')
        self.k, self.divisor = ranks, divisor
        self.rank_temperature = positive("rank_temperature", rank_temperature)

    def row(self, state: Ranks, share: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """One minus the soft precision, the mean over k."""
        before, steep = self.positives_before(state)
        before += state.before
        value, by_count = torch.zeros_like(state.near.count), torch.zeros_like(before)
        for k in self.k:
            # share is one over the number of positives
            part = share
            if self.divisor == "precision":
                part = share * (state.near.count / state.near.count.clamp(max=k).clamp(min=1))[:, None]
            inside = ((k - 1 - before) / self.rank_temperature).sigmoid()
            value += (1.0 - (inside * part).sum(1)) / len(self.k)
            by_count += part * inside * (1.0 - inside) / (self.rank_temperature * len(self.k))
        return value, by_count, self.by_positives(state, by_count, steep)
