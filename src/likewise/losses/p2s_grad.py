"""P2SGrad: cosines with the vectors of all classes regressed on one and zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.errors import InputError
from likewise.losses.classes import ClassLoss, MinedOptions
from likewise.table import Near, Part, Rows, TableFunction, Tile

__all__ = ["P2SGrad"]


@dataclass
class _Squares:
    near: Near
    value: Tensor  # (r,) the far terms so far
    cosines: Tensor | None = None  # of the last tile, where it comes back


class _Regression(TableFunction[_Squares]):
    """``(cos_y - 1)^2 + sum_c cos_c^2`` of each row."""

    scaled = True

    def begin(self, near: Near) -> _Squares:
        return _Squares(near, torch.zeros_like(near.count))

    def _cosines(self, tile: Tile) -> Tensor:
        # a cosine's distance is at most 2: what lies at infinity is cut off and multiplied away
        there = torch.lt(tile.distances, 3.0, out=torch.empty_like(tile.distances))
        return tile.distances.clamp(max=3.0).neg_().add_(1.0).mul_(there)

    def observe(self, tile: Tile, state: _Squares) -> None:
        cosines = self._cosines(tile)
        state.value += torch.linalg.vector_norm(cosines, dim=1).square_()
        state.cosines = cosines if tile.kept else None

    def finish(self, state: _Squares) -> Rows:
        own = state.near.filled(state.near.distances.square(), 0.0).sum(1)
        has = state.near.count > 0
        value = torch.where(has, own + state.value, 0.0)
        return Rows(joint=Part(value, has, has & (value != 0)))

    def slope(self, tile: Tile, state: _Squares) -> Tensor:
        cosines = self._cosines(tile) if state.cosines is None else state.cosines
        factor = torch.where(state.near.count > 0, -2.0, 0.0)
        return cosines.mul_(factor.to(cosines.dtype)[:, None])

    def near_slope(self, state: _Squares) -> Tensor:
        return state.near.filled(state.near.distances * 2.0, 0.0)


class P2SGrad(ClassLoss):
    r"""P2SGrad (Zhang et al. 2019): the gradient of a softmax with its probabilities replaced by cosines.

    The paper gives a gradient: towards the class's own vector by ``1 - cos_y``, away from each other one by
    ``cos_c``, without a scale or a margin. Up to a factor it is that of ``sum_c (cos_c - [c = y])^2``, which
    is the value here.

    Defaults: cosine distance (embeddings and vectors are normalised), the mean over rows of the sum over
    classes; pytorch-metric-learning's P2SGradLoss divides by the number of classes too.

    Parameters
    ----------
    n_classes, dimension : int

    References
    ----------
    X. Zhang et al., "P2SGrad: refined gradients for optimizing deep face models", 2019, equation 11.

    >>> loss = P2SGrad(2, 2)
    >>> with torch.no_grad():
    ...     _ = loss.weight.copy_(torch.eye(2))
    >>> loss(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), [0, 0]).item()  # 0, and (0 - 1)^2 + 1^2
    1.0
    """

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        distance: Distance | str | None = None,
        **options: Unpack[MinedOptions],
    ) -> None:
        super().__init__(n_classes, dimension, distance=distance or Cosine(), centres=1, **options)
        if not isinstance(self.distance, Cosine):
            raise InputError(f"distance must be Cosine; found {type(self.distance).__name__}")

    def function(self) -> _Regression:
        """The squares of each row."""
        return _Regression()
