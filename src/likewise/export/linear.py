"""From a linear model to one matrix and one offset."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from likewise.distances import Cosine, Euclidean, Mahalanobis, SquaredEuclidean
from likewise.encoders import MLP, Standardize
from likewise.errors import InputError
from likewise.export.plain import NumpyModel
from likewise.model import Model

__all__ = ["numpy_model"]


def numpy_model(model: Model) -> NumpyModel:
    """The same embedding and distance in NumPy alone, of a linear model.

    Standardising, the linear map and a Mahalanobis distance's L become ``A x + b`` in float64.

    Parameters
    ----------
    model : Model
        Its encoder is linear, as every ``to_model()`` of :mod:`likewise.linear` gives it; its distance is
        Euclidean, squared Euclidean, cosine or Mahalanobis.

    Raises
    ------
    InputError
        The model isn't linear, or its distance is another.

    >>> model = Model(MLP(2, dimension=1, hidden=()), Euclidean(), Standardize((2,)))
    >>> numpy_model(model).matrix.shape
    (1, 2)
    """
    encoder, prepare, distance = model.encoder, model.preprocessing, model.distance
    if type(prepare) is not Standardize or type(encoder) is not MLP or len(encoder.hidden):
        raise InputError(
            f"model must be linear; found the encoder {type(encoder).__name__} after "
            f"{type(prepare).__name__}; export it as ONNX"
        )
    with torch.inference_mode():
        matrix = np.zeros((encoder.dimension, encoder.inputs))
        offset = np.zeros(encoder.dimension)
        for layer in (*encoder.layers, encoder.shortcut):
            if isinstance(layer, nn.Linear):
                matrix += layer.weight.double().numpy()
                offset += 0 if layer.bias is None else layer.bias.double().numpy()
        shape = model.item_shape
        mean = prepare.mean.double().expand(shape).reshape(-1).numpy()
        scale = prepare.scale.double().expand(shape).reshape(-1).numpy()
        matrix = matrix / scale
        offset = offset - matrix @ mean
        name = type(distance).__name__
        if type(distance) is Mahalanobis:
            components = distance.components.double().numpy()
            matrix, offset, name = components @ matrix, components @ offset, "Euclidean"
        elif type(distance) not in (Cosine, Euclidean, SquaredEuclidean):
            raise InputError(f"distance must be Euclidean, squared, cosine or Mahalanobis; found {name}")
    threshold = None if model.calibration is None else model.calibration.threshold
    return NumpyModel(
        matrix.astype(np.float32), offset.astype(np.float32), name, threshold, model.fingerprint
    )
