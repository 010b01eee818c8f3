"""POLA: a pseudo-metric and a threshold, learned online from a stream of pairs."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner, Solution
from likewise.linear.matrices import components_from_matrix
from likewise.linear.options import whole
from likewise.linear.supervision import known_pairs
from likewise.linear.tuples import generator_from
from likewise.relations import Pairs

__all__ = ["POLA"]

_Array = NDArray[np.float64]


class POLA(MahalanobisLearner):
    """Two projections a pair: onto what makes its loss zero, then onto metrics.

    A pair of difference v with y = +1 (alike) or -1 has the loss ``l = [y (v'Av - b) + 1]_+``. With
    ``a = l / (|v|^4 + 1)``, first ``A -= y a v v'`` and ``b += y a``, which makes the loss zero; then the one
    eigenvalue of A that may be negative is removed, and b becomes at least 1 (Shalev-Shwartz, Singer and
    Ng). A begins at zero and b at one. Where some ``A*``, ``b*`` have no loss on the stream and
    all ``|v|^4 + 1 <= R^2``, the squared losses sum to at most ``R^2 (|A*|_F^2 + (b* - 1)^2)``.

    ``fit`` goes over the pairs ``n_epochs`` times in a drawn order; ``partial_fit`` once, in theirs.

    Parameters
    ----------
    n_components : int, optional
        Keep the best approximation of this rank in ``components_``; learning keeps all of A.
    n_pairs : int, optional
        Pairs of each kind drawn from labels: by default ``20 C^2`` of C classes, at most 100,000.
    n_epochs : int >= 1
    warm_start : bool
        ``fit`` goes on from where it stands.
    verbose : bool
    random_state : None, int or RandomState
        For the draw of pairs and their order.

    Attributes
    ----------
    bias_ : float
        b: pairs with a squared distance of at most b are called alike.
    threshold_ : float
        The root of b, in the units of ``pair_distance``.
    losses_ : float64 array (n_steps,)
        The loss of each pair before its step, of the last call.
    objective_ : float64 array (n_epochs,)
        The mean squared loss of each pass.

    Notes
    -----
    S. Shalev-Shwartz, Y. Singer, A. Y. Ng, Online and batch learning of pseudo-metrics, 2004. A step costs
    ``d^2`` for unlike pairs, and an eigenvector more for alike ones. b is compared with squared distances
    in the units of X, so scale X first.

    >>> learner = POLA().partial_fit([[0.0], [2.0], [0.5]], pairs=Pairs([0, 0], [1, 2], [False, True]))
    >>> np.round(learner.losses_, 4), round(learner.bias_, 4)
    (array([2.    , 0.1176]), 1.1107)
    """

    bias_: float

    def __init__(
        self,
        *,
        n_components: int | None = None,
        n_pairs: int | None = None,
        n_epochs: int = 5,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.n_pairs = n_pairs
        self.n_epochs = n_epochs
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, pairs: Pairs | None = None) -> Self:
        """Learn from labels, or from ``pairs=``. See :meth:`Learner.fit`."""
        going_on = bool(self.warm_start) and hasattr(self, "bias_")
        rows = self._rows(X, reset=not going_on)
        epochs = whole("n_epochs", self.n_epochs)
        known = self._known(rows, y, pairs)
        if not going_on:
            self._begin(rows)
        generator = generator_from(self.random_state)
        orders = [generator.permutation(known.n_entries) for _ in range(epochs)]
        return self._learn(rows, known, orders)

    def partial_fit(self, X: Any, y: Any = None, *, pairs: Pairs | None = None) -> Self:
        """Go on with the pairs of these rows, once each and in their order.

        Parameters and errors are those of :meth:`fit`; one pair of either kind is enough.
        """
        begun = hasattr(self, "bias_")
        rows = self._rows(X, reset=not begun)
        known = self._known(rows, y, pairs)
        if not begun:
            self._begin(rows)
        return self._learn(rows, known, [np.arange(known.n_entries)])

    def _known(self, rows: _Array, y: Any, pairs: Pairs | None) -> Pairs:
        self._dimension(rows.shape[1], self.n_components)
        known = known_pairs(
            len(rows), y, pairs, n_pairs=self.n_pairs, random_state=self.random_state, alike=0, unlike=0
        )
        if not known.n_entries:
            raise InputError("too few pairs: at least 1 needed, found 0")
        return known

    def _begin(self, rows: _Array) -> None:
        d = rows.shape[1]
        self._matrix, self.bias_ = np.zeros((d, d), order="F"), 1.0

    def _learn(self, rows: _Array, known: Pairs, orders: list[NDArray[np.int64]]) -> Self:
        differences = rows[known.left.numpy()] - rows[known.right.numpy()]
        squares = np.einsum("ij,ij->i", differences, differences)
        signs = np.where(known.same.numpy(), 1.0, -1.0)
        progress = self._progress()
        losses = []
        for order in orders:
            passed = [self._step(differences[i], float(squares[i]), float(signs[i])) for i in order]
            progress.add(float(np.mean(np.square(passed))))
            losses += passed
        self.losses_ = np.array(losses)
        self.threshold_ = float(np.sqrt(self.bias_))
        k = self._dimension(rows.shape[1], self.n_components)
        solution = Solution(components_from_matrix(self._matrix, k), progress.values, n_iter=len(losses))
        return self._keep(rows, solution)

    def _step(self, v: _Array, square: float, sign: float) -> float:
        """One pair: its loss before the step."""
        loss = max(0.0, sign * (float(v @ self._matrix @ v) - self.bias_) + 1.0)
        if loss == 0.0:
            return loss
        # a |v|^2 and a, in whichever form doesn't leave float64.
        pull = loss / (square + 1 / square) if square > 1 else loss * square / (square * square + 1)
        self.bias_ = max(
            1.0, self.bias_ + sign * (pull / square if square > 1 else loss / (square * square + 1))
        )
        if square > 0:
            unit = v / np.sqrt(square)
            self._matrix -= (sign * pull) * np.outer(unit, unit)
            if sign > 0:
                self._remove_negative()
        return loss

    def _remove_negative(self) -> None:
        """A rank-one step down leaves at most one negative eigenvalue; take it out."""
        value, vector = scipy.linalg.eigh(self._matrix, subset_by_index=[0, 0], check_finite=False)
        if value[0] < 0:
            self._matrix -= value[0] * np.outer(vector[:, 0], vector[:, 0])

    def predict_pairs(self, A: Any, B: Any) -> NDArray[np.bool_]:
        """Whether rows of A (n, d) and B (n, d) are alike, (n,): their distance is at most ``threshold_``."""
        check_is_fitted(self)
        alike: NDArray[np.bool_] = self.pair_distance(A, B) <= self.threshold_
        return alike
