"""Triplets by their hardness."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from likewise.distances import Distance
from likewise.errors import InputError
from likewise.mining.base import Miner, Nearest, extreme_near, farthest_far, nearest_beyond, nearest_far
from likewise.mining.choice import Comparisons, RowChoices, comparison, of_cells, of_rows
from likewise.relations import Resolved
from likewise.table.chosen import choose_beyond, choose_rows, small_table
from likewise.table.visit import views

__all__ = ["AllTriplets", "BatchHard", "EasyPositive", "Hardest", "SemiHard"]


class AllTriplets(Miner):
    """All triplets: the relation as it is. A loss over triplets takes all that a relation holds.

    >>> from likewise.losses import TripletMargin
    >>> TripletMargin(margin=1.0, miner=AllTriplets())(torch.tensor([[0.0], [1.0], [1.5]]), [0, 0, 1])
    tensor(1.)
    """

    def forward(
        self,
        embeddings: Tensor,  # noqa: ARG002
        resolved: Resolved,
        *,
        columns: Tensor | None = None,  # noqa: ARG002
        distance: Distance,  # noqa: ARG002
    ) -> Resolved:
        """The relation itself. See :meth:`Miner.forward`."""
        return resolved


class BatchHard(Miner):
    """The farthest positive and the nearest negative of each anchor (Hermans, Beyer, Leibe 2017).

    pytorch-metric-learning's BatchHardMiner chooses the same.

    References
    ----------
    A. Hermans, L. Beyer, B. Leibe, "In defense of the triplet loss for person re-identification", 2017,
    equation 5 (number from memory).

    >>> from likewise.losses import TripletMargin
    >>> loss = TripletMargin(margin=1.0, reduction="none", miner=BatchHard())
    >>> loss(torch.tensor([[0.0], [1.0], [3.0], [2.5]]), [0, 0, 0, 1])
    tensor([1.5000, 1.5000, 3.5000, 0.0000])
    """

    def forward(
        self,
        embeddings: Tensor,
        resolved: Resolved,
        *,
        columns: Tensor | None = None,
        distance: Distance,
    ) -> Resolved:
        """One near and one far cell a row. See :meth:`Miner.forward`."""
        small = small_table(distance, embeddings, columns, resolved)
        if small is not None:
            return of_rows(choose_rows(small, "farthest", "nearest"), resolved)
        rows = RowChoices(embeddings.device)
        for view in views(distance, embeddings, columns, resolved):
            rows.add(view, extreme_near(view, farthest=True), nearest_far(view))
        return rows.narrowed(resolved)


class Hardest(Miner):
    """All positives of each anchor against its nearest negative.

    >>> from likewise.losses import TripletMargin
    >>> loss = TripletMargin(margin=1.0, reduction="none", miner=Hardest())
    >>> loss(torch.tensor([[0.0], [1.0], [3.0], [2.5]]), [0, 0, 0, 1])
    tensor([1.5000, 2.0000, 6.0000, 0.0000])
    """

    def forward(
        self,
        embeddings: Tensor,
        resolved: Resolved,
        *,
        columns: Tensor | None = None,
        distance: Distance,
    ) -> Resolved:
        """All near cells and one far cell a row. See :meth:`Miner.forward`."""
        small = small_table(distance, embeddings, columns, resolved)
        if small is not None:
            return of_rows(choose_rows(small, "all", "nearest"), resolved)
        rows = RowChoices(embeddings.device, near=False)
        for view in views(distance, embeddings, columns, resolved):
            rows.add(view, None, nearest_far(view))
        return rows.narrowed(resolved)


class EasyPositive(Miner):
    """The nearest positive of each anchor (Xuan, Stylianou, Pless 2020), so that a class may have many modes.

    Parameters
    ----------
    negatives : {"semi-hard", "hardest", "all"}
        The nearest negative beyond that positive (the paper's best, and the default of
        pytorch-metric-learning's BatchEasyHardMiner), the nearest of all, or all negatives. An anchor
        without a semi-hard negative drops out.

    References
    ----------
    H. Xuan, A. Stylianou, R. Pless, "Improved embeddings with easy positive triplet mining", 2020,
    section 3.

    >>> from likewise.losses import TripletMargin
    >>> loss = TripletMargin(margin=1.0, reduction="none", miner=EasyPositive(negatives="hardest"))
    >>> loss(torch.tensor([[0.0], [1.0], [3.0], [2.5]]), [0, 0, 0, 1])
    tensor([0.0000, 0.5000, 2.5000, 0.0000])
    """

    def __init__(self, *, negatives: Literal["semi-hard", "hardest", "all"] = "semi-hard") -> None:
        super().__init__()
        if negatives not in ("semi-hard", "hardest", "all"):
            raise InputError(f'negatives must be "semi-hard", "hardest" or "all"; found {negatives!r}')
        self.negatives = negatives

    def forward(
        self,
        embeddings: Tensor,
        resolved: Resolved,
        *,
        columns: Tensor | None = None,
        distance: Distance,
    ) -> Resolved:
        """One near cell a row, and one or all far cells. See :meth:`Miner.forward`."""
        small = None
        if self.negatives != "all":
            small = small_table(distance, embeddings, columns, resolved)
        if small is not None:
            far: Literal["nearest", "beyond"] = "nearest" if self.negatives == "hardest" else "beyond"
            return of_rows(choose_rows(small, "nearest", far), resolved)
        rows = RowChoices(embeddings.device, far=self.negatives != "all")
        for view in views(distance, embeddings, columns, resolved):
            number = extreme_near(view, farthest=False)
            if self.negatives == "all":
                nearest = None
            elif self.negatives == "hardest":
                nearest = nearest_far(view)
            else:
                beyond = nearest_beyond(view, number[:, None])
                nearest = Nearest(beyond.distance[:, 0], beyond.place[:, 0])
            rows.add(view, number, nearest)
        return rows.narrowed(resolved)


class SemiHard(Miner):
    """For each (anchor, positive) the nearest negative that lies beyond the positive (FaceNet).

    Each pair becomes a triplet, a row of its own. A pair without such a negative drops out; with
    ``otherwise="farthest"`` it takes the farthest negative there is, as TensorFlow's and Addons'
    triplet_semihard_loss does. pytorch-metric-learning's TripletMarginMiner calls semi-hard all negatives
    between the positive and the margin, not the nearest of them.

    Time: two cheap passes and a search over a tile for each positive of a row.

    Parameters
    ----------
    otherwise : {"nothing", "farthest"}

    References
    ----------
    F. Schroff, D. Kalenichenko, J. Philbin, "FaceNet: a unified embedding for face recognition and
    clustering", 2015, equation 4.

    >>> from likewise.losses import TripletMargin
    >>> loss = TripletMargin(margin=1.0, reduction="none", miner=SemiHard())
    >>> loss(torch.tensor([[0.0], [1.0], [0.5], [1.5]]), [0, 0, 1, 1])  # (0, 1, 3), (3, 2, 0)
    tensor([0.5000, 0.5000])
    """

    def __init__(self, *, otherwise: Literal["nothing", "farthest"] = "nothing") -> None:
        super().__init__()
        if otherwise not in ("nothing", "farthest"):
            raise InputError(f'otherwise must be "nothing" or "farthest"; found {otherwise!r}')
        self.otherwise = otherwise

    def forward(
        self,
        embeddings: Tensor,
        resolved: Resolved,
        *,
        columns: Tensor | None = None,
        distance: Distance,
    ) -> Resolved:
        """A triplet for each near cell. See :meth:`Miner.forward`."""
        small = small_table(distance, embeddings, columns, resolved)
        if small is not None:
            return of_cells(*choose_beyond(small, otherwise_farthest=self.otherwise == "farthest"), resolved)
        chosen = []
        for view in views(distance, embeddings, columns, resolved):
            numbers = torch.arange(view.rough_near.shape[1], device=embeddings.device)
            found = nearest_beyond(view, numbers.expand_as(view.rough_near))
            places, kept = found.place, found.found
            if self.otherwise == "farthest":
                farthest = farthest_far(view)
                places = torch.where(kept, places, farthest.place[:, None])
                kept = kept | farthest.found[:, None]
            rows, numbers = (kept & view.block.near.valid).nonzero(as_tuple=True)
            near = view.block.near.columns[rows, numbers]
            chosen.append(comparison(view, rows, near, places[rows, numbers]))
        return Comparisons(chosen, resolved.n_columns, embeddings.device)
