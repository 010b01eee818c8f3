"""What every encoder and every preprocessing of ours is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.data import ItemKind

__all__ = ["Encoder", "Preprocessing"]


class Encoder(nn.Module, ABC):
    """A network that maps prepared items (n, ...) to embeddings (n, d), and describes itself in JSON."""

    dimension: int
    """d, the length of an embedding."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What builds this encoder again, apart from its arrays: ``name``, and its options."""


class Preprocessing(nn.Module, ABC):
    """What is done to items before the encoder sees them: learned, then saved with the model.

    Called with items as :meth:`likewise.data.Records.items` gives them, or with a tensor where items are
    numbers, it gives the tensor (n, ...) that the encoder takes.
    """

    kind: ItemKind
    item_shape: tuple[int, ...]

    @abstractmethod
    def forward(self, items: Any) -> Tensor:
        """Prepared items (n, ...)."""

    @abstractmethod
    def vectors(self, items: Any) -> Tensor:
        """The items as plain vectors (n, k) with nothing learned but their scale: what controls compare."""

    @abstractmethod
    def accept(self, X: Any) -> NDArray[Any]:
        """Whatever people hand over as items, in the form that ``forward`` takes; or an InputError."""

    @abstractmethod
    def examples(self) -> NDArray[Any]:
        """Two made-up items, by which a network is tried."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What builds this module again, apart from its arrays: ``name``, and its options."""
