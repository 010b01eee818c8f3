"""Pairwise ranking: of two items the better one gets the higher score, by a margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from likewise.distances import Distance, SignedDifference
from likewise.losses.base import ReductionName, positive
from likewise.losses.composed import ComposedLoss, Table
from likewise.losses.differences import antisymmetric, check_values
from likewise.losses.preferences import are_grades, preferences
from likewise.losses.scored import scored_pairs
from likewise.relations import Block, Cells, Labels, Relation, Resolved, Scores, Sides
from likewise.relations.base import cells_from_mask
from likewise.table import Near, Part, Rows, TableFunction, Tile
from likewise.table.distributed import active_group
from likewise.table.grades import can_grade, grade_hinges

__all__ = ["PairwiseRank"]


@dataclass
class _Hinges:
    near: Tensor  # (r, p) hinges against the columns that are better than the row; zero where not valid
    terms: Tensor  # (r,)
    value: Tensor  # (r,) hinges against the columns that are worse
    active: Tensor  # (r,)


class _RankHinge(TableFunction[_Hinges]):
    """``max(0, m - d)`` for far cells (the row is better), ``max(0, m + d)`` for near ones (it is worse)."""

    def __init__(self, margin: float) -> None:
        self._margin = margin

    def begin(self, near: Near) -> _Hinges:
        hinges = near.filled((near.distances + self._margin).clamp_(min=0.0), 0.0)
        zero = torch.zeros_like(near.count)
        return _Hinges(hinges, near.count + near.far_count, zero, zero.clone())

    def observe(self, tile: Tile, state: _Hinges) -> None:
        hinges = (self._margin - tile.distances).clamp_(min=0.0)
        state.value += hinges.sum(1)
        state.active += hinges.sign_().sum(1)

    def finish(self, state: _Hinges) -> Rows:
        active = state.active + state.near.sign().sum(1)
        return Rows(joint=Part(state.value + state.near.sum(1), state.terms, active))

    def slope(self, tile: Tile, state: _Hinges) -> Tensor:  # noqa: ARG002
        return (self._margin - tile.distances).clamp_(min=0.0).sign_().neg_()

    def near_slope(self, state: _Hinges) -> Tensor:
        return state.near.sign()


class _Preferences(Resolved):
    """One row a preference: the better item is the row, the worse one its only far column."""

    far_is_listed = True
    longest = 1

    def __init__(self, better: Tensor, worse: Tensor, n_columns: int) -> None:
        self.n_rows, self.n_columns = better.shape[0], n_columns
        self.anchors = better
        self._worse = worse

    def block(self, start: int, stop: int) -> Block:
        worse = self._worse[start:stop, None]
        valid = torch.ones_like(worse, dtype=torch.bool)
        return Block(self.n_columns, Cells(worse[:, :0], valid[:, :0]), far=Cells(worse, valid))


class _SignedPreferences(_Preferences):
    """The same between rows and columns of their own, where the better item may be the column."""

    def __init__(self, row: Tensor, column: Tensor, row_is_better: Tensor, n_columns: int) -> None:
        super().__init__(row, column, n_columns)
        self._row_is_better = row_is_better

    def block(self, start: int, stop: int) -> Block:
        columns, better = self._worse[start:stop, None], self._row_is_better[start:stop, None]
        return Block(self.n_columns, Cells(columns, ~better), far=Cells(columns, better))


class _Grades(Resolved):
    """Rows against columns by grade. far: worse columns; near: better ones, where columns aren't rows."""

    def __init__(self, rows: Tensor, columns: Tensor, known: tuple[Tensor, Tensor], sides: Sides) -> None:
        self.n_rows, self.n_columns = sides.n_rows, sides.n_columns
        self.longest = 0 if sides.columns_are_rows else sides.n_columns
        self._rows, self._columns, self._sides = rows, columns, sides
        self._row_known, self._column_known = known

    @property
    def alone(self) -> bool:
        """Whether the items are compared with one another, each one known and itself alone."""
        return (
            self._sides.columns_are_rows
            and self._sides.row_ids is None
            and self._rows is self._columns
            and bool(self._row_known.all())
        )

    @property
    def grades(self) -> Tensor:
        """The rows' grades."""
        return self._rows

    def block(self, start: int, stop: int) -> Block:
        rows, columns = self._rows[start:stop, None], self._columns[None, :]
        numbers = torch.arange(start, stop, device=rows.device)[:, None]
        every = torch.arange(self.n_columns, device=rows.device)[None, :]
        compared = self._row_known[start:stop, None] & self._column_known[None, :]
        compared = compared & ~self._sides.same(numbers, every)
        if self._sides.columns_are_rows:  # each pair once, from the better item
            empty = torch.zeros(stop - start, 0, dtype=torch.int64, device=rows.device)
            better = Cells(empty, empty.bool())
        else:
            better = cells_from_mask(compared & (columns > rows))
        return Block(self.n_columns, better, mask=~(compared & (columns < rows)))


