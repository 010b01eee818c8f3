"""Two views: learning without labels by augmentation, NT-Xent and VICReg (Chen 2020, Bardes 2022).

Every image of a batch is changed twice at random; the two views x_i, z_i of one image belong together::

    NT-Xent   -log( exp(s(x_i, z_i) / t) / sum over all other views v of exp(s(x_i, v) / t) ),  s the cosine
    VICReg    25 |x_i - z_i|^2 / d + 25 hinge of each coordinate's deviation + covariances squared

Both are computed on a projection that is dropped afterwards; what is judged is the network's features. Held
against raw pixels, the untrained network, and the same network, views and batches with labels (SupCon). What
is unlike in NT-Xent is every other image of the batch, also one of the same class: no label is read.

Departures from the papers: small networks and images (16 x 16), batches of 96 for thousands, affine changes
alone (no crops, no colours), Adam for LARS, a few hundred steps for hundreds of epochs. The papers have no
numbers on these sets.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from likewise.data import Augmentation, load
from likewise.encoders import MLP, ConvNet
from likewise.evaluation import retrieval_scores
from likewise.losses import NTXent, SupCon, VICReg
from likewise.recipes.experiment import Claim, Outcome, RecipeConfig, Table, embedded
from likewise.relations import Matches
from likewise.settings import Rule, setting

__all__ = ["CLAIMS", "METHODS", "QUICK", "TABLES", "Config", "build", "objective", "run"]

_SETS = ("mnist", "emoji")
METHODS = ("NT-Xent", "VICReg", "with labels (SupCon)")
_RAW, _UNTRAINED = "raw pixels", "untrained network"


@dataclass(frozen=True)
class Config(RecipeConfig):
    """Images and steps."""

    sets: str = setting("mnist,emoji", "which images", Rule(str))
    methods: str = setting(",".join(METHODS), "which methods", Rule(str))
    train: int = setting(3000, "training images, at most", Rule(int, low=96))
    test: int = setting(1000, "test images, at most", Rule(int, low=20))
    steps: int = setting(200, "steps of a network", Rule(int, low=1))
    batch: int = setting(96, "images a batch, each seen twice", Rule(int, low=2))
    width: int = setting(8, "channels of the first block", Rule(int, low=8))
    size: int = setting(16, "side of an image, in pixels", Rule(int, low=8))
    temperature: float = setting(0.2, "t of NT-Xent and SupCon", Rule(float, above=0))
    learning_rate: float = setting(2e-3, "Adam's", Rule(float, above=0))


QUICK = Config(sets="mnist", methods="NT-Xent", train=2000, test=500, steps=120)
TABLES = tuple(
    Table(name, (_RAW, _UNTRAINED, *METHODS), ("recall@1", "MAP@R"), about)
    for name, about in (
        ("mnist", "New digits of the ten classes, searched among themselves."),
        ("emoji", "Emoji that were never trained on; alike are the styles in which one emoji is drawn."),
    )
)
CLAIMS = (
    *(
        Claim(f"{method} finds {what} better than raw pixels, without a label", name, "MAP@R", method, _RAW,
              control=(name, method) == ("mnist", METHODS[0]))
        for name, what in (("mnist", "digits"), ("emoji", "unseen emoji"))
        for method in METHODS[:2]
    ),
    Claim("Training helps the network", "mnist", "MAP@R", METHODS[0], _UNTRAINED),
    Claim("Labels help further", "mnist", "MAP@R", METHODS[2], METHODS[0]),
    Claim("NT-Xent is better than VICReg at this size", "mnist", "MAP@R", METHODS[0], METHODS[1]),
)  # fmt: skip


def build(config: Config, item_shape: tuple[int, ...]) -> tuple[ConvNet, MLP]:
    """The network whose features are kept, and the projection that is dropped."""
    network = ConvNet(item_shape, dimension=None, width=config.width)
    return network, MLP(network.dimension, dimension=128, hidden=(128,))


def objective(config: Config, method: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The loss of two views (b, d) each and labels (b,), which only SupCon reads."""
    contrast, supervised = NTXent(temperature=config.temperature), SupCon(temperature=config.temperature)
    moments = VICReg()

    def value(x: Tensor, z: Tensor, labels: Tensor) -> Tensor:
        if method == METHODS[1]:
            moment: Tensor = moments(x, Matches(), columns=z)
            return moment
        # both views in one table: each view's only near column is its other view
        own = torch.arange(len(x)) if method == METHODS[0] else labels
        loss = contrast if method == METHODS[0] else supervised
        out: Tensor = loss(torch.cat([x, z]), torch.cat([own, own]))
        return out

    return value


def run(config: Config, *, seed: int, data: str | os.PathLike[str] | None = None) -> Outcome:
    """One seed: every method on every set, from the same first weights and batches."""
    outcome = Outcome()
    methods = config.names("methods", METHODS)
    for name in config.names("sets", _SETS):
        train, labels, test, test_labels = _images(name, config, seed, data)
        _record(outcome, name, _RAW, test.flatten(1), test_labels)
        torch.manual_seed(seed)
        _record(outcome, name, _UNTRAINED, embedded(build(config, test.shape[1:])[0], test), test_labels)
        for method in methods:
            torch.manual_seed(seed)
            network = _trained(config, method, train, labels, white=name == "emoji", seed=seed)
            _record(outcome, name, method, embedded(network, test), test_labels)
    return outcome


def _images(
    name: str, config: Config, seed: int, data: str | os.PathLike[str] | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, test images and labels: of MNIST its own parts, of emoji other classes."""
    generator = np.random.default_rng(seed)
    records = load(name, size=(config.size, config.size), data=data)
    if name == "mnist":
        test = records.columns["split"] == "test"
        chosen = [
            generator.permutation(np.flatnonzero(which))[:count]
            for which, count in ((~test, config.train), (test, config.test))
        ]
    else:  # whole classes of up to four styles, as a drawing finds something only where another is
        order = generator.permutation(len(records.classes))
        held_back, kept = order[: config.test // 4], order[config.test // 4 :][: config.train // 4]
        chosen = [np.flatnonzero(np.isin(records.codes, codes)) for codes in (kept, held_back)]
    parts: list[Tensor] = []
    for rows in chosen:
        parts += [torch.from_numpy(records.items(rows)), torch.from_numpy(records.codes[rows])]
    return parts[0], parts[1], parts[2], parts[3]


def _trained(
    config: Config, method: str, train: Tensor, labels: Tensor, *, white: bool, seed: int
) -> nn.Module:
    network, projection = build(config, tuple(train.shape[1:]))
    parameters = [*network.parameters(), *projection.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=config.learning_rate)
    turned = Augmentation(shift=0.12, rotation=20.0, scale=0.2, shear=0.2)
    rows, changes = np.random.default_rng([seed, 1]), torch.Generator().manual_seed(seed)
    loss = objective(config, method)
    network.train()
    for _ in range(config.steps):
        chosen = torch.from_numpy(rows.choice(len(train), min(config.batch, len(train)), replace=False))
        batch = train[chosen].repeat(2, *(1,) * (train.ndim - 1))
        views = 1 - turned(1 - batch, generator=changes) if white else turned(batch, generator=changes)
        x, z = projection(network(views)).chunk(2)
        value = loss(x, z, labels[chosen])
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network.eval()


def _record(outcome: Outcome, name: str, row: str, embeddings: Tensor, labels: Tensor) -> None:
    scores = retrieval_scores(embeddings, labels, distance="cosine", figures=["recall@1", "map@r"])
    outcome.record_retrieval(name, row, scores, {"recall@1": "recall@1", "map@r": "MAP@R"})
