"""Networks that embed faces of 56 x 46 pixels: the published geometry, and a small one for half the size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likewise.distances import unit_rows
from likewise.recipes.unseen import SmallConvNet

__all__ = ["FaceNet", "HalvedNet", "WhitenedAxes", "even", "whitened_axes"]

_HALF = (28, 23)


class FaceNet(nn.Module):
    """LeNet for 56 x 46 faces: C1 7x7, S2 2x2, C3 6x6, S4 4x3, C5 5x5 of 250 maps, F6; unit length."""

    def __init__(self, *, first_maps: int, second_maps: int, outputs: int) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(1, first_maps, 7), nn.BatchNorm2d(first_maps), nn.Tanh(), nn.AvgPool2d(2),
            nn.Conv2d(first_maps, second_maps, 6), nn.BatchNorm2d(second_maps), nn.Tanh(),
            nn.AvgPool2d((4, 3)),
            nn.Conv2d(second_maps, 250, 5), nn.BatchNorm2d(250), nn.Tanh(),
        )  # fmt: skip
        self.last = nn.Linear(250, outputs)

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings of length 1."""
        return unit_rows(self.last(self.maps(even(items)[:, None]).flatten(1)))


class HalvedNet(nn.Module):
    """The small network of the other recipes, on even images of 28 x 23; unit length.

    With whitened axes beside it, half of an embedding is their linear map of the image, which isn't trained,
    and half what the convolutions give, each at the same length: what little 35 persons can teach a network
    is added to what they tell in closed form.
    """

    def __init__(self, outputs: int, *, axes: bool = True) -> None:
        super().__init__()
        self.net = SmallConvNet(_HALF, outputs)
        self.axes = WhitenedAxes(outputs) if axes else None

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings (n, 2 outputs) of length 1; (n, outputs) without axes."""
        learned = unit_rows(self.net(_halved(items)))
        if self.axes is None:
            return learned
        return torch.cat([self.axes(items), learned], 1) / 2**0.5


class WhitenedAxes(nn.Module):
    """Images on :func:`whitened_axes` of the persons learned from, at unit length; nothing to train."""

    mean: Tensor
    axes: Tensor

    def __init__(self, outputs: int) -> None:
        super().__init__()
        pixels = _HALF[0] * _HALF[1]
        self.register_buffer("mean", torch.zeros(pixels))
        self.register_buffer("axes", nn.init.orthogonal_(torch.empty(outputs, pixels)))

    def fit(self, items: Tensor, labels: Tensor) -> None:
        """Find the axes."""
        self.mean, self.axes = whitened_axes(_halved(items).flatten(1), labels, len(self.axes))

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings (n, outputs) of length 1."""
        return unit_rows((_halved(items).flatten(1) - self.mean) @ self.axes.T)


def whitened_axes(
    rows: Tensor, labels: Tensor, components: int, *, shrinkage: float = 0.1
) -> tuple[Tensor, Tensor]:
    """The mean (m,), and principal axes (components, m) turned and sized so that classes spread evenly.

    In the space of the principal axes the covariance within classes is made the identity, after
    ``shrinkage`` of its mean variance is added: how one person's images differ counts for little, in every
    direction alike.

    >>> rows = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 9.0], [4.0, 11.0]])
    >>> _, axes = whitened_axes(rows, torch.tensor([0, 0, 1, 1]), 2, shrinkage=1e-6)
    >>> within = (rows - torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 10.0], [2.0, 10.0]])) @ axes.T
    >>> (within.T @ within / 4).round(decimals=2).abs()
    tensor([[1., 0.],
            [0., 1.]])
    """
    mean = rows.mean(0)
    axes = torch.linalg.eigh((rows - mean).T @ (rows - mean))[1].flip(1).T[:components]
    inner = (rows - mean) @ axes.T
    sums = torch.zeros(int(labels.max()) + 1, inner.shape[1], dtype=inner.dtype).index_add_(0, labels, inner)
    counts = labels.bincount(minlength=len(sums)).clamp_min(1)[:, None]
    apart = inner - (sums / counts)[labels]
    covariance = apart.T @ apart / len(apart)
    covariance += shrinkage * covariance.diagonal().mean() * torch.eye(len(covariance))
    variances, turned = torch.linalg.eigh(covariance)
    return mean, (turned * variances.rsqrt()).T @ axes


def even(items: Tensor) -> Tensor:
    """Images (n, h, w), each with mean 0 and deviation 1.

    >>> even(torch.tensor([[[1.0, 3.0]]])).sum().item()
    0.0
    """
    flat = items.flatten(1)
    found = (flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True).clamp_min(1e-6)
    return found.reshape(items.shape)


def _halved(items: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(even(items)[:, None], 2)[:, 0]
