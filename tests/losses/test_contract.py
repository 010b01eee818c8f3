"""What every loss must keep, over all losses by discovery."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import pytest
import torch

from likewise import losses
from likewise.errors import InputError, UnsupportedError
from likewise.losses import Loss
from likewise.relations import Labels
from reference.losses import Reference, all_references, cosine, dot, kept_elsewhere, reduced, terms_of
from reference.tables import PlainTable, label_case, random_tables

NAMES = sorted(name for name in losses.__all__ if name != "Loss" and issubclass(getattr(losses, name), Loss))
REFERENCES = all_references()
CASES = [
    pytest.param(reference, id=f"{name}-{number}")
    for name, listed in REFERENCES.items()
    for number, reference in enumerate(listed)
]
REDUCTIONS = ("mean", "active", "sum", "none")


def call(loss: Loss, table: PlainTable, x: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    columns = None if table.columns is None else table.columns.to(x.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no positive pair.*")
        return loss(x, table.relation, columns=columns, weights=weights, **table.options)


def test_every_loss_has_a_reference() -> None:
    elsewhere = kept_elsewhere()
    assert sorted([*REFERENCES, *elsewhere]) == NAMES
    for name, file in elsewhere.items():
        assert name in (Path(__file__).parents[1] / file).read_text()


@pytest.mark.parametrize("reference", CASES)
def test_value_and_gradient_equal_the_loops(reference: Reference) -> None:
    """200 random cases in float64: value and gradient of the loops, to 1e-9."""
    draw = random.Random(5)
    for number, table in enumerate(random_tables(200, seed=11, far_off=True)):
        reduction = REDUCTIONS[number % 4]
        if reduction == "active" and table.embeddings.shape[1] == 1 and reference.distance is cosine:
            continue  # in one dimension cosines are 1 or -1, and terms are zero but for rounding
        weights = None
        if draw.random() < 0.3 and table.name not in ("triplets", "quadruplets"):
            weights = torch.rand(table.embeddings.shape[0], dtype=torch.float64)
        x = table.embeddings.clone().requires_grad_()
        expected = reduced(terms_of(reference, table, x), reduction, weights, x)
        mix = torch.linspace(0.5, 1.5, max(1, expected.numel()), dtype=torch.float64).reshape(expected.shape)
        (slope,) = torch.autograd.grad((expected * mix).sum(), x)
        y = table.embeddings.clone().requires_grad_()
        found = call(reference.loss(reduction=reduction), table, y, weights)
        # of points 1e-4 apart at 1,000 the loops' products and directions keep but 1e-9 of a difference
        close = 100 if table.close and reference.distance in (cosine, dot) else 1
        where = lambda m, t=table: f"{t.name}: {m}"  # noqa: E731
        torch.testing.assert_close(found, expected, rtol=1e-9 * close, atol=1e-11 * close, msg=where)
        (found * mix).sum().backward()
        torch.testing.assert_close(y.grad, slope, rtol=1e-8 * close, atol=1e-9 * close, msg=where)


@pytest.mark.parametrize("reference", CASES)
def test_float32_is_as_exact_as_float32_can_be(reference: Reference) -> None:
    """Also for points 1e-4 apart at offset 1,000, where a plain product loses every digit."""
    for table in random_tables(60, seed=3, far_off=True):
        if table.close and reference.distance is cosine:
            continue  # the directions of such points differ by less than float32 holds
        if table.close and reference.distance is dot and table.name == "quadruplets":
            continue  # the difference of two anchors' products, of 1e6 and equal to seven digits
        expected = reduced(terms_of(reference, table, table.embeddings), "sum", None, table.embeddings)
        found = call(reference.loss(reduction="sum"), table, table.embeddings.float())
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("reference", CASES)
def test_gradcheck(reference: Reference) -> None:
    if reference.no_gradcheck:
        pytest.skip(reference.no_gradcheck)  # it is held against the loops all the same
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(7, generator=generator, dtype=torch.float64, requires_grad=True)
    labels, other = [0, 0, 1, 1, 1, 2, 2], [0, 1, 1, 2, 2, 2]
    for reduction in ("mean", "none"):
        loss = reference.loss(reduction=reduction)
        assert torch.autograd.gradcheck(
            lambda a, w, loss=loss: loss(a, labels, weights=w), (x, weights), nondet_tol=0.0
        )
        assert torch.autograd.gradcheck(
            lambda a, b, loss=loss: loss(a, labels, columns=b, column_relation=other), (x, y), nondet_tol=0.0
        )


@pytest.mark.parametrize("reference", CASES)
@pytest.mark.parametrize("columns_given", [False, True])
def test_tile_size_changes_nothing(
    reference: Reference, columns_given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(23, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(31, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (23,), generator=generator)
    options = {}
    if columns_given:
        options = {"columns": y, "column_relation": torch.randint(0, 5, (31,), generator=generator)}
    found = []
    for tile, whole, rows in ((1 << 19, 8192, 256), (64, 2, 4), (64, 2, 16), (64, 8192, 256)):
        monkeypatch.setattr("likewise.table.blocks.TILE", tile)
        monkeypatch.setattr("likewise.table.blocks.WHOLE_ROWS", whole)
        monkeypatch.setattr("likewise.table.blocks.ROWS", rows)
        a = x.clone().requires_grad_()
        value = reference.loss()(a, labels, **options)
        value.backward()
        found.append((value.detach(), a.grad))
    for value, gradient in found[1:]:
        torch.testing.assert_close(value, found[0][0], rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(gradient, found[0][1], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("reference", CASES)
def test_order_of_the_batch_changes_nothing(reference: Reference) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (20,), generator=generator)
    order = torch.randperm(20, generator=generator)
    a, b = x.clone().requires_grad_(), x[order].clone().requires_grad_()
    first, second = reference.loss()(a, labels), reference.loss()(b, labels[order])
    (first + second).backward()
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(a.grad[order], b.grad, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("reference", CASES)
def test_half_precision_sums_in_float32(reference: Reference) -> None:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(24, 8, generator=generator)
    labels = torch.arange(24) // 4
    for dtype in (torch.bfloat16, torch.float16):
        low = x.to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = reference.loss()(low, labels)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, reference.loss()(low.detach().float(), labels))
        found.backward()
        assert low.grad.dtype == dtype


@pytest.mark.parametrize("reference", CASES)
def test_backward_twice_and_double_backward(reference: Reference) -> None:
    x = torch.randn(
        12, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64, requires_grad=True
    )
    value = reference.loss()(x, torch.arange(12) // 3)
    (first,) = torch.autograd.grad(value, x, retain_graph=True)
    first = first.clone()
    (second,) = torch.autograd.grad(value * 2, x, retain_graph=True)
    torch.testing.assert_close(second, 2 * first, rtol=1e-12, atol=1e-14)
    with pytest.raises(UnsupportedError, match="twice"):
        torch.autograd.grad(value, x, create_graph=True)


@pytest.mark.parametrize("reference", CASES)
def test_a_batch_without_pairs_is_zero_with_a_gradient(reference: Reference) -> None:
    for n in (0, 1):
        x = torch.randn(n, 3, requires_grad=True)
        with pytest.warns(UserWarning, match="raise the samples a class"):
            value = reference.loss(reduction="mean")(x, torch.zeros(n, dtype=torch.int64))
        value.backward()
        assert float(value.detach()) == 0.0
        assert x.grad is not None
        assert not x.grad.any()


@pytest.mark.parametrize("reference", CASES)
def test_no_rows_against_columns_far_from_the_origin(reference: Reference) -> None:
    x, y = torch.zeros(0, 3, requires_grad=True), torch.randn(4, 3) + 5
    with pytest.warns(UserWarning, match="raise the samples a class"):
        value = reference.loss(reduction="mean")(x, [], columns=y, column_relation=[0, 1, 1, 0])
    value.backward()
    assert float(value.detach()) == 0.0
    assert x.grad is not None
    assert x.grad.shape == (0, 3)


@pytest.mark.parametrize("reference", CASES)
def test_hostile_input_is_refused(reference: Reference) -> None:
    loss = reference.loss()
    x = torch.randn(4, 3)
    bad = x.clone()
    bad[2, 1] = torch.nan
    refused = [
        ((bad, [0, 0, 1, 1]), {}, "row 2"),
        ((x, [0, 0, 1]), {}, "expected 4, found 3"),
        ((x, [0.0, 0.0, 1.0, 1.0]), {}, "whole numbers or strings"),
        ((x, torch.tensor([0.0, 0.0, 1.0, 1.0])), {}, "whole numbers or strings"),
        ((x[0], [0, 0, 1]), {}, "shape"),
        ((x.long(), [0, 0, 1, 1]), {}, "floating"),
        ((x, [0, 0, 1, 1]), {"columns": x}, "column_relation"),
        ((x, [0, 0, 1, 1]), {"weights": torch.ones(3)}, "weights"),
        ((x, [0, 0, 1, 1]), {"ids": [1, 2, 3]}, "ids"),
    ]
    for arguments, options, message in refused:
        with pytest.raises(InputError, match=message):
            loss(*arguments, **options)
    with pytest.raises(InputError, match="reduction"):
        reference.loss(reduction="average")


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler's own
@pytest.mark.parametrize("reference", CASES)
def test_compiling_breaks_the_graph_once_at_most(reference: Reference) -> None:
    loss, labels = reference.loss(), torch.arange(12) // 3
    encoder = torch.nn.Linear(5, 4)

    def step(x: torch.Tensor) -> torch.Tensor:
        return loss(torch.relu(encoder(x)), labels) * 2

    torch.compiler.reset()
    told = torch._dynamo.explain(step)(torch.randn(12, 5, generator=torch.Generator().manual_seed(0)))
    assert told.graph_break_count <= 1, told.break_reasons


@pytest.mark.parametrize("reference", CASES)
def test_levels_of_a_hierarchy_add_up(reference: Reference) -> None:
    """The loss of a hierarchy is the weighted sum of the losses of its levels; strings as well."""
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(10, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    fine = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    coarse = fine // 2
    loss = reference.loss()
    expected = 0.3 * loss(x, coarse) + 0.7 * loss(x, fine)
    (slope,) = torch.autograd.grad(expected, x)
    names = [[f"genus {g}", f"species {s}"] for g, s in zip(coarse.tolist(), fine.tolist(), strict=True)]
    for labels in (torch.stack([coarse, fine], dim=1), names):
        found = loss(x, Labels(labels, levels=[0.3, 0.7]))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(torch.autograd.grad(found, x)[0], slope, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("reference", CASES)
def test_a_gradient_scaler_finds_the_gradients_times_its_scale(reference: Reference) -> None:
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(3)).half()
    labels = torch.arange(16) // 4
    plain, scaled = x.clone().requires_grad_(), x.clone().requires_grad_()
    reference.loss()(plain, labels).backward()
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    scaler.scale(reference.loss()(scaled, labels)).backward()
    torch.testing.assert_close(scaled.grad.float(), 16 * plain.grad.float(), rtol=4e-3, atol=2e-3)


def test_the_references_see_every_kind_of_batch() -> None:
    """The cases must hold what they promise, else the equality above says little."""
    names = {table.name for table in random_tables(200, seed=11)}
    assert {"columns", "several labels", "pairs", "triplets", "quadruplets", "matches", "mask"} <= names
    draw = random.Random(0)
    kinds = {label_case(draw).name for _ in range(100)}
    assert {"labels, one class", "labels, one row", "labels, close", "labels, no positives"} <= kinds
