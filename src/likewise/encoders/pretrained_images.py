"""Pretrained networks for images, by name, through timm (the extra ``vision``)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from likewise.encoders.base import Encoder
from likewise.errors import InputError, MissingExtraError

__all__ = ["PRETRAINED_IMAGE", "TimmNetwork"]

PRETRAINED_IMAGE = "timm:"
"""What stands before the name of a network of timm's."""


class TimmNetwork(Encoder):
    """A network of timm's without its classifier, and one linear layer on its features.

    A saved one is built again by its name and takes its weights from the run: nothing is downloaded.

    Parameters
    ----------
    model : str
        As ``timm.list_models()`` has it, such as ``resnet18``.
    channels : int
        Of the images: 1 for grey.
    dimension : int >= 1, or None
        d, the length of an embedding; None gives the features themselves.
    grey : bool
        Whether items are (n, height, width).

    Raises
    ------
    MissingExtraError
        timm isn't installed.
    InputError
        timm has no such network.
    """

    def __init__(
        self,
        model: str,
        *,
        channels: int = 3,
        dimension: int | None = None,
        grey: bool = False,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        timm = _timm()
        if not timm.is_model(model):
            near = timm.list_models(f"*{model[:6]}*")[:3]
            raise InputError(f"timm has no network {model!r}; near are {', '.join(near) or 'none'}")
        self.model, self.channels, self.grey = model, channels, grey
        self.network: nn.Module = timm.create_model(
            model, pretrained=pretrained, num_classes=0, in_chans=channels
        )
        features = int(self.network.num_features)
        self.head = None if dimension is None else nn.Linear(features, dimension)
        self.dimension = features if dimension is None else dimension

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings (n, d) of images (n, channels, height, width), or (n, height, width) for grey."""
        features: Tensor = self.network(items[:, None] if self.grey else items)
        return features if self.head is None else self.head(features)

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, apart from its arrays."""
        return {
            "name": "TimmNetwork",
            "model": self.model,
            "channels": self.channels,
            "dimension": None if self.head is None else self.dimension,
            "grey": self.grey,
        }


def _timm() -> Any:
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # a torchvision that doesn't fit torch is a RuntimeError
        raise MissingExtraError(
            "timm: networks for images need timm and a torchvision that fits this PyTorch; "
            "pip install 'likewise[vision]'"
        ) from error
    return timm
