"""Penalties on embeddings, or on the learned vectors of a loss, to add to any loss.

Call one with the vectors it is about, and add what it gives: ``loss(x, y) + 0.01 * EmbeddingNorm()(x)``, or
``loss(x, y) + 0.1 * RegularFace()(loss.weight)``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.distances import Form, ProductDistance, unit_rows
from likewise.errors import InputError
from likewise.losses.base import check_embeddings, check_shape, positive
from likewise.losses.dynamic import NearestFar
from likewise.relations import Labels, Sides
from likewise.table import TableRequest, table_value

__all__ = ["CenterInvariant", "EmbeddingNorm", "RegularFace", "Regularizer", "SparseCenters", "ZeroMean"]


class Regularizer(nn.Module):
    """A penalty on vectors (n, d): a mean over them, or their sum."""

    def __init__(self, *, reduction: Literal["mean", "sum", "none"] = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise InputError(f'reduction must be "mean", "sum" or "none"; found {reduction!r}')
        self.reduction = reduction

    @abstractmethod
    def terms(self, vectors: Tensor) -> Tensor:
        """The terms of vectors (n, d), one each or one a pair."""

    def forward(self, vectors: Tensor) -> Tensor:
        """The penalty.

        Parameters
        ----------
        vectors : (n, d) floating tensor, finite

        Returns
        -------
        Tensor
            A scalar, or the terms with ``reduction="none"``.

        Raises
        ------
        InputError
        """
        found = self.reduced(check_shape("vectors", vectors))
        # a number that isn't finite makes its term so: then alone is there something to look for
        if not math.isfinite(found.item() if found.ndim == 0 else float(found.detach().sum())):
            check_embeddings("vectors", vectors)
        return found

    def reduced(self, vectors: Tensor) -> Tensor:
        """The terms, or what the reduction makes of them."""
        terms = self.terms(vectors)
        if self.reduction == "none":
            return terms
        return terms.mean() if self.reduction == "mean" and terms.shape[0] else terms.sum()


class EmbeddingNorm(Regularizer):
    """``|x|_p^q``: keeps embeddings short.

    Parameters
    ----------
    p : float, 1 or more
    power : float, above 0
        q. pytorch-metric-learning's LpRegularizer is the same, with q = 1.

    >>> EmbeddingNorm()(torch.tensor([[3.0, 4.0]]))
    tensor(5.)
    """

    def __init__(
        self, *, p: float = 2.0, power: float = 1.0, reduction: Literal["mean", "sum", "none"] = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        if positive("p", p) < 1:
            raise InputError(f"p must be 1 or more; found {p!r}")
        self.p, self.power = float(p), positive("power", power)

    def terms(self, vectors: Tensor) -> Tensor:
        """The norms, to their power."""
        norms: Tensor = torch.linalg.vector_norm(vectors, ord=self.p, dim=1)
        return norms if self.power == 1 else norms**self.power


class ZeroMean(Regularizer):
    """``|sum_k x_k|`` of each embedding: keeps the mean of its coordinates at zero (Yuan et al. 2019).

    The same as pytorch-metric-learning's ZeroMeanRegularizer.

    >>> ZeroMean()(torch.tensor([[1.0, -3.0], [1.0, -1.0]]))
    tensor(1.)
    """

    def terms(self, vectors: Tensor) -> Tensor:
        """The sums of coordinates, without their sign."""
        return vectors.sum(1).abs()


class CenterInvariant(Regularizer):
    """``(|w_c|^2 - mean |w|^2)^2 / 4`` of class vectors: keeps them at one length (Wu et al. 2017).

    The same as pytorch-metric-learning's CenterInvariantRegularizer.

    >>> CenterInvariant()(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor(0.)
    """

    def terms(self, vectors: Tensor) -> Tensor:
        """The squared deviations of the squared norms."""
        squares = vectors.square().sum(1)
        return (squares - squares.mean()).square() / 4.0 if squares.shape[0] else squares


class RegularFace(Regularizer):
    """The cosine of each class vector with its nearest other one: keeps classes apart (Zhao et al. 2019).

    No array of classes by classes is held: the nearest is found by a walk over tiles. The same as
    pytorch-metric-learning's RegularFaceRegularizer.

    >>> RegularFace()(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    tensor(0.)
    """

    def terms(self, vectors: Tensor) -> Tensor:
        """The largest cosine of each with another."""
        return self._nearest(vectors, "none")

    def reduced(self, vectors: Tensor) -> Tensor:
        """Their mean or sum, with gradients from the same walk."""
        return self._nearest(check_embeddings("vectors", vectors), self.reduction)

    def _nearest(self, vectors: Tensor, reduction: str) -> Tensor:
        n = vectors.shape[0]
        if n < 2:
            return vectors.sum(1) * 0.0 if reduction == "none" else vectors.sum() * 0.0
        numbers = torch.arange(n, device=vectors.device)
        apart = Labels(numbers).resolve(None, Sides(n, n, True, vectors.device))
        request = TableRequest(NearestFar(), _Cosines(), apart, reduction)
        return 0.0 - table_value(request, vectors, None, None)[0]  # zero without a sign


class _Cosines(ProductDistance):
    """Minus the cosine; of a vector without a direction zero."""

    form: ClassVar[Form] = Form.NEGATIVE_PRODUCT
    unit = True

    def features(self, x: Tensor) -> Tensor:
        return unit_rows(x)


class SparseCenters(Regularizer):
    """``sqrt(2 - 2 cos)`` of all pairs of centres of a class: merges those that aren't needed (SoftTriple).

    Takes the weight of a loss with several centres a class, of which those of one class follow each other.
    pytorch-metric-learning's SparseCentersRegularizer is half of it; SoftTriple's own ``regularization`` adds
    it.

    Parameters
    ----------
    centres : int, 2 or more
        Centres a class.

    >>> SparseCenters(centres=2)(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]))
    tensor(1.)
    """

    def __init__(self, *, centres: int, reduction: Literal["mean", "sum", "none"] = "mean") -> None:
        super().__init__(reduction=reduction)
        if not isinstance(centres, int) or centres < 2:
            raise InputError(f"centres must be a whole number from 2; found {centres!r}")
        self.centres = centres

    def terms(self, vectors: Tensor) -> Tensor:
        """The distances of unit centres, one for each pair of a class."""
        if vectors.shape[0] % self.centres:
            raise InputError(
                f"vectors must be a multiple of {self.centres} centres; found {vectors.shape[0]}"
            )
        unit = unit_rows(vectors).view(-1, self.centres, vectors.shape[1])
        if self.centres == 2:
            first, second = unit.unbind(1)
        else:  # index_select, as the backward of indexing adds up rows one by one
            pairs = torch.triu_indices(self.centres, self.centres, 1, device=vectors.device)
            first, second = (unit.index_select(1, place) for place in pairs)
        distances: Tensor = torch.linalg.vector_norm(first - second, dim=-1)
        return distances.reshape(-1)
