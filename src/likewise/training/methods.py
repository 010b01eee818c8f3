"""Methods: a loss with the batches and learning rates that suit it, under one name.

All but N-pairs compare directions (the cosine distance), so margins and temperatures mean the same whatever
the encoder. Margins of the first three were chosen on scikit-learn's digits 0 to 4, by leaving two of them
out. That few classes of images are turned and mirrored, and that a projection is dropped, was suggested by
what earlier defaults missed on the digits 5 to 9, and confirmed on 0 to 4 alone, with three of them left out.
Rates and temperatures for texts were chosen where those of :class:`~likewise.encoders.NgramMLP` were: the STS
benchmark's dev part, and groups held back among those of 20 newsgroups that were learned from.

Departures from the papers, of all methods: AdamW with a short warm-up and half a cosine in place of each
paper's own optimiser and steps, as the encoders here are small and trained from nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from torch import nn

from likewise import losses, mining
from likewise.data import ItemKind
from likewise.distances import Cosine, Distance
from likewise.errors import InputError
from likewise.losses.classes import ClassLoss

__all__ = ["DEFAULT_METHODS", "METHODS", "Method", "Supervision", "method_for", "method_from_name"]

Supervision: TypeAlias = Literal["labels", "pairs", "scores", "triplets", "preferences", "views"]
"""What is known: a label an item, pairs alike or not, pairs with scores, triplets, which of two is the
better, or nothing at all."""


@dataclass(frozen=True)
class Method:
    """How to train.

    Parameters
    ----------
    name, about, source : str
        What it is called, what it does in one line, and the paper.
    kind : type of loss
        Made anew for each training.
    options : mapping
        What its constructor is given, beyond sizes, distance and miner.
    distance, miner : callable, optional
        Make the distance and the miner; None leaves the loss its own.
    compares : callable, optional
        Makes the distance by which embeddings are compared, where the loss has none.
    learns_from : tuple of str
        Which kinds of supervision it can use, the usual one first.
    sampler : str
        ``classes``: P x K; ``balanced``: a batch size spread evenly over classes. Tables of pairs and
        triplets, and items without labels, are shuffled whatever stands here.
    classes_per_batch, items_per_class : int
        P and K; P is lowered where there are fewer classes.
    batch_size : int
        Items, pairs or triplets, where batches aren't P x K.
    learning_rate : float
        Of the encoder.
    head : str, optional
        What the encoder ends in, where the loss needs it.
    loss_rate : float
        By how much faster parameters of the loss learn.
    texts : mapping
        Which of these are others where items are texts.
    """

    name: str
    about: str
    source: str
    kind: type[losses.Loss]
    options: Mapping[str, Any] = field(default_factory=dict)
    distance: Callable[[], Distance] | None = None
    miner: Callable[[], nn.Module] | None = None
    compares: Callable[[], Distance] | None = None
    learns_from: tuple[Supervision, ...] = ("labels",)
    sampler: str = "classes"
    classes_per_batch: int = 8
    items_per_class: int = 16
    batch_size: int = 128
    learning_rate: float = 2e-3
    loss_rate: float = 10.0
    head: str | None = None
    texts: Mapping[str, Any] = field(default_factory=dict)

    def suited(self, kind: ItemKind) -> Method:
        """The same method with what suits items of this kind.

        >>> METHODS["supcon"].suited("text").options["temperature"]
        0.3
        """
        return replace(self, **self.texts) if kind == "text" and self.texts else self

    @property
    def has_classes(self) -> bool:
        """Whether the loss holds learned vectors of the classes."""
        return issubclass(self.kind, ClassLoss)

    def loss(
        self, *, n_classes: int, dimension: int, options: Mapping[str, Any] | None = None
    ) -> losses.Loss:
        """A new loss.

        Parameters
        ----------
        n_classes, dimension : int
            Of the data and of what the loss sees; used where it holds vectors of classes.
        options : mapping, optional
            Over the method's own, as ``{"margin": 0.2}``.

        Raises
        ------
        InputError
            An option that the loss doesn't have, or a value that it refuses.

        >>> METHODS["arcface"].loss(n_classes=3, dimension=8, options={"margin": 0.3}).margin
        0.3
        """
        made = {**self.options, **(options or {})}
        if self.distance is not None:
            made["distance"] = self.distance()
        if self.miner is not None:
            made["miner"] = self.miner()
        sizes = (n_classes, dimension) if self.has_classes else ()
        try:
            return self.kind(*sizes, **made)
        except TypeError as error:
            raise InputError(
                f"loss: {self.kind.__name__} has no such option ({str(error).rpartition(' ')[2]}); "
                f"see its docstring for those it has"
            ) from error


_LABELS_AND_PAIRS: tuple[Supervision, ...] = ("labels", "pairs")
_PROXIES: dict[str, Any] = {"sampler": "balanced"}

METHODS = MappingProxyType(
    {
        method.name: method
        for method in (
            Method(
                name="contrastive",
                about="pull alike pairs together, push others beyond a margin",
                source="Hadsell, Chopra, LeCun, Dimensionality reduction by an invariant mapping, 2006",
                kind=losses.Contrastive,
                options={"margin": 0.5},
                distance=Cosine,
                learns_from=_LABELS_AND_PAIRS,
            ),
            Method(
                name="supcon",
                about="a softmax over the batch in which every item of one's class is right",
                source="Khosla et al., Supervised contrastive learning, 2020",
                kind=losses.SupCon,
                learns_from=("labels", "views"),
                texts={"options": {"temperature": 0.3}},
            ),
            Method(
                name="triplet",
                about="each positive nearer than each negative by a margin, all triplets",
                source="Schroff, Kalenichenko, Philbin, FaceNet, 2015",
                kind=losses.TripletMargin,
                options={"margin": 0.1},
                distance=Cosine,
                learns_from=("labels", "triplets"),
            ),
            Method(
                name="batch-hard",
                about="triplets of each item's farthest positive and nearest negative",
                source="Hermans, Beyer, Leibe, In defense of the triplet loss, 2017",
                kind=losses.TripletMargin,
                options={"margin": 0.2},
                distance=Cosine,
                miner=mining.BatchHard,
                classes_per_batch=18,
                items_per_class=4,
            ),
            Method(
                name="semi-hard",
                about="triplets whose negative is just farther than the positive",
                source="Schroff, Kalenichenko, Philbin, FaceNet, 2015, section 3.2",
                kind=losses.TripletMargin,
                options={"margin": 0.2},
                distance=Cosine,
                miner=mining.SemiHard,
            ),
            Method(
                name="multi-similarity",
                about="pairs weighted by themselves and by their neighbours",
                source="Wang et al., Multi-similarity loss with general pair weighting, 2019",
                kind=losses.MultiSimilarity,
                classes_per_batch=16,
                items_per_class=5,
            ),
            Method(
                name="circle",
                about="each similarity pulled at its own pace towards its optimum",
                source="Sun et al., Circle loss, 2020",
                kind=losses.Circle,
                classes_per_batch=16,
                items_per_class=5,
            ),
            Method(
                name="lifted",
                about="each positive pair against the negatives of both its ends",
                source="Song et al., Deep metric learning via lifted structured feature embedding, 2016",
                kind=losses.LiftedStructure,
                options={"margin": 0.5},
                distance=Cosine,
                classes_per_batch=16,
                items_per_class=8,
            ),
            Method(
                name="npairs",
                about="one positive against the negatives of N classes, by inner products",
                source="Sohn, Improved deep metric learning with multi-class N-pair loss objective, 2016",
                kind=losses.NPairs,
                options={"norm_weight": 0.005},
                classes_per_batch=60,
                items_per_class=2,
            ),
            Method(
                name="nca",
                about="the chance that a neighbour drawn by distance is of one's class",
                source="Goldberger et al., Neighbourhood components analysis, 2004",
                kind=losses.NCA,
                options={"logarithm": True, "temperature": 0.1},
                distance=Cosine,
            ),
            Method(
                name="fastap",
                about="average precision, by histograms of distances",
                source="Cakir et al., Deep metric learning to rank, 2019",
                kind=losses.FastAP,
            ),
            Method(
                name="proxy-nca",
                about="one learned point a class; each item nearer to its own",
                source="Movshovitz-Attias et al., No fuss distance metric learning using proxies, 2017",
                kind=losses.ProxyNCA,
                options={"scale": 9.0},
                **_PROXIES,
            ),
            Method(
                name="proxy-anchor",
                about="one learned point a class, which pulls and pushes the batch",
                source="Kim et al., Proxy anchor loss for deep metric learning, 2020",
                kind=losses.ProxyAnchor,
                **_PROXIES,
            ),
            Method(
                name="soft-triple",
                about="several learned points a class, softly chosen",
                source="Qian et al., SoftTriple loss, 2019",
                kind=losses.SoftTriple,
                **_PROXIES,
            ),
            Method(
                name="softmax",
                about="classification by directions (normalised softmax)",
                source="Zhai, Wu, Classification is a strong baseline for deep metric learning, 2018",
                kind=losses.NormalizedSoftmax,
                **_PROXIES,
            ),
            Method(
                name="cosface",
                about="classification with a margin on the cosine",
                source="Wang et al., CosFace, 2018",
                kind=losses.CosFace,
                **_PROXIES,
            ),
            Method(
                name="arcface",
                about="classification with a margin on the angle",
                source="Deng et al., ArcFace, 2019",
                kind=losses.ArcFace,
                **_PROXIES,
            ),
            Method(
                name="ntxent",
                about="two changed views of one item are alike, all else is not; needs no labels",
                source="Chen et al., A simple framework for contrastive learning (SimCLR), 2020",
                kind=losses.NTXent,
                options={"temperature": 0.5},
                learns_from=("views", "labels", "pairs"),
            ),
            Method(
                name="vicreg",
                about="two changed views alike, each coordinate spread, no two correlated; needs no labels",
                source="Bardes, Ponce, LeCun, VICReg, 2022",
                kind=losses.VICReg,
                compares=Cosine,
                learns_from=("views",),
            ),
            Method(
                name="barlow-twins",
                about="two changed views correlate coordinate by coordinate and not across; needs no labels",
                source="Zbontar et al., Barlow Twins, 2021",
                kind=losses.BarlowTwins,
                compares=Cosine,
                learns_from=("views",),
            ),
            Method(
                name="binary-pair",
                about="alike or not, as a logistic of the distance",
                source="Koch, Zemel, Salakhutdinov, Siamese neural networks for one-shot recognition, 2015",
                kind=losses.BinaryPair,
                options={"bias": 5.0, "balanced": True},
                learns_from=("pairs", "labels"),
                batch_size=64,
            ),
            Method(
                name="cosent",
                about="pairs ordered by similarity as their scores order them",
                source="Su Jianlin, CoSENT, 2022",
                kind=losses.CoSENT,
                learns_from=("scores", "pairs"),
                batch_size=64,
                texts={"options": {"temperature": 0.3}, "learning_rate": 3e-4},
            ),
            Method(
                name="score-regression",
                about="the cosine of a pair equal to its score",
                source="Reimers, Gurevych, Sentence-BERT, 2019, section 3 (regression)",
                kind=losses.ScoreRegression,
                learns_from=("scores", "pairs"),
                batch_size=64,
            ),
            Method(
                name="rank",
                about="one learned score an item, the better of two the higher",
                source="Herbrich, Graepel, Obermayer, Large margin rank boundaries, 2000",
                kind=losses.PairwiseRank,
                learns_from=("preferences",),
                batch_size=64,
                head="score",
            ),
        )
    }
)

DEFAULT_METHODS: Mapping[Supervision, str] = MappingProxyType(
    {
        "labels": "supcon",
        "pairs": "contrastive",
        "scores": "cosent",
        "triplets": "triplet",
        "preferences": "rank",
        "views": "ntxent",
    }
)
"""Which method is taken where nobody names one."""


def method_from_name(name: str) -> Method:
    """The method of this name.

    Raises
    ------
    InputError
        There is none; the nearest name is told.

    >>> method_from_name("supcon").items_per_class
    16
    """
    if name in METHODS:
        return METHODS[name]
    from likewise.training.linear_heads import linear_methods  # heavy, and needed after a mistake alone

    near = difflib.get_close_matches(name, [*METHODS, *linear_methods()], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(
        f"method must be one of {', '.join(METHODS)}, or a linear learner, as lmnn (likewise list methods); "
        f"found {name!r}{hint}"
    )


def method_for(supervision: Supervision, name: str | None) -> Method:
    """The method of this name, or the default; refused where it can't use what is known.

    Raises
    ------
    InputError
        As :func:`method_from_name`, or the method learns from something else.

    >>> method_for("scores", None).name
    'cosent'
    """
    method = method_from_name(DEFAULT_METHODS[supervision] if name is None else name)
    if supervision not in method.learns_from:
        fitting = ", ".join(other.name for other in METHODS.values() if supervision in other.learns_from)
        raise InputError(
            f"method {method.name} learns from {' or '.join(method.learns_from)}; found {supervision}; "
            f"for those there are {fitting}"
        )
    return method
