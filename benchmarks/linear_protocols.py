"""What linear learners do besides neighbours: clustering, streams, hashing, kernels, queries."""

from __future__ import annotations

from typing import Any

import numpy as np
from linear_tables import TABLES, Table, split
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from likewise import linear
from likewise.linear.tuples import pairs_from_labels, triplets_from_labels
from likewise.relations import Pairs, Scores, Triplets

Row = dict[str, Any]


def clustering(table: Table, *, seeds: int = 10, fractions: tuple[float, ...] = (0.3, 1.0)) -> list[Row]:
    """k-means on standardised rows and on rows mapped by what some pairs taught, by adjusted Rand index.

    ``fraction`` times n pairs of each kind are given; the index counts rows that no pair names, as pairs
    give those away.
    """
    X = StandardScaler().fit_transform(table.X)
    k = int(table.y.max()) + 1
    rows = []
    for fraction in fractions:
        scores: dict[str, list[float]] = {name: [] for name in ("none", "MMC", "RCA", "ITML")}
        for seed in range(seeds):
            count = max(2, int(fraction * len(X) / 4))
            pairs = pairs_from_labels(table.y, count, np.random.default_rng(seed))
            free = np.ones(len(X), dtype=bool)
            free[pairs.left.numpy()] = free[pairs.right.numpy()] = False
            for name, found in scores.items():
                mapped = X
                if name != "none":
                    kind = getattr(linear, name)
                    mapped = (
                        kind(**({"random_state": seed} if name != "RCA" else {}))
                        .fit(X, pairs=pairs)
                        .transform(X)
                    )
                clusters = KMeans(k, n_init=10, random_state=seed).fit_predict(mapped)
                if free.any():
                    found.append(adjusted_rand_score(table.y[free], clusters[free]))
        line: Row = {"kind": "clustering", "table": table.name, "pairs a kind": count}
        for name, found in scores.items():
            if found:
                line[name] = f"{np.mean(found):.3f} ± {np.std(found):.3f}"
        rows.append(line)
    return rows


def collapse(table: Table, *, counts: tuple[int, ...] = (1, 20)) -> list[Row]:
    """What MMC's optimum is: how far above Euclid, how near to the best there is, and how few directions.

    ``counts`` times the pairs that it draws by default. A direction counts where rows are stretched by a
    thousandth of the most or more.
    """
    parts = split(table)
    rows = []
    for count in counts:
        n_pairs = count * 20 * (int(parts.y.max()) + 1) ** 2
        pairs = pairs_from_labels(parts.y, n_pairs, np.random.default_rng(0))
        learner = linear.MMC(max_iter=5000).fit(parts.X, pairs=pairs)
        stretch = np.linalg.svd(learner.components_, compute_uv=False)
        differences = parts.X[pairs.left.numpy()] - parts.X[pairs.right.numpy()]
        squares, same = (differences**2).sum(axis=1), pairs.same.numpy()
        euclid = np.sqrt(squares[~same]).sum() / np.sqrt(squares[same].sum())
        known, asked = learner.transform(parts.X), learner.transform(parts.X_test)
        accuracy = KNeighborsClassifier(3).fit(known, parts.y).score(asked, parts.y_test)
        rows.append(
            {
                "kind": "collapse",
                "table": table.name,
                "pairs": pairs.n_entries,
                "objective, times Euclid's": float(-learner.objective_[-1] / euclid),
                "the best is above by at most": f"{max(learner.gap_, 0.0):.1e}",
                "directions": f"{int((stretch >= 1e-3 * stretch[0]).sum())} of {parts.X.shape[1]}",
                "3-NN accuracy": float(accuracy),
            }
        )
    return rows


