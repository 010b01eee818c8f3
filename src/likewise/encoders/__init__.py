"""Networks, each (items) -> (n, d), and what is done to items before."""

from likewise.encoders.base import Encoder, Preprocessing
from likewise.encoders.build import (
    ENCODERS,
    config_of,
    encoder_for,
    encoder_from_config,
    fresh_copy,
    is_encoder_name,
    preprocessing_from_config,
)
from likewise.encoders.convolution import ConvNet
from likewise.encoders.heads import HEADS, BinaryHead, Headed, LinearHead, NormalizedHead, ScoreHead
from likewise.encoders.mlp import MLP
from likewise.encoders.ngrams import NgramMLP
from likewise.encoders.preprocessing import Standardize
from likewise.encoders.pretrained_images import TimmNetwork
from likewise.encoders.pretrained_texts import PretrainedTokens, TextNetwork, pretrained_text
from likewise.encoders.suited import preprocessing_for
from likewise.encoders.tabular import TableColumn, TableFeatures, TableMLP
from likewise.encoders.texts import HashedNgrams, TextPreprocessing, Words
from likewise.encoders.transformers import TextTransformer, VisionTransformer
from likewise.encoders.worded import WordMapped

__all__ = [
    "ENCODERS",
    "HEADS",
    "MLP",
    "BinaryHead",
    "ConvNet",
    "Encoder",
    "HashedNgrams",
    "Headed",
    "LinearHead",
    "NgramMLP",
    "NormalizedHead",
    "Preprocessing",
    "PretrainedTokens",
    "ScoreHead",
    "Standardize",
    "TableColumn",
    "TableFeatures",
    "TableMLP",
    "TextNetwork",
    "TextPreprocessing",
    "TextTransformer",
    "TimmNetwork",
    "VisionTransformer",
    "WordMapped",
    "Words",
    "config_of",
    "encoder_for",
    "encoder_from_config",
    "fresh_copy",
    "is_encoder_name",
    "preprocessing_for",
    "preprocessing_from_config",
    "pretrained_text",
]
