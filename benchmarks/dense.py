"""Losses in dense plain PyTorch: the whole table at once, the gradient by autograd.

This is what somebody would write who has no library: a few lines a loss, and as fast as those get. Each
takes the shortcut that the benchmark's batches allow, classes of one size k, so that the positives of all
rows stand in one array (n, k - 1) and no mask of them is needed. Memory grows with the square of the batch,
and with its positives too where every positive meets every column.

None of these knows what the library knows: unknown pairs, uneven classes, small distances, large batches.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "all_triplets",
    "batch_hard",
    "binary_pair",
    "chopra",
    "circle",
    "contrastive",
    "cosent",
    "difference_regression",
    "double_header",
    "fast_ap",
    "generalized_lifted",
    "geometry_aware",
    "hinge_rank",
    "lifted",
    "multi_similarity",
    "n_pairs",
    "nca",
    "nt_xent",
    "pairwise_rank",
    "penalised_negatives",
    "score_regression",
    "semi_hard",
    "smooth_ap",
    "sup_con",
    "triplet_ratio",
]


def positives(y: Tensor, k: int) -> Tensor:
    """Each row's positives (n, k - 1), where every class has k items."""
    order = y.argsort(stable=True)
    begin = torch.searchsorted(y[order], y)
    rank = order.argsort() - begin
    steps = torch.arange(1, k, device=y.device)
    return order[begin[:, None] + (rank[:, None] + steps) % k]


def others(y: Tensor) -> Tensor:
    """Which columns are of another class: (n, n) bool."""
    return y[:, None] != y


def cosines(x: Tensor, z: Tensor | None = None) -> Tensor:
    """The cosine of every row with every column."""
    x = functional.normalize(x)
    return x @ (x if z is None else functional.normalize(z)).T


def contrastive(x: Tensor, y: Tensor, k: int, *, margin: float, squared: bool) -> Tensor:
    """Alike and unlike pairs averaged apart; squared over all, or unsquared over those not zero."""
    distances = torch.cdist(x, x)
    near = distances.gather(1, positives(y, k))
    far = (margin - distances).relu() * others(y)
    if squared:
        return near.square().mean() / 2 + far.square().sum() / (2 * len(x) * (len(x) - k))
    return near.sum() / (near > 0).sum() + far.sum() / (far > 0).sum()


def all_triplets(x: Tensor, y: Tensor, k: int, *, margin: float) -> Tensor:
    """The mean over the active triplets of the batch."""
    distances = torch.cdist(x, x)
    thresholds = distances.gather(1, positives(y, k)) + margin
    far = distances.masked_fill(~others(y), torch.inf)
    hinges = (thresholds[:, :, None] - far[:, None, :]).relu()
    return hinges.sum() / (hinges > 0).sum()


def batch_hard(x: Tensor, y: Tensor, k: int, *, margin: float) -> Tensor:
    """The farthest positive against the nearest negative; the mean over the rows not zero."""
    distances = torch.cdist(x, x)
    farthest = distances.gather(1, positives(y, k)).amax(1)
    nearest = distances.masked_fill(~others(y), torch.inf).amin(1)
    hinges = (farthest - nearest + margin).relu()
    return hinges.sum() / (hinges > 0).sum()


def semi_hard(x: Tensor, y: Tensor, k: int, *, margin: float) -> Tensor:
    """Each positive against the nearest negative beyond it; the mean over the active triplets."""
    distances = torch.cdist(x, x)
    near = distances.gather(1, positives(y, k))
    far = distances.masked_fill(~others(y), torch.inf)[:, None, :]
    beyond = torch.where(far > near[:, :, None], far, torch.inf).amin(2)
    hinges = (near - beyond + margin).relu()
    return hinges.sum() / (hinges > 0).sum()


def triplet_ratio(x: Tensor, y: Tensor, k: int) -> Tensor:
    """The mean of 2 sigmoid(d_p - d_n)^2 over all triplets."""
    distances = torch.cdist(x, x)
    near = distances.gather(1, positives(y, k))
    far = distances.masked_fill(~others(y), torch.inf)
    ratio = (near[:, :, None] - far[:, None, :]).sigmoid()
    return 2 * ratio.square().sum() / (near.numel() * (len(x) - k))


def nca(x: Tensor, y: Tensor, k: int) -> Tensor:
    """The mean of -log p_i over squared Euclidean distances."""
    squares = x.square().sum(1)
    logits = 2 * x @ x.T - squares[:, None] - squares
    logits = logits.masked_fill(torch.eye(len(x), dtype=torch.bool, device=x.device), -torch.inf)
    own = logits.gather(1, positives(y, k)).logsumexp(1)
    return (logits.logsumexp(1) - own).mean()


