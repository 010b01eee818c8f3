"""Photographs by aesthetic quality: triplets, then a ranking head (EyeEm 2016).

Curators picked great photographs; others are mediocre; nobody gave a score. An embedding phi learns from
triplets of two great ones and a mediocre one, ``max(0, m + d(a, p) - d(a, n))``, then a small head s from
pairs, ``max(0, 1 - s(p) + s(n))``, on the frozen phi; or both at once, as a sum. Great photographs are no one
cluster, and some subjects have more of them: a, p and n are drawn from one subject (matched context), so that
it isn't the subject that is ranked. Afterwards a personal ranker is learned on frozen features from a few
choices against a background.

THIS IS A SURROGATE: no open set of rated photographs is here. Photographs of CIFAR-10 are given a hidden
quality q (blur, flat contrast and noise grow as it falls); great is q > 0.8, mediocre q < 0.5, and
training sees only which is which. Subjects differ in how often they are great. Everything is judged on
subjects that were never trained on, where q is spread evenly. With ``--ava FOLDER`` (AVA.txt and images/)
the same is run on the AVA set of rated photographs; that wasn't done for this page.

Departures from the paper: the post gives no recipe that can be checked, so the losses are from memory; a
small network, 32 x 32 pixels, no pretraining.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from likewise.data import Records, load
from likewise.distances import SignedDifference
from likewise.encoders import MLP, ConvNet, Headed, Standardize
from likewise.evaluation import ranking
from likewise.losses import PairwiseRank, TripletMargin
from likewise.model import Model
from likewise.recipes.ava import read_ava
from likewise.recipes.experiment import (
    Claim,
    Outcome,
    RecipeConfig,
    Scores,
    Table,
    embedded,
    thread_seconds,
)
from likewise.relations import Scores as ScoredPairs
from likewise.relations import Triplets
from likewise.settings import Rule, setting

__all__ = ["CLAIMS", "QUICK", "TABLES", "Config", "build", "degraded", "objective", "run"]

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Config(RecipeConfig):
    """Photographs and steps."""

    photos: int = setting(1500, "training photographs", Rule(int, low=50))
    judged: int = setting(400, "photographs of unseen subjects", Rule(int, low=20))
    triplets: int = setting(24, "triplets a batch", Rule(int, low=2))
    steps: int = setting(120, "steps of the network", Rule(int, low=1))
    head_steps: int = setting(200, "steps of a head on frozen features, 64 pairs each", Rule(int, low=1))
    margin: float = setting(0.2, "m of the triplets, of unit embeddings", Rule(float, above=0))
    joint: bool = setting(True, "also train both stages as a sum", Rule(bool))
    ablate: bool = setting(True, "also draw triplets from any subject", Rule(bool))
    choices: str = setting("20,50", "photographs that a curator chooses", Rule(str))
    background: int = setting(200, "photographs that a curator's choices are held against", Rule(int, low=10))
    personal_steps: int = setting(100, "steps of a personal ranker", Rule(int, low=1))
    ava: str = setting("", "the folder of AVA (AVA.txt, images/) instead of the surrogate", Rule(str))
    save: str = setting("", "a folder: seed 0's ranker (the sum) as a run, for likewise rank", Rule(str))


QUICK = Config(photos=800, judged=300, steps=70, joint=False, ablate=False, choices="20")
_RAW, _UNTRAINED = "raw pixels, ranking head", "untrained network, ranking head"
_MATCHED, _ANY = "triplets, then head", "triplets, then head, any subject"
_JOINT, _JOINT_ANY = "both as a sum", "both as a sum, any subject"
_FIGURES = ("pairwise accuracy", "Spearman")
_GLOBAL, _CHOICES = "global ranker", ("20", "50")
_CURATORS = {"sharp and clean": (1.0, 0.0, 0.4), "soft contrast": (0.3, -1.0, 0.0)}
TABLES = (
    Table(
        "unseen subjects",
        (_RAW, _UNTRAINED, _MATCHED, _ANY, _JOINT, _JOINT_ANY),
        _FIGURES,
        "A surrogate: the order of photographs of subjects that were never trained on, against the hidden "
        "quality. The post gives no number.",
    ),
    Table(
        "personal rankers",
        (_GLOBAL, *(f"personal, {count} choices" for count in _CHOICES)),
        (*(f"AUC, curator of {name}" for name in _CURATORS), "seconds"),
        "Two simulated curators weigh sharpness, contrast and cleanness differently (soft contrast: against "
        "the global quality), and choose from their top fifth of the training photographs. AUC: their top "
        "fifth among unseen subjects. Seconds of the processor: a ranker's.",
    ),
)
CLAIMS = (
    Claim(
        "Triplets and a head rank unseen subjects better than a head on raw pixels",
        "unseen subjects",
        _FIGURES[0],
        _MATCHED,
        _RAW,
        control=True,
    ),
    Claim("Training the network helps", "unseen subjects", _FIGURES[0], _MATCHED, _UNTRAINED),
    Claim("Matched context helps, stage by stage", "unseen subjects", _FIGURES[0], _MATCHED, _ANY),
    Claim("Matched context helps, as a sum", "unseen subjects", _FIGURES[0], _JOINT, _JOINT_ANY),
    Claim("The sum is better than stages", "unseen subjects", _FIGURES[0], _JOINT, _MATCHED),
    Claim(
        "A personal ranker of 20 choices knows a taste against the global one",
        "personal rankers",
        "AUC, curator of soft contrast",
        "personal, 20 choices",
        _GLOBAL,
    ),
)


def build(item_shape: tuple[int, ...]) -> Headed:
    """A small convolutional network phi of 32 numbers with the head s."""
    return Headed(ConvNet(item_shape, dimension=32, width=8), head="score", dimension=1)


def objective(config: Config) -> tuple[TripletMargin, PairwiseRank]:
    """The loss of triplets, and the loss of pairs."""
    return TripletMargin(margin=config.margin), PairwiseRank()


def degraded(images: Tensor, attributes: Tensor, *, generator: torch.Generator) -> Tensor:
    """Photographs (n, 3, h, w) with less sharpness, contrast and cleanness: attributes (n, 3) from 0 to 1."""
    sharp, contrast, clean = (part[:, None, None, None] for part in attributes.T)
    blurred = nn.functional.avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False)
    images = sharp * images + (1 - sharp) * blurred
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (0.3 + 0.7 * contrast) * (images - mean)
    noise = torch.randn(images.shape, generator=generator)
    spoiled: Tensor = (images + 0.15 * (1 - clean) * noise).clamp(0.0, 1.0)
    return spoiled


@dataclass(frozen=True)
class _Photos:
    """Photographs, subjects (n,), hidden qualities (n,), and their three attributes where they were made."""

    images: Tensor
    subjects: NDArray[np.int64]
    quality: _Array
    attributes: _Array | None

    def drawn(self, matched: bool, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Rows of triplets (count, 3): two great ones and a mediocre one, of one subject where matched."""
        great, mediocre = self.quality > 0.8, self.quality < 0.5
        rows = np.empty((count, 3), dtype=np.int64)
        subjects = [
            subject
            for subject in np.unique(self.subjects)
            if (great & (self.subjects == subject)).sum() > 1
            and (mediocre & (self.subjects == subject)).any()
        ]
        for number in range(count):
            within = (
                self.subjects == generator.choice(subjects) if matched else np.ones(len(great), dtype=bool)
            )
            rows[number, :2] = generator.choice(np.flatnonzero(great & within), 2, replace=False)
            rows[number, 2] = generator.choice(np.flatnonzero(mediocre & within))
        return rows


