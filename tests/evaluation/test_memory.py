"""No evaluation of retrieval makes a copy of all embeddings: the largest array it asks for is smaller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from likewise import evaluation


class Largest(TorchDispatchMode):
    """The bytes of the largest array that any operation of PyTorch made."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and storage(leaf) not in given:
                self.bytes = max(self.bytes, leaf.untyped_storage().nbytes())
        return out


def storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@pytest.mark.parametrize("figures", [None, ["map", "mrr", "ndcg"]], ids=["to a depth", "of all ranks"])
def test_no_array_of_the_embeddings_size_is_made(figures: Sequence[str] | None) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(4200, 512, generator=generator), dim=1)
    labels = torch.arange(len(rows)) // 5
    with Largest() as largest:
        evaluation.retrieval(rows, labels, figures=figures)
    whole = rows.untyped_storage().nbytes()
    assert 0 < largest.bytes < 0.6 * whole, f"{largest.bytes:,} of {whole:,} bytes at once"