def nt_xent(x: Tensor, y: Tensor, k: int, *, temperature: float) -> Tensor:
    """Each positive pair against the negatives of its anchor."""
    logits = cosines(x) / temperature
    far = logits.masked_fill(~others(y), -torch.inf).logsumexp(1)
    return functional.softplus(far[:, None] - logits.gather(1, positives(y, k))).mean()


def n_pairs(x: Tensor, z: Tensor) -> Tensor:
    """Row i goes with column i: a softmax over inner products."""
    return functional.cross_entropy(x @ z.T, torch.arange(len(x), device=x.device))


def sup_con(x: Tensor, y: Tensor, k: int, *, temperature: float) -> Tensor:
    """The mean log-probability of the positives among all others."""
    logits = cosines(x) / temperature
    own = logits.gather(1, positives(y, k))
    logits = logits.masked_fill(torch.eye(len(x), dtype=torch.bool, device=x.device), -torch.inf)
    return (logits.logsumexp(1) - own.mean(1)).mean()


def multi_similarity(
    x: Tensor, y: Tensor, k: int, *, near_scale: float, far_scale: float, base: float, mining: float | None
) -> Tensor:
    """Weighted positives and negatives of each anchor, mined or not."""
    similarity = cosines(x)
    own = similarity.gather(1, positives(y, k))
    rest = similarity.masked_fill(~others(y), -torch.inf)
    if mining is not None:
        nearest, farthest = rest.detach().amax(1, keepdim=True), own.detach().amin(1, keepdim=True)
        own = own.masked_fill(own >= nearest + mining, torch.inf)
        rest = rest.masked_fill(rest <= farthest - mining, -torch.inf)
    pull = functional.softplus((near_scale * (base - own)).logsumexp(1)) / near_scale
    push = functional.softplus((far_scale * (rest - base)).logsumexp(1)) / far_scale
    return (pull + push).mean()


def circle(x: Tensor, y: Tensor, k: int, *, margin: float, scale: float) -> Tensor:
    """Self-paced positives against self-paced negatives."""
    similarity = cosines(x)
    own = similarity.gather(1, positives(y, k))
    pull = -scale * (1 + margin - own.detach()).relu() * (own - 1 + margin)
    push = scale * (similarity.detach() + margin).relu() * (similarity - margin)
    push = push.masked_fill(~others(y), -torch.inf)
    return functional.softplus(pull.logsumexp(1) + push.logsumexp(1)).mean()


def lifted(x: Tensor, y: Tensor, k: int, *, margin: float) -> Tensor:
    """Each positive pair against the negatives of both its ends."""
    distances, own = torch.cdist(x, x), positives(y, k)
    far = (margin - distances).masked_fill(~others(y), -torch.inf).logsumexp(1)
    both = torch.logaddexp(far[:, None], far[own])
    return (both + distances.gather(1, own)).relu().square().mean() / 2


def generalized_lifted(x: Tensor, y: Tensor, k: int, *, margin: float) -> Tensor:
    """Each anchor's positives against its negatives."""
    distances = torch.cdist(x, x)
    far = (margin - distances).masked_fill(~others(y), -torch.inf).logsumexp(1)
    return (distances.gather(1, positives(y, k)).logsumexp(1) + far).relu().mean()


def fast_ap(x: Tensor, y: Tensor, k: int, *, bins: int) -> Tensor:
    """One minus average precision over a soft histogram of cosine distances."""
    position, far = (1 - cosines(x)) * (bins / 2), others(y)
    own = position.gather(1, positives(y, k))
    near_counts = torch.stack([(1 - (own - j).abs()).relu().sum(1) for j in range(bins + 1)], 1)
    far_counts = torch.stack([((1 - (position - j).abs()).relu() * far).sum(1) for j in range(bins + 1)], 1)
    found = near_counts.cumsum(1)
    share = found / (found + far_counts.cumsum(1)).clamp(min=1e-12)
    return 1 - (near_counts * share).sum(1).mean() / (k - 1)