def run(config: Config, *, seed: int, data: str | os.PathLike[str] | None = None) -> Outcome:
    """One seed: rankers of both kinds of context, then personal ones."""
    outcome, generator = Outcome(), np.random.default_rng(seed)
    train, test = _ava(config, generator) if config.ava else _surrogate(config, generator, seed, data)
    flat = train.images.flatten(1)
    raw = _head(flat, train, config, generator, matched=True)
    _record(outcome, _RAW, raw(test.images.flatten(1)), test)
    untrained = build(tuple(train.images.shape[1:]))
    head = _head(embedded(untrained.body, train.images), train, config, generator, matched=True)
    _record(outcome, _UNTRAINED, head(embedded(untrained.body, test.images)), test)
    for matched in (True, False) if config.ablate else (True,):
        network = _trained(train, config, generator, matched=matched, joint=False)
        head = _head(embedded(network.body, train.images), train, config, generator, matched=matched)
        scores = head(embedded(network.body, test.images))
        _record(outcome, _MATCHED if matched else _ANY, scores, test)
        if matched:
            kept, ranked = network, scores
        saved = matched and bool(config.save) and seed == 0
        if config.joint or saved:
            both = _trained(train, config, generator, matched=matched, joint=True)
            _record(outcome, _JOINT if matched else _JOINT_ANY, embedded(both, test.images)[:, 0], test)
            if saved:
                _saved(both, config.save)
    if test.attributes is not None:
        _judge_curators(outcome, config, kept.body, ranked, train, test, generator)
    return outcome


