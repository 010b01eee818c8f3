"""Controls: what is already reached without learning, always beside what is claimed.

"raw" are the preprocessed items themselves; "whitened" rotates them onto their principal components and
divides each by its deviation, learned without labels from the very items that are judged, which favours the
control; "untrained" is the model's own architecture with fresh weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data import Records
from likewise.distances import Distance, Euclidean
from likewise.encoders import fresh_copy
from likewise.errors import DataError, InputError
from likewise.model import Model

__all__ = ["Control", "Controls", "model_controls", "whitened"]

_COMPONENTS = 256
_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Control:
    """Embeddings (n, d) to hold a model against, and how they are compared."""

    embeddings: NDArray[np.float32]
    distance: Distance


@dataclass(frozen=True, eq=False)
class Controls:
    """Controls by name, and a sentence for each one that could not be made."""

    made: dict[str, Control]
    notes: tuple[str, ...]


@torch.no_grad()
def model_controls(model: Model, records: Records, *, seed: int = 0) -> Controls:
    """The controls of a model on records that it can embed (:meth:`likewise.model.Model.adapted`).

    Parameters
    ----------
    model : Model
    records : Records
    seed : int
        Of the fresh weights.
    """
    parts = []
    for start in range(0, len(records), _AT_ONCE):
        items = records.items(np.arange(start, min(start + _AT_ONCE, len(records))))
        parts.append(model.preprocessing.vectors(items))
    raw = torch.cat(parts)
    made = {"raw": Control(raw.numpy(), Euclidean())}
    notes = []
    try:
        made["whitened"] = Control(whitened(raw).numpy(), Euclidean())
    except DataError as error:
        notes.append(f"no whitened control: {error}")
    learned = any(True for _ in model.distance.parameters())
    try:
        fresh = replace(model, encoder=fresh_copy(model.encoder, seed=seed))
    except InputError as error:
        notes.append(f"no untrained control: {error}")
    else:
        made["untrained"] = Control(fresh.embed(records), Euclidean() if learned else model.distance)
    return Controls(made, tuple(notes))


@torch.no_grad()
def whitened(rows: Tensor, *, components: int = _COMPONENTS) -> Tensor:
    """Rows (n, d) on their principal components, each divided by its deviation, (n, c).

    Components below 1e-2 of the largest deviation are left out, as dividing by them blows up noise, and
    so are those beyond ``components``.

    >>> found = whitened(torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 1.0], [4.0, 1.0]]))
    >>> found.square().mean(0)
    tensor([1., 1.])
    """
    centred = rows.double() - rows.double().mean(0)
    if rows.shape[1] <= 2048 or rows.shape[0] > 20 * rows.shape[1]:
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(rows))
        values, vectors = values.flip(0), vectors.flip(1)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _, singular, vectors = torch.svd_lowrank(centred.float(), q=min(components, *rows.shape), niter=4)
        values, vectors = (singular.double() ** 2) / len(rows), vectors.double()
    deviations = values.clamp(min=0).sqrt()
    if float(deviations[0]) == 0:
        raise DataError("items must differ to be whitened; found all of them equal")
    kept = deviations[:components] > 1e-2 * deviations[0]
    columns = vectors[:, :components][:, kept]
    out: Tensor = (centred @ columns / deviations[:components][kept]).to(rows.dtype)
    return out
