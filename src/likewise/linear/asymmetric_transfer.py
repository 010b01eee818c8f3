"""AsymmetricTransfer: a map between rows of two domains, whose features need not be the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from likewise.errors import InputError
from likewise.linear.base import Learner
from likewise.linear.matrices import scale_of
from likewise.linear.options import number, whole
from likewise.linear.supervision import class_codes
from likewise.linear.tuples import generator_from
from likewise.relations import Pairs

__all__ = ["AsymmetricTransfer"]

_Array = NDArray[np.float64]
_Codes = NDArray[np.int64]

_PRICES = (1e-12, 1e12)


class AsymmetricTransfer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Learner):  # type: ignore[misc]
    """``S(x, z) = x'Wz`` of a source row x (d) and a target row z (e): high where alike, low where not.

    ``min 1/2 ||W||_F^2 + C mean_t h_t(W)^2`` with ``h = [upper - x'Wz]_+`` for alike and ``[x'Wz - lower]_+``
    for unlike pairs of one row of either domain (Kulis, Saenko and Darrell; ARC-t). Convex and smooth;
    the answer lies in the span of the rows, ``W = X' S Z``, so it is found there, by L-BFGS, even for very
    many features.

    ``transform`` maps source rows to ``xW``, which lives among target rows: there inner products are S.

    Parameters
    ----------
    C : float > 0
        The price of a pair on the wrong side. Products are in the units of the rows: scale them first.
    upper, lower : float
        The bounds, lower < upper.
    n_pairs : int, optional
        From labels: so many pairs alike and unlike, at most all; by default 20 times the rows of both.
    tol : float > 0
        The slope to reach, as a part of that at W = 0.
    max_iter : int >= 1
    warm_start : bool
        Begin with the W of the last ``fit``.
    verbose : bool
    random_state : int, RandomState, optional
        Of the pairs drawn from labels.

    Attributes
    ----------
    weight_ : float64 array (d, e)
        W.

    Notes
    -----
    B. Kulis, K. Saenko, T. Darrell, What you saw is not what you get: domain adaptation using asymmetric
    kernel transforms, CVPR 2011. Without ``target=`` both domains are X, and a row isn't paired with itself.

    >>> X, Z = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    >>> learner = AsymmetricTransfer(C=1e6).fit(X, [0, 1], target=Z, target_y=[0, 1])
    >>> learner.weight_.round(3) + 0.0
    array([[-1.,  0.,  1.],
           [ 1.,  0., -1.]])
    """

    weight_: _Array

    def __init__(
        self,
        *,
        C: float = 10.0,
        upper: float = 1.0,
        lower: float = -1.0,
        n_pairs: int | None = None,
        tol: float = 1e-6,
        max_iter: int = 500,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.C = C
        self.upper = upper
        self.lower = lower
        self.n_pairs = n_pairs
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any = None, *, target: Any = None, target_y: Any = None, pairs: Pairs | None = None
    ) -> Self:
        """Learn from source rows X and target rows, and labels of both, or pairs between them.

        Parameters
        ----------
        X : array (n, d)
        y : (n,), optional
        target : array (m, e), optional
            By default X itself.
        target_y : (m,), optional
            In the same labels as y.
        pairs : Pairs, optional
            ``left`` are rows of X and ``right`` rows of ``target``.

        Raises
        ------
        InputError
            As :meth:`Learner.fit`.
        """
        rows = self._rows(X)
        price, tol = number("C", self.C, above=0), number("tol", self.tol, above=0)
        upper = number("upper", self.upper)
        lower = number("lower", self.lower, most=upper)
        steps = whole("max_iter", self.max_iter)
        others = rows if target is None else _checked(target)
        left, right, same = self._known(rows, y, others, target is None, target_y, pairs)
        source, other = _Span.of(rows), _Span.of(others)
        with np.errstate(over="ignore", under="ignore"):
            # In units of both domains W grows as their product; so does its price fall.
            paid = float(np.clip(np.float64(price) * source.unit**2 * other.unit**2, *_PRICES))
        a, b = source.coordinates[left], other.coordinates[right]
        wanted = np.where(same, upper, lower)
        sign = np.where(same, 1.0, -1.0)
        shape = (source.coordinates.shape[1], other.coordinates.shape[1])
        start = np.zeros(shape)
        if self.warm_start and hasattr(self, "weight_"):
            if self.weight_.shape[1] != others.shape[1]:
                raise InputError(
                    f"warm_start goes on with target rows of {self.weight_.shape[1]} features; found "
                    f"{others.shape[1]}; fit a clone"
                )
            start = (source.vectors @ self.weight_ @ other.vectors.T) * source.unit * other.unit
        progress = self._progress()

        def value(flat: _Array) -> tuple[float, _Array]:
            weight = flat.reshape(shape)
            wrong = np.maximum(0, sign * (wanted - np.einsum("ij,ij->i", a @ weight, b)))
            slope = weight / paid - 2 * (a.T * (sign * wrong / len(a))) @ b
            return 0.5 * float((weight * weight).sum()) / paid + float(wrong @ wrong) / len(a), slope.ravel()

        first = float(np.abs(value(np.zeros(shape).ravel())[1]).max())
        found = scipy.optimize.minimize(
            value,
            start.ravel(),
            jac=True,
            method="L-BFGS-B",
            callback=lambda intermediate_result: progress.add(float(intermediate_result.fun) * price),
            options={"maxiter": steps, "ftol": 0.0, "gtol": tol * first, "maxcor": 20},
        )
        weight = source.vectors.T @ found.x.reshape(shape) @ other.vectors
        self.weight_ = weight / source.unit / other.unit
        if not np.isfinite(self.weight_).all():
            raise InputError("AsymmetricTransfer left float64's range on these rows; scale the features")
        reached = float(np.abs(found.jac).max(initial=0.0)) <= tol * first * (1 + 1e-9)
        self._record(
            progress.values or [float(found.fun) * price], n_iter=max(1, int(found.nit)), converged=reached
        )
        return self

    def _known(
        self, rows: _Array, y: Any, others: _Array, one_domain: bool, target_y: Any, pairs: Pairs | None
    ) -> tuple[_Codes, _Codes, NDArray[np.bool_]]:
        """Positions in X and in the target, and whether they are alike."""
        if pairs is not None:
            if not isinstance(pairs, Pairs):
                raise InputError(f"pairs must be likewise.relations.Pairs; found {type(pairs).__name__}")
            left, right, same = pairs.left.numpy(), pairs.right.numpy(), pairs.same.numpy()
            for name, positions, count in (("left", left, len(rows)), ("right", right, len(others))):
                if len(positions) and positions.max() >= count:
                    raise InputError(f"{name} must name rows from 0 to {count - 1}; found {positions.max()}")
            keys = left * len(others) + right
            contrary = np.intersect1d(keys[same], keys[~same])
            if len(contrary):
                i, j = divmod(int(contrary[0]), len(others))
                raise InputError(
                    f"pairs contradict each other: rows {i} and {j} are alike and unlike; drop one"
                )
        else:
            if y is None or (target_y is None and not one_domain):
                raise InputError(
                    "fit requires y to be passed, but the target y is None; give labels, or pairs="
                )
            both = class_codes(y, len(rows))[1]
            given = y if one_domain else target_y
            both = np.union1d(both, class_codes(given, len(others))[1])
            codes, other_codes = (np.searchsorted(both, np.asarray(labels).ravel()) for labels in (y, given))
            left, right, same = self._drawn(codes, other_codes, one_domain)
        if one_domain and (left == right).any():
            number_ = int(np.flatnonzero(left == right)[0])
            raise InputError(
                f"pair {number_} names row {int(left[number_])} twice; a row tells nothing of itself"
            )
        if not same.any() or same.all():
            raise InputError("too few pairs: at least 1 alike and 1 unlike needed")
        return left, right, same

    def _drawn(
        self, codes: _Codes, others: _Codes, one_domain: bool
    ) -> tuple[_Codes, _Codes, NDArray[np.bool_]]:
        """Pairs of each kind, drawn one by one with their rows uniform; each pair once."""
        count = 20 * (len(codes) + len(others)) if self.n_pairs is None else whole("n_pairs", self.n_pairs)
        generator = generator_from(self.random_state)
        if len(codes) * len(others) <= 4 * count:
            left, right = (part.ravel() for part in np.indices((len(codes), len(others))))
        else:
            keys = np.unique(generator.integers(len(codes) * len(others), size=4 * count))
            more = [np.flatnonzero(others == code) for code in range(int(max(codes.max(), others.max())) + 1)]
            # Alike pairs are rare among many classes, so as many are drawn on purpose.
            able = np.flatnonzero([len(more[code]) > 0 for code in codes])
            if len(able):
                rows = generator.choice(able, count)
                partners = np.array([generator.choice(more[codes[row]]) for row in rows])
                keys = np.union1d(keys, rows * len(others) + partners)
            left, right = np.divmod(keys, len(others))
        kept = left != right if one_domain else np.ones(len(left), dtype=bool)
        left, right = left[kept], right[kept]
        same = codes[left] == others[right]
        chosen = np.concatenate(
            [generator.permutation(np.flatnonzero(same == kind))[:count] for kind in (True, False)]
        )
        chosen = np.sort(chosen)
        return left[chosen], right[chosen], same[chosen]

    def transform(self, X: Any) -> _Array:
        """Source rows (n, d) mapped to ``xW`` (n, e), among target rows."""
        check_is_fitted(self)
        mapped: _Array = self._rows(X, reset=False, least=1) @ self.weight_
        return mapped

    def pair_distance(self, A: Any, B: Any) -> _Array:
        """``-a'Wb`` row by row: source rows A (n, d) and target rows B (n, e) give (n,)."""
        check_is_fitted(self)
        first = self._rows(A, reset=False, least=1, name="A")
        second = _checked(B)
        if second.shape != (len(first), self.weight_.shape[1]):
            raise InputError(
                f"A and B must have equally many rows, and B {self.weight_.shape[1]} features; found "
                f"{first.shape} and {second.shape}"
            )
        distances: _Array = -np.einsum("ij,ij->i", first @ self.weight_, second)
        return distances

    @property
    def _n_features_out(self) -> int:
        return int(self.weight_.shape[1])


@dataclass(frozen=True)
class _Span:
    """Rows by coordinates (n, r) in the span of themselves: ``rows = unit * coordinates @ vectors``."""

    coordinates: _Array
    vectors: _Array
    unit: float

    @classmethod
    def of(cls, rows: _Array) -> _Span:
        unit = scale_of(rows)
        n, d = rows.shape
        if d <= n:
            return cls(rows / unit, np.eye(d), unit)
        _, values, vectors = scipy.linalg.svd(rows / unit, full_matrices=False, check_finite=False)
        vectors = vectors[values > 1e-13 * max(float(values[0]), 1e-300)]
        if not len(vectors):
            vectors = np.eye(1, d)
        return cls(rows / unit @ vectors.T, vectors, unit)


def _checked(rows: Any) -> _Array:
    try:
        checked: _Array = check_array(rows, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"target: {' '.join(str(error).split())}") from error
    if np.abs(checked).max() > 1e100:
        raise InputError("target must be within 1e100, so that squares can be summed; scale its features")
    return checked