def _surrogate(
    config: Config, generator: np.random.Generator, seed: int, data: str | os.PathLike[str] | None
) -> tuple[_Photos, _Photos]:
    """Five subjects to train on, where more or fewer are great, and five to judge by."""
    records = load("cifar10", data=data)
    subjects = generator.permutation(10)
    parts = []
    for chosen, count, biased in ((subjects[:5], config.photos, True), (subjects[5:], config.judged, False)):
        rows = generator.permutation(np.flatnonzero(np.isin(records.labels, chosen)))[:count]
        y = records.labels[rows]
        rate = np.searchsorted(np.sort(chosen), y) / 4 if biased else None
        quality = generator.random(count)
        if rate is not None:  # q is uniform over 0.6 of the range, higher for some subjects
            quality = 0.6 * quality + 0.4 * rate
        attributes = np.clip(quality[:, None] + 0.25 * generator.standard_normal((count, 3)), 0, 1)
        quality = attributes.mean(axis=1)
        images = degraded(
            torch.from_numpy(records.items(rows)),
            torch.from_numpy(attributes).float(),
            generator=torch.Generator().manual_seed(seed),
        )
        parts.append(_Photos(images, y, quality, attributes))
    return parts[0], parts[1]


def _ava(config: Config, generator: np.random.Generator) -> tuple[_Photos, _Photos]:
    """Ratings as ranks from 0 to 1; half of the subjects are held back."""
    records: Records = read_ava(config.ava)
    quality = records.columns["rating"].argsort().argsort() / max(1, len(records) - 1)
    subjects = generator.permutation(records.classes)
    parts = []
    for chosen, count in ((subjects[::2], config.photos), (subjects[1::2], config.judged)):
        rows = generator.permutation(np.flatnonzero(np.isin(records.labels, chosen)))[:count]
        parts.append(
            _Photos(torch.from_numpy(records.items(rows)), records.labels[rows], quality[rows], None)
        )
    return parts[0], parts[1]


def _trained(
    train: _Photos, config: Config, generator: np.random.Generator, *, matched: bool, joint: bool
) -> Headed:
    network = build(tuple(train.images.shape[1:]))
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    near, better = objective(config)
    count = config.triplets
    rows = torch.arange(count)
    relation = Triplets(rows, rows + count, rows + 2 * count)
    pairs = ScoredPairs(
        torch.cat([rows, rows + count]), torch.cat([rows, rows]) + 2 * count, torch.ones(2 * count)
    )
    network.train()
    for _ in range(config.steps):
        drawn = train.drawn(matched, count, generator)
        features = network.body(train.images[torch.from_numpy(drawn.T.ravel())])
        loss = near(nn.functional.normalize(features, dim=1), relation)
        if joint:
            loss = loss + better(network.head(features), pairs)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return network.eval()