def regret(table: Table, *, steps: int = 5000, passes: int = 20) -> list[Row]:
    """Average regret of one pass over a stream: mean loss so far less that of one fixed answer.

    The answer is what the same learner holds after ``passes`` passes over the stream: not the best in
    hindsight, which it bounds from above.
    """
    X, y = StandardScaler().fit_transform(table.X) / np.sqrt(table.X.shape[1]), table.y
    generator = np.random.default_rng(0)
    pairs = pairs_from_labels(y, steps // 2, generator)
    order = generator.permutation(pairs.n_entries)
    pairs = Pairs(pairs.left[order], pairs.right[order], pairs.same[order])
    triplets = triplets_from_labels(y, steps, generator)
    left, right, same = (part.numpy() for part in (pairs.left, pairs.right, pairs.same))
    rows = []
    for name in ("POLA", "LEGO", "OASIS"):
        kind = getattr(linear, name)
        given = {"triplets": triplets} if name == "OASIS" else {"pairs": pairs}
        online = kind().partial_fit(X, **given)
        fixed = kind(n_epochs=passes, random_state=0).fit(X, **given)
        if name == "OASIS":
            scores = fixed.pair_distance(X[triplets.anchor], X[triplets.negative])
            scores = scores - fixed.pair_distance(X[triplets.anchor], X[triplets.positive])
            held = np.maximum(0, 1 - scores)
            own = online.losses_
        elif name == "POLA":
            squares = fixed.pair_distance(X[left], X[right]) ** 2
            held = np.maximum(0, np.where(same, 1, -1) * (squares - fixed.bias_) + 1) ** 2
            own = online.losses_**2
        else:
            squares = fixed.pair_distance(X[left], X[right]) ** 2
            near, far = online.bounds_
            outside = np.where(same, np.maximum(squares - near, 0), np.maximum(far - squares, 0))
            held, own = 0.5 * outside**2, online.losses_
        counted = np.arange(1, len(own) + 1)
        average = np.cumsum(own - held) / counted
        at = np.unique(np.geomspace(10, len(own), 25).astype(int)) - 1
        rows.append(
            {
                "kind": "regret",
                "table": table.name,
                "learner": name,
                "steps": counted[at].tolist(),
                "average": average[at].tolist(),
                "fixed": float(held.mean()),
            }
        )
    return rows


def hashing(
    table: Table, *, bits: tuple[int, ...] = (4, 8, 12, 16, 20, 24), tables: tuple[int, ...] = (8, 32)
) -> list[Row]:
    """Recall of the 10 nearest under the learned metric, against the part of rows looked at; and probing."""
    parts = split(table)
    rows = []
    for probes in (0, 2):
        for n_tables in tables:
            for n_bits in bits:
                learner = linear.LearnedMetricLSH(
                    n_tables=n_tables, n_bits=n_bits, n_probes=min(probes, n_bits), random_state=0
                ).fit(parts.X, parts.y)
                queries, known = learner.transform(parts.X_test[:500]), learner.transform(parts.X)
                exact = KNeighborsClassifier(10).fit(known, parts.y)
                truth = exact.kneighbors(queries, return_distance=False)
                found = learner.kneighbors(parts.X_test[:500], n_neighbors=10)
                hits = [len(np.intersect1d(a, b)) for a, b in zip(truth, found.positions, strict=True)]
                rows.append(
                    {
                        "kind": "hashing",
                        "table": table.name,
                        "tables": n_tables,
                        "bits": n_bits,
                        "probes": probes,
                        "recall@10": float(np.mean(hits)) / 10,
                        "part of rows": float(found.candidates.mean() / len(parts.X)),
                    }
                )
    return rows


def rings(*, n: int = 400, seeds: int = 5) -> list[Row]:
    """3-NN accuracy on two concentric rings among noise features, for linear learners and kernel ones."""
    kinds = {
        "standardised": None,
        "LDA": linear.LDA(),
        "LMNN": linear.LMNN(),
        "NCA": linear.NCA(),
        "ITML": linear.ITML(),
        "KPCATrick(LDA), rbf": linear.KPCATrick(gamma=0.1),
        "KPCATrick(RCA), rbf": linear.KPCATrick(linear.RCA(), gamma=0.1),
        "KernelITML, rbf": linear.KernelITML(gamma=0.1, random_state=0),
    }
    if "KernelLMNN" in linear.__all__:
        kinds["KernelLMNN, rbf"] = linear.KernelLMNN(gamma=0.1)
    rows = []
    for name, learner in kinds.items():
        scores = []
        for seed in range(seeds):
            generator = np.random.default_rng(seed)
            y = np.arange(n) % 2
            angle, radius = generator.uniform(0, 2 * np.pi, n), 1 + y + 0.15 * generator.normal(size=n)
            X = np.column_stack(
                [radius * np.cos(angle), radius * np.sin(angle), generator.normal(size=(n, 6))]
            )
            half = n // 2
            mapped = X if learner is None else learner.fit(X[:half], y[:half]).transform(X)
            scores.append(KNeighborsClassifier(3).fit(mapped[:half], y[:half]).score(mapped[half:], y[half:]))
        rows.append(
            {
                "kind": "rings",
                "method": name,
                "3-NN accuracy": float(np.mean(scores)),
                "deviation": float(np.std(scores)),
            }
        )
    return rows


def queries(*, topics: int = 20, each: int = 20, d: int = 60) -> list[Row]:
    """Queries want documents of the topic that follows theirs: how often the first found is one of those.

    Topics are directions in d features. Half of the items are learned from; the others are asked and found.
    """
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(topics, d)) / np.sqrt(d)
    topic = np.tile(np.arange(topics), 2 * each)
    X = centres[topic] + 0.5 * generator.normal(size=(len(topic), d)) / np.sqrt(d)
    half = len(topic) // 2
    anchor = generator.integers(half, size=20_000)
    wanted = (topic[anchor] + 1) % topics
    positive = wanted + topics * generator.integers(half // topics, size=len(anchor))
    negative = generator.integers(half, size=len(anchor))
    kept = (topic[negative] != wanted) & (negative != anchor)
    known = Triplets(anchor[kept], positive[kept], negative[kept])
    asked, documents = X[half:], X[half:]

    def first_is_right(similarity: np.ndarray) -> float:
        np.fill_diagonal(similarity, -np.inf)
        return float((topic[half:][similarity.argmax(axis=1)] == (topic[half:] + 1) % topics).mean())

    free = linear.OASIS(random_state=0).fit(X[:half], triplets=known)
    forced = linear.OASIS(random_state=0, symmetric=True).fit(X[:half], triplets=known)
    metric = linear.SCML(random_state=0).fit(X[:half], triplets=known)
    mapped = metric.transform(asked)
    squares = ((mapped[:, None] - mapped[None]) ** 2).sum(axis=2)
    methods = {
        "inner product": np.eye(d),
        "OASIS, W as learned": free.weight_,
        "OASIS, (W + W')/2": forced.weight_,
    }
    found = {name: first_is_right(asked @ weight @ documents.T) for name, weight in methods.items()}
    found["a Mahalanobis metric (SCML)"] = first_is_right(-squares)
    return [
        {"kind": "queries", "method": name, "first found is right": value} for name, value in found.items()
    ]


def setups(data: str | None) -> list[Row]:
    """The four set-ups of similarity learning on optdigits, each by its own measure."""
    parts = split(TABLES["optdigits"](data=data))
    X, X_test = parts.X, parts.X_test[:1000]
    y, y_test = parts.y, parts.y_test[:1000]
    generator = np.random.default_rng(0)
    i, j = generator.integers(len(X), size=(2, 8000))
    i, j = i[i != j], j[i != j]
    score = (y[i] == y[j]) + 0.1 * generator.normal(size=len(i))
    a, b = np.triu_indices(len(X_test), k=1)
    chosen = generator.choice(len(a), 20_000, replace=False)
    a, b = a[chosen], b[chosen]
    same = y_test[a] == y_test[b]
    plain = -np.linalg.norm(X_test[a] - X_test[b], axis=1)
    regressed = linear.SimilarityRegression(alpha=1.0, symmetric=True).fit(X, scores=Scores(i, j, score))
    classified = linear.ITML(random_state=0).fit(X, y)
    hashing = linear.LearnedMetricLSH(n_bits=16, n_tables=32, random_state=0).fit(X, y)
    hashed = hashing.kneighbors(X_test, n_neighbors=1)
    nearest = np.where(hashed.positions[:, 0] >= 0, y[hashed.positions[:, 0]], -1)
    unit, unit_test = _unit_rows(X), _unit_rows(X_test)  # OASIS compares directions, as cosine does
    weight = linear.OASIS(random_state=0).fit(unit, y).weight_

    def precision(similarity: np.ndarray) -> float:
        top = np.argsort(-similarity, axis=1)[:, :10]
        return float((y[top] == y_test[:, None]).mean())

    part = hashed.candidates.mean() / len(X)
    found = (
        (
            "regression",
            "SimilarityRegression",
            "Spearman's rho of pairs",
            "Euclid",
            spearmanr(regressed.pair_score(X_test[a], X_test[b]), same).statistic,
            spearmanr(plain, same).statistic,
        ),
        (
            "classification",
            "ITML",
            "AUC of pairs",
            "Euclid",
            roc_auc_score(same, -classified.pair_distance(X_test[a], X_test[b])),
            roc_auc_score(same, plain),
        ),
        (
            "ranking",
            "OASIS",
            "precision at 10",
            "cosine",
            precision(unit_test @ weight @ unit.T),
            precision(unit_test @ unit.T),
        ),
        (
            "hashing",
            "LearnedMetricLSH",
            f"1-NN accuracy, {part:.1%} of rows looked at",
            "Euclid, all rows",
            (nearest == y_test).mean(),
            KNeighborsClassifier(1).fit(X, y).score(X_test, y_test),
        ),
    )
    names = ("set-up", "estimator", "measure", "plain")
    return [
        {
            "kind": "setups",
            **dict(zip(names, row[:4], strict=True)),
            "learned": float(row[4]),
            "plain value": float(row[5]),
        }
        for row in found
    ]


def _unit_rows(X: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms > 0, norms, 1.0)
