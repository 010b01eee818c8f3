"""More losses in dense plain PyTorch, by the rules of :mod:`dense`."""

from __future__ import annotations

import math

import torch
from dense import cosines, others, positives
from torch import Tensor
from torch.nn import functional

__all__ = [
    "angle",
    "angular",
    "barlow_twins",
    "center_invariant",
    "dynamic",
    "histogram",
    "intra_pair",
    "manifold",
    "margin",
    "multi_proxy",
    "p2s_grad",
    "ranked_list",
    "regular_face",
    "signal_to_noise",
    "sparse_centers",
    "surrogate_precision",
    "threshold_consistent",
    "tuplet",
    "vicreg",
]


def angle(x: Tensor, left: Tensor, right: Tensor, score: Tensor, *, temperature: float) -> Tensor:
    """CoSENT over the angle of complex numbers."""
    (a, b), (c, d) = (functional.normalize(x[side]).chunk(2, dim=1) for side in (left, right))
    similarity = ((a * c + b * d) + (b * c - a * d)).sum(1).abs() / temperature
    gaps = (similarity - similarity[:, None]).masked_fill(score[:, None] <= score, -torch.inf)
    return functional.softplus(gaps.flatten().logsumexp(0))


def angular(x: Tensor, y: Tensor, k: int, *, degrees: float) -> Tensor:
    """Each positive pair against the negatives of its anchor."""
    square, cosine = math.tan(math.radians(degrees)) ** 2, cosines(x)
    near = positives(y, k)
    both = cosine[:, None, :] + cosine[near]  # (n, k - 1, n)
    terms = 4 * square * both - 2 * (1 + square) * cosine.gather(1, near)[:, :, None]
    return functional.softplus(terms.masked_fill(~others(y)[:, None], -torch.inf).logsumexp(2)).mean()


def dynamic(x: Tensor, y: Tensor, k: int) -> Tensor:
    """Each positive less the nearest negative of either end, all of weight one."""
    distances, near = torch.cdist(x, x), positives(y, k)
    least = distances.masked_fill(~others(y), torch.inf).amin(1)
    return (distances.gather(1, near) - torch.minimum(least[:, None], least[near])).mean()


def histogram(x: Tensor, y: Tensor, k: int, *, bins: int) -> Tensor:
    """How likely an unlike pair is more alike than an alike one."""
    place, far = (cosines(x) + 1) * (bins / 2), others(y)
    near = place.gather(1, positives(y, k)).flatten()

    def shares(values: Tensor) -> Tensor:
        below = values.detach().clamp(max=bins - 1e-3).floor()
        beyond, node = values - below, below.long()
        found = values.new_zeros(bins + 1).index_add(0, node, 1 - beyond)
        return found.index_add(0, node + 1, beyond) / len(values)

    return (shares(place[far]) * shares(near).cumsum(0)).sum()


def intra_pair(x: Tensor, y: Tensor, k: int, *, slack: float) -> Tensor:
    """Alike and unlike pairs held near the means of their kinds."""
    cosine = cosines(x)
    near, far = cosine.gather(1, positives(y, k)), cosine[others(y)]
    low = ((1 - slack) * near.mean() - near).relu().square().mean()
    return low + (far - (1 + slack) * far.mean()).relu().square().mean()


def margin(x: Tensor, y: Tensor, k: int, boundary: Tensor, *, margin: float) -> Tensor:
    """Alike and unlike pairs on their sides of a learned boundary, the mean over those not zero."""
    distances = torch.cdist(x, x)
    near = (distances.gather(1, positives(y, k)) - boundary + margin).relu()
    far = (boundary - distances + margin).relu() * others(y)
    return (near.sum() + far.sum()) / ((near > 0).sum() + (far > 0).sum())


def ranked_list(x: Tensor, y: Tensor, k: int, *, boundary: float, margin: float, rate: float) -> Tensor:
    """Near cells beyond and far ones within their bounds, the far ones by weight."""
    distances = torch.cdist(x, x)
    near = (distances.gather(1, positives(y, k)) - (boundary - margin)).relu()
    gap = (boundary - distances).relu() * others(y)
    weight = (rate * gap).exp() * (gap > 0)
    near = near.sum(1) / (near > 0).sum(1).clamp(min=1)
    far = (weight * gap).sum(1) / weight.sum(1).clamp(min=1e-30)
    return (near + far).mean() / 2


def signal_to_noise(x: Tensor, y: Tensor, k: int, *, near_margin: float, margin: float) -> Tensor:
    """The variance of the difference over that of the anchor, alike and unlike pairs averaged apart."""
    distances = (x[:, None] - x).var(2) / x.var(1)[:, None]
    near = (distances.gather(1, positives(y, k)) - near_margin).relu()
    far = (margin - distances).relu() * others(y)
    return near.sum() / (near > 0).sum().clamp(min=1) + far.sum() / (far > 0).sum().clamp(min=1)


