"""The learner that another one holds: a copy to fit, or with ``warm_start`` the last one to go on with."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner
from likewise.linear.lda import LDA

__all__ = ["inner_learner"]


def inner_learner(estimator: Any, last: MahalanobisLearner | None, *, warm_start: bool) -> MahalanobisLearner:
    """A copy of ``estimator`` (by default LDA) that isn't fitted.

    With ``warm_start`` it is ``last``, under the options that ``estimator`` has now, so that its ``fit`` goes
    on; a learner of another kind than ``last``, or without ``warm_start``, begins anew.

    Raises
    ------
    InputError
        ``estimator`` has no components.

    >>> inner_learner(None, None, warm_start=True)
    LDA()
    """
    if estimator is not None and not isinstance(estimator, MahalanobisLearner):
        raise InputError(
            f"estimator must be a learner with components (ITML(), LMNN(), LDA(), ...); found {estimator!r}"
        )
    fresh: MahalanobisLearner = LDA() if estimator is None else clone(estimator)
    if not warm_start or "warm_start" not in fresh.get_params(deep=False):
        return fresh
    if type(last) is type(fresh):
        last.set_params(**fresh.get_params(deep=False))
        fresh = last
    fresh.set_params(warm_start=True)
    return fresh
