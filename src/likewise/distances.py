"""Distances: values with few verbs, and their axioms declared.

Smaller means more alike, everywhere; a similarity enters with its sign turned. Each distance is a
module with three verbs: ``distance(x, y)`` row by row, ``distance.table(x, y)`` all pairs, and, for
those that a matrix product gives (:class:`ProductDistance`), ``features`` and ``column_features``,
under which the distance is one of four forms of ``|u - v|`` or ``-u.v``. The engine in
:mod:`likewise.table` walks over those forms fast; what is here is plain and exact.

What a distance obeys stands in ``axioms``; tests are derived from it, and each axiom that is not
declared has a counter-example in the tests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from likewise.errors import InputError

__all__ = [
    "Axiom",
    "Bilinear",
    "Cityblock",
    "Cosine",
    "Distance",
    "Dot",
    "Euclidean",
    "Form",
    "Hamming",
    "Mahalanobis",
    "PositionDependent",
    "ProductDistance",
    "SignedDifference",
    "SquaredEuclidean",
    "WeightedCityblock",
    "distance_from_config",
    "unit_rows",
]


class Axiom(Enum):
    """What a distance may promise for every x, y, z."""

    NON_NEGATIVE = "d(x, y) >= 0"
    ZERO_ON_SELF = "d(x, x) == 0"
    SYMMETRIC = "d(x, y) == d(y, x)"
    TRIANGLE = "d(x, z) <= d(x, y) + d(y, z)"
    ANTISYMMETRIC = "d(x, y) == -d(y, x)"


_PSEUDO_METRIC = frozenset({Axiom.NON_NEGATIVE, Axiom.ZERO_ON_SELF, Axiom.SYMMETRIC, Axiom.TRIANGLE})
_SYMMETRIC_DISSIMILARITY = _PSEUDO_METRIC - {Axiom.TRIANGLE}


class Form(Enum):
    """How a product distance reads two feature vectors u and v."""

    SQUARED = "|u - v|^2"
    EUCLIDEAN = "|u - v|"
    HALF_SQUARED = "|u - v|^2 / 2"
    NEGATIVE_PRODUCT = "-u.v"

    def pairs(self, u: Tensor, v: Tensor) -> Tensor:
        """Row by row distances of features ``(..., k)``, by subtraction; slope zero where u == v."""
        if self is Form.NEGATIVE_PRODUCT:
            return -(u * v).sum(-1)
        difference = u - v
        if self is Form.EUCLIDEAN:
            norm: Tensor = torch.linalg.vector_norm(difference, dim=-1)
            return norm
        squared = (difference * difference).sum(-1)
        return squared if self is Form.SQUARED else squared / 2


class Distance(nn.Module, ABC):
    """A learned or fixed dissimilarity of vectors; smaller is more alike."""

    axioms: ClassVar[frozenset[Axiom]] = frozenset()

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances row by row: x ``(..., d)`` and y ``(..., d)`` give ``(...)``, broadcasting."""

    __call__: Callable[..., Tensor]

    def table(self, x: Tensor, y: Tensor) -> Tensor:
        """All distances: x ``(n, d)`` against y ``(m, d)`` give ``(n, m)``, by subtraction."""
        return self.forward(x[:, None, :], y[None, :, :])

    def width(self, dimension: int) -> int:
        """How many numbers one cell of a table costs while it is computed, for rows of ``dimension``."""
        return dimension

    def config(self) -> dict[str, Any]:
        """What builds this distance again, apart from its arrays: JSON values only."""
        return {"name": type(self).__name__}


