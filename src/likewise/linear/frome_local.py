"""FromeLocal: a distance of its own for every training row, learned so that all can be compared."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.optimize
import scipy.sparse
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from likewise.errors import InputError
from likewise.linear.base import Learner
from likewise.linear.options import number, whole
from likewise.linear.supervision import class_codes, known_triplets
from likewise.linear.tuples import near_triplets_from_labels
from likewise.relations import Triplets

__all__ = ["FromeLocal"]

_Array = NDArray[np.float64]

_CELLS = 2**21
_PRICES = (1e-8, 1e8)


class FromeLocal(Learner):
    """``d_j(x) = sum_f w_jf (x_f - x_jf)^2`` from training row j to x, with weights ``w_j >= 0`` of that row.

    ``min 1/2 sum_j |w_j|^2 + C sum_t xi_t`` subject to ``d_n(a) - d_p(a) >= 1 - xi`` for triplets of an
    anchor a, a positive p and a negative n: distances that belong to different rows are compared, so they
    become comparable (Frome, Singer, Sha and Malik). Convex; solved in its dual, a smooth function of as
    many variables as triplets, by L-BFGS-B until the duality gap is ``tol``.

    There is no global matrix. ``pair_distance(A, B)`` is measured from rows of B, by the weights of the
    training row nearest to each, which for a training row is itself: it isn't symmetric.

    Parameters
    ----------
    C : float > 0
        The price of a triplet's slack. Distances are squared and in the units of X: scale X first.
    n_targets, n_impostors : int >= 1
        From labels: each row with its nearest of its class, against its nearest of other classes.
    n_neighbors : int >= 1
        Votes in ``predict``.
    tol : float > 0
        The duality gap to reach, relative to the objective.
    max_iter : int >= 1
        Most steps of L-BFGS-B.
    warm_start : bool
        Begin from the multipliers of the last ``fit``, where it had equally many triplets.
    verbose : bool

    Attributes
    ----------
    weights_ : float64 array (n, d)
        w of each training row; zero for rows that no triplet names as positive or negative.
    multipliers_ : float64 array (m,)
        The dual variables of the triplets, as parts of C.
    gap_ : float
        The duality gap at the end, relative to the objective.

    Notes
    -----
    A. Frome, Y. Singer, F. Sha, J. Malik, Learning globally-consistent local distance functions for
    shape-based image retrieval and classification, ICCV 2007; a feature stands for their image patches.
    The price, in units of the largest squared difference, is held within 1e-8 and 1e8.

    >>> X = [[0.0, 0.0], [0.0, 3.0], [1.0, 0.0]]
    >>> learner = FromeLocal(C=10).fit(X, triplets=Triplets([0], [1], [2]))
    >>> learner.weights_.round(4)  # row 2 need only be 1 away from row 0
    array([[0., 0.],
           [0., 0.],
           [1., 0.]])
    """

    classes_: NDArray[Any]
    multipliers_: _Array

    def __init__(
        self,
        *,
        C: float = 1.0,
        n_targets: int = 3,
        n_impostors: int = 10,
        n_neighbors: int = 3,
        tol: float = 1e-4,
        max_iter: int = 1000,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None:
        self.C = C
        self.n_targets = n_targets
        self.n_impostors = n_impostors
        self.n_neighbors = n_neighbors
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, *, triplets: Triplets | None = None) -> Self:
        """Learn from labels, or from ``triplets=``; ``predict`` needs labels. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        price, tol = number("C", self.C, above=0), number("tol", self.tol, above=0)
        steps = whole("max_iter", self.max_iter)
        self._codes: NDArray[np.int64] | None = None
        given = triplets
        if y is not None or given is None:
            self._codes, self.classes_ = class_codes(y, len(rows))
            if given is None:
                targets, impostors = (
                    whole("n_targets", self.n_targets),
                    whole("n_impostors", self.n_impostors),
                )
                given = near_triplets_from_labels(rows, self._codes, targets, impostors)
        known = known_triplets(len(rows), None, given)
        self._known = rows
        self._solve(rows, known, price, tol, steps)
        return self

    def _solve(self, rows: _Array, known: Triplets, price: float, tol: float, max_iter: int) -> None:
        n, d = rows.shape
        anchor, positive, negative = (part.numpy() for part in (known.anchor, known.positive, known.negative))
        near, far = (rows[anchor] - rows[positive]) ** 2, (rows[anchor] - rows[negative]) ** 2
        unit = float(max(near.max(initial=0.0), far.max(initial=0.0))) or 1.0
        with np.errstate(over="ignore", under="ignore"):
            most = float(np.clip(np.float64(price) * unit * unit, *_PRICES))
        m = len(anchor)
        # A triplet's row of Z: far differences at the negative's weights, minus the near at the positive's.
        columns = np.concatenate(
            [negative[:, None] * d + np.arange(d), positive[:, None] * d + np.arange(d)], 1
        )
        values = np.concatenate([far, -near], axis=1) / unit
        begin = np.arange(0, 2 * d * m + 1, 2 * d)
        Z = scipy.sparse.csr_array((values.ravel(), columns.ravel(), begin), shape=(m, n * d))
        crossed = Z.T.tocsr()
        progress = self._progress()

        def dual(alpha: _Array) -> tuple[float, _Array]:
            """Minus the dual, and its slope."""
            weights = np.maximum(crossed @ alpha, 0)
            return 0.5 * float(weights @ weights) - float(alpha.sum()), Z @ weights - 1

        alpha, self.gap_, taken = np.zeros(m), np.inf, 0
        last = getattr(self, "multipliers_", None) if self.warm_start else None
        if last is not None and last.shape == alpha.shape:
            alpha = last * most
        weights = np.zeros(n * d)
        while taken < max_iter:
            found = scipy.optimize.minimize(
                dual, alpha, jac=True, method="L-BFGS-B", bounds=[(0.0, most)] * m,
                options={"maxiter": min(100, max_iter - taken), "maxcor": 20, "ftol": 1e-15, "gtol": 1e-10},
            )  # fmt: skip
            alpha, taken = found.x, taken + max(1, int(found.nit))
            weights = np.maximum(crossed @ alpha, 0)
            primal = 0.5 * float(weights @ weights) + most * float(np.maximum(0, 1 - Z @ weights).sum())
            progress.add(primal / unit / unit)
            self.gap_ = (primal + float(found.fun)) / max(primal, np.finfo(np.float64).tiny)
            if self.gap_ <= tol or found.nit == 0:
                break
        self.multipliers_ = alpha / most
        self.weights_ = (weights / unit).reshape(n, d)
        self._record(progress.values, n_iter=taken, converged=self.gap_ <= tol)

    def pair_distance(self, A: Any, B: Any) -> _Array:
        """``sqrt(d_b(a))`` row by row, by the weights of the training row nearest to b: (n,)."""
        first, second = self._row_pairs(A, B)
        nearest = np.empty(len(second), dtype=np.int64)
        norms = (self._known**2).sum(axis=1)
        for start in range(0, len(second), 1024):
            part = second[start : start + 1024]
            nearest[start : start + 1024] = (norms - 2 * part @ self._known.T).argmin(axis=1)
        distances: _Array = np.sqrt((self.weights_[nearest] * (first - second) ** 2).sum(axis=1))
        return distances

    def predict(self, X: Any) -> NDArray[Any]:
        """Classes of rows (n, d), by vote of the ``n_neighbors`` training rows that are nearest to each.

        Rows whose weights are zero are at distance zero from everything and have no vote.

        Raises
        ------
        InputError
            It was fitted without labels.
        """
        check_is_fitted(self)
        if self._codes is None:
            raise InputError("predict needs labels: fit(X, y, ...)")
        rows = self._rows(X, reset=False, least=1)
        voting = np.flatnonzero(self.weights_.max(axis=1) > 0)
        if not len(voting):
            voting = np.arange(len(self._known))
        count = min(whole("n_neighbors", self.n_neighbors), len(voting))
        weights, known = self.weights_[voting], self._known[voting]
        own = (weights * known**2).sum(axis=1)
        votes = np.empty((len(rows), count), dtype=np.int64)
        size = max(1, _CELLS // len(voting))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            squares = part**2 @ weights.T - 2 * part @ (weights * known).T + own
            nearest = np.argsort(squares, axis=1, kind="stable")[:, :count]
            votes[start : start + size] = self._codes[voting[nearest]]
        counted = (votes[:, :, None] == np.arange(len(self.classes_))).sum(axis=1)
        predicted: NDArray[Any] = self.classes_[counted.argmax(axis=1)]
        return predicted
