"""Losses: each reads a table of distances, rows against columns, under a relation.

The common signature stands in :class:`likewise.losses.base.Loss`; a new loss is either a few methods over
tiles (:class:`~likewise.losses.base.TableLoss`) or a plain function of whole rows (:class:`RowFunction`).
"""

from __future__ import annotations

from likewise.losses.base import Loss
from likewise.losses.centres import SoftTriple, SubCenterArcFace
from likewise.losses.classes import ArcFace, CosFace, NormalizedSoftmax
from likewise.losses.cosent import CoSENT
from likewise.losses.devise import HingeRank
from likewise.losses.energy import ChopraContrastive
from likewise.losses.fast_ap import FastAP
from likewise.losses.geometry import GeometryAware
from likewise.losses.lifted import GeneralizedLiftedStructure, LiftedStructure
from likewise.losses.memory import CrossBatchMemory
from likewise.losses.nca import NCA
from likewise.losses.norms import AdaFace, LargeMarginSoftmax, MagFace, SphereFace
from likewise.losses.ntxent import NPairs, NTXent
from likewise.losses.pair import Contrastive
from likewise.losses.proxy import ProxyAnchor, ProxyNCA
from likewise.losses.quadruplet import DoubleHeaderHinge
from likewise.losses.rank import PairwiseRank
from likewise.losses.ranking import PNP, SmoothAP
from likewise.losses.ratio import TripletRatio
from likewise.losses.rows import RowFunction
from likewise.losses.scored import DifferenceRegression, ScoreRegression
from likewise.losses.similarity import Circle, MultiSimilarity
from likewise.losses.softmax import SupCon
from likewise.losses.triplet import TripletMargin
from likewise.losses.verification import BinaryPair
from likewise.losses.weighted import Weighted

__all__ = [
    "NCA",
    "PNP",
    "AdaFace",
    "ArcFace",
    "BinaryPair",
    "ChopraContrastive",
    "Circle",
    "CoSENT",
    "Contrastive",
    "CosFace",
    "CrossBatchMemory",
    "DifferenceRegression",
    "DoubleHeaderHinge",
    "FastAP",
    "GeneralizedLiftedStructure",
    "GeometryAware",
    "HingeRank",
    "LargeMarginSoftmax",
    "LiftedStructure",
    "Loss",
    "MagFace",
    "MultiSimilarity",
    "NPairs",
    "NTXent",
    "NormalizedSoftmax",
    "PairwiseRank",
    "ProxyAnchor",
    "ProxyNCA",
    "RowFunction",
    "ScoreRegression",
    "SmoothAP",
    "SoftTriple",
    "SphereFace",
    "SubCenterArcFace",
    "SupCon",
    "TripletMargin",
    "TripletRatio",
    "Weighted",
]