def _with_self(x: Tensor, y: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distances of the positives and of the anchor itself (n, k), and of the negatives, else infinity."""
    distances = 1 - cosines(x)
    own = functional.pad(distances.gather(1, positives(y, k)), (0, 1))
    return own, distances.masked_fill(~others(y), torch.inf)


def penalised_negatives(x: Tensor, y: Tensor, k: int, *, temperature: float) -> Tensor:
    """The mean number of negatives before a positive, softly; the anchor is a positive of its own."""
    own, far = _with_self(x, y, k)
    return ((own[:, :, None] - far[:, None, :]) / temperature).sigmoid().sum(2).mean()


def smooth_ap(x: Tensor, y: Tensor, k: int, *, temperature: float) -> Tensor:
    """One minus soft average precision; the anchor is a positive of its own."""
    own, far = _with_self(x, y, k)
    behind = ((own[:, :, None] - far[:, None, :]) / temperature).sigmoid().sum(2)
    among = ((own[:, :, None] - own[:, None, :]) / temperature).sigmoid()
    rank = among.sum(2) + 0.5  # with itself it is at one half
    return 1 - (rank / (rank + behind)).mean()


def hinge_rank(x: Tensor, y: Tensor, words: Tensor, *, margin: float) -> Tensor:
    """Every false label within the margin of the true one."""
    scores = x @ words.T
    hinges = (margin - scores.gather(1, y[:, None]) + scores).relu()
    return hinges.scatter(1, y[:, None], 0.0).sum(1).mean()


def chopra(x: Tensor, y: Tensor, k: int, *, bound: float, decay: float) -> Tensor:
    """Squares for alike and exponentials for unlike pairs, averaged apart."""
    distances = torch.cdist(x, x)
    near = distances.gather(1, positives(y, k)).square().mean() * (2 / bound)
    far = (distances * (-decay / bound)).exp() * others(y)
    return near + 2 * bound * far.sum() / (len(x) * (len(x) - k))


def binary_pair(x: Tensor, y: Tensor, k: int, bias: Tensor) -> Tensor:
    """Cross-entropy of "the same or not" over all pairs, the bias learned."""
    logits = bias - torch.cdist(x, x)
    far = (functional.softplus(logits) * others(y)).sum()
    near = functional.softplus(-logits.gather(1, positives(y, k))).sum()
    return (near + far) / (len(x) * (len(x) - 1))


def geometry_aware(x: Tensor, y: Tensor, k: int, inputs: Tensor, *, weight: float) -> Tensor:
    """Cosines regressed on classes and on the geometry of the inputs."""
    cosine, own = cosines(x), positives(y, k)
    centred = functional.normalize(inputs - inputs.mean(0))
    targets = weight + (1 - weight) * (centred[:, None] * centred[own]).sum(2)
    near = (cosine.gather(1, own) - targets).square().sum()
    far = ((cosine + 1).square() * others(y)).sum()
    return (near + far) / (len(x) * (len(x) - 1))


def double_header(
    x: Tensor, y: Tensor, k: int, unit: torch.nn.Module, *, margins: tuple[float, float], weight: float
) -> Tensor:
    """PDDM's hinges on the hardest quadruplet of the batch, found by its unit over the whole table."""
    with torch.no_grad():
        table = unit(x[:, None, :], x[None, :, :])
        own, far = positives(y, k), table.masked_fill(~others(y), torch.inf)
        i, slot = divmod(int(table.gather(1, own).argmax()), k - 1)
        j = int(own[i, slot])
        third, fourth = int(far[i].argmin()), int(far[j].argmin())
    total = x.new_zeros(())
    left, right = x[[i, i, j]], x[[j, third, fourth]]
    heads = (
        (unit(left, right), margins[0], 1.0),
        ((functional.normalize(left) - functional.normalize(right)).square().sum(1), margins[1], weight),
    )
    for distances, margin, factor in heads:
        total = total + factor * (margin + distances[0] - distances[1:]).relu().sum()
    return total


def pairwise_rank(scores: Tensor, grades: Tensor, *, margin: float) -> Tensor:
    """Every pair of items of different grades."""
    better = grades[:, None] > grades
    return ((margin - scores + scores.T).relu() * better).sum() / better.sum()


def score_regression(x: Tensor, left: Tensor, right: Tensor, score: Tensor) -> Tensor:
    """Cosines regressed on scores."""
    return (functional.cosine_similarity(x[left], x[right]) - score).square().mean()


def difference_regression(values: Tensor, left: Tensor, right: Tensor, score: Tensor) -> Tensor:
    """Differences of values regressed on targets."""
    return ((values[left] - values[right])[:, 0] - score).square().mean()


def cosent(x: Tensor, left: Tensor, right: Tensor, score: Tensor, *, temperature: float) -> Tensor:
    """One logarithm over all pairs of pairs in the wrong order."""
    similarity = functional.cosine_similarity(x[left], x[right]) / temperature
    gaps = (similarity - similarity[:, None]).masked_fill(score[:, None] <= score, -torch.inf)
    return functional.softplus(gaps.flatten().logsumexp(0))
