"""Numbers far from zero less their mean, where a loss reads only their differences.

``x.z_p - x.z_n`` of embeddings far from the origin is a small difference of large numbers. A common vector
taken off all columns moves a row's products together, and leaves their differences, exactly.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from likewise.distances import Distance, Form, ProductDistance
from likewise.relations import Resolved
from likewise.table.side import mean_is_large

__all__ = ["ColumnsCentred", "columns_centred", "less_mean"]


class ColumnsCentred(ProductDistance):
    """A distance ``-u.v`` with the mean of the given columns taken off v.

    Rows sum their slopes to zero where only differences count, so that the mean has no gradient.

    >>> x = torch.tensor([[1.0, 0.0], [3.0, 2.0]])
    >>> from likewise.distances import Dot
    >>> Dot().table(x, x)[0].diff(), ColumnsCentred(Dot()).table(x, x)[0].diff()
    (tensor([-2.]), tensor([-2.]))
    """

    form: ClassVar[Form] = Form.NEGATIVE_PRODUCT

    def __init__(self, distance: ProductDistance) -> None:
        super().__init__()
        self.distance = distance

    def features(self, x: Tensor) -> Tensor:
        """As those of the distance."""
        return self.distance.features(x)

    def column_features(self, y: Tensor) -> Tensor:
        """Those of the distance, less their mean."""
        features = self.distance.column_features(y)
        return features - features.detach().mean(0)


@torch.no_grad()
def columns_centred(distance: Distance, columns: Tensor, resolved: Resolved) -> Distance:
    """The distance, with columns centred where it is minus a product and their mean is a large part.

    Not of quadruplets, whose two products are by two anchors and move apart.
    """
    if not isinstance(distance, ProductDistance) or distance.form is not Form.NEGATIVE_PRODUCT:
        return distance
    if columns.shape[0] < 2 or resolved.far_has_anchors:
        return distance
    features = distance.column_features(columns.detach())
    return ColumnsCentred(distance) if mean_is_large(features) else distance


def less_mean(x: Tensor, dim: int) -> Tensor:
    """Less its mean along a dimension, twice: of numbers far from zero the first mean is rounded."""
    centred = x - x.mean(dim, keepdim=True)
    with torch.no_grad():  # rounding alone, which has no slope
        return centred.sub_(centred.mean(dim, keepdim=True))
