"""Similarity by regression: sentences whose likeness is a number (STS benchmark, CoSENT, cosine regression).

The first set-up of similarity learning is regression: pairs with a real similarity y, learn ``f(x, z) ~
y``. On the STS benchmark y is how alike two sentences mean, 0 to 5. An encoder is trained by three losses::

    CoSENT               log(1 + sum over pairs a more alike than b of exp((cos_b - cos_a) / t))
    cosine regression    (cos - y / 5)^2
    contrastive          |x - z|^2 where y >= 4, max(0, m - |x - z|)^2 where y <= 2

and ``x'Wz + b`` is fitted by least squares (linear). What counts is the order: Spearman's correlation of
the cosines of test pairs with people's scores. The encoder is a sum of learned vectors of hashed words and
runs of 3 and 4 letters, from nothing; with ``--pretrained FOLDER`` (extra ``text``) also a network that
others trained, as it is and tuned by CoSENT. Held against weighted words (TF-IDF), the encoder's n-grams,
and the untrained encoder; the options were chosen on the dev part, where no setting that was tried lifted
the encoder above its n-grams.

Departures from the papers: nothing is pretrained where no such folder is given, so the published baselines,
which are from memory, are not to be reached by 5,749 pairs of sentences.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from torch import Tensor, nn

from likewise.data import Records, load
from likewise.encoders import HashedNgrams, NgramMLP, Preprocessing, pretrained_text
from likewise.evaluation import ranking
from likewise.linear import SimilarityRegression
from likewise.losses import Contrastive, CoSENT, ScoreRegression
from likewise.recipes.experiment import Claim, Outcome, Paper, RecipeConfig, Scores, Table
from likewise.relations import Pairs
from likewise.relations import Scores as ScoredPairs
from likewise.settings import Rule, setting

__all__ = ["CLAIMS", "METHODS", "QUICK", "TABLES", "Config", "build", "objective", "run"]

METHODS = ("CoSENT", "cosine regression", "contrastive")
_RAW, _LETTERS = "words, cosine", "words and letters, cosine"
_UNTRAINED, _LINEAR = "untrained encoder", "bilinear regression"
_GIVEN, _TUNED = "pretrained, as given", "pretrained, CoSENT"
_PUBLISHED = {
    "published: mean of GloVe vectors": "58.0",
    "published: BERT, first token, not tuned": "16.5",
    "published: InferSent": "68.0",
    "published: SBERT of inferences": "77.0",
    "published: SBERT tuned on this set": "84.7",
}


@dataclass(frozen=True)
class Config(RecipeConfig):
    """Encoder and steps."""

    methods: str = setting(",".join(METHODS), "which losses", Rule(str))
    buckets: int = setting(8192, "places of hashed n-grams", Rule(int, low=64))
    width: int = setting(256, "numbers of an n-gram, and of a text", Rule(int, low=4))
    dropout: float = setting(0.5, "n-grams left out in training", Rule(float, low=0, below=1))
    steps: int = setting(200, "steps, of 64 pairs", Rule(int, low=1))
    learning_rate: float = setting(3e-4, "Adam's", Rule(float, above=0))
    margin: float = setting(1.0, "m of the contrastive loss, of unit vectors", Rule(float, above=0))
    directions: int = setting(64, "singular directions of the bilinear regression", Rule(int, low=2))
    pretrained: str = setting("", "a folder of a pretrained network of texts, or its name", Rule(str))
    pretrained_steps: int = setting(100, "steps of tuning it, of 16 pairs", Rule(int, low=1))


QUICK = Config(methods="CoSENT", steps=60, directions=32)
TABLES = (
    Table(
        "STS benchmark, test",
        (_RAW, _LETTERS, _UNTRAINED, _LINEAR, *METHODS, _GIVEN, _TUNED, *_PUBLISHED),
        ("Spearman",),
        "1,379 pairs. Published numbers are percent, of pretrained encoders.",
        {(row, "Spearman"): Paper(value) for row, value in _PUBLISHED.items()},
    ),
)
CLAIMS = (
    Claim("CoSENT orders better than words do", TABLES[0].name, "Spearman", METHODS[0], _RAW, control=True),
    Claim("Training helps the encoder", TABLES[0].name, "Spearman", METHODS[0], _UNTRAINED),
    Claim("CoSENT is better than cosine regression", TABLES[0].name, "Spearman", METHODS[0], METHODS[1]),
    Claim("Regression is better than contrastive", TABLES[0].name, "Spearman", METHODS[1], METHODS[2]),
    Claim("A bilinear regression beats words", TABLES[0].name, "Spearman", _LINEAR, _RAW),
    Claim("CoSENT beats the n-grams it reads", TABLES[0].name, "Spearman", METHODS[0], _LETTERS),
)  # fmt: skip


def build(config: Config) -> NgramMLP:
    """The sum of learned vectors of words and pairs of words."""
    return NgramMLP(
        config.buckets, dimension=config.width, width=config.width, hidden=(), dropout=config.dropout
    )


def objective(config: Config, method: str) -> Callable[[Tensor, ScoredPairs], Tensor]:
    """The loss of a method, over embeddings (n, d) and pairs of them with scores from 0 to 5."""
    ordered, regression, contrastive = CoSENT(), ScoreRegression(), Contrastive(margin=config.margin)

    def value(embeddings: Tensor, pairs: ScoredPairs) -> Tensor:
        found: Tensor
        if method == METHODS[0]:
            found = ordered(embeddings, pairs)
        elif method == METHODS[1]:
            found = regression(embeddings, ScoredPairs(pairs.left, pairs.right, pairs.score / 5))
        else:
            clear = (pairs.score >= 4) | (pairs.score <= 2)
            relation = Pairs(pairs.left[clear], pairs.right[clear], pairs.score[clear] >= 4)
            found = contrastive(nn.functional.normalize(embeddings, dim=1), relation)
        return found

    return value


def run(config: Config, *, seed: int, data: str | os.PathLike[str] | None = None) -> Outcome:
    """One seed: every loss from the same first weights and batches."""
    outcome = Outcome()
    records = load("stsbenchmark", data=data)
    train, test = (
        records.take_entries(np.flatnonzero(records.entries["split"] == s)) for s in ("train", "test")
    )
    words = HashedNgrams.learned_from(train.items(), buckets=config.buckets)
    prepare = HashedNgrams.learned_from(train.items(), buckets=config.buckets, letters=(3, 4))
    for row, plain in ((_RAW, words), (_LETTERS, prepare)):
        _record(outcome, row, _cosines(plain.vectors(test.items()).numpy(), test), test)
    _bilinear(outcome, config, words, train, test, seed)
    torch.manual_seed(seed)
    untrained = build(config)
    _record(outcome, _UNTRAINED, _cosines(_embedded(untrained, prepare, test), test), test)
    for method in config.names("methods", METHODS):
        torch.manual_seed(seed)
        encoder = build(config)
        _train(
            encoder, prepare, train, objective(config, method), config.steps, 64, config.learning_rate, seed
        )
        _record(outcome, method, _cosines(_embedded(encoder, prepare, test), test), test)
    if config.pretrained:
        tokens, network = pretrained_text(config.pretrained)
        _record(outcome, _GIVEN, _cosines(_embedded(network, tokens, test), test), test)
        loss = objective(config, METHODS[0])
        _train(network, tokens, train, loss, config.pretrained_steps, 16, 2e-5, seed)
        _record(outcome, _TUNED, _cosines(_embedded(network, tokens, test), test), test)
    return outcome


def _relation(records: Records) -> ScoredPairs:
    assert isinstance(records.relation, ScoredPairs)
    return records.relation


def _train(
    encoder: nn.Module,
    prepare: Preprocessing,
    train: Records,
    loss: Callable[[Tensor, ScoredPairs], Tensor],
    steps: int,
    size: int,
    rate: float,
    seed: int,
) -> None:
    pairs, items = _relation(train), train.items()
    optimiser = torch.optim.Adam(encoder.parameters(), lr=rate)
    generator = np.random.default_rng([seed, 1])
    encoder.train()
    for _ in range(steps):
        chosen = torch.from_numpy(generator.choice(len(pairs.score), size, replace=False))
        both = torch.cat([pairs.left[chosen], pairs.right[chosen]]).numpy()
        rows, places = np.unique(both, return_inverse=True)
        left, right = torch.from_numpy(places).chunk(2)
        apart = left != right  # a few pairs of the set are one sentence twice
        embeddings = encoder(prepare(items[rows]))
        value = loss(embeddings, ScoredPairs(left[apart], right[apart], pairs.score[chosen][apart]))
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    encoder.eval()


@torch.no_grad()
def _embedded(encoder: nn.Module, prepare: Preprocessing, records: Records) -> NDArray[np.float32]:
    encoder.eval()
    items = records.items()
    parts = [encoder(prepare(items[start : start + 256])) for start in range(0, len(items), 256)]
    return np.asarray(torch.cat(parts).numpy())


def _cosines(vectors: NDArray[np.float32], records: Records) -> NDArray[np.float64]:
    pairs = _relation(records)
    left, right = (vectors[places.numpy()].astype(np.float64) for places in (pairs.left, pairs.right))
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray((left * right).sum(axis=1) / np.maximum(lengths, 1e-12))


def _bilinear(
    outcome: Outcome, config: Config, prepare: HashedNgrams, train: Records, test: Records, seed: int
) -> None:
    """``x'Wz + b`` on singular directions of the n-grams, of unit length."""
    directions = TruncatedSVD(config.directions, random_state=seed).fit(
        prepare.vectors(train.items()).numpy()
    )
    rows = [directions.transform(prepare.vectors(part.items()).numpy()) for part in (train, test)]
    rows = [each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in rows]
    learner = SimilarityRegression(symmetric=True, alpha=1e-4).fit(rows[0], scores=_apart(_relation(train)))
    pairs = _relation(test)
    _record(
        outcome, _LINEAR, learner.pair_score(rows[1][pairs.left.numpy()], rows[1][pairs.right.numpy()]), test
    )


def _apart(pairs: ScoredPairs) -> ScoredPairs:
    kept = pairs.left != pairs.right
    return ScoredPairs(pairs.left[kept], pairs.right[kept], pairs.score[kept])


def _record(outcome: Outcome, row: str, found: NDArray[np.float64], records: Records) -> None:
    """Spearman's correlation; behind it the products of standardised ranks, whose mean it is."""
    from scipy.stats import rankdata, zscore

    true = _relation(records).score.numpy()
    products = zscore(rankdata(found)) * zscore(rankdata(true))
    outcome.record(
        TABLES[0].name,
        row,
        {"Spearman": ranking(found, true)["spearman"].value},
        scores={"Spearman": Scores(products, np.arange(len(products)))},
    )