class PairwiseRank(ComposedLoss):
    r"""Hinge on pairs of scores: ``max(0, m - s(better) + s(worse))``.

    The embeddings are the scores s (n, 1) of the items, higher is better. Who is better:

    - ``Scores(left, right, score)`` say it by their sign (above zero: left; below: right; zero: neither, and
      the pair isn't compared);
    - labels that are integers are ordered grades, a larger one being better: every pair of items of different
      grades is compared, once;
    - any other relation (pairs, triplets, quadruplets, matches, a mask, labels that are strings or several an
      item) is read as search is: for each row its near columns are better than its far ones, so that of a
      triplet the positive is better than the negative. Where nothing is far, nothing is compared.

    Defaults: SignedDifference of scores (n, 1), margin 1, mean over all compared pairs.
    ``reduction="none"`` gives for grades a row's sum over the items that it beats, and otherwise a value a
    preference. ``weights`` are those of the better item (with columns of their own: of the row), and of the
    row for which near is better than far. Time and memory grow with the number of listed preferences; grades
    aren't listed. PyTorch's MarginRankingLoss is the same on listed pairs, with margin 0.

    Parameters
    ----------
    margin : float, 0 or more
        m.

    Raises
    ------
    InputError
        Grades for rows and not for columns, or embeddings that aren't (n, 1).

    References
    ----------
    R. Herbrich, T. Graepel, K. Obermayer, "Large margin rank boundaries for ordinal regression", 2000 (the
    hinge on pairs); T. Joachims, "Optimizing search engines using clickthrough data", 2002.

    >>> loss = PairwiseRank()
    >>> loss(torch.tensor([[2.0], [1.5], [0.0]]), [1, 0, 0])  # (0.5 + 0) / 2
    tensor(0.2500)
    """

    def __init__(
        self,
        *,
        margin: float = 1.0,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
    ) -> None:
        super().__init__(distance=antisymmetric(distance), reduction=reduction)
        self.margin = positive("margin", margin, zero=True)

    def check(self, embeddings: Any, columns: Any) -> None:
        """Refuse embeddings that aren't values (n, 1) for the default distance."""
        check_values(self.distance, embeddings, columns)

    def resolve(self, relation: Relation, columns: Relation | None, sides: Sides) -> Resolved:
        """Who is better than whom.

        Raises
        ------
        InputError
            Lengths or kinds of rows and columns differ.
        """
        if isinstance(relation, Scores):
            return _listed_signs(relation, sides)
        resolved = relation.resolve(columns, sides)  # lengths and kinds are checked there
        if not are_grades(relation):
            return resolved
        assert isinstance(relation, Labels)
        other = columns if isinstance(columns, Labels) else relation
        mine, theirs = torch.as_tensor(relation._values), torch.as_tensor(other._values)
        known = (_known(relation, mine), _known(other, theirs))
        device = sides.device
        return _Grades(mine.to(device), theirs.to(device), (known[0].to(device), known[1].to(device)), sides)

    def compose(self, table: Table) -> Tensor:
        """One walk, of the columns among themselves where near is better than far."""
        if not isinstance(table.resolved, _Preferences | _Grades):
            found = preferences(table.resolved)
            listed = _Preferences(found.better, found.worse, table.other.shape[0])
            weights = None if table.weights is None else table.weights[found.row]
            compared = Table(table.other, None, listed, weights)
        else:
            compared = table
        graded = compared.resolved
        if isinstance(graded, _Grades) and self._in_c(graded, table):
            value, pairs = grade_hinges(table.rows, graded.grades, self.margin, table.weights, self.reduction)
            self.warn_if_empty(pairs)
            return value
        value, terms = compared.value(_RankHinge(self.margin), self.distance, self.reduction)
        self.warn_if_empty(terms)
        return value + table.rows[:0].sum()  # of rows apart from their columns the gradient is zero

    def _in_c(self, graded: _Grades, table: Table) -> bool:
        """Whether the pairs of all graded items are to be compared, on one process, by one value each."""
        return (
            graded.alone
            and type(self.distance) is SignedDifference
            and self.reduction != "none"
            and active_group() is None
            and can_grade(table.rows)
        )


def _listed_signs(relation: Scores, sides: Sides) -> Resolved:
    pairs = scored_pairs(relation, None, sides)
    kept = pairs.score != 0
    left, right, first = pairs.left[kept], pairs.right[kept], pairs.score[kept] > 0
    if sides.columns_are_rows:
        better, worse = torch.where(first, left, right), torch.where(first, right, left)
        return _Preferences(better, worse, sides.n_columns)
    return _SignedPreferences(left, right, first, sides.n_columns)


def _known(labels: Labels, grades: Tensor) -> Tensor:
    known = labels._known()
    return torch.ones_like(grades, dtype=torch.bool) if known is None else known
