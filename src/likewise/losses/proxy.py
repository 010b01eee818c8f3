"""Losses against proxies: Proxy-NCA, and Proxy-Anchor, in which the proxies are the anchors."""

from __future__ import annotations

from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance, Form, ProductDistance, unit_rows
from likewise.errors import InputError
from likewise.losses.base import positive
from likewise.losses.class_cells import turned_round
from likewise.losses.classes import ClassLoss, MinedOptions
from likewise.losses.log_sum import FarLogSum, RowTerms, log_sum, one_plus, pair_softmax
from likewise.relations import Relation, Resolved
from likewise.table import Near, Part, Rows, TableRequest, table_value

__all__ = ["ProxyAnchor", "ProxyNCA", "UnitSquared"]


class UnitSquared(ProductDistance):
    """``|x/|x| - y/|y||^2``: twice the cosine distance."""

    axioms = Cosine.axioms
    form = Form.SQUARED
    unit = True

    def features(self, x: Tensor) -> Tensor:
        return unit_rows(x)


class ProxyNCA(ClassLoss):
    r"""Proxy-NCA: ``-log(exp(-s d(x, p_y)) / sum_{c != y} exp(-s d(x, p_c)))``, one proxy p a class.

    d is the squared Euclidean distance of unit vectors. The own proxy isn't in the sum, so this is no
    log-probability and may be negative.

    Defaults: embeddings and proxies normalised, scale 1, own proxy out of the sum, mean over the rows.
    pytorch-metric-learning's ProxyNCALoss and the popular PyTorch port have it in the sum
    (``include_positive=True``; then this is NormalizedSoftmax at temperature 1 / (2 s)).

    Parameters
    ----------
    n_classes, dimension : int
    include_positive : bool
        Whether the own proxy is in the sum; False is the paper.
    scale : float, above 0
        s; the paper has 1, at which gradients never vanish. Vectors brought to lengths a and b instead
        of 1 are the same as ``s = a b``: 9 in the port for CUB and Cars (3 and 3), 8 for SOP. ProxyNCA++
        is ``include_positive=True, scale=9`` (from memory).

    References
    ----------
    Y. Movshovitz-Attias et al., "No fuss distance metric learning using proxies", 2017, equation 4 (from
    memory) and section 3, static assignment; E. Teh, T. DeVries, G. Taylor, "ProxyNCA++", 2020.

    >>> loss = ProxyNCA(2, 1)
    >>> with torch.no_grad():
    ...     _ = loss.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    >>> loss(torch.tensor([[5.0]]), [0]).item()  # 0 from its own proxy, 4 from the other
    -4.0
    """

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        include_positive: bool = False,
        scale: float = 1.0,
        distance: Distance | str | None = None,
        **options: Unpack[MinedOptions],
    ) -> None:
        super().__init__(n_classes, dimension, distance=distance or UnitSquared(), centres=1, **options)
        self.include_positive = bool(include_positive)
        self.scale = positive("scale", scale)

    def function(self) -> FarLogSum:
        """The own proxy against the log-sum-exp of the others."""
        return FarLogSum(self.scale, self._row)

    def _row(self, near: Near, far: Tensor) -> RowTerms:
        logits = near.distances * -self.scale
        if self.include_positive:
            return pair_softmax(near, far, logits, -self.scale)
        some = near.valid & far.isfinite()[:, None]
        values = torch.where(some, far[:, None] - logits, 0.0)
        terms = some.sum(1)
        part = Part(values.sum(1), terms, (values != 0).sum(1))
        ones = some.to(logits.dtype)
        return RowTerms(Rows(joint=part), ones.sum(1), ones * self.scale)


