"""Losses: each reads a table of distances, rows against columns, under a relation.

The common signature stands in :class:`likewise.losses.base.Loss`; a new loss is either a few methods over
tiles (:class:`~likewise.losses.base.TableLoss`) or a plain function of whole rows (:class:`RowFunction`).
"""

from __future__ import annotations

from likewise.losses.angle import AnglE
from likewise.losses.angular import Angular
from likewise.losses.angular_margins import ArcFace
from likewise.losses.base import Loss
from likewise.losses.boundary import Margin
from likewise.losses.centres import SoftTriple, SubCenterArcFace
from likewise.losses.classes import CosFace, NormalizedSoftmax
from likewise.losses.cosent import CoSENT
from likewise.losses.devise import HingeRank
from likewise.losses.differences import DifferenceRegression
from likewise.losses.dynamic import DynamicSoftMargin
from likewise.losses.energy import ChopraContrastive
from likewise.losses.fast_ap import FastAP
from likewise.losses.geometry import GeometryAware
from likewise.losses.instance import Instance
from likewise.losses.lifted import GeneralizedLiftedStructure, LiftedStructure
from likewise.losses.manifold import Manifold
from likewise.losses.matryoshka import Matryoshka
from likewise.losses.memory import CrossBatchMemory
from likewise.losses.moments import BarlowTwins, VICReg
from likewise.losses.multi_proxy import MultiProxy
from likewise.losses.multiplied_margins import LargeMarginSoftmax, SphereFace
from likewise.losses.nca import NCA
from likewise.losses.ntxent import NPairs, NTXent
from likewise.losses.p2s_grad import P2SGrad
from likewise.losses.pair import Contrastive
from likewise.losses.precision import SurrogatePrecision
from likewise.losses.proxy import ProxyAnchor, ProxyNCA
from likewise.losses.quadruplet import DoubleHeaderHinge
from likewise.losses.quality_margins import AdaFace, MagFace
from likewise.losses.rank import PairwiseRank
from likewise.losses.ranked_list import RankedList
from likewise.losses.ranking import PNP, SmoothAP
from likewise.losses.ratio import TripletRatio
from likewise.losses.regularizers import CenterInvariant, EmbeddingNorm, RegularFace, SparseCenters, ZeroMean
from likewise.losses.rows import RowFunction
from likewise.losses.scored import ScoreRegression
from likewise.losses.signal import SignalToNoise
from likewise.losses.similarity import Circle, MultiSimilarity
from likewise.losses.softmax import SupCon
from likewise.losses.threshold import ThresholdConsistentMargin
from likewise.losses.totals import Histogram, IntraPair
from likewise.losses.triplet import TripletMargin
from likewise.losses.tuplet import Tuplet
from likewise.losses.verification import BinaryPair
from likewise.losses.weighted import Weighted

__all__ = [
    "NCA",
    "PNP",
    "AdaFace",
    "AnglE",
    "Angular",
    "ArcFace",
    "BarlowTwins",
    "BinaryPair",
    "CenterInvariant",
    "ChopraContrastive",
    "Circle",
    "CoSENT",
    "Contrastive",
    "CosFace",
    "CrossBatchMemory",
    "DifferenceRegression",
    "DoubleHeaderHinge",
    "DynamicSoftMargin",
    "EmbeddingNorm",
    "FastAP",
    "GeneralizedLiftedStructure",
    "GeometryAware",
    "HingeRank",
    "Histogram",
    "Instance",
    "IntraPair",
    "LargeMarginSoftmax",
    "LiftedStructure",
    "Loss",
    "MagFace",
    "Manifold",
    "Margin",
    "Matryoshka",
    "MultiProxy",
    "MultiSimilarity",
    "NPairs",
    "NTXent",
    "NormalizedSoftmax",
    "P2SGrad",
    "PairwiseRank",
    "ProxyAnchor",
    "ProxyNCA",
    "RankedList",
    "RegularFace",
    "RowFunction",
    "ScoreRegression",
    "SignalToNoise",
    "SmoothAP",
    "SoftTriple",
    "SparseCenters",
    "SphereFace",
    "SubCenterArcFace",
    "SupCon",
    "SurrogatePrecision",
    "ThresholdConsistentMargin",
    "TripletMargin",
    "TripletRatio",
    "Tuplet",
    "VICReg",
    "Weighted",
    "ZeroMean",
]
