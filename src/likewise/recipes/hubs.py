"""Hubs: candidates that come up for nearly every query, how many there are, and what takes them away.

In many dimensions a few label vectors are near to everything, and take the first places of pictures that
aren't theirs (Radovanovic 2010). Two remedies: a common direction of all vectors is subtracted
(:meth:`~likewise.data.words.WordVectors.centred`, Suzuki 2013), or each label pays for how near it is to its
nearest queries (:func:`hubs_corrected`, one side of the cross-domain scaling of Conneau 2018).
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from likewise.errors import InputError

__all__ = ["hubs_corrected", "occurrence_skewness"]


def hubs_corrected(cosines: Tensor, known: Tensor, *, nearest: int = 10) -> Tensor:
    """``2 cos(x, t) - mean of the largest cosines of t with known queries``: (n, c).

    Parameters
    ----------
    cosines : Tensor (n, c)
        Of queries with candidates.
    known : Tensor (m, c)
        The same of other queries, such as the training pictures.
    nearest : int >= 1
        How many of them a candidate's mean is of.

    >>> import torch
    >>> hubs_corrected(torch.tensor([[0.5, 0.4]]), torch.tensor([[0.9, 0.2]]), nearest=1)
    tensor([[0.1000, 0.6000]])
    """
    if cosines.shape[1] != known.shape[1]:
        raise InputError(
            f"cosines and known must have one column a candidate; found {tuple(cosines.shape)} and "
            f"{tuple(known.shape)}"
        )
    return 2 * cosines - known.topk(min(nearest, len(known)), dim=0).values.mean(dim=0)


def occurrence_skewness(scores: Tensor, *, k: int = 10) -> float:
    """The skewness of how often each candidate is among the k first; 0 where all come up alike.

    Parameters
    ----------
    scores : Tensor (n, c)
        Larger is nearer.

    >>> import torch
    >>> occurrence_skewness(torch.eye(4), k=1)
    0.0
    """
    candidates = scores.shape[1]
    first = scores.topk(min(k, candidates), dim=1).indices.flatten().numpy()
    occurs = np.bincount(first, minlength=candidates).astype(np.float64)
    spread = occurs.std()
    return 0.0 if spread == 0 else float(((occurs - occurs.mean()) ** 3).mean() / spread**3)
