"""What decides a distance: encoder, distance and preprocessing, with their arrays and fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.artifacts import canonical_json, sha256
from likewise.distances import Distance
from likewise.encoders import Preprocessing, config_of, encoder_from_config
from likewise.errors import ArtifactError, InputError

__all__ = ["Parts", "encoder_from"]


@dataclass(frozen=True, eq=False)
class Parts:
    """The modules of a model.

    Parameters
    ----------
    encoder : nn.Module
    distance : Distance
    preprocessing : Preprocessing
    """

    encoder: nn.Module
    distance: Distance
    preprocessing: Preprocessing

    def embedded(self, batches: Iterable[Any], count: int) -> NDArray[np.float32]:
        """The embeddings (count, d) of batches of accepted items; an InputError for what isn't one."""
        device = next((parameter.device for parameter in self.encoder.parameters()), torch.device("cpu"))
        made = []
        was_training = self.encoder.training
        self.encoder.eval()
        try:
            with torch.inference_mode():
                for items in batches:
                    batch = self.preprocessing(items)
                    made.append(self.encoder(batch.to(device)).float().cpu().numpy())
        finally:
            self.encoder.train(was_training)
        embeddings: NDArray[np.float32] = np.concatenate(made)
        if embeddings.ndim != 2 or len(embeddings) != count:
            raise InputError(f"encoder must give (n, d) for {count} items; found {embeddings.shape}")
        if not np.isfinite(embeddings).all():
            raise InputError("encoder gave NaN or infinity for finite items; the model is broken")
        return embeddings

    def arrays(self) -> dict[str, Tensor]:
        """All arrays, by the part's name and their own."""
        return {
            f"{part}.{key}": value.detach().cpu().contiguous().clone()
            for part, module in self._modules().items()
            for key, value in module.state_dict().items()
        }

    def take(self, arrays: Mapping[str, Tensor]) -> None:
        """Put arrays in the places of the parts' own; what doesn't fit raises as PyTorch does."""
        for part, module in self._modules().items():
            module.load_state_dict(
                {key[len(part) + 1 :]: value for key, value in arrays.items() if key.startswith(f"{part}.")}
            )

    def architecture(self) -> dict[str, Any]:
        """What builds the encoder again; of one that isn't ours, its class alone."""
        config = config_of(self.encoder)
        return {"class": type(self.encoder).__qualname__} if config is None else config

    def fingerprint(self) -> str:
        """SHA-256 of the architecture, the distance, the preprocessing and all arrays."""
        described = [self.architecture(), self.distance.config(), self.preprocessing.config()]
        # safetensors orders arrays by name and type, so equal arrays give equal bytes.
        return sha256(canonical_json(described).encode() + b"\n" + safetensors.torch.save(self.arrays()))

    def _modules(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, "distance": self.distance, "preprocessing": self.preprocessing}


def encoder_from(architecture: Mapping[str, Any], encoder: nn.Module | None, place: str) -> nn.Module:
    """The encoder of a description: made anew, or the given one where it is of another's making.

    Raises
    ------
    InputError
        One was given, and the description needs none.
    ArtifactError
        None was given, or one of another class.
    """
    if "name" in architecture:
        if encoder is not None:
            raise InputError(f"encoder must not be given: {place} describes its own ({architecture['name']})")
        return encoder_from_config(dict(architecture))
    wanted = architecture["class"]
    if encoder is None:
        raise ArtifactError(
            f"{place}: the encoder is a {wanted}, which isn't part of likewise; pass one as encoder="
        )
    if type(encoder).__qualname__ != wanted:
        raise ArtifactError(f"{place}: encoder must be a {wanted}; found a {type(encoder).__qualname__}")
    return encoder
