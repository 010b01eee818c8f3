"""What every loss must keep, for the losses that aren't one walk over a table of any relation.

By discovery: the losses whose values other files hold against their loops. test_contract.py says the same of
the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from likewise import losses
from likewise.distances import PositionDependent
from likewise.errors import InputError
from likewise.losses import Loss
from likewise.relations import Labels, Matches, Pairs, Quadruplets, Relation, Scores, Triplets
from reference.families.classes import CLASSES
from reference.losses import kept_elsewhere

N, D = 12, 4
LABELS = torch.arange(N) // 3


def labels(order: Tensor) -> Relation:
    return Labels(LABELS[order])


def scores(order: Tensor) -> Relation:
    place = order.argsort()
    left, right = torch.tensor([0, 1, 2, 3, 4, 8]), torch.tensor([5, 6, 7, 8, 9, 11])
    return Scores(place[left], place[right], [0.1, 0.9, 0.4, 0.7, 0.2, 0.5])


def matches(order: Tensor) -> Relation:
    return Matches()


@dataclass
class Case:
    """How to build a loss, the relation of a batch in some order, and what else the loss is called with."""

    build: Callable[[], Loss]
    relation: Callable[[Tensor], Relation] = labels
    width: int = D
    views: bool = False
    options: dict[str, Tensor] = field(default_factory=dict)
    warns: bool = True  # of a batch without a pair

    def loss(self) -> Loss:
        torch.manual_seed(0)  # the same vectors each time
        return self.build().eval()

    def call(self, loss: Loss, x: Tensor, z: Tensor, order: Tensor | None = None) -> Tensor:
        order = torch.arange(len(x)) if order is None else order
        options = {key: value[order].to(x.dtype) for key, value in self.options.items()}
        if self.views:
            options["columns"] = z
        found = loss(x, self.relation(order), **options)
        assert isinstance(found, Tensor)
        return found


CASES = {
    "AnglE": Case(losses.AnglE, scores, warns=False),
    "Angular": Case(losses.Angular),
    "BarlowTwins": Case(losses.BarlowTwins, matches, views=True),
    "CoSENT": Case(losses.CoSENT, scores, warns=False),
    "CrossBatchMemory": Case(lambda: losses.CrossBatchMemory(losses.SupCon(), D, size=20)),
    "DifferenceRegression": Case(losses.DifferenceRegression, scores, width=1, warns=False),
    "DoubleHeaderHinge": Case(lambda: losses.DoubleHeaderHinge(D, unit=PositionDependent(D))),
    "DynamicSoftMargin": Case(losses.DynamicSoftMargin),
    "Histogram": Case(losses.Histogram),
    "IntraPair": Case(losses.IntraPair),
    "LiftedStructure": Case(losses.LiftedStructure),
    "Manifold": Case(lambda: losses.Manifold(4, D)),
    "Matryoshka": Case(lambda: losses.Matryoshka(losses.SupCon(), dimensions=[2, D])),
    "PairwiseRank": Case(losses.PairwiseRank, width=1, warns=False),
    "ScoreRegression": Case(losses.ScoreRegression, scores, warns=False),
    "VICReg": Case(losses.VICReg, matches, views=True),
    "Weighted": Case(lambda: losses.Weighted([losses.SupCon(), losses.Contrastive()])),
}
for _name, _listed in CLASSES.items():
    CASES[_name] = Case(lambda one=_listed[0]: one.loss(4, D))

EACH = [pytest.param(case, id=name) for name, case in sorted(CASES.items())]


def batch(case: Case, seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, z = (torch.randn(N, case.width, generator=generator, dtype=torch.float64) for _ in range(2))
    return x.to(dtype).requires_grad_(), z.to(dtype)


def test_every_other_loss_is_here() -> None:
    assert set(CASES) >= set(kept_elsewhere())


@pytest.mark.parametrize("case", EACH)
def test_order_of_the_batch_changes_nothing(case: Case) -> None:
    """With scores and views too, to 1e-12 of the value and of the largest number of the gradient."""
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    x, z = batch(case, 1)
    y = x.detach()[order].requires_grad_()
    first = case.call(case.loss().double(), x, z)
    second = case.call(case.loss().double(), y, z[order], order)
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-14)
    slopes = torch.autograd.grad(first, x)[0], torch.autograd.grad(second, y)[0]
    largest = float(slopes[0].abs().max())
    torch.testing.assert_close(slopes[0][order], slopes[1], rtol=0, atol=1e-12 * largest)


@pytest.mark.parametrize("case", EACH)
def test_half_precision_sums_in_float32_and_a_scaler_scales(case: Case) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        low, z = batch(case, 4, dtype)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = case.call(case.loss(), low, z)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, case.call(case.loss(), low.detach().float(), z.float()))
        found.backward()
        assert low.grad is not None
        assert low.grad.dtype == dtype
    scaled, z = batch(case, 4, torch.float16)
    torch.amp.GradScaler("cpu", init_scale=16.0).scale(case.call(case.loss(), scaled, z)).backward()
    assert scaled.grad is not None
    torch.testing.assert_close(scaled.grad.float(), 16 * low.grad.float(), rtol=4e-3, atol=2e-3)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler's own
@pytest.mark.parametrize("case", EACH)
def test_compiling_breaks_the_graph_once_at_most(case: Case) -> None:
    loss, encoder = case.loss(), torch.nn.Linear(5, case.width)
    relation, z = case.relation(torch.arange(N)), batch(case, 0, torch.float32)[1]
    options = {"columns": z} if case.views else {}

    def step(x: Tensor) -> Tensor:
        return loss(torch.relu(encoder(x)), relation, **options) * 2

    torch.compiler.reset()
    told = torch._dynamo.explain(step)(torch.randn(N, 5, generator=torch.Generator().manual_seed(0)))
    assert told.graph_break_count <= 1, told.break_reasons


@pytest.mark.parametrize("case", EACH)
def test_bad_input_is_refused(case: Case) -> None:
    x, z = (part.detach() for part in batch(case, 2, torch.float32))
    loss = case.loss()
    spoiled = x.clone()
    spoiled[2, 0] = torch.nan
    with pytest.raises(InputError, match="row 2"):
        case.call(loss, spoiled, z)
    with pytest.raises(InputError, match="floating"):
        case.call(loss, x.long(), z)
    if case.relation is labels:
        with pytest.raises(InputError, match=f"expected {N}, found 5"):
            loss(x, LABELS[:5])
        with pytest.raises(InputError, match=r"whole numbers or strings; found torch\.float32"):
            loss(x, LABELS.float())
        with pytest.raises(InputError, match="labels must be on cpu as embeddings; found meta"):
            loss(x, LABELS.to("meta"))


@pytest.mark.parametrize("case", EACH)
def test_a_batch_without_pairs_is_zero_with_a_gradient(case: Case) -> None:
    """One row: nothing to compare, one warning where pairs come of the batch, and a gradient of zeros."""
    if not case.warns or case.relation is not labels:
        return
    x = torch.randn(1, case.width, requires_grad=True)
    unknown = Labels([-1], unlabelled=-1)
    options = {"regularization": 0.0} if "regularization" in vars(case.loss()) else {}
    loss = case.loss()
    for name, value in options.items():
        setattr(loss, name, value)
    with pytest.warns(UserWarning, match="raise the samples a class") as caught:
        value = loss(x, unknown)
    parts = len(loss.losses) if isinstance(loss, losses.Weighted) else 1
    assert len(caught) == (2 if isinstance(loss, losses.Matryoshka) else parts)
    value.backward()
    assert float(value.detach()) == 0.0
    assert x.grad is not None
    assert not x.grad.any()


def test_views_of_any_relation_are_its_near_cells() -> None:
    """Of labels each near cell gives two views; of triplets and quadruplets the near pair."""
    x, z = (part.detach() for part in batch(CASES["VICReg"], 5))
    for build in (losses.VICReg, losses.BarlowTwins):
        pairs = [(i, j) for i in range(N) for j in range(N) if i != j and LABELS[i] == LABELS[j]]
        left, right = (list(side) for side in zip(*pairs, strict=True))
        expected = build()(x[left], Matches(), columns=x[right])
        torch.testing.assert_close(build()(x, Labels(LABELS)), expected)
        crossed = build()(x[[0, 1, 5]], Matches(), columns=z[[3, 4, 2]])
        for relation in (
            Pairs([0, 1, 5, 7], [3, 4, 2, 7], [1, 1, 1, 0]),
            Triplets([0, 1, 5], [3, 4, 2], [9, 9, 9]),
            Quadruplets([0, 1, 5], [3, 4, 2], [9, 9, 9], [8, 8, 8]),
            Scores([0, 1, 5], [3, 4, 2], [1.0, 1.0, 1.0], near_from=0.9, far_to=0.1),
        ):
            torch.testing.assert_close(build()(x, relation, columns=z), crossed)
