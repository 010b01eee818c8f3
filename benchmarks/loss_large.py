"""Losses where others can't follow: all triplets of 65,536, a million classes, a memory of 65,536.

Each measurement runs in a child process of its own and prints one line of JSON, so that peaks of memory
are its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from contenders import Batch, Contender, Size, make_batch
from dense import cosines
from harness import best_of, own_peak_megabytes
from loss_cases import CASES
from pytorch_metric_learning import distances as their_distances
from pytorch_metric_learning import losses as theirs
from torch import Tensor

from likewise import losses

__all__ = ["MEMORY_LOSSES", "measure", "memory_contender", "peak", "works"]

MEMORY_LOSSES = ("Contrastive", "SupCon")


def _dense_contrastive(x: Tensor, y: Tensor, queue: Tensor, labels: Tensor, own: Tensor) -> Tensor:
    """The unsquared contrastive loss against a memory, over the terms not zero; own: each row's entry."""
    distances = torch.cdist(x, queue)
    same = y[:, None] == labels
    far = (1.5 - distances).relu().masked_fill(same, 0.0)
    near = distances * same.scatter(1, own[:, None], False)
    return near.sum() / (near > 0).sum() + far.sum() / (far > 0).sum()


def _dense_sup_con(x: Tensor, y: Tensor, queue: Tensor, labels: Tensor, own: Tensor) -> Tensor:
    """Supervised contrastive against a memory; own: each row's entry."""
    logits = (cosines(x, queue) / 0.1).scatter(1, own[:, None], -torch.inf)
    near = (y[:, None] == labels).scatter(1, own[:, None], False)
    chance = logits.log_softmax(1).masked_fill(~near, 0.0)
    return -(chance.sum(1) / near.sum(1)).mean()


def _ours(name: str, batch: Batch, queue: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    loss: losses.Loss = losses.SupCon()
    if name == "Contrastive":
        loss = losses.Contrastive(margin=1.5, squared=False, reduction="active")
    size, dimension = queue.shape
    memory = losses.CrossBatchMemory(loss, dimension, size=size)
    memory(batch.x, batch.y)  # from now on it holds integers
    state = memory.state_dict()
    state |= {"queue": queue, "labels": labels, "ids": torch.arange(size) + state["next_id"]}
    state |= {"filled": torch.tensor(size), "pointer": torch.tensor(0), "next_id": state["next_id"] + size}
    memory.load_state_dict(state)
    return lambda x: memory(x, batch.y)


def _theirs(name: str, batch: Batch, queue: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    plain = their_distances.LpDistance(normalize_embeddings=False)
    loss = theirs.SupConLoss(temperature=0.1)
    if name == "Contrastive":
        loss = theirs.ContrastiveLoss(neg_margin=1.5, distance=plain)
    memory = theirs.CrossBatchMemory(loss, queue.shape[1], memory_size=queue.shape[0])
    memory.embedding_memory, memory.label_memory = queue.clone(), labels.clone()
    memory.has_been_filled = True
    return lambda x: memory(x, batch.y)


def _dense(name: str, batch: Batch, queue: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    own = torch.arange(batch.x.shape[0])
    function = {"Contrastive": _dense_contrastive, "SupCon": _dense_sup_con}[name]

    def value(x: Tensor) -> Tensor:
        queue[own], labels[own] = x.detach(), batch.y
        return function(x, batch.y, queue, labels, own)

    return value


def memory_contender(name: str, who: str, *, n: int, d: int, size: int) -> Contender:
    """A loss against a full memory: ours, theirs, or dense; 32 entries a class."""
    batch = make_batch(Size(n, d, 4))
    queue = torch.nn.functional.normalize(batch.more(size, d))
    labels = torch.arange(size) % max(n // 4, size // 32)
    build = {"ours": _ours, "theirs": _theirs, "dense": _dense}[who]
    x, function = batch.x.clone().requires_grad_(), build(name, batch, queue, labels)
    return Contender(lambda: function(x), [x])


def _products(n: int, d: int, size: int) -> Callable[[], object]:
    """The two products that a batch against a memory can't do without, tile by tile."""
    x = make_batch(Size(n, d, 4)).x
    queue, tile, gradient = torch.randn(size, d), torch.empty(n, 1024), torch.zeros_like(x)

    def work() -> object:
        for first in range(0, size, 1024):
            columns = queue[first : first + 1024]
            gradient.addmm_(torch.mm(x, columns.T, out=tile), columns)
        return gradient

    return work


def _contender(task: str, name: str, who: str, n: int, d: int, other: int) -> Contender:
    if task == "memory":
        return memory_contender(name, who, n=n, d=d, size=other)
    case = CASES[name]
    builder = {"ours": case.ours, "theirs": case.theirs, "dense": case.dense}[who]
    assert builder is not None
    if task == "classes":
        return builder(make_batch(Size(n, d, 4), classes=other))
    return builder(make_batch(Size(n, d, other)))


def peak(task: str, name: str, who: str, n: int, d: int, other: int) -> dict[str, float]:
    """Time of one step, after a small one, and its peak memory beyond what the inputs take.

    task : "batch" (``other`` is the items a class), "classes" (how many) or "memory" (its size).
    """
    _contender(task, name, who, 32, d, {"batch": min(other, 16), "classes": 64, "memory": 64}[task]).step()
    contender = _contender(task, name, who, n, d, other)
    taken: list[float] = []

    def step() -> None:
        start = time.process_time()
        contender.step()
        taken.append(time.process_time() - start)

    megabytes = own_peak_megabytes(step)
    gradients = sum(leaf.numel() * leaf.element_size() for leaf in contender.leaves) / 2**20
    return {"seconds": taken[0], "megabytes": megabytes, "gradients": gradients}


def works(
    task: str, name: str, whos: list[str], n: int, d: int, other: int
) -> dict[str, Callable[[], object]]:
    """What is timed in turn; "products" are the bare ones of a memory."""
    found: dict[str, Callable[[], object]] = {}
    for who in whos:
        if who == "products":
            found[who] = _products(n, d, other)
        else:
            found[who] = _contender(task, name, who, n, d, other).step
    return found


def measure(
    task: str, name: str, whos: list[str], n: int, d: int, other: int, seconds: float
) -> dict[str, float]:
    """The best times of some contenders in turn."""
    return best_of(works(task, name, whos, n, d, other), seconds=seconds, clock=time.process_time)
