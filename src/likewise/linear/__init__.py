"""Linear metric learners in scikit-learn's manner: one class an algorithm, labels or relations in."""

from likewise.linear.asymmetric_transfer import AsymmetricTransfer
from likewise.linear.chi_squared_lmnn import ChiSquaredLMNN
from likewise.linear.covariance import Covariance
from likewise.linear.dca import DCA
from likewise.linear.frome_local import FromeLocal
from likewise.linear.gmml import GMML
from likewise.linear.gradient_boosted_lmnn import GradientBoostedLMNN
from likewise.linear.hdsl import HDSL
from likewise.linear.itml import ITML
from likewise.linear.kernel_itml import KernelITML
from likewise.linear.kernel_lmnn import KernelLMNN
from likewise.linear.kissme import KISSME
from likewise.linear.kpca_trick import KPCATrick
from likewise.linear.kwok_tsang import KwokTsang
from likewise.linear.lda import LDA
from likewise.linear.learned_metric_lsh import LearnedMetricLSH
from likewise.linear.lego import LEGO
from likewise.linear.lfda import LFDA
from likewise.linear.lmnn import LMNN
from likewise.linear.low_rank_itml import LowRankITML
from likewise.linear.lsml import LSML
from likewise.linear.mcml import MCML
from likewise.linear.mlkr import MLKR
from likewise.linear.mlr import MLR
from likewise.linear.mmc import MMC
from likewise.linear.multi_metric_lmnn import MultiMetricLMNN
from likewise.linear.nca import NCA
from likewise.linear.oasis import OASIS
from likewise.linear.pola import POLA
from likewise.linear.rca import RCA
from likewise.linear.schultz_joachims import SchultzJoachims
from likewise.linear.scml import SCML
from likewise.linear.sdml import SDML
from likewise.linear.similarity_regression import DistanceRegression, SimilarityRegression
from likewise.linear.splits import PairSplit, split_pairs

__all__ = [
    "DCA",
    "GMML",
    "HDSL",
    "ITML",
    "KISSME",
    "LDA",
    "LEGO",
    "LFDA",
    "LMNN",
    "LSML",
    "MCML",
    "MLKR",
    "MLR",
    "MMC",
    "NCA",
    "OASIS",
    "POLA",
    "RCA",
    "SCML",
    "SDML",
    "AsymmetricTransfer",
    "ChiSquaredLMNN",
    "Covariance",
    "DistanceRegression",
    "FromeLocal",
    "GradientBoostedLMNN",
    "KPCATrick",
    "KernelITML",
    "KernelLMNN",
    "KwokTsang",
    "LearnedMetricLSH",
    "LowRankITML",
    "MultiMetricLMNN",
    "PairSplit",
    "SchultzJoachims",
    "SimilarityRegression",
    "split_pairs",
]
