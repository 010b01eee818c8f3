"""PC-AE: optimal binary autoencoding with pairwise correlations (Balsubramani 2017).

Bits x are coded as e in the box [-1, 1]^H. A decoder that is told only the correlations ``B = X'E / n`` and
wants the smallest cross-entropy in the worst case is one layer of logistic neurons, ``tanh(We / 2)``, with
for every bit v ::

    w_v = argmin  -b_v'w + mean_i Psi(w'e_i),      Psi(m) = ln(1 + e^m) + ln(1 + e^-m)

and codes are ``e(x) = argmin over the box of sum_v (-x_v w_v'e + Psi(w_v'e))``: no encoder network. Half
the slacks' sum is the cross-entropy where B is from the same codes, so this is logistic PCA in a box,
fitted by turns. Beside it: an autoencoder with one tanh layer, stopped where it loses least on a tenth of
the training rows (also with its test codes refined in the box by as many steps as PC-AE takes), and PCA.
Codes are allowed to be inside of the box: the loss of the relaxed codes, of their signs, and of signs with
W fitted again to them are three different rows, and only signs are binary.

Departures from the paper: 1,000 training rows a set instead of all; whole batches, with steps and rounds as
in the configuration; Adagrad as in the authors' code, begun again in every phase; bits that are constant in
the training part are left out, for every method; the code's price on W is a row of its own.
"""

from __future__ import annotations

import copy
import math
import os
from dataclasses import dataclass

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import softplus

from likewise.data import load
from likewise.data.binary_density import BINARY_DENSITY_SETS, binary_density_set
from likewise.errors import InputError
from likewise.evaluation import retrieval_scores
from likewise.recipes.correlation_decoder import (
    PairwiseDecoder,
    correlations,
    cross_entropy,
    fit_codes,
    fit_weights,
    pairwise_decoder,
)
from likewise.recipes.experiment import Claim, Outcome, Paper, RecipeConfig, Scores, Table
from likewise.settings import Rule, setting

__all__ = [
    "CLAIMS",
    "QUICK",
    "TABLES",
    "Autoencoder",
    "Config",
    "binary_neighbours",
    "build",
    "objective",
    "run",
]

_IMAGES = ("digits", "mnist", "omniglot")
_SETS = (*_IMAGES, *BINARY_DENSITY_SETS)
_UNITS = ("10", "20", "32", "50", "100")


@dataclass(frozen=True)
class Config(RecipeConfig):
    """Which bits, which lengths of codes, and how long."""

    sets: str = setting("digits,mnist,omniglot,plants,jester,mushrooms", "which sets", Rule(str))
    units: str = setting("10,20,32,50,100", "lengths of codes, H", Rule(str))
    train: int = setting(1000, "training rows of a set, at most", Rule(int, low=10))
    test: int = setting(300, "test rows, at most", Rule(int, low=10))
    rounds: int = setting(12, "turns of codes and weights", Rule(int, low=1))
    steps: int = setting(30, "Adagrad steps of a phase", Rule(int, low=1))
    test_steps: int = setting(200, "steps of a test code", Rule(int, low=1))
    spread: float = setting(1.0, "deviation of the first weights", Rule(float, above=0))
    sparsity: float = setting(0.01, "price of |W|_1 in the rows that have one", Rule(float, low=0))
    autoencoder_steps: int = setting(3000, "Adam steps of the autoencoder, batches of 100", Rule(int, low=1))


