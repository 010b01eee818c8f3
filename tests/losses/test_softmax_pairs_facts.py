"""Facts of NCA, NTXent, NPairs and HingeRank, and how they stand to pytorch-metric-learning 2.9.

The same, and tested equal: NCALoss (with logarithm), NTXentLoss, NPairsLoss on the pairs that it picks.
Where theirs differ:

- NCALoss normalises embeddings; its softmax_scale is our 1 / temperature; a row whose probability
  underflows to zero is dropped from its mean, while ours has its true, large value; with no logarithm it has
  no counterpart.
- NTXentLoss is zero when the batch has no negative at all, where each of our pairs has the value zero and
  counts. It takes log(p + tiny) and so stops at 87 in float32, where ours goes on. Its
  temperature is 0.07, ours 0.1.
- NPairsLoss picks the first positive pair of each class from the batch and drops the rest; our rows are all
  positive pairs given. It has no one-against-one form and no weight of norms (a regularizer of its own).
- HingeRank has none; PyTorch's MultiMarginLoss is the same divided by the number of labels.
"""

from __future__ import annotations

import math
import random

import pytest
import torch
from pytorch_metric_learning import losses as theirs

from likewise.distances import Bilinear, Cityblock, Cosine, Distance, WeightedCityblock
from likewise.errors import InputError
from likewise.losses import NCA, HingeRank, NPairs, NTXent, SupCon
from likewise.relations import Labels, Matches, Triplets
from reference.families.softmax_pairs import nt_xent
from reference.losses import Reference, cosine, dot, reduced, terms_of
from reference.tables import PlainRow, PlainTable, random_tables


def batch(n: int = 24, d: int = 5, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64, requires_grad=True)
    return x, torch.arange(n) % classes


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=1, keepdim=True)


def assert_same(x: torch.Tensor, ours: torch.Tensor, other: torch.Tensor) -> None:
    (a,), (b,) = torch.autograd.grad(ours, x), torch.autograd.grad(other, x)
    torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_nca_equals_pytorch_metric_learning() -> None:
    x, y = batch()
    ours = NCA(logarithm=True, temperature=1 / 3)
    assert_same(x, ours(unit(x), y), theirs.NCALoss(softmax_scale=3)(x, y))


def test_nt_xent_equals_pytorch_metric_learning() -> None:
    x, y = batch()
    assert_same(x, NTXent(temperature=0.2)(x, y), theirs.NTXentLoss(temperature=0.2)(x, y))


def test_n_pairs_equals_pytorch_metric_learning_on_the_pairs_it_picks() -> None:
    x, y = batch(n=8, classes=4)
    # of classes 0 1 2 3 0 1 2 3 it takes the first anchor of each class and its positive
    assert_same(x, NPairs()(unit(x)[:4], Matches(), columns=unit(x)[4:]), theirs.NPairsLoss()(x, y))


def test_multi_margin_loss_is_hinge_rank_over_the_number_of_labels() -> None:
    x, y = batch(d=3, classes=6)
    words = unit(torch.randn(6, 3, dtype=torch.float64))
    found = HingeRank(margin=0.3)(x, y, columns=words, column_relation=range(6))
    scores = torch.nn.functional.multi_margin_loss(x @ words.T, y, margin=0.3)
    assert_same(x, found, scores * 6)


def test_n_pairs_is_cross_entropy_of_products() -> None:
    x, z = batch()[0], torch.randn(24, 5, dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(x @ z.T, torch.arange(24))
    assert_same(x, NPairs()(x, Matches(), columns=z), expected)


def test_one_positive_a_row_is_supervised_contrastive() -> None:
    """With two items a class an anchor has one positive, so the two denominators are the same."""
    x = batch()[0]
    y = torch.arange(24) // 2
    assert_same(x, NTXent(temperature=0.3)(x, y), SupCon(temperature=0.3)(x, y))


def test_nca_of_two_classes_at_one_point_is_the_chance_of_error() -> None:
    """Four items at one point: two of the three neighbours of each are of the other class."""
    x = torch.zeros(4, 2, dtype=torch.float64)
    assert NCA()(x, [0, 0, 1, 1]).item() == pytest.approx(2 / 3, abs=1e-15)
    assert NCA(logarithm=True)(x, [0, 0, 1, 1]).item() == pytest.approx(math.log(3), abs=1e-15)


def test_nca_moves_no_item_without_a_positive_as_an_anchor() -> None:
    """The one item of class 1 has no term, but pushes the others."""
    x = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    values = NCA(reduction="none")(x, [0, 0, 1])
    expected = [1 / (1 + math.exp(9 - 1)), 1 / (1 + math.exp(4 - 1)), 0.0]
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64))


