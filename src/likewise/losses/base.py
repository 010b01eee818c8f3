"""What every loss shares: its signature, its checks, and the way to the engine."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from likewise.distances import Distance, distance_from_name
from likewise.errors import InputError
from likewise.relations import Labels, Quadruplets, Relation, Resolved, Sides, Triplets, as_relation, join
from likewise.relations.labels import exact_labels
from likewise.table import TableFunction, TableRequest, WholeRows, table_value
from likewise.table.distributed import Group, own_slice, replicate, sharing, world_group
from likewise.table.halves import given_in

__all__ = [
    "Loss",
    "Miner",
    "ReductionName",
    "TableLoss",
    "check_device",
    "check_embeddings",
    "check_shape",
    "positive",
]

ReductionName = Literal["mean", "active", "sum", "none"]

_State = TypeVar("_State")


class Miner(Protocol):
    """A relation in, a smaller relation out, chosen by the distances of the embeddings."""

    def __call__(
        self, embeddings: Tensor, relation: Resolved, *, columns: Tensor | None, distance: Distance
    ) -> Resolved:
        """Choose."""


def positive(name: str, value: float, *, zero: bool = False) -> float:
    """A finite number above zero (or not below it)."""
    if not (isinstance(value, int | float) and value < float("inf") and (value >= 0 if zero else value > 0)):
        raise InputError(f"{name} must be a number {'not below' if zero else 'above'} zero; found {value!r}")
    return float(value)


def check_shape(name: str, embeddings: Tensor) -> Tensor:
    """Embeddings (n, d), floating, in float32 or float64.

    Raises
    ------
    InputError
    """
    if not isinstance(embeddings, Tensor):
        raise InputError(f"{name} must be a torch tensor (n, d); found {type(embeddings).__name__}")
    if embeddings.ndim != 2 or not embeddings.is_floating_point():
        raise InputError(
            f"{name} must be floating of shape (n, d); found {embeddings.dtype} {tuple(embeddings.shape)}"
        )
    return embeddings.float() if embeddings.dtype in (torch.float16, torch.bfloat16) else embeddings


def check_embeddings(name: str, embeddings: Tensor) -> Tensor:
    """Embeddings (n, d), floating and finite, in float32 or float64.

    Raises
    ------
    InputError
    """
    raised = check_shape(name, embeddings)
    # one pass without an array of flags; a sum can overflow too, so only then look at each
    if not math.isfinite(float(embeddings.detach().sum())) and not bool(torch.isfinite(embeddings).all()):
        row = int((~torch.isfinite(embeddings)).any(1).nonzero()[0])
        raise InputError(f"{name} must be finite; found NaN or infinity in row {row}")
    return raised


def _without_autocast(device: str) -> AbstractContextManager[Any]:
    """Sums are taken in the dtype of the embeddings; leaving autocast takes longer than asking for it."""
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def _given_in(embeddings: Any, columns: Any) -> AbstractContextManager[Any]:
    """Remember what was given in half precision."""
    if not isinstance(embeddings, Tensor) or embeddings.dtype not in (torch.float16, torch.bfloat16):
        return nullcontext()
    return given_in(embeddings.dtype, columns.dtype if isinstance(columns, Tensor) else None)


def check_device(name: str, relation: Relation, rows: Tensor) -> Relation:
    """A relation whose labels are where the embeddings are, or on the CPU, where data comes from.

    Raises
    ------
    InputError
    """
    values = relation._values if isinstance(relation, Labels) else None
    if isinstance(values, Tensor) and values.device not in (rows.device, torch.device("cpu")):
        raise InputError(f"{name} must be on {rows.device} as embeddings; found {values.device}")
    return relation


def _check_ids(name: str, ids: Any, count: int, device: torch.device) -> Tensor | None:
    if ids is None:
        return None
    values = exact_labels(ids, name)
    if not isinstance(values, Tensor) or values.shape != (count,):
        raise InputError(f"{name} must be integers of shape ({count},); found shape {tuple(values.shape)}")
    return values.to(device=device, dtype=torch.int64)


def _own_values(group: Group, relation: Relation, counts: list[int], found: int) -> list[int]:
    """How many of the values of ``reduction="none"`` are each process's own.

    A value an item, or an entry of the list that the process gave; mined entries are nobody's own and are
    dealt out in turn.
    """
    listed = getattr(relation, "n_entries", None)
    if listed is not None:
        entries = group.counts(int(listed), torch.device("cpu"))
        if sum(entries) == found and (sum(counts) != found or isinstance(relation, Triplets | Quadruplets)):
            return entries
    if found == sum(counts):
        return counts
    return [last - first for first, last in group.share(found)]


class Loss(nn.Module):
    """A loss over a table of distances.

    Parameters
    ----------
    distance : Distance or str
        What the table holds, itself or by its name, as ``"cosine"``
        (:func:`~likewise.distances.distance_from_name`). Its parameters are learned with the loss.
    reduction : {"mean", "active", "sum", "none"}
        Over all terms, over those not zero, their sum, or each row's sum. Divisors are counts and are
        not differentiated.
    miner : Miner, optional
        Makes the relation smaller before the loss reads it.

    With several processes (``torch.distributed`` initialised) a loss sees the global batch: every process
    returns the same value, equal to a single process's; the gradient of its own rows is the number of
    processes times the global one, so that DistributedDataParallel's average is exact. Setting
    ``loss.scope = "local"`` turns that off.
    """

    scope: Literal["global", "local"] = "global"
    columns_are_shared: ClassVar[bool] = False
    """Whether relations speak of columns that every process has in full, as the vectors of classes."""
    default_reduction: ClassVar[ReductionName] = "mean"

    def __init__(
        self,
        *,
        distance: Distance | str,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__()
        reduction = self.default_reduction if reduction is None else reduction
        if reduction not in ("mean", "active", "sum", "none"):
            raise InputError(f'reduction must be "mean", "active", "sum" or "none"; found {reduction!r}')
        self.distance = distance_from_name(distance)
        self.reduction: ReductionName = reduction
        self.miner = miner

    @abstractmethod
    def function(self) -> TableFunction[Any] | WholeRows:
        """The mathematics of the loss over tiles."""

    def check(self, embeddings: Any, columns: Any) -> None:  # noqa: ARG002
        """Refuse, as an InputError, embeddings that aren't what this loss reads."""
        return

    def walked(self, rows: Tensor, columns: Tensor | None, resolved: Resolved) -> Distance:  # noqa: ARG002
        """The distance, or another that gives the same loss of this table more exactly."""
        return self.distance

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # a walk is a loop of its own: one graph break
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
    ) -> Tensor:
        """Evaluate the loss.

        Parameters
        ----------
        embeddings : (n, d) floating tensor
            The rows. float16 and bfloat16 are raised to float32, in which sums are taken.
        relation : Relation or labels (n,)
        columns : (m, d) tensor, optional
            The columns, where they aren't the rows.
        column_relation : Relation or labels (m,), optional
            Needed with ``columns`` where the relation doesn't speak of them itself.
        ids, column_ids : (n,), (m,) integers, optional
            Row and column of equal ids are one item, neither near nor far. Without them position is
            the id; with ``columns`` nothing is excluded.
        weights : (n,) tensor, optional
            Each row's terms are multiplied with its weight; divisors stay counts.

        Returns
        -------
        Tensor
            A scalar, or with ``reduction="none"`` a value for each row of the table (n,).

        Raises
        ------
        InputError
            Shapes, lengths, dtypes or devices that don't fit; NaN or infinity.
        UnsupportedError
            In a double backward.
        """
        self.check(embeddings, columns)
        device = embeddings.device.type if isinstance(embeddings, Tensor) else "cpu"
        with _without_autocast(device), _given_in(embeddings, columns):
            rows = check_embeddings("embeddings", embeddings)
            if columns is not None:
                columns = check_embeddings("columns", columns).to(rows.dtype)
                if columns.device != rows.device:
                    raise InputError(
                        f"columns must be on {rows.device} as embeddings; found {columns.device}"
                    )
            relation = check_device("labels", as_relation(relation), rows)
            if column_relation is not None:
                column_relation = check_device("column_relation", as_relation(column_relation), rows)
            group = world_group() if self.scope == "global" else None
            if group is None:
                return self._at_levels(rows, relation, columns, column_relation, ids, column_ids, weights)
            return self._evaluate_shared(
                group, rows, relation, columns, column_relation, ids, column_ids, weights
            )

    def _evaluate_shared(
        self,
        group: Group,
        rows: Tensor,
        relation: Relation,
        columns: Tensor | None,
        column_relation: Relation | None,
        ids: Any,
        column_ids: Any,
        weights: Tensor | None,
    ) -> Tensor:
        """Evaluate the loss of the global batch, of which this process holds a part."""
        device = rows.device
        counts = group.counts(rows.shape[0], device)
        column_counts = counts if columns is None else group.counts(columns.shape[0], device)
        places = None if self.columns_are_shared else column_counts

        def joined(own: Relation | None) -> Relation | None:
            return None if own is None else join(group.gather_objects(own), counts, places)

        def column_joined(own: Relation | None) -> Relation | None:
            return None if own is None else join(group.gather_objects(own), column_counts, places)

        def gathered(own: Tensor | None, of: list[int]) -> Tensor | None:
            return None if own is None else group.gather(own, of)

        row_ids = gathered(_check_ids("ids", ids, rows.shape[0], device), counts)
        n_columns = rows.shape[0] if columns is None else columns.shape[0]
        other_ids = gathered(_check_ids("column_ids", column_ids, n_columns, device), column_counts)
        whole = joined(relation)
        assert whole is not None
        if weights is not None:
            weights = replicate(self._check_weights(weights, None, rows), group, counts)
        with sharing(group):
            value = self._at_levels(
                replicate(rows, group, counts),
                whole,
                None if columns is None else replicate(columns, group, column_counts),
                column_joined(column_relation),
                row_ids,
                other_ids,
                weights,
            )
        if self.reduction != "none":
            return value
        return own_slice(value, group, _own_values(group, relation, counts, value.shape[0]))

    def _at_levels(
        self,
        rows: Tensor,
        relation: Relation,
        columns: Tensor | None,
        column_relation: Relation | None,
        ids: Any,
        column_ids: Any,
        weights: Tensor | None,
    ) -> Tensor:
        """Evaluate at each level of a hierarchy, and add up; elsewhere there is one level."""
        mine = relation.by_level() if isinstance(relation, Labels) else [(1.0, relation)]
        others: list[Relation | None] = [column_relation] * len(mine)
        if isinstance(column_relation, Labels):
            others = [labels for _, labels in column_relation.by_level()]
        if len(mine) != len(others):
            raise InputError(
                f"rows and columns must have the same levels; found {len(mine)} and {len(others)}"
            )
        if len(mine) == 1 and mine[0][0] == 1.0:
            return self._evaluate(rows, mine[0][1], columns, others[0], ids, column_ids, weights)
        values = [
            weight * self._evaluate(rows, own, columns, other, ids, column_ids, weights)
            for (weight, own), other in zip(mine, others, strict=True)
        ]
        return torch.stack(values).sum(0)

    def _evaluate(
        self,
        rows: Tensor,
        relation: Relation,
        columns: Tensor | None,
        column_relation: Relation | None,
        ids: Any,
        column_ids: Any,
        weights: Tensor | None,
    ) -> Tensor:
        """Resolve the relation, mine, and walk."""
        n_columns = rows.shape[0] if columns is None else columns.shape[0]
        row_ids = _check_ids("ids", ids, rows.shape[0], rows.device)
        other_ids = _check_ids("column_ids", column_ids, n_columns, rows.device)
        if columns is None and row_ids is not None and other_ids is None:
            other_ids = row_ids
        if (row_ids is None) != (other_ids is None):
            raise InputError("ids and column_ids must be given together")
        sides = Sides(rows.shape[0], n_columns, columns is None, rows.device, row_ids, other_ids)
        resolved = relation.resolve(column_relation, sides)
        if self.miner is not None:
            resolved = self.miner(rows.detach(), resolved, columns=columns, distance=self.distance)
        if weights is not None:
            weights = self._check_weights(weights, resolved, rows)
        request = TableRequest(
            self.function(), self.walked(rows, columns, resolved), resolved, self.reduction
        )
        value: Tensor
        value, outcome = table_value(request, rows, columns, weights)
        if outcome.terms == 0:
            self.warn_of_nothing()
        return value

    def warn_of_nothing(self, what: str = "no positive pair (or nothing to compare it with)") -> None:
        """Say that a batch had nothing to learn from."""
        warnings.warn(
            f"{type(self).__name__}: the batch has {what}, so the loss is zero; raise the samples a class in "
            "a batch",
            UserWarning,
            stacklevel=6,
        )

    def _check_weights(self, weights: Tensor, resolved: Resolved | None, rows: Tensor) -> Tensor:
        """Weights of the table's rows: (n_rows,)."""
        if not isinstance(weights, Tensor) or weights.shape != (rows.shape[0],):
            found = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
            raise InputError(f"weights must be a tensor of shape ({rows.shape[0]},); found {found}")
        if weights.device != rows.device:
            raise InputError(f"weights must be on {rows.device} as embeddings; found {weights.device}")
        weights = weights.to(rows.dtype)
        return weights if resolved is None or resolved.anchors is None else weights[resolved.anchors]


class TableLoss(Loss, TableFunction[_State]):
    """A loss whose module holds its own mathematics over tiles."""

    def function(self) -> TableFunction[Any]:
        """The loss itself."""
        return self
