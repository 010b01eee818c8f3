"""Geometry-aware deep transform: cosines of embeddings regressed on classes and on the input's geometry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance, Form, unit_rows
from likewise.errors import InputError
from likewise.losses.base import Loss, Miner, ReductionName, check_embeddings, positive
from likewise.relations import Relation
from likewise.table import Near, Part, Rows, TableFunction, Tile
from likewise.table.distributed import world_group
from likewise.table.pairs import pair_distances
from likewise.table.side import Side

__all__ = ["GeometryAware"]


@dataclass
class _Squares:
    near: Near
    error: Tensor  # (r, p) cosine less target; zero where not valid
    factor: Tensor | float  # (r, p) of the squared error
    value: Tensor  # (r,) far terms so far
    active: Tensor  # (r,)
    far_error: Tensor | None = None  # of the last tile, where it comes back


@dataclass(frozen=True)
class _Inputs:
    """What embeddings were made of, at unit length: of rows (n, e) and columns (m, e)."""

    rows: Tensor
    columns: Tensor

    def cosines(self, near: Near) -> Tensor:
        """The input cosines (r, p) of near cells, minus infinity where not valid."""
        assert near.cells is not None
        valid, rows, columns = near.valid, near.measured_from(), near.cells.columns
        # cell by cell, so that no (r, p, e) array is held
        found = pair_distances(Form.NEGATIVE_PRODUCT, *self._sides, rows[valid], columns[valid])
        out = torch.full_like(near.distances, -torch.inf)
        out[valid] = -found.to(out.dtype)
        return out

    @cached_property
    def _sides(self) -> tuple[Side, Side]:
        rows = Side(self.rows, unit=False)
        return rows, rows if self.columns is self.rows else Side(self.columns, unit=False)


class _Residuals(TableFunction[_Squares]):
    """``(h - t)^2`` of cosines ``h = 1 - d``, with a target for each near cell and one for the far ones."""

    def __init__(self, loss: GeometryAware, inputs: _Inputs | None) -> None:
        self.apart = loss.balanced
        self._weight, self._neighbors, self._inputs = loss.classification_weight, loss.neighbors, inputs
        self._far_target = -1.0 if loss.n_classes is None else -1.0 / (loss.n_classes - 1)
        self._counts_active = loss.reduction == "active"

    def begin(self, near: Near) -> _Squares:
        target: Tensor | float = 1.0
        factor: Tensor | float = 1.0
        if self._inputs is not None:
            cosines = self._inputs.cosines(near)
            target = self._weight + (1.0 - self._weight) * cosines
            if self._neighbors is not None:
                order = torch.argsort(cosines, dim=1, descending=True, stable=True)
                kept = torch.zeros_like(near.valid).scatter_(1, order[:, : self._neighbors], True)
                target = torch.where(kept, target, 1.0)
                factor = torch.where(kept, torch.ones_like(cosines), self._weight)
        error = near.distances.neg().add_(1.0).sub_(target).masked_fill_(~near.valid, 0.0)
        return _Squares(near, error, factor, torch.zeros_like(near.count), torch.zeros_like(near.count))

    def _far_error(self, tile: Tile) -> Tensor:
        # a cosine's distance is at most 2: what lies at infinity is cut off and multiplied away
        there = torch.lt(tile.distances, 3.0, out=torch.empty_like(tile.distances))
        return tile.distances.clamp(max=3.0).neg_().add_(1.0 - self._far_target).mul_(there)

    def observe(self, tile: Tile, state: _Squares) -> None:
        error = self._far_error(tile)
        state.value += torch.linalg.vector_norm(error, dim=1).square_()
        if self._counts_active:
            state.active += error.sign().abs_().sum(1)
        state.far_error = error if tile.kept else None

    def finish(self, state: _Squares) -> Rows:
        value = (state.error.square() * state.factor).sum(1)
        active = (state.error * state.factor).sign_().abs_().sum(1)
        near, far = state.near.count, state.near.far_count
        if self.apart:
            return Rows(near=Part(value, near, active), far=Part(state.value, far, state.active))
        return Rows(joint=Part(value + state.value, near + far, active + state.active))

    def slope(self, tile: Tile, state: _Squares) -> Tensor:
        error = self._far_error(tile) if state.far_error is None else state.far_error
        return error.mul_(-2.0)

    def near_slope(self, state: _Squares) -> Tensor:
        return state.error * state.factor * -2.0


class GeometryAware(Loss):
    r"""Geometry-aware deep transform: regress cosines of embeddings on targets (Huang et al. 2015).

    Each pair costs ``(h - t)^2`` with ``h = cos(f(x), f(z))``. Unlike pairs have the target -1. Alike ones
    have ``t = w + (1 - w) c`` with c the cosine of their *inputs*: w = 1 is the classification criterion
    ("deep transform"), w = 0 keeps the geometry of the inputs within a class.
    ``w (h - 1)^2 + (1 - w) (h - c)^2`` is the same up to a constant, ``w (1 - w) (1 - c)^2``.

    The input cosines come with the call: ``loss(embeddings, labels, inputs=x)``. Inputs are flattened and
    centred, as non-negative data have cosines near 1 everywhere. Embeddings must be able to have negative
    cosines: no ReLU or softmax at their end.

    Defaults: cosine distance (so embeddings are normalised), target -1, the mean over all pairs together. For
    more than two classes -1 can't be reached, and unlike pairs outnumber the others: ``n_classes`` and
    ``balanced`` mend that. No other library is known to offer this loss.

    Parameters
    ----------
    classification_weight : float in [0, 1]
        w; at 1 no inputs are needed. Which end the paper calls lambda is from memory.
    n_classes : int, optional
        With K classes given the target of unlike pairs is ``-1 / (K - 1)``, the least that K directions can
        all have with each other.
    neighbors : int, optional
        Local variant: only the alike pairs in which the column is among the row's k nearest alike ones, by
        input cosine, keep their geometry; the others cost ``w (h - 1)^2``.
    balanced : bool
        Average alike and unlike pairs apart and add, instead of the mean over all pairs.
    centred : bool
        Take the mean of the inputs (of rows and columns together) off before their cosines.

    References
    ----------
    J. Huang, Q. Qiu, R. Calderbank, G. Sapiro, "Geometry-aware deep transform", 2015, section 3 (equations
    reconstructed from an independent implementation; numbers unverified).

    >>> loss = GeometryAware(classification_weight=1.0)
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> loss(x, [0, 0, 1])  # (0 - 1)^2, (0 + 1)^2 and (-1 + 1)^2, each both ways
    tensor(0.6667)
    """

    def __init__(
        self,
        *,
        classification_weight: float = 0.5,
        n_classes: int | None = None,
        neighbors: int | None = None,
        balanced: bool = False,
        centred: bool = True,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Cosine(), reduction=reduction, miner=miner)
        if not isinstance(self.distance, Cosine):
            raise InputError(f"distance must be Cosine; found {type(self.distance).__name__}")
        weight = positive("classification_weight", classification_weight, zero=True)
        if weight > 1:
            raise InputError(f"classification_weight must be at most 1; found {weight}")
        for name, number, least in (("n_classes", n_classes, 2), ("neighbors", neighbors, 1)):
            if number is not None and not (isinstance(number, int) and number >= least):
                raise InputError(f"{name} must be a whole number from {least}; found {number!r}")
        self.classification_weight = weight
        self.n_classes = n_classes
        self.neighbors = neighbors
        self.balanced = bool(balanced)
        self.centred = bool(centred)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # one graph break, as for every loss
    def forward(
        self,
        embeddings: Tensor,
        relation: Relation | Any,
        *,
        columns: Tensor | None = None,
        column_relation: Relation | Any = None,
        ids: Any = None,
        column_ids: Any = None,
        weights: Tensor | None = None,
        inputs: Tensor | None = None,
        column_inputs: Tensor | None = None,
    ) -> Tensor:
        """Evaluate the loss; see :meth:`likewise.losses.base.Loss.forward`.

        Parameters
        ----------
        inputs : (n, ...) tensor
            What the embeddings were made of; constants. Not needed at ``classification_weight=1``.
        column_inputs : (m, ...) tensor
            The same for columns, where they are given.
        """
        if inputs is None:
            if self.classification_weight < 1:
                raise InputError(
                    "inputs must be given: the targets need the cosines of what embeddings were made of"
                )
            bound = self
        else:
            bound = _WithInputs(self, _prepared(self, embeddings, columns, inputs, column_inputs))
            bound.scope = self.scope
        value: Tensor = super(GeometryAware, bound).forward(
            embeddings,
            relation,
            columns=columns,
            column_relation=column_relation,
            ids=ids,
            column_ids=column_ids,
            weights=weights,
        )
        return value

    def function(self) -> _Residuals:
        """One walk."""
        return _Residuals(self, None)


class _WithInputs(GeometryAware):
    """A geometry-aware loss together with the inputs of one call."""

    def __init__(self, loss: GeometryAware, inputs: _Inputs) -> None:
        super().__init__(
            classification_weight=loss.classification_weight,
            n_classes=loss.n_classes,
            neighbors=loss.neighbors,
            balanced=loss.balanced,
            centred=loss.centred,
            distance=loss.distance,
            reduction=loss.reduction,
            miner=loss.miner,
        )
        self._inputs = inputs

    def function(self) -> _Residuals:
        """One walk, with the inputs."""
        return _Residuals(self, self._inputs)


def _prepared(
    loss: GeometryAware,
    embeddings: Tensor,
    columns: Tensor | None,
    inputs: Tensor,
    column_inputs: Tensor | None,
) -> _Inputs:
    """Inputs of all processes, flattened, centred and at unit length."""
    if (columns is None) != (column_inputs is None):
        raise InputError("columns and column_inputs must be given together")
    flat = [_flat("inputs", inputs, embeddings)]
    if column_inputs is not None:
        flat.append(_flat("column_inputs", column_inputs, columns))
        if flat[0].shape[1] != flat[1].shape[1]:
            raise InputError(
                f"column_inputs must have {flat[0].shape[1]} numbers an item as inputs; "
                f"found {flat[1].shape[1]}"
            )
    group = world_group() if loss.scope == "global" else None
    if group is not None:
        flat = [group.gather(part, group.counts(part.shape[0], part.device)) for part in flat]
    if loss.centred and any(part.shape[0] for part in flat):
        mean = torch.cat(flat).mean(0)
        flat = [part - mean for part in flat]
    unit = [unit_rows(part) for part in flat]
    return _Inputs(unit[0], unit[-1])


def _flat(name: str, inputs: Tensor, embeddings: Tensor | None) -> Tensor:
    if not isinstance(inputs, Tensor) or not isinstance(embeddings, Tensor) or inputs.ndim < 1:
        raise InputError(f"{name} must be a torch tensor (n, ...); found {type(inputs).__name__}")
    if inputs.shape[0] != embeddings.shape[0]:
        raise InputError(
            f"{name} must be of as many items as embeddings: expected {embeddings.shape[0]}, "
            f"found {inputs.shape[0]}"
        )
    # said in full: an empty tensor, of a process without rows, doesn't tell its width from its size
    flat = inputs.detach().reshape(inputs.shape[0], math.prod(inputs.shape[1:]))
    return check_embeddings(name, flat if flat.is_floating_point() else flat.to(torch.float32))
