"""Same or different: each pair is a yes or no, judged by a logistic of its distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from likewise.distances import Cityblock, Distance
from likewise.errors import InputError
from likewise.losses.base import Miner, ReductionName
from likewise.losses.composed import ComposedLoss, Table
from likewise.losses.recorded import RowNotes
from likewise.table import Near, Part, Rows, TableFunction, TableRequest, Tile, table_value

__all__ = ["BinaryPair"]


@dataclass
class _Sum:
    near: Near
    value: Tensor  # (r,) far terms so far
    active: Tensor  # (r,)
    by_bias: Tensor  # (r,) the derivative of the far terms by the bias


class _CrossEntropy(TableFunction[_Sum]):
    """``softplus(d - b)`` for near cells, ``softplus(b - d)`` for far ones; notes its slopes by the bias."""

    cellwise = True

    def __init__(self, bias: Tensor, *, balanced: bool, count_active: bool, note: bool) -> None:
        self.bias = bias
        self.apart = balanced
        self._count_active, self._note = count_active, note
        self.near, self.far = RowNotes(), RowNotes()

    def begin(self, near: Near) -> _Sum:
        zero = torch.zeros_like(near.count)
        return _Sum(near, zero, zero.clone(), zero.clone())

    def observe(self, tile: Tile, state: _Sum) -> None:
        self._add(tile, state, 1)

    def observe_both(
        self,
        tile: Tile,
        turned: Callable[[], Tile],  # noqa: ARG002
        rows: _Sum,
        columns: _Sum,
    ) -> None:
        self._add(tile, rows, 1)
        self._add(tile, columns, 0)

    def _add(self, tile: Tile, state: _Sum, dim: int) -> None:
        terms = functional.logsigmoid(tile.distances - self.bias)
        state.value -= terms.sum(dim)
        if self._count_active:
            state.active += terms.neg_().sign_().sum(dim)
        if self._note:
            state.by_bias += (self.bias - tile.distances).sigmoid_().sum(dim)

    def finish(self, state: _Sum) -> Rows:
        near = state.near
        terms = near.filled(functional.logsigmoid(self.bias - near.distances).neg_(), 0.0)
        value, active = (
            terms.sum(1),
            terms.sign().sum(1) if self._count_active else torch.zeros_like(near.count),
        )
        if self._note:
            self.near.note(near.start, self.near_slope(state).sum(1).neg_())
            self.far.note(near.start, state.by_bias)
        if self.apart:
            return Rows(
                near=Part(value, near.count, active), far=Part(state.value, near.far_count, state.active)
            )
        return Rows(joint=Part(value + state.value, near.count + near.far_count, active + state.active))

    def slope(self, tile: Tile, state: _Sum) -> Tensor:  # noqa: ARG002
        return (self.bias - tile.distances).sigmoid_().neg_()

    def near_slope(self, state: _Sum) -> Tensor:
        near = state.near
        return near.filled((near.distances - self.bias).sigmoid_(), 0.0)


class BinaryPair(ComposedLoss):
    r"""Binary cross-entropy of "the same or not" for each pair (Koch, Zemel, Salakhutdinov 2015).

    The logit of a pair is ``b - d(x, z)``; alike pairs cost ``log(1 + exp(d - b))``, unlike ones
    ``log(1 + exp(b - d))``, computed from the logit, so that nothing overflows. With
    ``distance=WeightedCityblock(d)`` this is the paper's ``sigmoid(sum_j alpha_j |h_j(x) - h_j(z)|)``, where
    ``alpha = -w`` is learned and of either sign, and b the bias of its last layer.

    Pairs are all near and far cells of the relation. With labels most are unlike; the paper draws as many of
    each kind, for which there are a ``Pairs`` relation and ``balanced=True``.

    Defaults: Cityblock distance (what ``WeightedCityblock`` begins as), embeddings as given, a learned bias
    from 0, mean over all pairs. PyTorch's BCEWithLogitsLoss on the logits is the same; the layer-wise weight
    penalty of the paper belongs to the optimiser.

    Parameters
    ----------
    bias : float
        b at the beginning: the distance at which alike and unlike are equally likely.
    learn_bias : bool
        Whether b is a parameter.
    balanced : bool
        Average alike and unlike pairs apart and add, instead of the mean over all pairs.

    References
    ----------
    G. Koch, R. Zemel, R. Salakhutdinov, "Siamese neural networks for one-shot image recognition", 2015,
    section 3.2 (loss function; unnumbered, from memory; the printed sign is mended).

    >>> loss = BinaryPair(bias=1.0)
    >>> loss(torch.tensor([[0.0], [1.0]]), [0, 1]).detach()  # log 2
    tensor(0.6931)
    """

    def __init__(
        self,
        *,
        bias: float = 0.0,
        learn_bias: bool = True,
        balanced: bool = False,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Cityblock(), reduction=reduction, miner=miner)
        if not (isinstance(bias, int | float) and abs(bias) < float("inf")):
            raise InputError(f"bias must be a finite number; found {bias!r}")
        self.bias = nn.Parameter(torch.tensor(float(bias)), requires_grad=bool(learn_bias))
        self.balanced = bool(balanced)

    def compose(self, table: Table) -> Tensor:
        """One walk, which notes the slopes by the bias where it is learned."""
        bias = self.bias.to(table.rows.dtype)
        learns = self.bias.requires_grad and torch.is_grad_enabled()
        function = _CrossEntropy(
            bias.detach(), balanced=self.balanced, count_active=self.reduction == "active", note=learns
        )
        request = TableRequest(function, self.distance, table.resolved, self.reduction)
        value, outcome = table_value(request, table.rows, table.columns, table.weights)
        self.warn_if_empty(outcome.terms)
        if not learns:
            return value
        near, far = function.near.all(table.rows), function.far.all(table.rows)
        if self.reduction != "none":
            divisors = outcome.divisors
            near = near / divisors["near" if self.balanced else "joint"]
            far = far / divisors["far" if self.balanced else "joint"]
        slope = near + far if table.weights is None else (near + far) * table.weights.detach()
        return value + (bias - bias.detach()) * (slope if self.reduction == "none" else slope.sum())
