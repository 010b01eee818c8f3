"""Differential training: regression of the difference of two values, and what a signed difference needs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from likewise.distances import Axiom, Distance, SignedDifference, distance_from_name
from likewise.errors import InputError
from likewise.losses.base import ReductionName, positive
from likewise.losses.composed import far_cells, near_cells
from likewise.losses.preferences import are_grades, preferences
from likewise.losses.scored import ScoredLoss, ScoredPairs, scored_pairs, squared_error
from likewise.relations import Labels, Relation, Resolved, Scores, Sides

__all__ = ["DifferenceRegression", "antisymmetric", "check_values"]


class DifferenceRegression(ScoredLoss):
    r"""Differential training: regress the difference of two values on a given signed difference.

    With ``G(x, z) = V(x) - V(z)`` a pair with target t costs ``(G(x, z) - t)^2``. G is antisymmetric and
    transitive whatever V is: the embeddings are the values V (n, 1), and their signed difference is the
    distance. In dynamic programming t is the difference of the costs of two trajectories, taken best with the
    same noise from states that a decision compares: pairs drawn at random gain nothing over a regression
    of V.

    The targets:

    - ``Scores(left, right, target)`` give the pairs and their targets;
    - labels that are integers are the values themselves: each pair of items has the difference of its labels
      as target, once (``left`` before ``right``, or ``left`` a row and ``right`` a column);
    - any other relation (pairs, triplets, quadruplets, matches, a mask, labels that are strings or several an
      item) scores alike 1 and unlike 0: for each row, the value of each near column less that of each far one
      is to be 1. Where nothing is far, there is no pair.

    Defaults: SignedDifference of values (n, 1), mean over the pairs. ``reduction="none"`` gives a value a
    pair; ``weights`` are those of the pairs' left items, and of the row for which near is better than far.
    All pairs are listed: n^2 of integer labels. No library is known to offer it.

    Parameters
    ----------
    huber : float above 0, optional
        The error beyond which a term grows linearly; the source squares everywhere.

    References
    ----------
    D. Bertsekas, "Differential training of rollout policies", 1997 (the shared-weight form ``V(x) - V(z)``;
    equation numbers unverified).

    >>> from likewise.relations import Scores
    >>> loss = DifferenceRegression()
    >>> loss(torch.tensor([[5.0], [3.0]]), Scores([0], [1], [1.0]))  # (5 - 3 - 1)^2
    tensor(1.)
    """

    def __init__(
        self,
        *,
        huber: float | None = None,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
    ) -> None:
        super().__init__(distance=antisymmetric(distance), reduction=reduction)
        self.huber = None if huber is None else positive("huber", huber)

    def check(self, embeddings: Any, columns: Any) -> None:
        """Refuse embeddings that aren't values (n, 1) for the default distance."""
        check_values(self.distance, embeddings, columns)

    def pairs(self, relation: Relation, columns: Relation | None, sides: Sides) -> ScoredPairs:
        """Listed targets, differences of integer labels, or 1 of a near column over a far one.

        Raises
        ------
        InputError
            Lengths or kinds of rows and columns differ, or a position doesn't exist.
        """
        if isinstance(relation, Scores):
            return scored_pairs(relation, columns, sides)
        resolved = relation.resolve(columns, sides)
        if isinstance(relation, Labels) and are_grades(relation):
            return _differences(
                relation, columns if isinstance(columns, Labels) else relation, resolved, sides
            )
        found = preferences(resolved)
        asked = found.row if resolved.anchors is None else resolved.anchors[found.row]
        ones = torch.ones(len(asked), dtype=torch.float64, device=sides.device)
        return ScoredPairs(found.better, found.worse, ones, asked)

    def terms(self, distances: Tensor, score: Tensor) -> Tensor:
        """The squared, or Huber's, error of each pair."""
        return squared_error(distances - score, self.huber)


def _differences(rows: Labels, columns: Labels, resolved: Resolved, sides: Sides) -> ScoredPairs:
    """All pairs of items of known labels, with the exact difference of these, rounded once."""
    listed = [near_cells(resolved), far_cells(resolved)]
    left, right = (torch.cat([cells[place] for cells in listed]) for place in (1, 2))
    if sides.columns_are_rows:
        once = left < right
        left, right = left[once], right[once]
    mine = torch.as_tensor(rows._values).to(sides.device)[left]
    theirs = torch.as_tensor(columns._values).to(sides.device)[right]
    rounded = mine.double() - theirs.double()
    # integers of nearly 2^63 differ exactly as integers, as long as their difference is one of 64 bits
    score = torch.where(rounded.abs() < 2.0**62, (mine - theirs).double(), rounded)
    return ScoredPairs(left, right, score)


def antisymmetric(distance: Distance | str | None) -> Distance:
    """A signed difference, or the antisymmetric distance that was given.

    Raises
    ------
    InputError
    """
    if distance is None:
        return SignedDifference()
    given = distance_from_name(distance)
    if Axiom.ANTISYMMETRIC not in given.axioms:
        raise InputError(f"distance must be antisymmetric, as SignedDifference; found {type(given).__name__}")
    return given


def check_values(distance: Distance, *embeddings: Tensor | None) -> None:
    """Refuse embeddings of several components where one value an item is meant.

    Raises
    ------
    InputError
    """
    for values in embeddings:
        if (
            isinstance(distance, SignedDifference)
            and isinstance(values, Tensor)
            and (values.ndim != 2 or values.shape[1] != 1)
        ):
            raise InputError(
                f"embeddings must be one value an item, of shape (n, 1); found {tuple(values.shape)}"
            )