class ProductDistance(Distance):
    """A distance that a matrix product of features gives: the engine walks these at full speed."""

    form: ClassVar[Form]
    unit: ClassVar[bool] = False
    """Whether ``features`` are the inputs at unit length and nothing else."""

    def features(self, x: Tensor) -> Tensor:
        """Map rows ``(..., d)`` to features ``(..., k)``."""
        return x

    def column_features(self, y: Tensor) -> Tensor:
        """Map columns ``(..., d)`` to features ``(..., k)``; as for rows unless stated."""
        return self.features(y)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances row by row: x ``(..., d)`` and y ``(..., d)`` give ``(...)``."""
        return self.form.pairs(self.features(x), self.column_features(y))

    def table(self, x: Tensor, y: Tensor) -> Tensor:
        """All distances: ``(n, d)`` against ``(m, d)`` give ``(n, m)``, by subtraction."""
        u, v = self.features(x), self.column_features(y)
        if self.form is Form.NEGATIVE_PRODUCT:
            return -(u @ v.T)
        euclidean = torch.cdist(u, v, compute_mode="donot_use_mm_for_euclid_dist")
        if self.form is Form.EUCLIDEAN:
            return euclidean
        return euclidean.square() if self.form is Form.SQUARED else euclidean.square() / 2


class Euclidean(ProductDistance):
    """``|x - y|``; its slope at x == y is zero.

    >>> Euclidean()(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([5.])
    """

    axioms = _PSEUDO_METRIC
    form = Form.EUCLIDEAN


class SquaredEuclidean(ProductDistance):
    """``|x - y|^2``; no triangle inequality.

    >>> SquaredEuclidean()(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([25.])
    """

    axioms = _SYMMETRIC_DISSIMILARITY
    form = Form.SQUARED


def unit_rows(x: Tensor) -> Tensor:
    """Rows ``(..., d)`` divided by their Euclidean norms; a zero row stays zero, with slope zero."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / torch.where(norm > 0, norm, torch.inf)


class Cosine(ProductDistance):
    """``1 - cos(x, y)``, in [0, 2]; taken as ``|x/|x| - y/|y||^2 / 2``, which keeps small ones exact.

    A zero vector has no direction: it is at 1/2 from every direction and at 0 from another zero
    vector, and its slope is zero.

    >>> Cosine()(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    tensor([1.])
    """

    axioms = _SYMMETRIC_DISSIMILARITY
    form = Form.HALF_SQUARED
    unit = True

    def features(self, x: Tensor) -> Tensor:
        """Rows at unit length."""
        return unit_rows(x)


class Mahalanobis(ProductDistance):
    """``|L x - L y|`` with learned components L; ``L'L`` is the Mahalanobis matrix.

    Parameters
    ----------
    components : Tensor (k, d)
        L. It becomes a parameter that a loss can learn.

    >>> Mahalanobis(torch.tensor([[2.0, 0.0]]))(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([6.], grad_fn=<LinalgVectorNormBackward0>)
    """

    axioms = _PSEUDO_METRIC
    form = Form.EUCLIDEAN

    def __init__(self, components: Tensor) -> None:
        super().__init__()
        if components.ndim != 2 or not components.is_floating_point():
            raise InputError(
                f"components must be a floating (k, d) matrix; found {components.dtype} of shape "
                f"{tuple(components.shape)}"
            )
        self.components = nn.Parameter(components.detach().clone())

    def features(self, x: Tensor) -> Tensor:
        """Rows ``x L'``."""
        return x @ self.components.T.to(x.dtype)

    def config(self) -> dict[str, Any]:
        """Name and the shape of L."""
        return {"name": "Mahalanobis", "shape": list(self.components.shape)}


class Bilinear(ProductDistance):
    """``-x' W z``: minus a learned similarity; W need be neither square, symmetric nor definite.

    Parameters
    ----------
    weight : Tensor (d, e)
        W, for rows of d and columns of e numbers. It becomes a parameter.

    >>> Bilinear(torch.eye(2))(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]]))
    tensor([-5.], grad_fn=<NegBackward0>)
    """

    axioms = frozenset()
    form = Form.NEGATIVE_PRODUCT

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        if weight.ndim != 2 or not weight.is_floating_point():
            raise InputError(
                f"weight must be a floating (d, e) matrix; found {weight.dtype} of shape "
                f"{tuple(weight.shape)}"
            )
        self.weight = nn.Parameter(weight.detach().clone())

    def features(self, x: Tensor) -> Tensor:
        """Rows ``x W``."""
        return x @ self.weight.to(x.dtype)

    def column_features(self, y: Tensor) -> Tensor:
        """Columns as they are."""
        return y

    def config(self) -> dict[str, Any]:
        """Name and the shape of W."""
        return {"name": "Bilinear", "shape": list(self.weight.shape)}


class Dot(ProductDistance):
    """``-x.z``: minus the inner product, which norms scale.

    >>> Dot()(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]]))
    tensor([-5.])
    """

    axioms = frozenset({Axiom.SYMMETRIC})
    form = Form.NEGATIVE_PRODUCT


class Cityblock(Distance):
    """``sum_j |x_j - y_j|``; its slope at equal components is zero.

    >>> Cityblock()(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, -4.0]]))
    tensor([7.])
    """

    axioms = _PSEUDO_METRIC

    def width(self, dimension: int) -> int:  # noqa: ARG002
        """One: ``torch.cdist`` holds nothing but the table."""
        return 1

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances row by row: ``(..., d)`` and ``(..., d)`` give ``(...)``."""
        return (x - y).abs().sum(-1)

    def table(self, x: Tensor, y: Tensor) -> Tensor:
        """All distances ``(n, m)`` without an ``(n, m, d)`` array."""
        return torch.cdist(x, y, p=1.0)


class WeightedCityblock(Distance):
    """``sum_j w_j |x_j - y_j|`` with learned weights of either sign (Koch, Zemel, Salakhutdinov 2015).

    Parameters
    ----------
    dimension : int
        d; the weights begin at one.

    >>> WeightedCityblock(2)(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, -4.0]])).detach()
    tensor([7.])
    """

    axioms = frozenset({Axiom.ZERO_ON_SELF, Axiom.SYMMETRIC})

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dimension))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances row by row: ``(..., d)`` and ``(..., d)`` give ``(...)``."""
        return ((x - y).abs() * self.weight.to(x.dtype)).sum(-1)

    def config(self) -> dict[str, Any]:
        """Name and dimension."""
        return {"name": "WeightedCityblock", "dimension": self.weight.shape[0]}


