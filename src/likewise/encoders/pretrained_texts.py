"""Pretrained networks for texts, by name or folder, through transformers (the extra ``text``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from likewise.encoders.base import Encoder
from likewise.encoders.texts import TextPreprocessing
from likewise.errors import InputError, MissingExtraError

__all__ = ["PRETRAINED_TEXT", "PretrainedTokens", "TextNetwork", "pretrained_text"]

PRETRAINED_TEXT = "text:"
"""What stands before the name or folder of a pretrained network for texts."""

_POOLINGS = ("mean", "first")


class PretrainedTokens(TextPreprocessing):
    """Tokens as a pretrained network has learned them.

    Parameters
    ----------
    tokenizer : str
        The tokenizer, as the JSON of the tokenizers library.
    longest : int >= 1
        Of a text the first so many tokens are kept.
    """

    def __init__(self, tokenizer: str, *, longest: int = 256) -> None:
        super().__init__()
        tokenizers = _module("tokenizers")
        self.tokenizer, self.longest = tokenizer, longest
        try:
            self._tokens = tokenizers.Tokenizer.from_str(tokenizer)
        except Exception as error:  # the library raises Exception itself
            raise InputError(f"tokenizer isn't one of the tokenizers library ({error})") from error
        self._tokens.enable_truncation(longest)
        self._tokens.enable_padding()

    def forward(self, items: Any) -> Tensor:
        """Tokens and whether they are there: int64 (n, 2, longest of these)."""
        rows = self._tokens.encode_batch(self.accept(items).tolist())
        return torch.tensor([[row.ids, row.attention_mask] for row in rows])

    def vectors(self, items: Any) -> Tensor:
        """How often each token occurs, of unit norm, folded to at most 2,048 numbers: (n, k)."""
        tokens, present = self(items).unbind(1)
        counts = torch.zeros(len(tokens), 2048).scatter_add_(1, tokens % 2048, present.float())
        return nn.functional.normalize(counts)

    def config(self) -> dict[str, Any]:
        """What builds this module again, apart from its arrays."""
        return {"name": "PretrainedTokens", "tokenizer": self.tokenizer, "longest": self.longest}


class TextNetwork(Encoder):
    """A transformer of the transformers library, pooled, and one linear layer where a dimension is given.

    A saved one is built again from its architecture and takes its weights from the run: nothing is
    downloaded, and no code but the library's own runs.

    Parameters
    ----------
    architecture : mapping
        Its configuration, as the library's ``config.json`` has it.
    pooling : "mean" or "first"
        Of the tokens' vectors.
    dimension : int >= 1, or None
        d, the length of an embedding; None gives what the network gives.

    Raises
    ------
    MissingExtraError
        transformers isn't installed.
    """

    def __init__(
        self, architecture: dict[str, Any], *, pooling: str = "mean", dimension: int | None = None
    ) -> None:
        super().__init__()
        if pooling not in _POOLINGS:
            raise InputError(f"pooling must be mean or first; found {pooling!r}")
        transformers = _module("transformers")
        options = {key: value for key, value in architecture.items() if key != "model_type"}
        try:
            described = transformers.AutoConfig.for_model(architecture["model_type"], **options)
            self.network: nn.Module = transformers.AutoModel.from_config(described)
        except (KeyError, ValueError) as error:
            raise InputError(f"architecture isn't one that transformers knows ({error})") from error
        self.architecture, self.pooling = dict(architecture), pooling
        width = int(described.hidden_size)
        self.head = None if dimension is None else nn.Linear(width, dimension)
        self.dimension = width if dimension is None else dimension

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings (n, d) of tokens (n, 2, m)."""
        tokens, present = items.unbind(1)
        hidden = self.network(input_ids=tokens, attention_mask=present).last_hidden_state
        if self.pooling == "first":
            pooled = hidden[:, 0]
        else:
            weight = present.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
        return pooled if self.head is None else self.head(pooled)  # type: ignore[no-any-return]

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, apart from its arrays."""
        return {
            "name": "TextNetwork",
            "architecture": self.architecture,
            "pooling": self.pooling,
            "dimension": None if self.head is None else self.dimension,
        }


def pretrained_text(
    source: str, *, dimension: int | None = None, longest: int = 256
) -> tuple[PretrainedTokens, TextNetwork]:
    """A pretrained network for texts with its tokens, as sentence-transformers and the hub have them.

    Parameters
    ----------
    source : str
        A folder with ``config.json``, ``tokenizer.json`` and safetensors, or a name on the hub. Pooling
        is what ``1_Pooling/config.json`` says where there is one, else the mean.
    dimension : int >= 1, optional
        A linear layer to this length, not trained yet.
    longest : int >= 1
        Of a text the first so many tokens are kept.

    Raises
    ------
    MissingExtraError
        transformers isn't installed.
    InputError
        There is no such network, or its weights aren't safetensors.
    """
    transformers = _module("transformers")
    try:
        network = transformers.AutoModel.from_pretrained(
            source, use_safetensors=True, trust_remote_code=False
        )
        tokens = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"encoder {source!r}: can't be read by transformers ({reason})") from error
    preparation = PretrainedTokens(tokens.backend_tokenizer.to_str(), longest=longest)
    encoder = TextNetwork(
        json.loads(network.config.to_json_string(use_diff=False)),
        pooling=_pooling_of(Path(source)),
        dimension=dimension,
    )
    encoder.network.load_state_dict(network.state_dict())
    return preparation, encoder


def _pooling_of(folder: Path) -> str:
    place = folder / "1_Pooling" / "config.json"
    if not place.is_file():
        return "mean"
    return "first" if json.loads(place.read_text("utf-8")).get("pooling_mode_cls_token") else "mean"


def _module(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"{name}: pretrained networks for texts need it; pip install 'likewise[text]'"
        ) from error
