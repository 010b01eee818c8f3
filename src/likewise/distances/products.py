"""Distances that a matrix product of features gives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from likewise.distances.base import (
    PSEUDO_METRIC,
    SYMMETRIC_DISSIMILARITY,
    Axiom,
    Form,
    ProductDistance,
)
from likewise.errors import InputError

__all__ = ["Bilinear", "Cosine", "Dot", "Euclidean", "Mahalanobis", "SquaredEuclidean", "unit_rows"]


class Euclidean(ProductDistance):
    """``|x - y|``; its slope at x == y is zero.

    >>> Euclidean()(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([5.])
    """

    axioms = PSEUDO_METRIC
    form = Form.EUCLIDEAN


class SquaredEuclidean(ProductDistance):
    """``|x - y|^2``; no triangle inequality.

    >>> SquaredEuclidean()(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([25.])
    """

    axioms = SYMMETRIC_DISSIMILARITY
    form = Form.SQUARED


def unit_rows(x: Tensor) -> Tensor:
    """Rows ``(..., d)`` divided by their Euclidean norms; a zero row stays zero, with slope zero."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / torch.where(norm > 0, norm, torch.inf)


class Cosine(ProductDistance):
    """``1 - cos(x, y)``, in [0, 2]; taken as ``|x/|x| - y/|y||^2 / 2``, which keeps small ones exact.

    A zero vector has no direction: it is at 1/2 from every direction and at 0 from another zero
    vector, and its slope is zero.

    >>> Cosine()(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    tensor([1.])
    """

    axioms = SYMMETRIC_DISSIMILARITY
    form = Form.HALF_SQUARED
    unit = True

    def features(self, x: Tensor) -> Tensor:
        """Rows at unit length."""
        return unit_rows(x)


class Mahalanobis(ProductDistance):
    """``|L x - L y|`` with learned components L; ``L'L`` is the Mahalanobis matrix.

    Parameters
    ----------
    components : Tensor (k, d)
        L. It becomes a parameter that a loss can learn.

    >>> Mahalanobis(torch.tensor([[2.0, 0.0]]))(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([6.], grad_fn=<LinalgVectorNormBackward0>)
    """

    axioms = PSEUDO_METRIC
    form = Form.EUCLIDEAN

    def __init__(self, components: Tensor) -> None:
        super().__init__()
        if components.ndim != 2 or not components.is_floating_point():
            raise InputError(
                f"components must be a floating (k, d) matrix; found {components.dtype} of shape "
                f"{tuple(components.shape)}"
            )
        self.components = nn.Parameter(components.detach().clone())

    def features(self, x: Tensor) -> Tensor:
        """Rows ``x L'``."""
        return x @ self.components.T.to(x.dtype)

    def config(self) -> dict[str, Any]:
        """Name and the shape of L."""
        return {"name": "Mahalanobis", "shape": list(self.components.shape)}


class Bilinear(ProductDistance):
    """``-x' W z``: minus a learned similarity; W need be neither square, symmetric nor definite.

    Parameters
    ----------
    weight : Tensor (d, e)
        W, for rows of d and columns of e numbers. It becomes a parameter.

    >>> Bilinear(torch.eye(2))(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]]))
    tensor([-5.], grad_fn=<NegBackward0>)
    """

    axioms = frozenset()
    form = Form.NEGATIVE_PRODUCT

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        if weight.ndim != 2 or not weight.is_floating_point():
            raise InputError(
                f"weight must be a floating (d, e) matrix; found {weight.dtype} of shape "
                f"{tuple(weight.shape)}"
            )
        self.weight = nn.Parameter(weight.detach().clone())

    def features(self, x: Tensor) -> Tensor:
        """Rows ``x W``."""
        return x @ self.weight.to(x.dtype)

    def column_features(self, y: Tensor) -> Tensor:
        """Columns as they are."""
        return y

    def config(self) -> dict[str, Any]:
        """Name and the shape of W."""
        return {"name": "Bilinear", "shape": list(self.weight.shape)}


class Dot(ProductDistance):
    """``-x.z``: minus the inner product, which norms scale.

    >>> Dot()(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]]))
    tensor([-5.])
    """

    axioms = frozenset({Axiom.SYMMETRIC})
    form = Form.NEGATIVE_PRODUCT