def _head(
    features: Tensor, train: _Photos, config: Config, generator: np.random.Generator, *, matched: bool
) -> Callable[[Tensor], Tensor]:
    """A ranking head on frozen features, from great ones against mediocre ones."""
    pairs = train.drawn(matched, 64 * config.head_steps // 8, generator)[:, 1:]
    return _ranker(features, pairs, config.head_steps, generator)


def _ranker(
    features: Tensor, pairs: NDArray[np.int64], steps: int, generator: np.random.Generator
) -> Callable[[Tensor], Tensor]:
    """A three-layer perceptron that learns pairs (k, 2), the better one first; features are scaled."""
    centre, spread = features.mean(dim=0), features.std(dim=0) + 1e-6
    network = MLP(features.shape[1], dimension=1, hidden=(32, 32))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-3)
    loss = PairwiseRank()
    network.train()
    for _ in range(steps):
        chosen = torch.from_numpy(pairs[generator.integers(0, len(pairs), 64)])
        scores = network((features[chosen.T.reshape(-1)] - centre) / spread)
        rows = torch.arange(64)
        value = loss(scores, ScoredPairs(rows, rows + 64, torch.ones(64)))
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
    network.eval()

    @torch.no_grad()
    def score(given: Tensor) -> Tensor:
        scores: Tensor = network((given - centre) / spread)[:, 0]
        return scores

    return score


def _record(outcome: Outcome, row: str, scores: Tensor, test: _Photos) -> None:
    found, true = scores.double().numpy(), test.quality
    gap, right = found[:, None] - found[None], true[:, None] - true[None]
    agreed = np.where(gap == 0, 0.5, (gap > 0) == (right > 0))
    np.fill_diagonal(agreed, 0.0)
    by_item = agreed.sum(axis=1) / (len(true) - 1)
    report = ranking(found, true)
    outcome.record(
        "unseen subjects",
        row,
        {_FIGURES[0]: report["pairwise_accuracy"].value, _FIGURES[1]: report["spearman"].value},
        scores={_FIGURES[0]: Scores(by_item, np.arange(len(true)))},
    )


def _judge_curators(
    outcome: Outcome,
    config: Config,
    network: nn.Module,
    ranked: Tensor,
    train: _Photos,
    test: _Photos,
    generator: np.random.Generator,
) -> None:
    assert train.attributes is not None
    assert test.attributes is not None
    features, judged = embedded(network, train.images), embedded(network, test.images)
    for name, weights in _CURATORS.items():
        figure = f"AUC, curator of {name}"
        taste, wanted = train.attributes @ np.array(weights), test.attributes @ np.array(weights)
        top = wanted > np.quantile(wanted, 0.8)
        outcome.record("personal rankers", _GLOBAL, {figure: float(roc_auc_score(top, ranked.numpy()))})
        for count in config.names("choices", _CHOICES):
            chosen = taste.argsort()[::-1][: max(len(taste) // 5, int(count))]
            chosen = generator.choice(chosen, int(count), replace=False)
            others = np.setdiff1d(np.arange(len(taste)), chosen)
            others = generator.choice(others, min(config.background, len(others)), replace=False)
            pairs = np.stack(np.meshgrid(chosen, others), axis=-1).reshape(-1, 2)
            begun = thread_seconds()
            personal = _ranker(features, pairs, config.personal_steps, generator)
            spent = thread_seconds() - begun
            auc = float(roc_auc_score(top, personal(judged).numpy()))
            outcome.record("personal rankers", f"personal, {count} choices", {figure: auc, "seconds": spent})


def _saved(network: Headed, folder: str) -> None:
    shape = network.body.config()["item_shape"]
    Model(network, SignedDifference(), Standardize(tuple(shape)), training={"recipe": "aesthetics"}).save(
        folder
    )