QUICK = Config(sets="digits", units="10,20", autoencoder_steps=1500)
_RELAXED, _SIGNS, _REFIT = "PC-AE, relaxed codes", "PC-AE, signs", "PC-AE, signs, W refitted"
_PRICED = tuple(f"{row}, price on W" for row in (_RELAXED, _SIGNS, _REFIT))
_AE, _REFINED, _PCA = "autoencoder", "autoencoder, refined test codes", "PCA"
_ROWS = (_PCA, _AE, _REFINED, _RELAXED, _SIGNS, _REFIT, *_PRICED)
_CODE_ROWS = ("bits themselves", _PCA, _AE, f"{_AE}, signs", _RELAXED, _SIGNS, _PRICED[1])
_PAPER = {  # (PC-AE, autoencoder)
    ("mnist", "32"): ("51.9", "53.8"),
    ("mnist", "100"): ("9.2", "9.8"),
    ("omniglot", "32"): ("76.1", "77.2"),
    ("omniglot", "100"): ("12.1", "13.2"),
}


def _figure(units: str) -> str:
    return f"H = {units}"


def _papers(name: str) -> dict[tuple[str, str], Paper]:
    return {
        (row, _figure(units)): Paper(value)
        for (held, units), values in _PAPER.items()
        for row, value in zip((_RELAXED, _AE), values, strict=True)
        if held == name
    }


TABLES = (
    *(
        Table(
            name, _ROWS, tuple(map(_figure, _UNITS)), "Test cross-entropy, nats an example.", _papers(name), 2
        )
        for name in _SETS
    ),
    *(
        Table(
            f"{name}, codes compared",
            _CODE_ROWS,
            ("5-NN accuracy", "mAP"),
            "The longest codes that were run, test queries against the training codes; signs by Hamming "
            "distance, their neighbours from faiss's binary index, all else Euclidean.",
        )
        for name in ("digits", "mnist")
    ),
)
CLAIMS = (
    Claim(
        "Codes in the box lose less than PCA's",
        "digits",
        _figure("10"),
        _RELAXED,
        _PCA,
        smaller=True,
        control=True,
    ),
    *(
        Claim(
            f"PC-AE's relaxed codes lose less than {what}", name, _figure(units), _RELAXED, than, smaller=True
        )
        for name, units in (("digits", "10"), ("mnist", "32"), ("omniglot", "32"))
        for what, than in (("an autoencoder's", _AE), ("the autoencoder's with refined test codes", _REFINED))
    ),
    Claim("The price on W makes signs lose less", "digits", _figure("10"), _PRICED[1], _SIGNS, smaller=True),
    Claim(
        "Signs of PC-AE retrieve as the bits do, or better",
        "digits, codes compared",
        "mAP",
        _SIGNS,
        _CODE_ROWS[0],
    ),
)


class Autoencoder(nn.Module):
    """``We + b`` as logits of bits, with ``e = tanh(Vx + c)``."""

    def __init__(self, bits: int, units: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(bits, units), nn.Tanh())
        self.decoder = nn.Linear(units, bits)

    def forward(self, bits: Tensor) -> Tensor:
        """Logits (n, v)."""
        logits: Tensor = self.decoder(self.encoder(bits))
        return logits


def build(bits: int, units: int) -> Autoencoder:
    """The autoencoder that PC-AE is held against; PC-AE itself has no encoder."""
    return Autoencoder(bits, units)


def objective(logits: Tensor, bits: Tensor) -> Tensor:
    """Cross-entropy (n,) in nats, summed over bits."""
    return softplus(-bits * logits).sum(dim=1)


def run(config: Config, *, seed: int, data: str | os.PathLike[str] | None = None) -> Outcome:
    """One seed: every set and every length of codes."""
    outcome = Outcome()
    lengths = config.names("units", _UNITS)
    for name in config.names("sets", _SETS):
        part = _bits(name, config, seed, data)
        for length in lengths:
            _judge(outcome, name, part, int(length), config, seed, codes_too=length == lengths[-1])
    return outcome


@dataclass(frozen=True)
class _Part:
    """Bits of -1 and 1, and labels where there are some."""

    train: Tensor
    test: Tensor
    train_labels: NDArray[np.int64] | None
    test_labels: NDArray[np.int64] | None


