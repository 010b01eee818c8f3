"""AnglE: the order of angles between vectors read as complex ones."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from likewise.distances import Axiom, Distance, unit_rows
from likewise.errors import InputError
from likewise.losses.base import ReductionName
from likewise.losses.cosent import CoSENT

__all__ = ["AnglE", "ComplexAngle"]


class ComplexAngle(Distance):
    r"""``-|sum_k re(q_k) + im(q_k)|`` of ``q = x / y`` at unit length, vectors read as complex ones.

    The first half of the coordinates are real parts, the second imaginary ones. Equal vectors are at -1.

    >>> import torch
    >>> ComplexAngle()(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0]))
    tensor(-1.)
    """

    axioms: ClassVar[frozenset[Axiom]] = frozenset()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances row by row; see :class:`~likewise.distances.Distance`.

        Raises
        ------
        InputError
            The number of coordinates is odd.
        """
        if x.shape[-1] % 2:
            raise InputError(
                f"ComplexAngle: embeddings need an even number of coordinates; found {x.shape[-1]}"
            )
        (a, b), (c, d) = unit_rows(x).chunk(2, dim=-1), unit_rows(y).chunk(2, dim=-1)
        found: Tensor = -((a * c + b * d) + (b * c - a * d)).sum(-1).abs()
        return found


class AnglE(CoSENT):
    r"""AnglE (Li, Li 2023): CoSENT over an angle in complex space instead of the cosine.

    The cosine is flat near 0 and 180 degrees; the quotient of two complex vectors isn't. The paper's full
    objective is a sum, ``Weighted([CoSENT(), NTXent(), AnglE()])``.

    Defaults: :class:`ComplexAngle`, temperature 0.05, as sentence-transformers' AnglELoss (scale 20). The
    loss is one logarithm for the batch: "none" and ``weights`` are refused.

    Parameters
    ----------
    temperature : float, above 0

    References
    ----------
    X. Li, J. Li, "AnglE-optimized text embeddings", 2023, equations 6 to 8 (numbers from memory).

    >>> import torch
    >>> from likewise.relations import Scores
    >>> loss = AnglE(temperature=1.0)
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-0.6, 0.8]])
    >>> round(float(loss(x, Scores([0, 0], [1, 2], [0.0, 1.0]))), 4)  # |-0.6 - 0.8| is above 1
    0.513
    """

    def __init__(
        self,
        *,
        temperature: float = 0.05,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
    ) -> None:
        super().__init__(temperature=temperature, distance=distance or ComplexAngle(), reduction=reduction)