class ProxyAnchor(ClassLoss):
    r"""Proxy-Anchor: proxies p are the anchors, the embeddings of the batch their near and far columns.

    ``mean over p with a positive of log(1 + sum_{x of p's class} exp(-a (s(x, p) - m)))
    + mean over all p of log(1 + sum_{x of others} exp(a (s(x, p) + m)))``, s the cosine.

    Defaults: cosine distance (``s = 1 - d``; embeddings and proxies are normalised), a = 32, m = 0.1, and
    the two means above (``reduction="mean"``); the same as pytorch-metric-learning's ProxyAnchorLoss.

    The table's rows are the proxies: ``reduction="none"`` gives a value for each class (n_classes,), its
    two parts added, and ``weights`` are refused, as an embedding has no terms of its own.

    Parameters
    ----------
    n_classes, dimension : int
    margin : float, 0 or more
        m, in units of the cosine.
    alpha : float, above 0
        a: how much the hardest columns count.

    References
    ----------
    S. Kim, D. Kim, M. Cho, S. Kwak, "Proxy anchor loss for deep metric learning", 2020, equation 4.

    >>> loss = ProxyAnchor(2, 2, margin=0.0, alpha=1.0)
    >>> with torch.no_grad():
    ...     _ = loss.weight.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), [0]).item(), 4)  # log(1 + 1 / e) + (0 + log 2) / 2
    0.6598
    """

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        margin: float = 0.1,
        alpha: float = 32.0,
        distance: Distance | str | None = None,
        **options: Unpack[MinedOptions],
    ) -> None:
        super().__init__(n_classes, dimension, distance=distance or Cosine(), centres=1, **options)
        self.margin = positive("margin", margin, zero=True)
        self.alpha = positive("alpha", alpha)

    def function(self) -> FarLogSum:
        """Near and far columns of each proxy, each by a log-sum-exp of its own."""
        return FarLogSum(self.alpha, self._apart, apart=True)

    def _apart(self, near: Near, far: Tensor) -> RowTerms:
        pull = (near.distances - (1.0 - self.margin)).mul_(self.alpha).masked_fill_(~near.valid, -torch.inf)
        total = log_sum(pull)
        push = far + self.alpha * (1.0 + self.margin)
        every = torch.ones_like(near.count)  # every proxy counts, also one without a far column
        near_value, far_value = one_plus(total), one_plus(push)
        share = (pull - torch.where(near.count > 0, total, 0.0)[:, None]).exp_()
        return RowTerms(
            Rows(
                near=Part(near_value, near.count > 0, near_value != 0),
                far=Part(far_value, every, far_value != 0),
            ),
            push.sigmoid(),
            share * (total.sigmoid() * self.alpha)[:, None],
        )

    def _joint(self, near: Near, far: Tensor, factor: float) -> RowTerms:
        """The two parts added, the near one times a factor that makes up for its other divisor."""
        found = self._apart(near, far)
        pull, push = found.rows.near, found.rows.far
        assert pull is not None and push is not None
        value = pull.value * factor + push.value
        return RowTerms(Rows(joint=Part(value, push.terms, value != 0)), found.by_far, found.by_near * factor)

    def _evaluate(
        self,
        rows: Tensor,
        relation: Relation,
        columns: Tensor | None,
        column_relation: Relation | None,
        ids: Any,  # noqa: ARG002  # a proxy is nobody's item
        column_ids: Any,
        weights: Tensor | None,
    ) -> Tensor:
        self.refuse_columns(columns=columns, column_relation=column_relation, column_ids=column_ids)
        if weights is not None:
            raise InputError(
                "ProxyAnchor: embeddings are columns here and have no terms of their own; leave out weights"
            )
        relation, first, last = self.classes.part(relation, "ProxyAnchor")
        proxies = self.columns_for(rows, first, last)
        classes = self.classes.cells(relation, first, last, rows.shape[0], rows.device, "ProxyAnchor")
        resolved = turned_round(classes, rows.shape[0])
        if not _rows_with_near(resolved):
            return self.nothing(proxies, rows, rows.new_zeros(proxies.shape[0]))
        if self.miner is not None:
            resolved = self.miner(proxies.detach(), resolved, columns=rows, distance=self.distance)
        function = self.function()
        if self.reduction != "active":
            # the divisors are known before the walk, so that it need not wait for them
            factor = proxies.shape[0] / max(1, _rows_with_near(resolved)) if self.reduction == "mean" else 1.0
            function = FarLogSum(self.alpha, partial(self._joint, factor=factor))
        request = TableRequest(function, self.distance, resolved, self.reduction)
        value: Tensor
        value, _ = table_value(request, proxies, rows, None)
        return value

    def add_levels(self, values: list[Tensor]) -> Tensor:
        """The values of the classes of all levels end to end, or their sum."""
        return torch.cat(values) if self.reduction == "none" else torch.stack(values).sum(0)


def _rows_with_near(resolved: Resolved) -> int:
    """How many rows of a table have a near column."""
    step = 1 << 14
    return sum(
        int(resolved.block(first, min(first + step, resolved.n_rows)).near.valid.any(1).sum())
        for first in range(0, resolved.n_rows, step)
    )
