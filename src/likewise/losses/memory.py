"""Cross-batch memory: a table loss whose columns are the embeddings of earlier batches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likewise.errors import InputError, UnsupportedError
from likewise.losses.base import Loss, _check_ids, check_device, check_embeddings, positive
from likewise.losses.weighted import share_distance
from likewise.relations import Chunklets, Labels, Relation, as_relation
from likewise.table import TableFunction, WholeRows
from likewise.table.distributed import world_group

__all__ = ["CrossBatchMemory"]

_KINDS = (
    "nothing",
    "integers",
    "strings",
    "a table of labels",
    "chunklets",
    "integers of several levels",
    "strings of several levels",
)
_NAMED = (2, 6)
"""Which of the kinds are numbers that stand for names."""
_OWN_IDS = -(2**62)
"""Where the ids begin that are given to items without one, going up; far from any position."""
_OWN_IDS_EACH = 2**44
"""How many such ids each process has to give."""


@dataclass(frozen=True)
class _Supervision:
    """Labels as arrays: which kind, values (n,) or (n, k), and for strings what the values stand for."""

    kind: int
    values: Tensor
    names: tuple[str, ...] = ()


class CrossBatchMemory(Loss):
    r"""Cross-batch memory (XBM): compare a batch with the last embeddings of earlier ones (Wang et al. 2020).

    A queue holds embeddings without gradient, their labels and their ids. Each call in training puts the
    batch into the queue, over the oldest entries, and evaluates the wrapped loss with the batch as rows and
    the queue as columns. An item is never compared with itself: entries of its own id (the batch's entries,
    and with ``ids=`` its entries from earlier epochs) are neither near nor far. In ``eval()`` the batch is
    compared with itself and the queue, and the queue stays as it is.

    Queue, pointer, count, labels and ids are buffers: with ``state_dict`` training goes on to the bit.
    Labels are kept exactly: integers, strings, several labels an item, levels of a hierarchy, or chunklets.
    Lists (pairs, scores, triplets, quadruplets, a mask) speak of the batch's own rows and say nothing of
    earlier ones: their loss is that of the batch alone, and the memory stays as it is. With several processes
    each keeps a queue of its own batches, and the columns are those of all.

    Defaults: the distance, normalisation and reduction of the wrapped loss; the loss of the memory alone, as
    in the paper. The authors' code adds the loss of the batch alone (``batch_weight=1``) and begins with the
    memory after 1,000 steps (from memory). pytorch-metric-learning's CrossBatchMemory is the same at
    ``batch_weight=0`` without ``ids=``, keeps labels as they come, and no pointer in its state.

    Parameters
    ----------
    loss : Loss
        Any loss that takes columns.
    dimension : int
        d of the embeddings.
    size : int
        How many embeddings are held; at least a batch.
    batch_weight : float, 0 or more
        Adds this times the loss of the batch alone.
    attached : bool
        Let the gradient flow through the batch's own entries too; the paper doesn't.

    References
    ----------
    X. Wang, H. Zhang, W. Huang, M. Scott, "Cross-batch memory for embedding learning", 2020, algorithm 1 and
    equation 3 (numbers from memory).

    >>> from likewise.losses import Contrastive
    >>> loss = CrossBatchMemory(Contrastive(margin=2.0), 1, size=4)
    >>> first = loss(torch.tensor([[0.0], [4.0]]), [0, 1])
    >>> loss(torch.tensor([[1.0], [5.0]]), [0, 1])  # each is 1 from its like in the queue
    tensor(0.5000)
    """

    queue: Tensor
    labels: Tensor
    ids: Tensor
    names: Tensor
    kind: Tensor
    pointer: Tensor
    filled: Tensor
    next_id: Tensor

    def __init__(
        self,
        loss: Loss,
        dimension: int,
        *,
        size: int = 1024,
        batch_weight: float = 0.0,
        attached: bool = False,
    ) -> None:
        if not isinstance(loss, Loss):
            raise InputError(f"loss must be a likewise Loss; found {type(loss).__name__}")
        for name, number in (("dimension", dimension), ("size", size)):
            if not isinstance(number, int) or number < 1:
                raise InputError(f"{name} must be a whole number from 1; found {number!r}")
        super().__init__(distance=loss.distance, reduction=loss.reduction)
        share_distance(self, loss)
        self.loss = loss
        self.size = size
        self.batch_weight = positive("batch_weight", batch_weight, zero=True)
        self.attached = bool(attached)
        self.register_buffer("queue", torch.zeros(size, dimension))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("ids", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("names", torch.zeros(0, dtype=torch.uint8))
        for name, start in (("kind", 0), ("pointer", 0), ("filled", 0), ("next_id", _OWN_IDS)):
            self.register_buffer(name, torch.tensor(start, dtype=torch.int64))

    def function(self) -> TableFunction[Any] | WholeRows:
        """Not there: the memory decides what the table is.

        Raises
        ------
        UnsupportedError
        """
        raise UnsupportedError("CrossBatchMemory isn't a walk of its own: call the loss itself")

    def reset(self) -> None:
        """Forget everything held."""
        for buffer in (self.queue, self.kind, self.pointer, self.filled):
            buffer.zero_()
        self.labels = torch.zeros(self.size, dtype=torch.int64, device=self.queue.device)
        self.names = self.names[:0]

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
    ) -> Tensor:
        """Evaluate the wrapped loss against the memory, and in training remember the batch.

        Parameters
        ----------
        embeddings : (n, d) floating tensor
        relation : Relation or labels (n,)
        ids : (n,) integers, optional
            Who each item is across batches (its number in the data set). Give them always or never.
        weights : (n,) tensor, optional

        Raises
        ------
        InputError
            Another dimension, dtype or kind of label than the memory's; a batch larger than the memory;
            columns; Matches, which need them.
        """
        if columns is not None or column_relation is not None or column_ids is not None:
            raise InputError("columns can't be given: the memory is the columns")
        rows = check_embeddings("embeddings", embeddings)
        n = rows.shape[0]
        if rows.shape[1] != self.queue.shape[1] or n > self.size:
            raise InputError(
                f"embeddings must have shape (at most {self.size}, {self.queue.shape[1]}), as the memory; "
                f"found {tuple(rows.shape)}"
            )
        if rows.dtype == torch.float64 and self.queue.dtype != torch.float64:
            raise InputError("embeddings are float64 and the memory is not: call .double() on the loss first")
        relation = check_device("labels", as_relation(relation), rows)
        if not isinstance(relation, Labels | Chunklets):
            # nothing is known between this batch and what is held
            alone: Tensor = self.loss(embeddings, relation, ids=ids, weights=weights)
            return alone + self.batch_weight * alone if self.batch_weight else alone
        batch = _supervision(relation, n)
        held, batch = self._remembered(batch)
        device = self.queue.device
        item_ids = _check_ids("ids", ids, n, rows.device)
        given = item_ids is not None
        if item_ids is None:
            group = world_group()
            first = self.next_id + (0 if group is None else group.rank * _OWN_IDS_EACH)
            item_ids = torch.arange(n, device=device) + first
        kept = rows if self.attached else rows.detach()
        # new arrays instead of writing into the old ones, which graphs of earlier batches may still read
        if self.training:
            place = (torch.arange(n, device=device) + self.pointer) % self.size
            queue = self.queue.index_copy(0, place, kept.to(self.queue.dtype))
            values = held.values.index_copy(0, place, batch.values)
            all_ids = self.ids.index_copy(0, place, item_ids)
            filled = min(self.size, int(self.filled) + n)
        else:
            count = int(self.filled)
            queue = torch.cat([kept.to(self.queue.dtype), self.queue[:count]])
            values = torch.cat([batch.values, held.values[:count]])
            all_ids = torch.cat([item_ids, self.ids[:count]])
            filled = n + count
        value: Tensor = self.loss(
            embeddings,
            relation,
            columns=queue[:filled],
            column_relation=_relation(relation, values[:filled], held.names),
            ids=item_ids,
            column_ids=all_ids[:filled],
            weights=weights,
        )
        if self.batch_weight:
            value = value + self.batch_weight * self.loss(embeddings, relation, ids=item_ids, weights=weights)
        if self.training and n:
            self.queue, self.labels, self.ids = queue.detach(), values, all_ids
            self.names = _bytes(held.names).to(device)
            self.kind.fill_(held.kind)
            self.filled.fill_(filled)
            self.pointer.add_(n).remainder_(self.size)
            if not given:
                self.next_id.add_(n)
        return value

    def _remembered(self, batch: _Supervision) -> tuple[_Supervision, _Supervision]:
        """The labels of the whole queue and of the batch, under common names."""
        device = self.queue.device
        values, count = batch.values.to(device), int(self.filled)
        if not count:
            empty = values.new_zeros((self.size, *values.shape[1:]))
            return _Supervision(batch.kind, empty, batch.names), _Supervision(batch.kind, values, batch.names)
        kind = int(self.kind)
        if kind != batch.kind:
            raise InputError(
                f"labels must be {_KINDS[kind]} as those in the memory; found {_KINDS[batch.kind]}"
            )
        labels = self.labels
        if labels.shape[1:] != values.shape[1:]:
            raise InputError(
                f"label tables must have {labels.shape[1]} columns as the memory's; found {values.shape[1]}"
            )
        if kind not in _NAMED:
            return _Supervision(kind, labels), _Supervision(kind, values)
        # names that no entry bears any more are dropped, so that they don't pile up
        names = json.loads(bytes(self.names.tolist()))
        used = {names[code] for code in torch.unique(labels[:count]).tolist()}
        common = tuple(sorted(used | set(batch.names)))
        place = {name: code for code, name in enumerate(common)}
        mine = torch.tensor([place.get(name, 0) for name in names], device=device)
        theirs = torch.tensor([place[name] for name in batch.names], dtype=torch.int64, device=device)
        return _Supervision(kind, mine[labels], common), _Supervision(kind, theirs[values], common)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Take labels and names of whatever kind and number the saved memory holds."""
        for name in ("labels", "names"):
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor):
                setattr(self, name, torch.zeros_like(saved, device=self.queue.device))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _supervision(relation: Labels | Chunklets, n: int) -> _Supervision:
    """A batch's labels as arrays.

    Raises
    ------
    InputError
        The relation speaks of another number of items.
    """
    if relation.n_items != n:
        raise InputError(
            f"labels must speak of as many items as there are embeddings: expected {n}, "
            f"found {relation.n_items}"
        )
    if isinstance(relation, Chunklets):
        return _Supervision(4, relation.chunklets)
    values, levels = relation._values, relation._levels is not None
    if isinstance(values, Tensor):
        return _Supervision(5 if levels else 3 if values.ndim == 2 else 1, values)
    names, codes = np.unique(values, return_inverse=True)
    numbers = torch.from_numpy(codes.reshape(values.shape))
    return _Supervision(6 if levels else 2, numbers, tuple(names.tolist()))


def _relation(relation: Relation, values: Tensor, names: tuple[str, ...]) -> Relation:
    """The relation of the columns, of the kind of the batch's."""
    if isinstance(relation, Labels):
        labels = np.array(names)[values.cpu().numpy()] if names else values
        return Labels(labels, unlabelled=relation._unlabelled, levels=relation._levels)
    return Chunklets(values)


def _bytes(names: tuple[str, ...]) -> Tensor:
    """Names as bytes, which a state of tensors can hold."""
    text = json.dumps(names) if names else ""
    return torch.tensor(list(text.encode("ascii")), dtype=torch.uint8)