def _bits(name: str, config: Config, seed: int, data: str | os.PathLike[str] | None) -> _Part:
    generator = np.random.default_rng(seed)
    if name in _IMAGES:
        records = load(name, data=data)
        rows = generator.permutation(len(records))[: config.train + config.test]
        rows, rest = np.split(rows, [min(config.train, len(rows) * 7 // 10)])
        parts = []
        for chosen in (rows, rest[: config.test]):
            grey = records.items(chosen).reshape(len(chosen), -1)
            # digits: the threshold 8 of 16; the others: one Bernoulli draw a pixel, as in the paper
            limit = 0.5 if name == "digits" else generator.random(grey.shape)
            parts.append((grey / max(1.0, float(grey.max()))) >= limit)
        labels: list[NDArray[np.int64] | None] = [
            records.labels[rows],
            records.labels[rest[: config.test]],
        ]
    else:
        held = binary_density_set(name, data=data)
        parts = [
            held[part][generator.permutation(len(held[part]))[:count]]
            for part, count in (("train", config.train), ("test", config.test))
        ]
        labels = [None, None]
    varied = parts[0].any(axis=0) & ~parts[0].all(axis=0)
    train, test = (torch.from_numpy(part[:, varied] * 2.0 - 1.0).float() for part in parts)
    return _Part(train, test, labels[0], labels[1])


def _judge(
    outcome: Outcome, name: str, part: _Part, units: int, config: Config, seed: int, *, codes_too: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    train, test = part.train, part.test
    found: dict[str, Tensor] = {}
    codes: dict[str, tuple[Tensor, Tensor]] = {"bits themselves": (train, test)}
    found[_PCA], codes[_PCA] = _pca(train, test, units)
    network = _trained(train, units, config, generator)
    with torch.no_grad():
        codes[_AE] = network.encoder(train), network.encoder(test)
        found[_AE] = objective(network(test), test)
        found[_REFINED] = _refined(network, codes[_AE][1], test, config)
    codes[f"{_AE}, signs"] = _signs(codes[_AE][0]), _signs(codes[_AE][1])
    for price, names in ((0.0, (_RELAXED, _SIGNS, _REFIT)), (config.sparsity, _PRICED)):
        decoder = pairwise_decoder(
            train,
            units=units,
            rounds=config.rounds,
            steps=config.steps,
            generator=generator,
            spread=config.spread if not price else 0.1,
            sparsity=price,
        )
        relaxed = fit_codes(test, decoder.weights, steps=config.test_steps)
        codes[names[0]], codes[names[1]] = (decoder.codes, relaxed), (_signs(decoder.codes), _signs(relaxed))
        found[names[0]] = cross_entropy(decoder.weights, relaxed, test)
        found[names[1]] = cross_entropy(decoder.weights, _signs(relaxed), test)
        found[names[2]] = cross_entropy(_refitted(decoder, train, config), _signs(relaxed), test)
    for row, nats in found.items():
        values = nats.double().numpy()
        scores = {_figure(str(units)): Scores(values, np.arange(len(values)))}
        outcome.record(name, row, {_figure(str(units)): float(values.mean())}, scores=scores)
    if codes_too and part.train_labels is not None and name in ("digits", "mnist"):
        for row in _CODE_ROWS:
            _compare_codes(outcome, name, row, codes[row], part)


def _pca(train: Tensor, test: Tensor, units: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Nats (n,) of PCA's reconstruction as an expectation of bits, clipped where training bits lose least."""
    centre = train.mean(dim=0)
    axes = torch.linalg.svd(train - centre, full_matrices=False)[2][:units].T
    rebuilt = [(part - centre) @ axes @ axes.T + centre for part in (train, test)]

    def nats(part: int, limit: float) -> Tensor:
        bits = (train, test)[part]
        return -torch.log((1 + bits * rebuilt[part].clamp(-limit, limit)) / 2).sum(dim=1)

    limits = [0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 0.9999]
    best = min(limits, key=lambda limit: float(nats(0, limit).mean()))
    return nats(1, best), ((train - centre) @ axes, (test - centre) @ axes)


def _trained(train: Tensor, units: int, config: Config, generator: torch.Generator) -> Autoencoder:
    """Adam; the weights that lose least on a tenth of the training rows are kept."""
    network = build(train.shape[1], units)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    held_back, rows = train[: len(train) // 10], train[len(train) // 10 :]
    least, best = math.inf, copy.deepcopy(network.state_dict())
    for step in range(config.autoencoder_steps):
        batch = rows[torch.randint(len(rows), (100,), generator=generator)]
        loss = objective(network(batch), batch).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % 50 == 49:
            with torch.no_grad():
                lost = float(objective(network(held_back), held_back).mean())
            if lost < least:
                least, best = lost, copy.deepcopy(network.state_dict())
    network.load_state_dict(best)
    return network


def _refined(network: Autoencoder, codes: Tensor, bits: Tensor, config: Config) -> Tensor:
    """Nats with codes moved inside of the box by gradients, for as many steps as PC-AE's."""
    weights, bias = network.decoder.weight, network.decoder.bias
    squares = torch.full_like(codes, 1e-10)
    for _ in range(config.test_steps):
        slope = (torch.tanh((codes @ weights.T + bias) / 2) - bits) @ weights
        squares += slope * slope
        codes = (codes - 0.3 * slope / squares.sqrt()).clamp(-1.0, 1.0)
    return objective(codes @ weights.T + bias, bits)


def _refitted(decoder: PairwiseDecoder, train: Tensor, config: Config) -> Tensor:
    signs = _signs(decoder.codes)
    told = correlations(train, signs)
    return fit_weights(decoder.weights, signs, told, steps=config.rounds * config.steps)


def _signs(codes: Tensor) -> Tensor:
    return torch.where(codes >= 0, 1.0, -1.0)


def _compare_codes(outcome: Outcome, name: str, row: str, codes: tuple[Tensor, Tensor], part: _Part) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    assert part.train_labels is not None
    assert part.test_labels is not None
    gallery, queries = (each.numpy() for each in codes)
    binary = "signs" in row
    if binary:
        near = binary_neighbours(queries, gallery, k=5)
        votes = part.train_labels[near]
        said = np.array([np.bincount(each, minlength=10).argmax() for each in votes])
    else:
        said = KNeighborsClassifier(5).fit(gallery, part.train_labels).predict(queries)
    scores = retrieval_scores(
        queries,
        part.test_labels,
        gallery=gallery,
        gallery_labels=part.train_labels,
        distance="hamming" if binary else "euclidean",
        figures=["map"],
    )
    accuracy = {"5-NN accuracy": float((said == part.test_labels).mean())}
    outcome.record(f"{name}, codes compared", row, accuracy)
    outcome.record_retrieval(f"{name}, codes compared", row, scores, {"map": "mAP"})


def binary_neighbours(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], *, k: int
) -> NDArray[np.int64]:
    """The k nearest codes of a gallery by Hamming distance, from faiss's binary index: (q, k).

    Raises
    ------
    InputError
        Codes of another length, or of other numbers than -1 and 1.

    >>> binary_neighbours(np.array([[1.0, 1]]), np.array([[-1.0, -1], [1, 1], [1, -1]]), k=2)
    array([[1, 2]])
    """
    for given in (queries, gallery):
        if given.ndim != 2 or not np.isin(given, (-1.0, 1.0)).all():
            raise InputError("codes must be rows of -1 and 1")
    if queries.shape[1] != gallery.shape[1]:
        raise InputError(
            f"codes must have the gallery's length, {gallery.shape[1]}; found {queries.shape[1]}"
        )
    packed = [np.packbits(each > 0, axis=1) for each in (queries, gallery)]
    index = faiss.IndexBinaryFlat(8 * packed[1].shape[1])
    index.add(packed[1])
    found: NDArray[np.int64] = index.search(packed[0], k)[1]
    return found
