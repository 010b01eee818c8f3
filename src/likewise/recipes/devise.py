"""DeViSE: pictures mapped to the vectors of their labels' words (Frome et al. 2013).

Three stages: word vectors from plain text (skip-gram); a network v that learns the seen labels by softmax;
then a linear map M with the network frozen, and at last both together (Adagrad), on the hinge rank loss with
unit label vectors t::

    sum over j != y of max(0, 0.1 - t_y'Mv(x) + t_j'Mv(x))

A picture's labels are ranked by the cosine of Mv(x) to their vectors, seen in training or not. Held
against softmax, L2 regression of Mv to t, and random label vectors, which have no meaning. hit@k is the part
of pictures whose label is among the first k; hierarchical@k the part of the first k labels that are right for
k: the least radius in the hierarchy (label, group, all) that holds k labels. Zero-shot ranks unseen labels
alone, the generalised form all labels.

Departures from the paper: emoji in several drawing styles and a part of CIFAR-10 for ImageNet, 16 x 16;
skip-gram of 100 numbers with negative sampling on 7 million words for 5,400 million; a label of several
words is the mean of their unit vectors (for emoji of its name and its keywords); all false labels in every
step, where the paper stops at the first that violates; groups of emoji, and animals and vehicles, for
WordNet; a small convolutional network. Word vectors are learned once, from seed 0, for all seeds. The map
alone is trained on features of changed copies of the pictures too: the network has seen three drawings of a
label so often that a map of their own features is right of them and of little else (found on other splits,
with OpenMoji's style held back).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from likewise.data import Augmentation
from likewise.data.skip_gram import CORPORA, corpus, skip_gram
from likewise.data.words import WORD_SIMILARITY_SETS, WordVectors, read_word_vectors, word_similarity
from likewise.distances import Cosine
from likewise.encoders import ConvNet, Standardize, WordMapped
from likewise.errors import DataError
from likewise.losses import HingeRank
from likewise.model import Model
from likewise.recipes.experiment import Claim, Outcome, Paper, RecipeConfig, Scores, Table, embedded, fit
from likewise.recipes.hubs import hubs_corrected, occurrence_skewness
from likewise.recipes.worded_pictures import WordedPictures, composition, label_figures, worded_pictures
from likewise.settings import Rule, setting

__all__ = ["CLAIMS", "QUICK", "TABLES", "Config", "build", "objective", "run"]

_SETS = ("emoji", "cifar10")


@dataclass(frozen=True)
class Config(RecipeConfig):
    """Words, pictures, and how long each stage is."""

    sets: str = setting("emoji,cifar10", "which pictures", Rule(str))
    corpora: str = setting("brown,wikitext-2,20newsgroups", "texts of the skip-gram", Rule(str))
    words: str = setting("", "a GloVe or word2vec file, instead of the skip-gram", Rule(str))
    compose: str = setting("", "words for labels without a vector: automobile=car; ship=boat", Rule(str))
    word_epochs: int = setting(10, "passes of the skip-gram", Rule(int, low=1))
    word_rate: float = setting(0.1, "its rate; both were chosen on MTurk-287", Rule(float, above=0))
    dimension: int = setting(100, "numbers of a word vector", Rule(int, low=2))
    classes: int = setting(400, "labels of emoji, at most", Rule(int, low=10))
    unseen: float = setting(0.2, "part of the labels that is never trained on", Rule(float, above=0, below=1))
    pictures: int = setting(250, "training pictures a class of CIFAR-10", Rule(int, low=2))
    size: int = setting(16, "side of a picture, in pixels", Rule(int, low=8))
    width: int = setting(16, "channels of the first block", Rule(int, low=8))
    softmax_steps: int = setting(400, "steps of the second stage, batches of 64", Rule(int, low=1))
    map_steps: int = setting(400, "steps of the map alone, batches of 256", Rule(int, low=1))
    copies: int = setting(5, "changed copies of a picture that the map alone is trained on", Rule(int, low=0))
    tune_steps: int = setting(100, "steps of everything, batches of 64", Rule(int, low=0))
    margin: float = setting(0.1, "m of the hinge rank loss", Rule(float, low=0))
    save: str = setting("", "a folder: seed 0's model of emoji as a run, searched by words", Rule(str))


QUICK = Config(
    sets="emoji",
    corpora="brown,wikitext-2",
    word_epochs=1,
    word_rate=0.3,
    dimension=50,
    classes=250,
    softmax_steps=120,
    map_steps=200,
    tune_steps=0,
)
_SOFTMAX, _L2, _RANDOM = "softmax", "L2 regression", "random label vectors"
_DEVISE, _TUNED = "DeViSE", "DeViSE, all tuned"
_CORRECTED, _CENTRED = "DeViSE, hubs corrected", "DeViSE, vectors centred"
_RAW, _CHANCE = "raw pixels, class means", "chance"
_MAPPED = (_L2, _RANDOM, _DEVISE, _TUNED, _CENTRED)
_KS = (1, 2, 5, 10, 20)
_HUBS = "emoji, hubs"
_SPOKEN = 20_000  # the most frequent words, which a saved run keeps
_FLAT = tuple(f"hit@{k}" for k in _KS)
_HIERARCHICAL = tuple(f"hierarchical@{k}" for k in _KS[1:])
_PAPER_FLAT = {  # hit@1, 2, 5, 10, then hierarchical@2, 5, 10, 20; ImageNet's 1,000 labels
    _SOFTMAX: ("55.6 %", "67.4 %", "78.5 %", "85.0 %", ".452", ".342", ".313", ".319"),
    _DEVISE: ("53.2 %", "65.2 %", "76.7 %", "83.3 %", ".447", ".352", ".331", ".341"),
    _RANDOM: ("52.4 %", "63.9 %", "74.8 %", "80.6 %", ".428", ".315", ".271", ".248"),
}
_PAPER_ZERO = {  # 1,589 unseen labels of two hops
    "": ("6.0 %", "10.0 %", "18.1 %", "26.4 %", "36.4 %"),
    ", generalised": ("0.8 %", "2.7 %", "7.9 %", "14.2 %", "22.7 %"),
}


def _papers(name: str) -> dict[tuple[str, str], Paper]:
    figures = (*_FLAT[:4], *_HIERARCHICAL)
    return {
        (row, figure): Paper(value)
        for row, values in (_PAPER_FLAT if name == "emoji" else {}).items()
        for figure, value in zip(figures, values, strict=True)
    }


TABLES = (
    Table(
        "word vectors",
        WORD_SIMILARITY_SETS,
        ("Spearman", "pairs known"),
        "Correlation of the cosines of words with human ratings.",
    ),
    *(
        Table(
            f"{name}, seen labels",
            (_RAW, _SOFTMAX, *_MAPPED, _CORRECTED),
            (*_FLAT, *_HIERARCHICAL),
            "New pictures of the labels that were trained on: of emoji a drawing style that was held back "
            "(Twemoji), of CIFAR-10 the test pictures. The paper's figures are of ImageNet.",
            _papers(name),
        )
        for name in _SETS
    ),
    *(
        Table(
            f"{name}, unseen labels{kind}",
            (_CHANCE, *_MAPPED, _CORRECTED),
            _FLAT,
            "Pictures of labels that were never trained on; candidates are "
            + ("all labels." if kind else "the unseen labels.")
            + " The paper's figures are of 1,589 labels of ImageNet.",
            {
                (_DEVISE, figure): Paper(value)
                for figure, value in zip(_FLAT, _PAPER_ZERO[kind], strict=True)
                if name == "emoji"
            },
        )
        for name in _SETS
        for kind in ("", ", generalised")
    ),
    Table(
        _HUBS,
        (_DEVISE, _CENTRED, _CORRECTED),
        ("unseen labels", "all labels"),
        "Skewness of how often each label is among the 10 first of pictures of unseen labels; 0 where all "
        "come up equally often. Correction takes from each label its mean cosine with the 10 nearest "
        "training pictures; centred are word vectors less the mean of the 20,000 most frequent.",
    ),
)
CLAIMS = (
    Claim(
        "Word vectors name unseen labels better than random vectors, which know nothing of them",
        "emoji, unseen labels",
        "hit@10",
        _DEVISE,
        _RANDOM,
        control=True,
    ),
    Claim(
        "Words order errors: hierarchical precision", "emoji, seen labels", "hierarchical@5", _DEVISE, _RANDOM
    ),
    Claim("Hinge rank beats L2 regression", "emoji, seen labels", "hit@1", _DEVISE, _L2),
    Claim("Softmax is better at the first label", "emoji, seen labels", "hit@1", _SOFTMAX, _DEVISE),
    Claim(
        "Words beat softmax in hierarchical precision",
        "emoji, seen labels",
        "hierarchical@5",
        _DEVISE,
        _SOFTMAX,
    ),
    Claim("Tuning the network too helps", "emoji, seen labels", "hit@1", _TUNED, _DEVISE),
    Claim(
        "Correcting hubs helps generalised zero-shot",
        "emoji, unseen labels, generalised",
        "hit@5",
        _CORRECTED,
        _DEVISE,
    ),
    Claim("Centring takes hubs away", _HUBS, "all labels", _CENTRED, _DEVISE, smaller=True),
    Claim("Centring helps zero-shot", "emoji, unseen labels", "hit@5", _CENTRED, _DEVISE),
    Claim(
        "Two unseen classes of photographs are told apart", "cifar10, unseen labels", "hit@1", _DEVISE, 0.5
    ),
)


def build(config: Config) -> ConvNet:
    """v: a small convolutional network that ends in its features."""
    return ConvNet((3, config.size, config.size), dimension=None, width=config.width)


def objective(config: Config) -> HingeRank:
    """The hinge rank loss; give it label vectors as columns."""
    return HingeRank(margin=config.margin)


def run(config: Config, *, seed: int, data: str | os.PathLike[str] | None = None) -> Outcome:
    """One seed: all stages on every set of pictures."""
    outcome = Outcome()
    held = _words(config, None if data is None else os.fspath(data))
    for name in WORD_SIMILARITY_SETS:
        try:
            found = word_similarity(held, name, data=data)
        except DataError:
            continue  # too few of its words are known: the cells stay "not run"
        outcome.record(
            "word vectors", name, {"Spearman": found.spearman, "pairs known": found.known / found.pairs}
        )
    for name in config.names("sets", _SETS):
        _judge(
            outcome,
            name,
            worded_pictures(
                name,
                held,
                size=config.size,
                most=config.classes,
                unseen_part=config.unseen,
                pictures=config.pictures,
                seed=seed,
                compose=composition(config.compose),
                data=data,
            ),
            config,
            seed,
        )
    return outcome


@lru_cache(maxsize=2)
def _words(config: Config, data: str | None) -> WordVectors:
    if config.words:
        return read_word_vectors(config.words)
    names = config.names("corpora", CORPORA)
    texts = [text for name in names for text in corpus(name, data=data)]
    return skip_gram(texts, dimension=config.dimension, epochs=config.word_epochs, rate=config.word_rate)


def _judge(outcome: Outcome, name: str, task: WordedPictures, config: Config, seed: int) -> None:
    network = build(config)
    head = nn.Linear(network.dimension, task.seen)
    classifier = nn.Sequential(network, head)
    turned = Augmentation(shift=0.08, rotation=12.0, scale=0.12)
    generator = torch.Generator().manual_seed(seed)

    def change(images: Tensor) -> Tensor:
        return 1.0 - turned(1.0 - images, generator=generator)  # what moves in is white

    fit(
        classifier,
        nn.functional.cross_entropy,
        task.train,
        task.train_labels,
        _batches(len(task.train), 64, seed),
        steps=config.softmax_steps,
        optimiser=torch.optim.Adam(classifier.parameters(), lr=2e-3),
        change=change,
    )
    parts = {"train": task.train, "test": task.test, "unseen": task.unseen}
    copies = [task.train, *(change(task.train) for _ in range(config.copies))]
    features = {part: embedded(network, items) for part, items in parts.items()}
    features["train"] = torch.cat([embedded(network, each) for each in copies])
    train_labels = task.train_labels.repeat(len(copies))
    centre, spread = features["train"].mean(dim=0), features["train"].std(dim=0) + 1e-3
    scaled = {part: (each - centre) / spread / each.shape[1] ** 0.5 for part, each in features.items()}
    random = normalize(torch.randn(task.vectors.shape, generator=generator), dim=1)
    loss = objective(config)
    _record_seen(outcome, name, _SOFTMAX, head(features["test"]).detach(), task)
    raw = torch.stack(
        [task.train[task.train_labels == label].mean(dim=0).flatten() for label in range(task.seen)]
    )
    _record_seen(outcome, name, _RAW, -torch.cdist(task.test.flatten(1), raw), task)
    centred = torch.from_numpy(task.words.centred().labels(task.texts))
    rows = ((_L2, task.vectors), (_RANDOM, random), (_CENTRED, centred), (_DEVISE, task.vectors))
    for row, targets in rows:
        mapping = nn.Linear(features["train"].shape[1], task.vectors.shape[1], bias=False)
        nn.init.zeros_(mapping.weight)
        columns = targets[: task.seen]

        def ranked(mapped: Tensor, labels: Tensor, columns: Tensor = columns, row: str = row) -> Tensor:
            if row == _L2:
                return (mapped - columns[labels]).square().sum(dim=1).mean()
            value: Tensor = loss(mapped, labels, columns=columns, column_relation=torch.arange(len(columns)))
            return value

        fit(
            mapping,
            ranked,
            scaled["train"],
            train_labels,
            _batches(len(train_labels), 256, seed),
            steps=config.map_steps,
            optimiser=torch.optim.Adagrad(mapping.parameters(), lr=0.1),
        )
        mapped = {part: mapping(each).detach() for part, each in scaled.items()}
        _record(outcome, name, row, mapped, targets, task)
    _record(outcome, name, _CORRECTED, mapped, task.vectors, task, hubs=True)
    whole = WordMapped(network, words=task.words.words[:_SPOKEN], dimension=task.vectors.shape[1])
    with torch.no_grad():
        whole.mapping.weight.copy_(mapping.weight)
        whole.centre.copy_(centre)
        whole.spread.copy_(spread * features["train"].shape[1] ** 0.5)
        whole.word_vectors.copy_(torch.from_numpy(task.words.unit[:_SPOKEN]))
    if config.tune_steps:
        fit(
            whole,
            ranked,
            task.train,
            task.train_labels,
            _batches(len(task.train), 64, seed + 1),
            steps=config.tune_steps,
            optimiser=torch.optim.Adagrad(whole.parameters(), lr=0.003),
            change=change,
        )
        tuned = {part: embedded(whole, items) for part, items in parts.items()}
        _record(outcome, name, _TUNED, tuned, task.vectors, task)
    if config.save and name == "emoji" and seed == 0:
        shape = (3, config.size, config.size)
        Model(whole.eval(), Cosine(), Standardize(shape), training={"recipe": "devise"}).save(config.save)
    for k, figure in zip(_KS, _FLAT, strict=True):
        unseen = len(task.vectors) - task.seen
        outcome.record(f"{name}, unseen labels", _CHANCE, {figure: min(1.0, k / unseen)})
        everything = {figure: min(1.0, k / len(task.vectors))}
        outcome.record(f"{name}, unseen labels, generalised", _CHANCE, everything)


def _batches(count: int, size: int, seed: int) -> list[list[int]]:
    """Several passes in drawn orders."""
    generator = np.random.default_rng([seed, 1])
    size = min(size, count)
    orders = [generator.permutation(count) for _ in range(20)]
    return [
        order[start : start + size].tolist() for order in orders for start in range(0, count - size + 1, size)
    ]


def _record(
    outcome: Outcome,
    name: str,
    row: str,
    mapped: dict[str, Tensor],
    vectors: Tensor,
    task: WordedPictures,
    *,
    hubs: bool = False,
) -> None:
    labels = normalize(vectors, dim=1)
    cosines = {part: normalize(each, dim=1) @ labels.T for part, each in mapped.items()}
    if hubs:
        cosines = {part: hubs_corrected(each, cosines["train"]) for part, each in cosines.items()}
    _record_seen(outcome, name, row, cosines["test"][:, : task.seen], task)
    unseen = cosines["unseen"]
    groups = task.groups
    for kind, scores, own, among in (
        ("", unseen[:, task.seen :], task.unseen_labels - task.seen, groups[task.seen :]),
        (", generalised", unseen, task.unseen_labels, groups),
    ):
        found = label_figures(scores, own, among, ks=_KS)
        _enter(outcome, f"{name}, unseen labels{kind}", row, found, own, _FLAT)
    if name == "emoji" and row in (_DEVISE, _CENTRED, _CORRECTED):
        found_hubs = (occurrence_skewness(unseen[:, task.seen :]), occurrence_skewness(unseen))
        outcome.record(_HUBS, row, dict(zip(("unseen labels", "all labels"), found_hubs, strict=True)))


def _record_seen(outcome: Outcome, name: str, row: str, scores: Tensor, task: WordedPictures) -> None:
    found = label_figures(scores, task.test_labels, task.groups[: task.seen], ks=_KS)
    _enter(outcome, f"{name}, seen labels", row, found, task.test_labels, (*_FLAT, *_HIERARCHICAL))


def _enter(
    outcome: Outcome,
    table: str,
    row: str,
    found: dict[str, NDArray[np.float64]],
    own: Tensor,
    figures: tuple[str, ...],
) -> None:
    shown = {figure: found[figure] for figure in figures if figure in found}
    outcome.record(
        table,
        row,
        {figure: float(values.mean()) for figure, values in shown.items()},
        scores={figure: Scores(values, own.numpy()) for figure, values in shown.items()},
    )
