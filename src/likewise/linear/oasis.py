"""OASIS: a bilinear similarity for ranking, learned online from triplets; sparse rows stay sparse."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.bilinear import BilinearLearner
from likewise.linear.options import number, whole
from likewise.linear.supervision import known_triplets
from likewise.linear.tuples import generator_from
from likewise.relations import Triplets

__all__ = ["OASIS"]

_Array = NDArray[np.float64]

_BLOCK = 128


class OASIS(BilinearLearner):
    """``S(x, z) = x'Wz`` with ``S(p, p+) >= S(p, p-) + 1``, by a passive-aggressive step a triplet.

    With ``l = [1 - S(p, p+) + S(p, p-)]_+`` and ``V = p (p+ - p-)'`` a step is ``W += tau V``,
    ``tau = min(C, l / |V|_F^2)`` (Chechik, Sharma, Shalit and Bengio): the nearest W
    that has no loss on the triplet, or as near as C allows. W begins as the identity and need not stay
    symmetric, so p may be a query and p+ and p- documents.

    ``fit`` goes over the triplets ``n_epochs`` times in a drawn order; ``partial_fit`` once, in theirs.

    Parameters
    ----------
    C : float > 0
        The longest step, an aggressiveness; infinity is allowed.
    symmetric : bool
        Replace W by ``(W + W')/2`` at the end of ``fit`` (never of ``partial_fit``).
    n_components : int, optional
        Rank of ``components_`` alone.
    n_triplets : int, optional
        Triplets drawn from labels: by default 20 a row, at most 100,000.
    n_epochs : int >= 1
    max_features : int >= 1
        W has ``d x d`` numbers (800 MB at 10,000 features); more features than this are refused.
    warm_start : bool
        ``fit`` goes on from where it stands.
    verbose : bool
    random_state : None, int or RandomState
        For the draw of triplets and their order.

    Attributes
    ----------
    weight_ : float64 array (d, d)
        W.
    losses_ : float64 array (n_steps,)
        The loss of each triplet before its step, of the last call.
    objective_ : float64 array (n_epochs,)
        The mean loss of each pass.

    Notes
    -----
    G. Chechik, V. Sharma, U. Shalit, S. Bengio, Large scale online learning of image similarity through
    ranking, 2010. Steps are taken in blocks of 128 triplets: within a block a step needs only the
    similarities of its triplets to each other, and W is updated once by a product, which gives the same
    numbers as one step after the other. Rows may be CSR (TF-IDF) and are never made dense.

    >>> X = [[1.0, 0], [0, 1.0], [2.0, 0]]
    >>> learner = OASIS(C=np.inf, n_epochs=1).fit(X, triplets=Triplets([0], [1], [2]))
    >>> learner.weight_  # before the step 1 - 0 + 2 = 3 is lacking; |V|^2 = 5
    array([[-0.2,  0.6],
           [ 0. ,  1. ]])
    """

    _takes_sparse = True

    def __init__(
        self,
        *,
        C: float = 0.1,
        symmetric: bool = False,
        n_components: int | None = None,
        n_triplets: int | None = None,
        n_epochs: int = 5,
        max_features: int = 10_000,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.C = C
        self.symmetric = symmetric
        self.n_components = n_components
        self.n_triplets = n_triplets
        self.n_epochs = n_epochs
        self.max_features = max_features
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, triplets: Triplets | None = None) -> Self:
        """Learn from labels, or from ``triplets=``; X may be sparse. See :meth:`Learner.fit`."""
        going_on = bool(self.warm_start) and hasattr(self, "weight_")
        rows = self._rows(X, reset=not going_on)
        epochs = whole("n_epochs", self.n_epochs)
        known = self._known(rows, y, triplets)
        if not going_on:
            self._begin(rows)
        generator = generator_from(self.random_state)
        orders = [generator.permutation(known.n_entries) for _ in range(epochs)]
        self._learn(rows, known, orders)
        if self.symmetric:
            self.weight_ = 0.5 * (self.weight_ + self.weight_.T)
        return self

    def partial_fit(self, X: Any, y: Any = None, *, triplets: Triplets | None = None) -> Self:
        """Go on with the triplets of these rows, once each and in their order.

        Parameters and errors are those of :meth:`fit`.
        """
        begun = hasattr(self, "weight_")
        rows = self._rows(X, reset=not begun)
        known = self._known(rows, y, triplets)
        if not begun:
            self._begin(rows)
        return self._learn(rows, known, [np.arange(known.n_entries)])

    def _known(self, rows: Any, y: Any, triplets: Triplets | None) -> Triplets:
        self._dimension(rows.shape[1], self.n_components)
        return known_triplets(
            rows.shape[0], y, triplets, n_triplets=self.n_triplets, random_state=self.random_state
        )

    def _begin(self, rows: Any) -> None:
        most = whole("max_features", self.max_features)
        if rows.shape[1] > most:
            raise InputError(
                f"X must have at most {most} features, as W is d x d; found {rows.shape[1]}; keep fewer "
                "(min_df of a vectorizer, TruncatedSVD), raise max_features, or take HDSL"
            )
        self.weight_ = np.eye(rows.shape[1])

    def _learn(self, rows: Any, known: Triplets, orders: list[NDArray[np.int64]]) -> Self:
        limit = np.inf if np.inf == self.C else number("C", self.C, above=0)
        anchor, positive, negative = (part.numpy() for part in (known.anchor, known.positive, known.negative))
        progress = self._progress()
        losses: list[_Array] = []
        for order in orders:
            passed = []
            for start in range(0, len(order), _BLOCK):
                block = order[start : start + _BLOCK]
                anchors = rows[anchor[block]]
                passed.append(self._steps(anchors, rows[positive[block]] - rows[negative[block]], limit))
            losses += passed
            progress.add(float(np.concatenate(passed).mean()))
        self.losses_ = np.concatenate(losses)
        self._record(progress.values, n_iter=len(self.losses_))
        if not np.isfinite(self.weight_).all():
            raise InputError("OASIS left float64's range on these rows; scale the features before fit")
        return self

    def _steps(self, anchors: Any, gaps: Any, limit: float) -> _Array:
        """The steps of a block p (b, d), p+ - p- (b, d), in order: the losses before each, (b,)."""
        margins = self._margins(anchors, gaps)
        with np.errstate(over="ignore"):
            # A step of tau on triplet t moves the margin of u by tau (p_t . p_u)(gap_t . gap_u).
            moves = _gram(anchors) * _gram(gaps)
        squares = np.diagonal(moves)
        lengths, losses = np.zeros(len(margins)), np.zeros(len(margins))
        for t in range(len(margins)):
            losses[t] = max(0.0, 1.0 - margins[t])
            if losses[t] > 0 and 0 < squares[t] < np.inf:
                lengths[t] = min(limit, losses[t] / squares[t])
                margins[t + 1 :] += lengths[t] * moves[t, t + 1 :]
        self._add(anchors, gaps, lengths)
        return losses

    def _margins(self, anchors: Any, gaps: Any) -> _Array:
        """``S(p, p+) - S(p, p-)`` of each triplet of a block."""
        if isinstance(anchors, np.ndarray):
            margins: _Array = np.einsum("ij,ij->i", anchors @ self.weight_, gaps)
            return margins
        out = np.empty(anchors.shape[0])
        for t in range(len(out)):  # W is read only where both rows have numbers
            p = slice(*anchors.indptr[t : t + 2])
            v = slice(*gaps.indptr[t : t + 2])
            part = self.weight_[np.ix_(anchors.indices[p], gaps.indices[v])]
            out[t] = anchors.data[p] @ part @ gaps.data[v]
        return out

    def _add(self, anchors: Any, gaps: Any, lengths: _Array) -> None:
        used = np.flatnonzero(lengths)
        if isinstance(anchors, np.ndarray):
            self.weight_ += (lengths[used, None] * anchors[used]).T @ gaps[used]
            return
        change = (anchors[used].multiply(lengths[used, None]).T @ gaps[used]).tocoo()
        self.weight_[change.row, change.col] += change.data


def _gram(rows: Any) -> _Array:
    product = rows @ rows.T
    return product if isinstance(product, np.ndarray) else product.toarray()
