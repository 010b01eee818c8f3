"""Evaluation that a sceptic believes: figures with 95 % intervals over classes.

Every function gives a :class:`Report`, a mapping of names to :class:`Figure`; smaller distances mean
more alike.
"""

from __future__ import annotations

from likewise.evaluation.calibration import (
    Isotonic,
    Platt,
    Reliability,
    calibration,
    isotonic,
    platt,
    reliability,
)
from likewise.evaluation.classification import classification
from likewise.evaluation.clustering import clustering, clustering_threshold
from likewise.evaluation.comparison import Comparison, PairedDifference, compare
from likewise.evaluation.controls import Control, Controls, model_controls
from likewise.evaluation.few_shot import few_shot
from likewise.evaluation.figures import Figure, Report
from likewise.evaluation.graded import graded_retrieval, hierarchy_gains, shared_label_gains
from likewise.evaluation.guarantee import (
    GuaranteedThreshold,
    guaranteed_threshold,
    smallest_guaranteed_far,
)
from likewise.evaluation.health import Health, control_embeddings, embedding_health
from likewise.evaluation.novelty import novelty
from likewise.evaluation.pairs import VerificationPairs, verification_pairs
from likewise.evaluation.protocols import (
    GaussianIdentities,
    best_threshold,
    gaussian_identities,
    k_fold_verification,
)
from likewise.evaluation.ranking import label_ranking, ranking
from likewise.evaluation.reads import DataRead, data_reads, reads_sentence, record_read
from likewise.evaluation.reidentification import reidentification
from likewise.evaluation.retrieval import RETRIEVAL_FIGURES, QueryScores, retrieval, retrieval_scores
from likewise.evaluation.suite import SUITE, evaluate_embeddings
from likewise.evaluation.verification import (
    OperatingPoints,
    operating_points,
    threshold_at_eer,
    threshold_at_far,
    verification,
)

__all__ = [
    "RETRIEVAL_FIGURES",
    "SUITE",
    "Comparison",
    "Control",
    "Controls",
    "DataRead",
    "Figure",
    "GaussianIdentities",
    "GuaranteedThreshold",
    "Health",
    "Isotonic",
    "OperatingPoints",
    "PairedDifference",
    "Platt",
    "QueryScores",
    "Reliability",
    "Report",
    "VerificationPairs",
    "best_threshold",
    "calibration",
    "classification",
    "clustering",
    "clustering_threshold",
    "compare",
    "control_embeddings",
    "data_reads",
    "embedding_health",
    "evaluate_embeddings",
    "few_shot",
    "gaussian_identities",
    "graded_retrieval",
    "guaranteed_threshold",
    "hierarchy_gains",
    "isotonic",
    "k_fold_verification",
    "label_ranking",
    "model_controls",
    "novelty",
    "operating_points",
    "platt",
    "ranking",
    "reads_sentence",
    "record_read",
    "reidentification",
    "reliability",
    "retrieval",
    "retrieval_scores",
    "shared_label_gains",
    "smallest_guaranteed_far",
    "threshold_at_eer",
    "threshold_at_far",
    "verification",
    "verification_pairs",
]
