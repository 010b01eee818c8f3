"""docs/differences.md holds: both sides of each line are evaluated, and each difference is there."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_metric_learning import distances, reducers
from pytorch_metric_learning import losses as theirs
from pytorch_metric_learning import miners as their_miners
from pytorch_metric_learning import regularizers as their_regularizers
from torch import Tensor

from likewise import losses
from likewise.distances import unit_rows
from likewise.mining import SemiHard
from likewise.relations import Matches

PAGE = (Path(__file__).parents[2] / "docs" / "differences.md").read_text()
C, D = 6, 5


def lines(heading: str, number: int = 0) -> list[list[str]]:
    """The cells of a table of the page: the n-th under a heading."""
    part = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    tables = re.findall(r"(?:^\|.*\n)+", part, flags=re.MULTILINE)
    rows = tables[number].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in rows]


def evaluated(expression: str) -> Any:
    """A constructor of the page, in float64."""
    known = vars(their_regularizers) | vars(theirs) | vars(losses) | {"C": C, "D": D, "degrees": math.degrees}
    return eval(expression, known).double()  # of a page of our own


def batch(seed: int, n: int = 24) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x, torch.arange(n) // 4


def assert_same(found: Tensor, expected: Tensor, ours: list[Tensor], others: list[Tensor]) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
    slopes = torch.autograd.grad(found, ours), torch.autograd.grad(expected, others)
    for mine, other in zip(*slopes, strict=True):
        torch.testing.assert_close(
            mine, other.T if mine.shape != other.shape else other, rtol=1e-5, atol=1e-7
        )
    assert slopes[0][0].abs().max() > 1e-6


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # their histogram's indexing
@pytest.mark.parametrize("line", lines("The same"), ids=lambda line: line[0])
def test_losses_are_the_same(line: list[str]) -> None:
    other, ours = evaluated(line[0]), evaluated(line[1])
    for seed in range(2):
        x, labels = batch(seed)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        if "Angular" in line[0]:  # see below
            b = unit_rows(x).requires_grad_()
            a = unit_rows(x).requires_grad_()
        rows = unit_rows(a) if line[2] == "unit" else a
        found, expected = ours(rows, labels), other(b, labels)
        if "Angular" in line[0]:
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
            continue
        assert_same(found, expected, [a], [b])


@pytest.mark.filterwarnings("ignore:__array_wrap__")  # theirs hands a tensor to scipy
@pytest.mark.parametrize("line", lines("The same", 1), ids=lambda line: line[0])
def test_losses_of_classes_are_the_same(line: list[str]) -> None:
    other, ours = evaluated(line[0]), evaluated(line[1])
    (vectors,) = other.parameters()
    with torch.no_grad():
        vectors.copy_(ours.weight.T if vectors.shape != ours.weight.shape else ours.weight)
    x, labels = batch(0)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    assert_same(ours(a, labels), other(b, labels), [a, ours.weight], [b, vectors])


@pytest.mark.parametrize("line", lines("The same", 2), ids=lambda line: line[0])
def test_regularizers_are_the_same(line: list[str]) -> None:
    x, _ = batch(0)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    assert_same(evaluated(line[1])(a), evaluated(line[0])(b), [a], [b])


def test_every_difference_has_its_test() -> None:
    for name, _, test in lines("Where they differ"):
        assert test in globals()
        assert any(hasattr(part, name) for part in (theirs, their_miners, their_regularizers))


def test_every_loss_of_theirs_is_on_the_page() -> None:
    bases = "BaseLossWrapper", "BaseMetricLossFunction", "GenericPairLoss", "SelfSupervisedLoss"
    names = {name for name, kind in vars(theirs).items() if isinstance(kind, type)} - set(bases)
    missing = {name for name in names if f"`{name}" not in PAGE and not name.endswith("Mixin")}
    assert not missing


def test_angular_leaves_negatives_long() -> None:
    """Two rows of one class and a negative twice as long: only theirs notices."""
    x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]], dtype=torch.float64)
    far = x * torch.tensor([[1.0], [1.0], [2.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1])
    torch.testing.assert_close(losses.Angular()(far, labels), losses.Angular()(x, labels))
    assert float(theirs.AngularLoss()(far, labels)) > 1.2 * float(theirs.AngularLoss()(x, labels))


def test_their_memory_forgets_its_place() -> None:
    memory = theirs.CrossBatchMemory(theirs.ContrastiveLoss(), D, memory_size=8)
    assert not any("idx" in name or "pointer" in name for name in memory.state_dict())
    ours = losses.CrossBatchMemory(losses.Contrastive(), D, size=8)
    assert {"queue", "pointer", "ids", "labels", "filled"} <= set(ours.state_dict())


def test_dynamic_soft_margin_takes_all_triplets(monkeypatch: pytest.MonkeyPatch) -> None:
    """24 anchors with 3 positives and 20 negatives each; here every anchor has its hardest triplet."""
    x, labels = batch(0)
    other, seen = theirs.DynamicSoftMarginLoss(), []
    update = other.update_histogram
    monkeypatch.setattr(other, "update_histogram", lambda data: seen.append(data.numel()) or update(data))
    other(x.float(), labels)
    assert seen == [24 * 3 * 20]
    ours = losses.DynamicSoftMargin(bins=10, reduction="none").double()
    assert ours(x, labels).shape == (24,)


def test_lifted_structures_count_what_has_no_negative() -> None:
    """All of one class: here nothing can be compared, and theirs pulls together."""
    x, labels = batch(0, n=4)
    for ours, other in (
        (losses.LiftedStructure(), theirs.LiftedStructureLoss()),
        (losses.GeneralizedLiftedStructure(), theirs.GeneralizedLiftedStructureLoss()),
    ):
        chosen = torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([2]), torch.tensor([3])
        with pytest.warns(UserWarning, match="no positive pair"):
            assert ours(unit_rows(x), labels).item() == 0.0
        assert other(x, labels, chosen).item() > 0.0


def test_their_instance_loss_has_no_classifier() -> None:
    assert not list(theirs.InstanceLoss().parameters())
    assert losses.Instance(9, D).weight.shape == (9, D)


def test_manifold_draws_its_classes() -> None:
    x, _ = batch(0)
    other = theirs.ManifoldLoss(l=D, K=3)
    found = set()
    for seed in range(4):
        torch.manual_seed(seed)
        other.meta_classes = None
        with torch.no_grad():
            other.proxies.copy_(torch.eye(3, D))
        found.add(round(float(other(x.float()).detach()), 6))
    assert len(found) > 1


def test_margin_counts_pairs_by_triplets() -> None:
    """Each of four items of class 0 has one far item, and makes three triplets with it."""
    x = torch.tensor([[0.0], [0.1], [0.2], [0.3], [1.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 0, 1])
    plain = distances.LpDistance(normalize_embeddings=False)
    other = theirs.MarginLoss(distance=plain, reducer=reducers.SumReducer())
    ours = losses.Margin(learn_boundary=False, reduction="sum").double()
    hinges = 0.4 + 0.5 + 0.6 + 0.7  # far pairs at 1.0 to 0.7 under 1.2 + 0.2; near pairs cost nothing
    assert float(ours(x, labels)) == pytest.approx(2 * hinges)  # from both ends
    assert float(other(x, labels)) == pytest.approx(3 * hinges)


def test_n_pairs_keeps_one_pair_a_class() -> None:
    x, labels = batch(0)
    first = torch.arange(0, 24, 4)
    unit = unit_rows(x)
    picked = losses.NPairs()(unit[first], Matches(), columns=unit[first + 1])
    torch.testing.assert_close(theirs.NPairsLoss()(x, labels), picked)


def test_p2s_grad_divides_by_the_classes() -> None:
    x, labels = batch(0)
    ours, other = losses.P2SGrad(C, D).double(), theirs.P2SGradLoss(D, C).double()
    (vectors,) = other.parameters()
    with torch.no_grad():
        vectors.copy_(ours.weight.T)
    torch.testing.assert_close(ours(x, labels) / C, other(x, labels).double(), rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore:.*")
def test_smooth_ap_needs_as_many_classes_as_items_a_class() -> None:
    """4 classes of 4 agree; of 6 classes of 4 theirs is another number, or an error."""
    ours, other = losses.SmoothAP(temperature=0.1, count_self=True), theirs.SmoothAPLoss(temperature=0.1)
    x, labels = batch(0, n=16)
    torch.testing.assert_close(ours(x, labels).float(), other(x, labels).float(), rtol=1e-5, atol=1e-6)
    x, labels = batch(0)
    try:
        found = float(other(x, labels))
    except (ValueError, RuntimeError):
        return
    assert found != pytest.approx(float(ours(x, labels)), rel=1e-3)


def test_ranked_list_adds_a_little_to_its_weights() -> None:
    x, labels = batch(0)
    ours = float(losses.RankedList(far_temperature=5.0)(unit_rows(x), labels))
    other = float(theirs.RankedListLoss(margin=0.4, Tn=5.0)(x, labels))
    assert ours == pytest.approx(other, rel=1e-3)
    assert ours != pytest.approx(other, rel=1e-5)


def test_sparse_centres_are_half() -> None:
    other = their_regularizers.SparseCentersRegularizer(num_classes=3, centers_per_class=2)
    x, _ = batch(0, n=6)
    ours = losses.SparseCenters(centres=2)(x)
    torch.testing.assert_close(2 * other(unit_rows(x)), ours, rtol=1e-5, atol=1e-7)


def test_semi_hard_keeps_all_within_the_margin() -> None:
    """Negatives at 1.1 and 1.2 behind a positive at 1: both are semi-hard for theirs, the first for ours."""
    x = torch.tensor([[0.0], [1.0], [-1.1], [-1.2]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 2])
    miner = their_miners.TripletMarginMiner(
        margin=0.5, type_of_triplets="semihard", distance=distances.LpDistance(normalize_embeddings=False)
    )
    anchors, _, negatives = miner(x, labels)
    assert negatives[anchors == 0].tolist() == [2, 3]
    found = losses.TripletMargin(margin=0.5, reduction="none", miner=SemiHard())(x, labels)
    assert float(found.sum()) == pytest.approx(0.4)  # 1 - 1.1 + 0.5, once; from 1 both are beyond the margin


def test_vicreg_takes_its_view_by_name() -> None:
    x, _ = batch(0, n=12)
    z, _ = batch(1, n=12)
    x, z = x.float() * 0.4, z.float() * 0.4
    torch.testing.assert_close(losses.VICReg()(x, Matches(), columns=z), theirs.VICRegLoss()(x, ref_emb=z))
