"""Evaluation by plain loops, from the definitions; slow and obvious."""

from __future__ import annotations

import math


def euclidean(x, y):
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))


def ranking(query, gallery, leave_out=None, distance=euclidean):
    """Gallery places by distance, ties by place, without the one left out."""
    places = [(distance(query, item), place) for place, item in enumerate(gallery) if place != leave_out]
    return [place for _, place in sorted(places)]


def query_scores(embeddings, labels, gallery=None, gallery_labels=None, ks=(1, 2, 4, 8), distance=euclidean):
    """A dict of figure name to score for each query that has a match, with the query's label."""
    together = gallery is None
    gallery = embeddings if together else gallery
    gallery_labels = labels if together else gallery_labels
    scored = []
    for i, (query, label) in enumerate(zip(embeddings, labels, strict=True)):
        order = ranking(query, gallery, i if together else None, distance)
        matches = [gallery_labels[place] == label for place in order]
        n_relevant = sum(matches)
        if n_relevant == 0:
            continue
        scores = {}
        for k in ks:
            scores[f"recall@{k}"] = float(any(matches[:k]))
            scores[f"precision@{k}"] = sum(matches[:k]) / k
        scores["r_precision"] = sum(matches[:n_relevant]) / n_relevant
        total = 0.0
        for place in range(n_relevant):
            if matches[place]:
                total += sum(matches[: place + 1]) / (place + 1)
        scores["map@r"] = total / n_relevant
        precisions = [sum(matches[: place + 1]) / (place + 1) for place, hit in enumerate(matches) if hit]
        scores["map"] = sum(precisions) / n_relevant
        scores["mrr"] = 1 / (matches.index(True) + 1)
        gain = sum(1 / math.log2(place + 2) for place, hit in enumerate(matches) if hit)
        scores["ndcg"] = gain / sum(1 / math.log2(place + 2) for place in range(n_relevant))
        scores["bulls_eye"] = sum(matches[: 2 * n_relevant]) / n_relevant
        scored.append((label, scores))
    return scored


def mean_score(scored, name):
    return sum(scores[name] for _, scores in scored) / len(scored)


def rates(distances, same, threshold):
    """FAR and FRR when a pair at most the threshold apart is accepted."""
    unlike = [d for d, s in zip(distances, same, strict=True) if not s]
    alike = [d for d, s in zip(distances, same, strict=True) if s]
    return sum(d <= threshold for d in unlike) / len(unlike), sum(d > threshold for d in alike) / len(alike)


def equal_error_rate(distances, same):
    before = (0.0, 1.0)
    for threshold in sorted(set(distances)):
        far, frr = rates(distances, same, threshold)
        if far >= frr:
            # Where the line from the point before to this one meets FAR = FRR.
            part = (before[1] - before[0]) / ((before[1] - before[0]) + (far - frr))
            return before[0] + part * (far - before[0])
        before = (far, frr)
    raise ValueError("FAR ends at 1 and FRR at 0, so they meet")


def area_under_curve(distances, same):
    wins, pairs = 0.0, 0
    for a, a_same in zip(distances, same, strict=True):
        for b, b_same in zip(distances, same, strict=True):
            if a_same and not b_same:
                pairs += 1
                wins += 1.0 if a < b else 0.5 if a == b else 0.0
    return wins / pairs


def frr_at_far(distances, same, asked):
    best = 1.0
    for threshold in sorted(set(distances)):
        far, frr = rates(distances, same, threshold)
        if far <= asked:
            best = frr
    return best


def jackknife_error(left_out):
    """The delete-one-unit jackknife's standard error."""
    c = len(left_out)
    mean = sum(left_out) / c
    return math.sqrt((c - 1) / c * sum((v - mean) ** 2 for v in left_out))


def freedom(left_out):
    """Satterthwaite's degrees of freedom of that error, with the excess kurtosis where it is above 0."""
    c = len(left_out)
    mean = sum(left_out) / c
    second = sum((v - mean) ** 2 for v in left_out) / c
    fourth = sum((v - mean) ** 4 for v in left_out) / c
    return 2 / (2 / (c - 1) + max(fourth / second**2 - 3, 0) / c)


def logit_interval(value, error, quantile):
    """Value plus and minus the quantile on the scale of the log odds, by bisection on the way back."""
    slope = (
        math.log((value + 1e-7) / (1 - value - 1e-7)) - math.log((value - 1e-7) / (1 - value + 1e-7))
    ) / 2e-7
    middle = math.log(value / (1 - value))
    return tuple(
        bisected(lambda p, end=end: math.log(p / (1 - p)) - end)
        for end in (middle - quantile * error * slope, middle + quantile * error * slope)
    )


def wilson_interval(value, draws, quantile):
    """All p that a value of so many draws isn't farther from than the quantile times p's own deviation."""

    def off(p):
        return (value - p) ** 2 - quantile**2 * p * (1 - p) / draws

    low = bisected(lambda p: -off(p), high=value) if value > 0 else 0.0
    return low, bisected(off, low=value) if value < 1 else 1.0


def bisected(rising, low=1e-15, high=1 - 1e-15):
    """Where a rising function is zero."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2
