"""Losses: each reads a table of distances, rows against columns, under a relation.

The common signature stands in :class:`likewise.losses.base.Loss`; a new loss is either a few methods over
tiles (:class:`~likewise.losses.base.TableLoss`) or a plain function of whole rows (:class:`RowFunction`).
"""

from __future__ import annotations

from likewise.losses.base import Loss
from likewise.losses.pair import Contrastive
from likewise.losses.rows import RowFunction
from likewise.losses.softmax import SupCon
from likewise.losses.triplet import TripletMargin

__all__ = ["Contrastive", "Loss", "RowFunction", "SupCon", "TripletMargin"]
