"""Networks, each (items) -> (n, d), and what is done to items before."""

from likewise.encoders.build import Encoder, config_of, encoder_for, encoder_from_config, fresh_copy
from likewise.encoders.convolution import ConvNet
from likewise.encoders.mlp import MLP
from likewise.encoders.preprocessing import Standardize, preprocessing_from_config

__all__ = [
    "MLP",
    "ConvNet",
    "Encoder",
    "Standardize",
    "config_of",
    "encoder_for",
    "encoder_from_config",
    "fresh_copy",
    "preprocessing_from_config",
]
