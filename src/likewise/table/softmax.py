"""What softmaxes make of each row's few near cells and its far log-sum-exp.

In PyTorch some ten to twenty small operations, which cost more than the table where it is small; in C one
(:mod:`~likewise.table.compiled`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.table import compiled
from likewise.table.protocol import Near, Part

__all__ = ["log_one_plus", "mean_softmax", "pair_softmax"]


def log_one_plus(logits: Tensor) -> Tensor:
    """``log(1 + exp(logits))``, exact at both ends."""
    return torch.logaddexp(torch.zeros((), dtype=logits.dtype, device=logits.device), logits)


def _kind(*tensors: Tensor) -> str | None:
    there = compiled.takes(*tensors) and compiled.library() is not None
    return compiled.name_of(tensors[0]) if there else None


def pair_softmax(
    near: Near, far: Tensor, logits: Tensor, by_distance: Tensor | float
) -> tuple[Part, Tensor, Tensor]:
    """Each near cell against the far columns: ``-log(exp z / (exp z + sum_n exp z_n))``, summed by row.

    Parameters
    ----------
    near : Near
    far : (r,)
        The far log-sum-exp.
    logits : (r, p)
        z of the near cells.
    by_distance : (r, p) or float
        The derivative of z by the near distances.

    Returns
    -------
    part : Part
    by_far : (r,), by_near : (r, p)
        The derivatives by the far log-sum-exp and the near distances.
    """
    by_cell = by_distance if isinstance(by_distance, Tensor) else None
    kind = _kind(logits, far, far if by_cell is None else by_cell)
    if kind is not None and near.valid.is_contiguous():
        rows, count = logits.shape
        value, share, active = far.new_empty(rows), far.new_empty(rows), far.new_empty(rows)
        by_near = torch.empty_like(logits)
        compiled.function(f"pair_softmax_{kind}", "ppiippdpppp")(
            logits.data_ptr(), near.valid.data_ptr(), rows, count, far.data_ptr(),
            None if by_cell is None else by_cell.data_ptr(), 0.0 if by_cell is not None else by_distance,
            value.data_ptr(), share.data_ptr(), active.data_ptr(), by_near.data_ptr(),
        )  # fmt: skip
        return Part(value, near.count, active), share, by_near
    gap = near.filled(far[:, None] - logits, -torch.inf)
    values, shares = log_one_plus(gap), gap.sigmoid()
    by_near = near.filled(shares * -by_distance, 0.0)
    return Part(values.sum(1), near.count, (values != 0).sum(1)), shares.sum(1), by_near


def mean_softmax(near: Near, far: Tensor, rate: float) -> tuple[Part, Tensor, Tensor]:
    """The mean over a row's near cells of minus their log-probability among all near and far ones.

    Parameters
    ----------
    near : Near
    far : (r,)
        The far log-sum-exp.
    rate : float, above 0
        Logits are ``-rate d``.

    Returns
    -------
    part : Part
        A row is a term where it has a near cell.
    by_far : (r,), by_near : (r, p)
    """
    kind = _kind(near.distances, far, near.count)
    if kind is not None and near.valid.is_contiguous():
        rows, count = near.distances.shape
        value, has, active = far.new_empty(rows), far.new_empty(rows), far.new_empty(rows)
        by_far, by_near = far.new_empty(rows), torch.empty_like(near.distances)
        compiled.function(f"mean_softmax_{kind}", "ppiippdppppp")(
            near.distances.data_ptr(), near.valid.data_ptr(), rows, count, near.count.data_ptr(),
            far.data_ptr(), rate, value.data_ptr(), has.data_ptr(), active.data_ptr(), by_far.data_ptr(),
            by_near.data_ptr(),
        )  # fmt: skip
        return Part(value, has, active), by_far, by_near
    if not near.distances.shape[1]:
        nothing = torch.zeros_like(far)
        return Part(nothing, nothing, nothing), nothing, near.distances
    logits = near.distances * -rate
    share = near.count.clamp(min=1).reciprocal_()
    total = torch.logaddexp(logits.logsumexp(1), far)
    value = total - near.filled(logits.clone(), 0.0).sum(1).mul_(share)
    by_far = (far - total).exp_()
    has = near.count > 0
    if not near.full:
        # a row without a positive has no value and so no slope
        value, by_far = torch.where(has, value, 0.0), torch.where(has, by_far, 0.0)
    probability = logits.sub_(total[:, None]).exp_()
    by_near = near.filled(probability.sub_(share[:, None]).mul_(-rate), 0.0)
    return Part(value, has, has & (value != 0)), by_far, by_near