def threshold_consistent(x: Tensor, y: Tensor, k: int, *, near_cosine: float, far_cosine: float) -> Tensor:
    """What alike pairs lack and unlike ones have too much, over those not zero."""
    cosine = cosines(x)
    near = (near_cosine - cosine.gather(1, positives(y, k))).relu()
    far = (cosine - far_cosine).relu() * others(y)
    return near.sum() / (near > 0).sum().clamp(min=1) + far.sum() / (far > 0).sum().clamp(min=1)


def tuplet(x: Tensor, y: Tensor, k: int, *, slack: float, scale: float) -> Tensor:
    """Each positive, some degrees nearer, against all negatives."""
    cosine = cosines(x)
    own = cosine.gather(1, positives(y, k))
    own = torch.cos(torch.acos(own) - math.radians(slack))
    far = (scale * cosine).masked_fill(~others(y), -torch.inf).logsumexp(1)
    return functional.softplus(far[:, None] - scale * own).mean()


def surrogate_precision(
    x: Tensor, y: Tensor, k: int, *, ranks: tuple[int, ...], temperature: float
) -> Tensor:
    """One minus a soft precision, the mean over some ranks."""
    distances, far = 1 - cosines(x), others(y)
    own = distances.gather(1, positives(y, k))
    behind = ((own[:, :, None] - distances.masked_fill(~far, torch.inf)[:, None]) / temperature).sigmoid()
    among = ((own[:, :, None] - own[:, None, :]) / temperature).sigmoid()
    before = behind.sum(2) + among.sum(2) - 0.5  # with itself it is at one half
    found = [(1 - (rank - 1 - before).sigmoid().sum(1) / min(rank, k - 1)).mean() for rank in ranks]
    return torch.stack(found).mean()


def multi_proxy(x: Tensor, y: Tensor, w: Tensor, *, centres: int, scale: float) -> Tensor:
    """A softmax over all proxies, the own class's summed."""
    logits = (2 * scale * cosines(x, w)).view(len(x), -1, centres)
    own = logits[torch.arange(len(x)), y].logsumexp(1)
    return (logits.flatten(1).logsumexp(1) - own).mean()


def p2s_grad(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """Cosines against one for the own class and zero for others."""
    cosine = cosines(x, w)
    return (cosine - functional.one_hot(y, len(w))).square().sum(1).mean()


def manifold(x: Tensor, y: Tensor, w: Tensor, *, alpha: float, margin: float) -> Tensor:
    """Who is near along a graph of embeddings and proxies, by the walk and by its context."""
    n, nodes = len(x), functional.normalize(torch.cat([x, w]))
    affinity = (2 * (nodes @ nodes.T).relu()).exp() * (1 - torch.eye(len(nodes)))
    root = affinity.sum(1).rsqrt()
    walk = (1 - alpha) * torch.linalg.inv(torch.eye(len(nodes)) - alpha * root[:, None] * affinity * root)

    def compare(similarity: Tensor) -> Tensor:
        gap = similarity - similarity.gather(1, y[:, None]) + margin
        counted = (gap >= 0).scatter(1, y[:, None], False)
        return gap.masked_fill(~counted, -torch.inf).exp().sum(1).log1p()

    return (compare(walk[:n, n:]) + compare(cosines(walk[:n], walk[n:]))).mean()


def vicreg(x: Tensor, z: Tensor) -> Tensor:
    """Views alike, coordinates spread and apart."""

    def moments(view: Tensor) -> tuple[Tensor, Tensor]:
        covariance = view.T.cov()
        spread = (1 - (covariance.diagonal() + 1e-4).sqrt()).relu().mean()
        return spread, (covariance.square().sum() - covariance.diagonal().square().sum()) / view.shape[1]

    (spread, apart), (other_spread, other_apart) = moments(x), moments(z)
    return 25 * (x - z).square().mean() + 12.5 * (spread + other_spread) + apart + other_apart


def barlow_twins(x: Tensor, z: Tensor, *, redundancy: float) -> Tensor:
    """The correlation of two views against the identity."""
    parts = [functional.normalize(view - view.mean(0), dim=0) for view in (x, z)]
    correlation = parts[0].T @ parts[1]
    diagonal = correlation.diagonal()
    apart = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + redundancy * apart


def center_invariant(w: Tensor) -> Tensor:
    """Squared norms at one value."""
    squares = w.square().sum(1)
    return (squares - squares.mean()).square().mean() / 4


def regular_face(w: Tensor) -> Tensor:
    """The cosine of each with its nearest other."""
    return cosines(w).fill_diagonal_(-torch.inf).amax(1).mean()


def sparse_centers(w: Tensor) -> Tensor:
    """The distance of the two unit centres of each class."""
    first, second = functional.normalize(w).view(-1, 2, w.shape[1]).unbind(1)
    return (first - second).norm(dim=1).mean()