def test_far_points_do_not_underflow() -> None:
    """exp(-10000) is zero in any float; the loss and its slope are finite and right all the same."""
    x = torch.tensor([[0.0], [100.0], [1.0]], dtype=torch.float64, requires_grad=True)
    value = NCA(logarithm=True, reduction="sum")(x, [0, 0, 1])
    # item 0: 10000 - 1; item 1: its distances are 10000 and 99^2
    assert value.item() == pytest.approx(10000 - 1 + 10000 - 99**2)
    (slope,) = torch.autograd.grad(value, x)
    assert slope[:, 0].tolist() == pytest.approx([-400.0 + 2.0, 400.0 - 198.0, -2.0 + 198.0])


def test_hinge_rank_does_not_normalise_the_image_but_trusts_the_labels() -> None:
    words = torch.eye(2)
    loss = HingeRank()
    for scale, expected in ((1.0, 0.1 - 0.05), (10.0, 0.0)):
        x = torch.tensor([[0.05, 0.0]]) * scale
        assert loss(x, [0], columns=words, column_relation=[0, 1]).item() == pytest.approx(expected)


def test_hinge_rank_averages_over_images_not_over_labels() -> None:
    words = torch.eye(5)
    x = torch.zeros(3, 5)
    value = HingeRank(margin=0.1)(x, [0, 1, 2], columns=words, column_relation=range(5))
    assert value.item() == pytest.approx(4 * 0.1)


def test_the_weight_of_norms_is_added_once() -> None:
    x, y = batch()
    z = torch.randn(24, 5, dtype=torch.float64)
    plain, loss = NPairs(), NPairs(norm_weight=0.5)
    assert_same(x, loss(x, y), plain(x, y) + 0.5 * (x**2).sum(1).mean())
    both = plain(x, Matches(), columns=z) + 0.5 * ((x**2).sum(1).mean() + (z**2).sum(1).mean())
    assert_same(x, loss(x, Matches(), columns=z), both)
    rows = NPairs(norm_weight=0.5, reduction="none")(x, y) - NPairs(reduction="none")(x, y)
    torch.testing.assert_close(rows, 0.5 * (x**2).sum(1))
    with pytest.raises(InputError, match="rows that are the columns"):
        NPairs(norm_weight=0.5, reduction="none")(x, Matches(), columns=z)


# both directions


def turned(table: PlainTable) -> PlainTable:
    """The table with its columns for rows."""
    count = table.embeddings.shape[0] if table.columns is None else table.columns.shape[0]
    rows = [PlainRow() for _ in range(count)]
    for row in table.rows:
        for cells, side in ((row.near, "near"), (row.far, "far")):
            for a, c in cells:
                getattr(rows[c], side).append((c, a))
    others = table.embeddings if table.columns is None else table.columns
    columns = None if table.columns is None else table.embeddings
    return PlainTable(table.name, others, table.relation, rows, columns)


@pytest.mark.parametrize("reduction", ["mean", "active", "sum"])
def test_both_directions_is_the_mean_of_rows_and_columns(reduction: str) -> None:
    """On 96 random cases of every relation: the loops over rows, and over columns, by themselves."""
    reference = Reference(NTXent, nt_xent, {"temperature": 0.5}, cosine)
    loss = NTXent(temperature=0.5, both_directions=True, reduction=reduction)
    seen = set()
    for table in random_tables(96, seed=21):
        if table.name in ("triplets", "quadruplets"):
            with pytest.raises(InputError, match="both_directions needs a relation"):
                loss(table.embeddings, table.relation)
            continue
        if table.close:
            continue
        if not any(row.near for row in table.rows):
            continue
        seen.add(table.name)
        x = table.embeddings.clone().requires_grad_()
        given = PlainTable(table.name, x, table.relation, table.rows, table.columns)
        other = turned(given)
        by_row = reduced(terms_of(reference, given, x), reduction, None, x)
        if table.columns is None:
            by_column = reduced(terms_of(reference, other, x), reduction, None, x)
        else:
            swapped = [
                list(
                    reference.terms(
                        [cosine(table.columns[a], x[c]) for a, c in row.near],
                        [cosine(table.columns[a], x[c]) for a, c in row.far],
                        0.5,
                    )
                )
                for row in other.rows
            ]
            by_column = reduced(swapped, reduction, None, x)
        assert_same(
            x, loss(x, table.relation, columns=table.columns, **table.options), (by_row + by_column) / 2
        )
    assert {"columns", "several labels", "pairs", "matches", "mask", "chunklets"} <= seen


