"""LEGO: online metric learning with a LogDet step for each pair, and no eigenvalues."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner, Solution
from likewise.linear.matrices import components_from_matrix, scale_of, symmetric
from likewise.linear.options import number, whole
from likewise.linear.supervision import known_pairs, known_scores
from likewise.linear.tuples import generator_from
from likewise.relations import Pairs, Scores

__all__ = ["LEGO"]

_Array = NDArray[np.float64]

_RATES = (1e-12, 1e12)
_LARGEST = np.float64(1e200)


class LEGO(MahalanobisLearner):
    """Each pair moves the metric to ``argmin D_ld(A, A_t) + eta/2 (v'Av - t)^2``, t the distance wanted.

    In closed form: with ``p = v'A_t v`` the new distance is ``q = (eta t p - 1 + sqrt((eta t p - 1)^2 +
    4 eta p^2)) / (2 eta p)``, and ``A -= eta (q - t) (A v)(A v)' / (1 + eta (q - t) p)``, which is positive
    definite by itself (Jain, Kulis, Dhillon and Grauman). A begins as the identity.

    From pairs the wanted squared distance is ``bounds[0]`` where alike and ``bounds[1]`` where not, and a
    pair within its bound moves nothing. From scores each pair moves A to minus its score.

    ``fit`` goes over the pairs ``n_epochs`` times in a drawn order; ``partial_fit`` once, in theirs.

    Parameters
    ----------
    learning_rate : float > 0
        eta, per squared unit of squared distance: scale X first.
    bounds : (float, float), optional
        Squared distances wanted of alike and of unlike pairs; by default the 5th and 95th percentile of
        the squared distances of the first pairs seen.
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
    bounds_ : tuple of float
        The wanted squared distances, where pairs were seen.
    losses_ : float64 array (n_steps,)
        ``(p - t)^2 / 2`` of each pair before its step, of the last call; zero within the bound.
    objective_ : float64 array (n_epochs,)
        The mean loss of each pass.

    Notes
    -----
    P. Jain, B. Kulis, I. S. Dhillon, K. Grauman, Online metric learning and fast similarity search, 2008.
    The rate, in units of the largest entry of the first rows, is held within 1e-12 and 1e12; above, a step
    puts the pair on its target.

    >>> learner = LEGO(learning_rate=1.0, n_epochs=1).fit([[0.0], [1.0]], scores=Scores([0], [1], [-2.5]))
    >>> np.round(learner.get_mahalanobis_matrix(), 6)  # q = (1.5 + sqrt(6.25)) / 2
    array([[2.]])
    """

    def __init__(
        self,
        *,
        learning_rate: float = 0.1,
        bounds: tuple[float, float] | None = None,
        n_components: int | None = None,
        n_pairs: int | None = None,
        n_epochs: int = 5,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.bounds = bounds
        self.n_components = n_components
        self.n_pairs = n_pairs
        self.n_epochs = n_epochs
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, pairs: Pairs | None = None, scores: Scores | None = None) -> Self:
        """Learn from labels, ``pairs=`` or ``scores=`` (minus the squared distances wanted).

        See :meth:`Learner.fit`.
        """
        going_on = bool(self.warm_start) and hasattr(self, "_matrix")
        rows = self._rows(X, reset=not going_on)
        epochs = whole("n_epochs", self.n_epochs)
        if not going_on:
            self._begin(rows)
        stream = self._stream(rows, y, pairs, scores)
        generator = generator_from(self.random_state)
        orders = [generator.permutation(len(stream[0])) for _ in range(epochs)]
        return self._learn(rows, stream, orders)

    def partial_fit(
        self, X: Any, y: Any = None, *, pairs: Pairs | None = None, scores: Scores | None = None
    ) -> Self:
        """Go on with the pairs of these rows, once each and in their order.

        Parameters and errors are those of :meth:`fit`; one pair of either kind is enough.
        """
        begun = hasattr(self, "_matrix")
        rows = self._rows(X, reset=not begun)
        if not begun:
            self._begin(rows)
        stream = self._stream(rows, y, pairs, scores)
        return self._learn(rows, stream, [np.arange(len(stream[0]))])

    def _begin(self, rows: _Array) -> None:
        self._matrix, self._unit = np.eye(rows.shape[1]), scale_of(rows)
        self.bounds_: tuple[float, float] | None = None

    def _stream(
        self, rows: _Array, y: Any, pairs: Pairs | None, scores: Scores | None
    ) -> tuple[_Array, _Array, _Array]:
        """Differences (m, d), squared distances wanted (m,), and a sign (m,).

        The sign says on which side of its target a pair is in order: +1 below, -1 above, 0 nowhere.
        """
        self._dimension(rows.shape[1], self.n_components)
        if pairs is not None and scores is not None:
            raise InputError("fit must be given pairs or scores; found both")
        if scores is not None:
            given = known_scores(len(rows), scores)
            targets = -given.score.numpy() / self._unit / self._unit
            if targets.min() < 0:
                raise InputError(
                    "scores must be minus the squared distances wanted, at most 0; found "
                    f"{float(given.score.max()):g}"
                )
            differences = (rows[given.left.numpy()] - rows[given.right.numpy()]) / self._unit
            return differences, targets, np.zeros_like(targets)
        known = known_pairs(
            len(rows), y, pairs, n_pairs=self.n_pairs, random_state=self.random_state, alike=0, unlike=0
        )
        if not known.n_entries:
            raise InputError("too few pairs: at least 1 needed, found 0")
        differences = (rows[known.left.numpy()] - rows[known.right.numpy()]) / self._unit
        if self.bounds_ is None:
            self.bounds_ = self._first_bounds(differences)
        near, far = (bound / self._unit / self._unit for bound in self.bounds_)
        same = known.same.numpy()
        return differences, np.where(same, near, far), np.where(same, 1.0, -1.0)

    def _first_bounds(self, differences: _Array) -> tuple[float, float]:
        if self.bounds is None:
            squares = np.einsum("ij,ij->i", differences, differences)
            near, far = np.percentile(squares, [5, 95])
            return float(near) * self._unit * self._unit, float(far) * self._unit * self._unit
        if np.shape(self.bounds) != (2,):
            raise InputError(f"bounds must be two numbers, near and far; found {self.bounds!r}")
        near = number("bounds[0]", self.bounds[0], least=0)
        return near, number("bounds[1]", self.bounds[1], least=near)

    def _learn(
        self, rows: _Array, stream: tuple[_Array, _Array, _Array], orders: list[NDArray[np.int64]]
    ) -> Self:
        differences, targets, signs = stream
        with np.errstate(over="ignore", under="ignore"):
            given = np.float64(number("learning_rate", self.learning_rate, above=0))
            square = min(np.float64(self._unit) ** 4, _LARGEST)  # which keeps losses finite
            rate = float(np.clip(given * square, *_RATES))
        progress = self._progress()
        losses = []
        for order in orders:
            passed = [self._step(differences[i], float(targets[i]), float(signs[i]), rate) for i in order]
            progress.add(float(np.mean(passed)) * square)
            losses += passed
        self._matrix = symmetric(self._matrix)
        self.losses_ = np.array(losses) * square
        k = self._dimension(rows.shape[1], self.n_components)
        solution = Solution(components_from_matrix(self._matrix, k), progress.values, n_iter=len(losses))
        return self._keep(rows, solution)

    def _step(self, v: _Array, target: float, sign: float, rate: float) -> float:
        """One pair: its loss before the step."""
        mapped = self._matrix @ v
        old = float(v @ mapped)
        if sign * (old - target) < 0:
            return 0.0
        if old <= 0:
            return 0.5 * target * target  # two equal rows: no metric can move them apart
        inner = rate * target * old - 1
        root = float(np.hypot(inner, 2 * np.sqrt(rate) * old))
        # The same root of the quadratic, in the form that doesn't cancel.
        new = (inner + root) / (2 * rate * old) if inner > 0 else 2 * old / (root - inner)
        pull = rate * (new - target)
        self._matrix -= np.outer(mapped, (pull / (1 + pull * old)) * mapped)
        return 0.5 * (old - target) ** 2
