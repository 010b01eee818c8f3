"""Proxies as the Proxy-NCA recipe needs them: fewer than classes, taken by nearness, and where they start."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likewise.distances import unit_rows
from likewise.losses import ProxyNCA
from likewise.losses.classes import ClassLoss

__all__ = ["DynamicProxies", "FewProxies", "dimensions_used", "start_among_items"]


class FewProxies(nn.Module):
    """Static assignment with fewer proxies than classes: class c belongs to proxy c modulo their number."""

    def __init__(self, n_proxies: int, dimension: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.loss = ProxyNCA(n_proxies, dimension, scale=scale)
        self.n_proxies = n_proxies

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss of the classes' proxies."""
        value: Tensor = self.loss(embeddings, labels % self.n_proxies)
        return value


class DynamicProxies(nn.Module):
    """Every item takes the nearest proxy; labels serve only to say which items are unlike.

    For anchor x with positive y and the negatives Z of the batch:
    ``-log(exp(-s d(x, p(y))) / sum_{p in p(Z), p != p(y)} exp(-s d(x, p)))``, the mean over all (x, y)
    with another proxy among Z's; s is the scale.

    >>> loss = DynamicProxies(2, 1)
    >>> with torch.no_grad():
    ...     _ = loss.proxies.copy_(torch.tensor([[1.0], [-1.0]]))
    >>> loss(torch.tensor([[1.0], [2.0], [-1.0], [-3.0]]), torch.tensor([0, 0, 1, 1])).item()
    -4.0
    """

    def __init__(self, n_proxies: int, dimension: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(n_proxies, dimension) / dimension**0.5)
        self.scale = scale

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean over pairs of an anchor and a positive."""
        distances = self.scale * (2 - 2 * unit_rows(embeddings) @ unit_rows(self.proxies).T)
        taken = nn.functional.one_hot(distances.argmin(1), len(self.proxies)).bool()
        alike = labels[:, None] == labels[None]
        anchor, positive = (alike & ~torch.eye(len(labels), dtype=torch.bool)).nonzero(as_tuple=True)
        far = ((~alike).float() @ taken.float() > 0)[anchor] & ~taken[positive]
        kept = far.any(1)
        if not bool(kept.any()):
            return distances.sum() * 0
        rows = distances[anchor[kept]]
        own = rows[taken[positive[kept]]]
        return (own + (-rows).masked_fill(~far[kept], -torch.inf).logsumexp(1)).mean()


@torch.no_grad()
def start_among_items(loss: nn.Module, embeddings: Tensor, labels: Tensor) -> None:
    """Put the proxies of a loss where an encoder has its items, in place of random directions.

    Static proxies start at the mean of their items' unit embeddings, less what is common to all proxies;
    dynamic ones, which know no labels, at as many items' embeddings, taken evenly, less the mean of all. Each
    at unit length.

    Parameters
    ----------
    loss : a loss with one vector a class, FewProxies or DynamicProxies
    embeddings : Tensor (n, d)
        Of all the items to learn from.
    labels : int64 Tensor (n,)

    >>> loss = FewProxies(2, 2)
    >>> start_among_items(loss, torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1]))
    >>> loss.loss.weight.detach()
    tensor([[ 0.7071, -0.7071],
            [-0.7071,  0.7071]])
    """
    unit = unit_rows(embeddings)
    if isinstance(loss, DynamicProxies):
        rows = torch.arange(len(loss.proxies)) * len(unit) // len(loss.proxies)
        loss.proxies.copy_(unit_rows(unit[rows] - unit.mean(0)))
        return
    static = loss.loss if isinstance(loss, FewProxies) else loss
    if not isinstance(static, ClassLoss) or static.centres != 1:
        raise TypeError(f"a loss with one vector a class is needed; found {type(loss).__name__}")
    own = labels % loss.n_proxies if isinstance(loss, FewProxies) else labels
    sums = torch.zeros_like(static.weight).index_add_(0, own, unit.to(static.weight.dtype))
    means = sums / own.bincount(minlength=len(sums)).clamp_min(1)[:, None]
    static.weight.copy_(unit_rows(means - means.mean(0)))


def dimensions_used(embeddings: Tensor) -> float:
    """Over how many directions unit embeddings spread: (sum of variances)^2 / sum of their squares.

    The variances are those along the principal axes: 1 where all lie on a line, d where they spread evenly.

    >>> round(dimensions_used(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])), 3)
    1.0
    """
    unit = unit_rows(embeddings).double()
    centred = unit - unit.mean(0)
    variances = torch.linalg.eigvalsh(centred.T @ centred).clamp_min(0)
    return float(variances.sum() ** 2 / variances.square().sum())