class PositionDependent(Distance):
    """Minus the similarity S of the position-dependent unit of PDDM (Huang, Loy, Tang 2016).

    With ``u = |x - y|`` (the difference) and ``v = (x + y) / 2`` (the position), both at unit length
    when ``normalize_inputs``, the unit is ``u' = relu(W_u u + b_u)``, ``v' = relu(W_v v + b_v)``,
    ``c = relu(W_c [u'/|u'| ; v'/|v'|] + b_c)``, ``S = w_s c + b_s``: symmetric, unbounded, not a metric.
    After ``u / |u|`` the unit can't see how far apart two points are, only along which coordinates;
    two of three public re-implementations leave that division out (``normalize_inputs=False``).

    Parameters
    ----------
    dimension, hidden : int
        d, and the width of u', v' and c (d when not given).
    normalize_inputs : bool
        As in the paper.
    """

    axioms = frozenset({Axiom.SYMMETRIC})

    def __init__(self, dimension: int, *, hidden: int | None = None, normalize_inputs: bool = True) -> None:
        super().__init__()
        hidden = dimension if hidden is None else hidden
        self.difference = nn.Linear(dimension, hidden)
        self.position = nn.Linear(dimension, hidden)
        self.joint = nn.Linear(2 * hidden, hidden)
        self.score = nn.Linear(hidden, 1)
        self.normalize_inputs = normalize_inputs

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances ``-S`` row by row: ``(..., d)`` and ``(..., d)`` give ``(...)``."""
        u, v = (x - y).abs(), (x + y) / 2
        if self.normalize_inputs:
            u, v = unit_rows(u), unit_rows(v)
        u, v = torch.relu(self.difference(u)), torch.relu(self.position(v))
        c = torch.relu(self.joint(torch.cat([unit_rows(u), unit_rows(v)], dim=-1)))
        out: Tensor = -self.score(c).squeeze(-1)
        return out

    def config(self) -> dict[str, Any]:
        """Name, dimension, width and the flag."""
        return {
            "name": "PositionDependent",
            "dimension": self.difference.in_features,
            "hidden": self.difference.out_features,
            "normalize_inputs": self.normalize_inputs,
        }


class Hamming(Distance):
    """The number of components in which two codes differ; its slope is zero.

    >>> Hamming()(torch.tensor([[1.0, -1.0, 1.0]]), torch.tensor([[1.0, 1.0, -1.0]]))
    tensor([2.])
    """

    axioms = _PSEUDO_METRIC

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances row by row: ``(..., d)`` and ``(..., d)`` give ``(...)``, in x's dtype if floating."""
        dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        return (x != y).sum(-1).to(dtype)


class SignedDifference(Distance):
    """``sum_j (x_j - y_j)``: the signed difference of two values (Bertsekas 1997); not a metric.

    >>> SignedDifference()(torch.tensor([[1.0]]), torch.tensor([[3.0]]))
    tensor([-2.])
    """

    axioms = frozenset({Axiom.ZERO_ON_SELF, Axiom.ANTISYMMETRIC, Axiom.TRIANGLE})

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Differences row by row: ``(..., d)`` and ``(..., d)`` give ``(...)``."""
        return (x - y).sum(-1)


_PLAIN: dict[str, type[Distance]] = {
    kind.__name__: kind
    for kind in (Euclidean, SquaredEuclidean, Cosine, Dot, Cityblock, Hamming, SignedDifference)
}
_WITH_MATRIX: dict[str, type[Mahalanobis] | type[Bilinear]] = {
    "Mahalanobis": Mahalanobis,
    "Bilinear": Bilinear,
}


def distance_from_config(config: dict[str, Any]) -> Distance:
    """Build a distance from :meth:`Distance.config`; its arrays are then loaded by ``load_state_dict``.

    Raises
    ------
    InputError
        The name isn't a distance of ours.
    """
    options = dict(config)
    name = options.pop("name", None)
    if name in _PLAIN:
        return _PLAIN[name](**options)
    if name in _WITH_MATRIX:
        return _WITH_MATRIX[name](torch.zeros(*options["shape"]))
    if name == "WeightedCityblock":
        return WeightedCityblock(**options)
    if name == "PositionDependent":
        return PositionDependent(**options)
    known = sorted([*_PLAIN, *_WITH_MATRIX, "WeightedCityblock", "PositionDependent"])
    raise InputError(f"distance must be one of {', '.join(known)}; found {name!r}")