def test_both_directions_of_two_modalities_is_clip() -> None:
    x = batch()[0]
    z = torch.randn(24, 5, dtype=torch.float64)
    logits = unit(x) @ unit(z).T / 0.2
    target = torch.arange(24)
    cross_entropy = torch.nn.functional.cross_entropy
    expected = (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
    loss = NTXent(temperature=0.2, both_directions=True)
    assert_same(x, loss(x, Matches(), columns=z), expected)
    weights = torch.rand(24, dtype=torch.float64)
    logits = unit(x) @ unit(z).T / 0.2
    sides = [cross_entropy(side, target, reduction="none") for side in (logits, logits.T)]
    rows = (sides[0] + sides[1]) / 2
    assert_same(x, loss(x, Matches(), columns=z, weights=weights), (rows * weights).mean())
    by_row = NTXent(temperature=0.2, both_directions=True, reduction="none")(x, Matches(), columns=z).detach()
    torch.testing.assert_close(by_row, rows.detach())


@pytest.mark.parametrize("kind", ["bilinear", "weighted"])
def test_both_directions_turns_a_distance_round_and_learns_it(kind: str) -> None:
    """A bilinear distance isn't symmetric; the columns' softmax reads d(row, column) all the same."""
    x = batch(n=6)[0]
    z = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    distance: Distance = (
        Bilinear(torch.randn(5, 5, dtype=torch.float64))
        if kind == "bilinear"
        else WeightedCityblock(5).double()
    )
    loss = NTXent(temperature=0.7, both_directions=True, distance=distance)
    logits = -distance.table(x, z) / 0.7
    target = torch.arange(6)
    expected = sum(torch.nn.functional.cross_entropy(side, target) for side in (logits, logits.T)) / 2
    wanted = (x, z, *distance.parameters())
    slopes = torch.autograd.grad(expected, wanted)
    found = loss(x, Matches(), columns=z)
    torch.testing.assert_close(found, expected)
    for g, h in zip(torch.autograd.grad(found, wanted), slopes, strict=True):
        torch.testing.assert_close(g, h)


def test_both_directions_of_rows_among_themselves_under_an_asymmetric_distance() -> None:
    x, y = batch(n=8, classes=3)
    distance = Bilinear(torch.randn(5, 5, dtype=torch.float64))
    both = NTXent(distance=distance, temperature=1.0, both_directions=True)(x, y)
    back = NTXent(distance=Bilinear(distance.weight.detach().T), temperature=1.0)(x, y)
    one = NTXent(distance=distance, temperature=1.0)(x, y)
    torch.testing.assert_close(both, (one + back) / 2)
    assert not torch.isclose(both, one)


def test_both_directions_says_what_it_cannot_do() -> None:
    x, z = torch.randn(3, 2), torch.randn(4, 2)
    columns = {"columns": z, "column_relation": [0, 1, 0, 1]}
    with pytest.raises(InputError, match='reduction="none" needs as many columns as rows; found 3 and 4'):
        NTXent(both_directions=True, reduction="none")(x, [0, 1, 0], **columns)
    with pytest.raises(InputError, match="weights needs as many columns as rows"):
        NTXent(both_directions=True)(x, [0, 1, 0], weights=torch.ones(3), **columns)
    with pytest.raises(InputError, match="found Triplets"):
        NTXent(both_directions=True)(x, Triplets([0], [1], [2]))


def test_symmetric_relation_and_distance_give_the_same_in_both_directions() -> None:
    x, y = batch()
    for distance in (Cosine(), Cityblock()):
        one, both = (NTXent(distance=distance, both_directions=flag)(x, Labels(y)) for flag in (False, True))
        assert_same(x, both, one)


def test_one_against_one_is_above_the_joint_logarithm() -> None:
    """log prod (1 + e_n) >= log(1 + sum e_n): the paper's reason for the joint form."""
    draw = random.Random(1)
    for _ in range(20):
        x, y = torch.randn(8, 3), [draw.randrange(3) for _ in range(8)]
        if len(set(y)) < 2 or len(set(y)) == 8:
            continue
        rows = [NPairs(one_vs_one=flag, reduction="none")(x, y) for flag in (True, False)]
        assert bool((rows[0] >= rows[1] - 1e-5).all())


def test_dot_reference_is_minus_the_product() -> None:
    assert dot(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])).item() == -11.0
