"""Geometry-aware deep transform: cosines of embeddings regressed on classes and on the input's geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance, Form, ProductDistance, unit_rows
from likewise.errors import InputError
from likewise.losses.base import Miner, ReductionName, check_embeddings, positive
from likewise.losses.composed import ComposedLoss, Table
from likewise.relations import Block, Cells, Relation, Resolved
from likewise.table import Near, Part, Rows, TableFunction, Tile
from likewise.table.distributed import active_group, world_group

__all__ = ["GeometryAware"]


class _CosineResidual(ProductDistance):
    """``-(cos(x, z) - w cos(a, b))`` for rows and columns that are embedding and unit input side by side."""

    form = Form.NEGATIVE_PRODUCT

    def __init__(self, dimension: int, weight: float) -> None:
        super().__init__()
        self._dimension, self._scale = dimension, weight**0.5

    def _features(self, x: Tensor, sign: float) -> Tensor:
        embeddings = unit_rows(x[..., : self._dimension])
        if not self._scale:
            return embeddings
        return torch.cat([embeddings, x[..., self._dimension :] * (sign * self._scale)], dim=-1)

    def features(self, x: Tensor) -> Tensor:
        return self._features(x, 1.0)

    def column_features(self, y: Tensor) -> Tensor:
        return self._features(y, -1.0)


@dataclass
class _Squares:
    near: Near
    error: Tensor  # (r, p); zero where not valid
    value: Tensor  # (r,) far terms so far
    active: Tensor  # (r,)


class _SquaredResidual(TableFunction[_Squares]):
    """``factor (-d - target)^2``, with a target for the near cells and one for the far ones."""

    def __init__(self, near_target: float, far_target: float, factor: float = 1.0) -> None:
        self._near_target, self._far_target, self._factor = near_target, far_target, factor
        self._active = 0.0

    def active(self, like: Tensor) -> float:
        """How many terms of the last walk weren't zero, those of other processes' shares included."""
        count = like.new_tensor([self._active], dtype=torch.float64)
        group = active_group()
        return float(count if group is None else group.add(count))

    def begin(self, near: Near) -> _Squares:
        error = (near.distances + self._near_target).masked_fill_(~near.valid, 0.0)
        return _Squares(near, error, torch.zeros_like(near.count), torch.zeros_like(near.count))

    def _far_error(self, tile: Tile) -> Tensor:
        # a cosine's distance is at most 1: what lies at infinity is cut off and multiplied away
        there = torch.lt(tile.distances, 2.0, out=torch.empty_like(tile.distances))
        return tile.distances.clamp(max=2.0).add_(self._far_target).mul_(there)

    def observe(self, tile: Tile, state: _Squares) -> None:
        error = self._far_error(tile)
        state.active += error.sign().abs_().sum(1)
        state.value += error.square_().sum(1)

    def finish(self, state: _Squares) -> Rows:
        value = (state.error.square().sum(1) + state.value) * self._factor
        active = state.error.sign().abs_().sum(1) + state.active
        self._active += float(active.sum())
        return Rows(joint=Part(value, state.near.count + state.near.far_count, active))

    def slope(self, tile: Tile, state: _Squares) -> Tensor:  # noqa: ARG002
        return self._far_error(tile).mul_(2.0 * self._factor)

    def near_slope(self, state: _Squares) -> Tensor:
        return state.error * (2.0 * self._factor)


class _Part(Resolved):
    """A relation of which only the far cells, or only some near cells, are left."""

    def __init__(self, resolved: Resolved, part: str, keep: _Nearest | None = None) -> None:
        self.n_rows, self.n_columns = resolved.n_rows, resolved.n_columns
        self.anchors, self.longest = resolved.anchors, resolved.longest
        self.far_is_listed = part != "far" or resolved.far_is_listed
        self._resolved, self._part, self._keep = resolved, part, keep

    def block(self, start: int, stop: int) -> Block:
        block = self._resolved.block(start, stop)
        empty = Cells(block.near.columns[:, :0], block.near.valid[:, :0])
        if self._part == "far":
            hidden = block.near if block.hidden is None and block.mask is None else block.hidden
            return Block(block.n_columns, empty, block.far, hidden, block.mask)
        near = block.near
        if self._keep is not None:
            valid = self._keep.among(near, start, stop)
            valid = valid if self._part == "nearest" else near.valid & ~valid
            near = Cells(near.columns, valid, near.anchors)
        return Block(block.n_columns, near, far=empty)


@dataclass(frozen=True)
class _Nearest:
    """Which near cells are among a row's k of largest input cosine; ties go to the first listed."""

    k: int
    rows: Tensor  # (n, e) unit inputs
    columns: Tensor  # (m, e)
    anchors: Tensor | None

    def among(self, near: Cells, start: int, stop: int) -> Tensor:
        own = near.anchors
        if own is None:
            numbers = torch.arange(start, stop, device=self.rows.device)
            own = (numbers if self.anchors is None else self.anchors[start:stop])[:, None]
        # a slot of all rows at a time, so that no (rows, slots, e) array is held
        found = [
            (self.rows[own.expand_as(near.columns)[:, slot]] * self.columns[near.columns[:, slot]]).sum(1)
            for slot in range(near.columns.shape[1])
        ]
        if not found:
            return near.valid
        cosines = torch.stack(found, dim=1).masked_fill_(~near.valid, -torch.inf)
        order = torch.argsort(cosines, dim=1, descending=True, stable=True)
        chosen = torch.zeros_like(near.valid).scatter_(1, order[:, : self.k], True)
        return chosen & near.valid


