"""Same or different: each pair is a yes or no, judged by a logistic of its distance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from likewise.distances import Cityblock, Distance
from likewise.errors import InputError
from likewise.losses.base import Miner, ReductionName
from likewise.losses.composed import ComposedLoss, Table
from likewise.table import Near, Part, Rows, TableFunction, Tile

__all__ = ["BinaryPair"]


@dataclass
class _Sum:
    near: Near
    value: Tensor  # (r,) far terms so far
    active: Tensor  # (r,)


class _CrossEntropy(TableFunction[_Sum]):
    """``softplus(d - b)`` for near cells, ``softplus(b - d)`` for far ones."""

    cellwise = True

    def __init__(self, bias: Tensor, *, balanced: bool, count_active: bool) -> None:
        self.bias = bias
        self.apart = balanced
        self._count_active = count_active

    def begin(self, near: Near) -> _Sum:
        return _Sum(near, torch.zeros_like(near.count), torch.zeros_like(near.count))

    def _far_terms(self, distances: Tensor) -> Tensor:
        return functional.logsigmoid(distances - self.bias).neg_()

    def _near_terms(self, distances: Tensor) -> Tensor:
        return functional.logsigmoid(self.bias - distances).neg_()

    def observe(self, tile: Tile, state: _Sum) -> None:
        state.value += self._far_terms(tile.distances).sum(1)
        if self._count_active:
            # a term is the cross-entropy's, also while its slope by the bias is summed
            state.active += _CrossEntropy._far_terms(self, tile.distances).sign_().sum(1)

    def finish(self, state: _Sum) -> Rows:
        near = state.near
        value = near.filled(self._near_terms(near.distances), 0.0).sum(1)
        active = torch.zeros_like(near.count)
        if self._count_active:
            terms = _CrossEntropy._near_terms(self, near.distances)
            active = terms.masked_fill_(~near.valid, 0.0).sign_().sum(1)
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


class _BiasSlope(_CrossEntropy):
    """The derivative of each term by the bias, walked without gradients."""

    def _far_terms(self, distances: Tensor) -> Tensor:
        return (self.bias - distances).sigmoid_()

    def _near_terms(self, distances: Tensor) -> Tensor:
        return (distances - self.bias).sigmoid_().neg_()


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
        Whether b is a parameter. Its gradient takes a second walk without gradients.
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
        """One walk for the value, and one for the slope by the bias where it is learned."""
        bias = self.bias.to(table.rows.dtype)
        options = {"balanced": self.balanced, "count_active": self.reduction == "active"}
        value, terms = table.value(_CrossEntropy(bias.detach(), **options), self.distance, self.reduction)
        self.warn_if_empty(terms)
        if self.bias.requires_grad and torch.is_grad_enabled():
            with torch.no_grad():
                function = _BiasSlope(bias.detach(), **options)
                slope, _ = table.detached().value(function, self.distance, self.reduction)
            value = value + (bias - bias.detach()) * slope
        return value
