"""Rows of a table with missing values and categories: their preprocessing and their encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.encoders.base import Encoder, Preprocessing
from likewise.encoders.mlp import MLP
from likewise.errors import InputError

__all__ = ["TableColumn", "TableFeatures", "TableMLP"]

_LONGEST_EMBEDDING = 16


@dataclass(frozen=True)
class TableColumn:
    """A column: its name and, where it holds categories, which there are; None is for numbers."""

    name: str
    categories: tuple[str, ...] | None = None


class TableFeatures(Preprocessing):
    """Rows of a table as numbers: standardised numbers, marks of what is missing, numbers of categories.

    Of p columns of numbers and q of categories a row gives 2 p + q numbers: the p standardised ones (0
    where missing), p marks (1 where missing), and q numbers of categories, where 0 is missing or never
    seen.

    Parameters
    ----------
    columns : sequence of TableColumn

    >>> rows = np.array([(1.0, "a"), (np.nan, "b"), (3.0, "")], dtype=[("size", "f4"), ("kind", "U1")])
    >>> TableFeatures.learned_from(rows)(rows)
    tensor([[-1.,  0.,  1.],
            [ 0.,  1.,  2.],
            [ 1.,  0.,  0.]])
    """

    kind = "table"
    mean: Tensor
    scale: Tensor

    def __init__(self, columns: Sequence[TableColumn]) -> None:
        super().__init__()
        self.columns = tuple(columns)
        if not self.columns:
            raise InputError("columns must be at least one")
        self.item_shape = (len(self.columns),)
        self.numbers = tuple(column.name for column in self.columns if column.categories is None)
        self.categories = {
            column.name: {word: place + 1 for place, word in enumerate(column.categories)}
            for column in self.columns
            if column.categories is not None
        }
        self.register_buffer("mean", torch.zeros(len(self.numbers)))
        self.register_buffer("scale", torch.ones(len(self.numbers)))

    @classmethod
    def learned_from(
        cls, rows: NDArray[Any], *, columns: Sequence[TableColumn] | None = None
    ) -> TableFeatures:
        """Learn mean and scale from rows (n,), and the categories unless ``columns`` are given."""
        made = cls(_columns_of(rows) if columns is None else columns)
        for place, name in enumerate(made.numbers):
            values = rows[name].astype(np.float64)
            present = values[~np.isnan(values)]
            mean = float(present.mean()) if len(present) else 0.0
            scale = float(present.std()) if len(present) else 1.0
            made.mean[place] = mean
            made.scale[place] = scale if scale > 1e-7 * abs(mean) and scale > 0 else 1.0
        return made

    @property
    def sizes(self) -> list[int]:
        """How many numbers each column of categories takes: the different ones, and 0."""
        return [len(known) + 1 for known in self.categories.values()]

    def forward(self, items: NDArray[Any]) -> Tensor:
        """Numbers (n, 2 p + q) of rows (n,)."""
        rows = self.accept(items)
        parts = []
        if self.numbers:
            values = torch.from_numpy(
                np.stack([rows[name] for name in self.numbers], axis=1).astype(np.float32)
            )
            missing = torch.isnan(values)
            parts += [((values - self.mean) / self.scale).masked_fill(missing, 0.0), missing.float()]
        for name, known in self.categories.items():
            codes = [known.get(str(word), 0) for word in rows[name].tolist()]
            parts.append(torch.tensor(codes, dtype=torch.float32)[:, None])
        return torch.cat(parts, dim=1)

    def vectors(self, items: NDArray[Any]) -> Tensor:
        """Standardised numbers, marks, and one mark for each category (n, k)."""
        prepared = self(items)
        split = 2 * len(self.numbers)
        marks = [
            nn.functional.one_hot(prepared[:, split + place].long(), size).float()
            for place, size in enumerate(self.sizes)
        ]
        return torch.cat([prepared[:, :split], *marks], dim=1)

    def accept(self, X: Any) -> NDArray[Any]:
        """Rows (n,) from a structured array, a list of its rows, or numbers (n, columns) in their order."""
        if isinstance(X, (list, tuple)) and len(X) and isinstance(X[0], np.void):
            X = np.array(list(X), dtype=X[0].dtype)
        if not (isinstance(X, np.ndarray) and X.dtype.names is not None):
            X = self._from_numbers(X)
        for column in self.columns:
            if column.name not in X.dtype.names:
                raise InputError(f"X must have the columns of the training data; {column.name!r} isn't there")
            is_number = X.dtype[column.name].kind in "fiub"
            if is_number != (column.categories is None):
                wanted, found = ("numbers", "words") if column.categories is None else ("words", "numbers")
                raise InputError(
                    f"X: column {column.name!r} must hold {wanted}, as in training; found {found}"
                )
        if not len(X):
            raise InputError("X must hold at least one row; found none")
        rows: NDArray[Any] = X
        return rows

    def examples(self) -> NDArray[Any]:
        width = max([1, *(len(word) for known in self.categories.values() for word in known)])
        types = [(c.name, "f4" if c.categories is None else f"U{width}") for c in self.columns]
        rows = np.zeros(2, dtype=types)
        for column in self.columns:
            rows[column.name] = (
                [0.5, -0.5] if column.categories is None else ["", (*column.categories, "")[0]]
            )
        return rows

    def config(self) -> dict[str, Any]:
        """What builds this module again, apart from its arrays."""
        described = [
            [column.name, None if column.categories is None else list(column.categories)]
            for column in self.columns
        ]
        return {"name": "TableFeatures", "columns": described}

    @classmethod
    def from_config(cls, columns: list[Any]) -> TableFeatures:
        """Build it from what :meth:`config` says."""
        return cls([TableColumn(name, None if words is None else tuple(words)) for name, words in columns])

    def _from_numbers(self, X: Any) -> NDArray[Any]:
        if self.categories:
            raise InputError(
                "X must be rows of a table with the columns of the training data (a frame, or load(...).X); "
                f"found {type(X).__name__}"
            )
        values = np.asarray(X, dtype=np.float32)
        if values.ndim != 2 or values.shape[1] != len(self.numbers):
            raise InputError(f"X must have shape (n, {len(self.numbers)}); found {values.shape}")
        if np.isinf(values).any():
            raise InputError("X must be finite, or NaN for missing; found infinity")
        rows = np.empty(len(values), dtype=[(name, "f4") for name in self.numbers])
        for place, name in enumerate(self.numbers):
            rows[name] = values[:, place]
        return rows


class TableMLP(Encoder):
    """An MLP over numbers and learned vectors of categories, as :class:`TableFeatures` gives them.

    Parameters
    ----------
    numbers : int >= 0
        How many of a row's numbers come before those of categories.
    sizes : sequence of int
        How many numbers each column of categories takes, 0 among them.
    dimension : int >= 1
        d, the length of an embedding.
    hidden : sequence of int
        The widths between.

    >>> TableMLP(2, [3], dimension=4)(torch.tensor([[0.5, 0.0, 2.0]])).shape
    torch.Size([1, 4])
    """

    def __init__(
        self, numbers: int, sizes: Sequence[int], *, dimension: int, hidden: Sequence[int] = (256,)
    ) -> None:
        super().__init__()
        if numbers < 0 or min([1, *sizes]) < 1 or numbers + len(sizes) < 1:
            raise InputError(
                f"numbers and sizes must not be negative, nor both empty; found {numbers}, {sizes}"
            )
        self.numbers, self.sizes, self.dimension = numbers, tuple(sizes), dimension
        widths = [min(_LONGEST_EMBEDDING, max(2, round(size**0.5) + 1)) for size in sizes]
        self.embeddings = nn.ModuleList(
            nn.Embedding(size, width) for size, width in zip(sizes, widths, strict=True)
        )
        self.mlp = MLP(numbers + sum(widths), dimension=dimension, hidden=hidden)

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings (n, d) of prepared rows (n, numbers + columns of categories)."""
        parts = [items[:, : self.numbers]]
        for place, table in enumerate(self.embeddings):
            parts.append(table(items[:, self.numbers + place].long()))
        out: Tensor = self.mlp(torch.cat(parts, dim=1))
        return out

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, apart from its arrays."""
        return {
            "name": "TableMLP",
            "numbers": self.numbers,
            "sizes": list(self.sizes),
            "dimension": self.dimension,
            "hidden": list(self.mlp.hidden),
        }


def _columns_of(rows: NDArray[Any]) -> list[TableColumn]:
    if rows.dtype.names is None:
        raise InputError("rows must be a structured array, a field a column")
    return [
        TableColumn(name, None if rows.dtype[name].kind in "fiub" else _words(rows[name]))
        for name in rows.dtype.names
    ]


def _words(values: NDArray[Any]) -> tuple[str, ...]:
    return tuple(word for word in np.unique(values).tolist() if word)