class GeometryAware(ComposedLoss):
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
        distance: Distance | None = None,
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

    def compose(self, table: Table) -> Tensor:
        """One walk over the far cells, and one or two over listed near cells."""
        return self._compose(table, None)

    def _compose(self, table: Table, inputs: tuple[Tensor, Tensor | None] | None) -> Tensor:
        weight = self.classification_weight
        dimension = table.rows.shape[1]
        far_target = -1.0 if self.n_classes is None else -1.0 / (self.n_classes - 1)
        cosine = _CosineResidual(dimension, 0.0)
        far = _SquaredResidual(0.0, far_target)
        far_value, far_terms = self._sums(table, far, cosine, _Part(table.resolved, "far"))
        residual, near_table, keep = cosine, table, None
        if inputs is not None:
            row_inputs, column_inputs = inputs
            columns = None
            if column_inputs is not None:
                columns = torch.cat([table.other, column_inputs.to(table.rows.dtype)], dim=1)
            rows = torch.cat([table.rows, row_inputs.to(table.rows.dtype)], dim=1)
            near_table = Table(rows, columns, table.resolved, table.weights)
            residual = _CosineResidual(dimension, 1.0 - weight)
            if self.neighbors is not None:
                other = row_inputs if column_inputs is None else column_inputs
                keep = _Nearest(self.neighbors, row_inputs, other, table.resolved.anchors)
        near = _SquaredResidual(weight, 0.0)
        part = _Part(table.resolved, "near" if keep is None else "nearest", keep)
        near_value, near_terms = self._sums(near_table, near, residual, part)
        counted = [near]
        if keep is not None:
            others = _SquaredResidual(1.0, 0.0, weight)
            value, terms = self._sums(table, others, cosine, _Part(table.resolved, "others", keep))
            near_value = near_value + value
            near_terms += terms
            counted += [others] if weight else []
        self.warn_if_empty(near_terms + far_terms)
        if self.reduction == "none" or self.reduction == "sum":
            return near_value + far_value
        counts = (near_terms, far_terms)
        if self.reduction == "active":
            counts = (sum(part.active(table.rows) for part in counted), far.active(table.rows))
        if self.balanced:
            return near_value / max(1.0, counts[0]) + far_value / max(1.0, counts[1])
        return (near_value + far_value) / max(1.0, sum(counts))

    def _sums(
        self, table: Table, function: _SquaredResidual, distance: Distance, part: Resolved
    ) -> tuple[Tensor, float]:
        return table.value(function, distance, "none" if self.reduction == "none" else "sum", part)


class _WithInputs(GeometryAware):
    """A geometry-aware loss together with the inputs of one call."""

    def __init__(self, loss: GeometryAware, inputs: tuple[Tensor, Tensor | None]) -> None:
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

    def compose(self, table: Table) -> Tensor:
        """As without inputs, with them."""
        return self._compose(table, self._inputs)


def _prepared(
    loss: GeometryAware,
    embeddings: Tensor,
    columns: Tensor | None,
    inputs: Tensor,
    column_inputs: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """Inputs of all processes, flattened, centred and at unit length; those of columns where given."""
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
    return unit[0], unit[1] if len(unit) > 1 else None


def _flat(name: str, inputs: Tensor, embeddings: Tensor | None) -> Tensor:
    if not isinstance(inputs, Tensor) or not isinstance(embeddings, Tensor) or inputs.ndim < 1:
        raise InputError(f"{name} must be a torch tensor (n, ...); found {type(inputs).__name__}")
    if inputs.shape[0] != embeddings.shape[0]:
        raise InputError(
            f"{name} must be of as many items as embeddings: expected {embeddings.shape[0]}, "
            f"found {inputs.shape[0]}"
        )
    width = inputs[0].numel() if inputs.shape[0] else 1
    flat = inputs.detach().reshape(inputs.shape[0], width)
    return check_embeddings(name, flat if flat.is_floating_point() else flat.to(torch.float32))
