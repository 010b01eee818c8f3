"""The kernels in Triton against loops and dense tables: run by ``test_triton.py`` in a process of its own.

Triton decides as it is imported whether it compiles kernels for a GPU or interprets them on the CPU, so these
tests can't share a process with others. By hand, on a machine without a GPU and on one with:

    TRITON_INTERPRET=1 LIKEWISE_TRITON=1 python -m pytest tests/table/interpreted_triton.py
    LIKEWISE_TRITON=1 python -m pytest tests/table/interpreted_triton.py
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from likewise import losses
from likewise.distances import Cosine, Dot, Form, ProductDistance
from likewise.errors import UnsupportedError
from likewise.losses import Loss
from likewise.table import TableFunction, fused, triton_table, value
from likewise.table.far_terms import FarTerms, Gaps, Limits, LogSum
from likewise.table.triton_table import Blocks, Features, TritonTable
from reference.losses import Reference, all_references, cosine, dot, reduced, terms_of
from reference.tables import label_case, random_tables

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
SMALL = Blocks(rows=16, columns=16, chunk=16, features=16, warps=4, spans=2)
FORMS = [Form.SQUARED, Form.EUCLIDEAN, Form.HALF_SQUARED, Form.NEGATIVE_PRODUCT]


def is_fused(reference: Reference) -> bool:
    try:
        function = reference.loss().function()
    except UnsupportedError:  # a loss of several walks
        return False
    product = isinstance(reference.loss().distance, ProductDistance)
    return isinstance(function, TableFunction) and function.fused and product


REFERENCES = [
    pytest.param(each, id=f"{name}-{number}")
    for name, listed in all_references().items()
    for number, each in enumerate(listed)
    if is_fused(each)
]


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype | None]:
    """The walks that were fused, each by the half precision of its features; tiles are small."""
    found: list[torch.dtype | None] = []
    walk = value.fused_walk

    def noted(*arguments: Any, **options: Any) -> Any:
        found.append(options.get("half"))
        return walk(*arguments, **options)

    monkeypatch.setattr(value, "fused_walk", noted)
    monkeypatch.setattr(triton_table.Blocks, "of", classmethod(lambda cls, dtype: SMALL))
    return found


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(found: Tensor, expected: Tensor, part: float) -> None:
    """Equal to a part of the largest number expected."""
    error = (found.double().cpu() - expected.double().cpu()).abs().max() if found.numel() else torch.zeros(())
    assert error <= part * (expected.abs().max().cpu() + 1e-3), f"off by {error}"


# the kernels by themselves, over several tiles and spans, against the dense table in float64


def dense(form: Form, x: Tensor, y: Tensor, *, unit: bool) -> Tensor:
    if unit:
        x, y = (torch.nn.functional.normalize(each, dim=1) for each in (x, y))
    if form is Form.NEGATIVE_PRODUCT:
        return -(x @ y.T)
    squares = (x[:, None] - y).square().sum(-1)
    if form is Form.EUCLIDEAN:
        # the slope of a norm at zero is zero
        return torch.where(squares > 0, squares.clamp(min=1e-300).sqrt(), 0.0)
    return squares / 2 if form is Form.HALF_SQUARED else squares


def log_sum_case(cells: Tensor) -> tuple[FarTerms, Callable[[Tensor], Tensor], Callable[[Any], Any]]:
    def formula(table: Tensor) -> Tensor:
        return (-1.5 * table).logsumexp(1)

    def slopes(found: tuple[Tensor, ...]) -> FarTerms:
        return LogSum(1.5, -(found[0] + found[1].log()))

    return LogSum(1.5), formula, slopes


def limits_case(cells: Tensor) -> tuple[FarTerms, Callable[[Tensor], Tensor], Callable[[Any], Any]]:
    finite = torch.where(cells.isinf(), 0.0, cells)
    middle = finite.mean(1)
    limits = torch.stack([middle - 0.5, middle + 0.25, torch.full_like(middle, -torch.inf)], 1).float()

    def formula(table: Tensor) -> Tensor:
        return (limits[:, :, None].double().cpu() - table[:, None]).clamp(min=0).sum((1, 2))

    terms = Limits(limits.to(DEVICE), middle.float().to(DEVICE), 1.0)
    return terms, formula, lambda _: terms


def gaps_case(
    cells: Tensor, squared: bool
) -> tuple[FarTerms, Callable[[Tensor], Tensor], Callable[[Any], Any]]:
    known = cells[cells.isfinite()].sort().values[len(cells) :][: len(cells)]
    widest = int(known.diff().argmax())  # between two cells, so that none is at the margin but for rounding
    margin = float(known[widest] + known[widest + 1]) / 2

    def formula(table: Tensor) -> Tensor:
        gap = (margin - table).clamp(min=0)
        return (gap.square() / 2 if squared else gap).sum(1)

    return Gaps(margin, squared), formula, lambda _: Gaps(margin, squared)


CASES = {
    "softmax": log_sum_case,
    "gaps": lambda cells: gaps_case(cells, False),
    "squared gaps": lambda cells: gaps_case(cells, True),
    "limits": limits_case,
}


def total_of(terms: FarTerms, found: tuple[Tensor, ...]) -> Tensor:
    """The rows' values from what a kernel found."""
    if isinstance(terms, LogSum):
        return found[0] + found[1].log()
    if isinstance(terms, Gaps):
        return found[0]
    known = terms.limits.isfinite()
    offset = torch.where(known, terms.limits - terms.middle[:, None], 0.0)
    return found[1] + (offset * found[0]).sum(1)


BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32


@pytest.mark.parametrize(
    ("case", "form", "dtype", "shared"),
    [  # each kernel, each form and each dtype, but not all of them together: the interpreter is slow
        ("softmax", Form.HALF_SQUARED, FP32, True),
        ("softmax", Form.NEGATIVE_PRODUCT, FP32, False),
        ("softmax", Form.SQUARED, BF16, False),
        ("gaps", Form.EUCLIDEAN, FP32, False),
        ("squared gaps", Form.SQUARED, FP32, True),
        ("squared gaps", Form.EUCLIDEAN, FP16, True),
        ("limits", Form.EUCLIDEAN, FP32, True),
        ("limits", Form.NEGATIVE_PRODUCT, FP16, False),
        ("limits", Form.HALF_SQUARED, BF16, True),
    ],
)
def test_sums_and_both_gradients(case: str, form: Form, dtype: torch.dtype, shared: bool) -> None:
    unit = form is Form.HALF_SQUARED
    # two tiles each way, of which one isn't full, and two chunks of features
    x = numbers(19, 18, seed=1).to(dtype)
    y = x if shared else numbers(23, 18, seed=2).to(dtype)
    codes = torch.arange(19) % 7, torch.arange(len(y)) % 7
    if form is not Form.NEGATIVE_PRODUCT:
        y[17], y[5] = x[2], x[3] * (1 + 2.0**-6)  # points of other classes, the same and nearly the same
    u, v = (each.double().requires_grad_() for each in (x, y))
    u = v if shared else u
    far = codes[0][:, None] != codes[1]
    cells = torch.where(far, dense(form, u, v, unit=unit), torch.inf)
    terms, formula, later = CASES[case](cells.detach())
    weights = torch.linspace(0.5, 1.5, 19)
    values = formula(cells)
    (values * weights).sum().backward()

    rows = Features.plain(x.to(DEVICE), codes[0].to(DEVICE), unit=unit)
    columns = None if shared else Features.plain(y.to(DEVICE), codes[1].to(DEVICE), unit=unit)
    table = TritonTable(form, rows, columns, blocks=SMALL)
    found = table.sums(terms)
    torch.testing.assert_close(total_of(terms, found).double().cpu(), values.detach(), rtol=2e-5, atol=2e-5)
    if isinstance(terms, Gaps):
        assert found[1].tolist() == (cells < terms.margin).sum(1).tolist()
    ours, theirs = table.gradients(later(found), weights.to(DEVICE), columns=True)
    assert (theirs is None) == shared
    for side, got, exact in ((rows, ours, u), (columns, theirs, v)):
        if side is None or got is None:
            continue
        entering = side.products.float() * side.scale[:, None]
        gradient = got[0].float()
        if form is not Form.NEGATIVE_PRODUCT:
            gradient = gradient + got[1][:, None] * entering
        if unit:  # back through the bringing to unit length
            along = (gradient * entering).sum(1, keepdim=True)
            gradient = (gradient - along * entering) * side.scale[:, None]
        assert exact.grad is not None
        rounding = {torch.float32: 2e-5, torch.bfloat16: 5e-3, torch.float16: 2e-3}[dtype]
        close(gradient, exact.grad, rounding)


def test_rows_without_anything_far_have_no_sum() -> None:
    rows = Features.plain(numbers(5, 3, seed=1).to(DEVICE), torch.zeros(5).to(DEVICE), unit=False)
    table = TritonTable(Form.SQUARED, rows, None, blocks=SMALL)
    assert not table.sums(LogSum(1.0))[1].any()
    below, hinges = table.sums(Limits(torch.full((5, 2), 9.0).to(DEVICE), rows.scale, 1.0))
    assert not below.any() and not hinges.any()
    terms = LogSum(1.0, torch.full((5,), -torch.inf).to(DEVICE))
    gradient, sums = table.gradients(terms, None, columns=False)[0]
    assert not gradient.any() and not sums.any()


# losses through the engine


@pytest.mark.parametrize("reference", REFERENCES)
def test_losses_equal_the_loops(reference: Reference, walks: list[torch.dtype | None]) -> None:
    """Labels of every kind (uneven, singletons, one class, duplicates, 1e-4 apart at 1,000), and columns."""
    draw = random.Random(str(reference.options))
    tables = [label_case(draw) for _ in range(2)]
    tables += [table for table in random_tables(30, seed=3, far_off=True) if table.name == "columns"][:1]
    for number, table in enumerate(tables):
        if table.close and reference.distance in (cosine, dot):
            continue  # the directions of such points differ by less than float32 holds
        reduction = ("mean", "active", "sum", "none")[number % 4]
        if reduction == "active" and reference.distance is cosine:
            continue  # cosines may be 1 or -1, and terms zero but for rounding
        weights = torch.linspace(0.5, 1.5, len(table.embeddings), dtype=torch.float64) if number % 3 else None
        x = table.embeddings.clone().requires_grad_()
        expected = reduced(terms_of(reference, table, x), reduction, weights, x)
        (slope,) = torch.autograd.grad(expected.sum(), x)
        y = table.embeddings.float().to(DEVICE).requires_grad_()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*no positive pair.*")
            found = reference.loss(reduction=reduction)(
                y,
                table.relation,
                columns=None if table.columns is None else table.columns.float().to(DEVICE),
                weights=None if weights is None else weights.float().to(DEVICE),
                **table.options,
            )
        found.sum().backward()
        torch.testing.assert_close(found.double().cpu(), expected, rtol=5e-5, atol=5e-5, msg=table.name)
        assert y.grad is not None
        close(y.grad, slope, 2e-4)
    assert walks


def by_pytorch(
    monkeypatch: pytest.MonkeyPatch, loss: Loss, x: Tensor, *given: Any, **more: Any
) -> list[Tensor]:
    """Value and gradients of the other walks, in float64."""
    with monkeypatch.context() as patch:
        patch.setattr(value, "takes_fused", lambda *_: False)
        return evaluated(loss.double(), x.double(), *given, **more)


def evaluated(loss: Loss, x: Tensor, *given: Any, **more: Any) -> list[Tensor]:
    x = x.detach().clone().requires_grad_()
    if "columns" in more:
        more["columns"] = more["columns"].detach().to(x.dtype, copy=True).requires_grad_()
    loss.zero_grad()
    found = loss(x, *given, **more)
    found.backward()
    leaves = [x, *loss.parameters(), *([more["columns"]] if "columns" in more else [])]
    return [found.detach(), *(leaf.grad.clone() for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: losses.TripletMargin(margin=0.3),
        lambda: losses.Contrastive(margin=4.0),
        lambda: losses.SupCon(temperature=0.2),
        lambda: losses.NTXent(distance="euclidean"),
    ],
)
@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("columns", [False, True])
def test_many_tiles_far_from_the_origin(
    make: Callable[[], Loss],
    offset: float,
    columns: bool,
    walks: list[torch.dtype | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loss = make()
    if offset and isinstance(loss.distance, Cosine):
        pytest.skip("directions of such points differ by less than float32 holds")
    x = (numbers(20, 5, seed=1) + offset).to(DEVICE)
    x[7] = x[8]
    labels = torch.arange(20) % 7
    more: dict[str, Any] = {}
    if columns:
        y = (numbers(18, 5, seed=2) + offset).to(DEVICE)
        more = {"columns": y, "column_relation": torch.arange(18) % 7}
    found = evaluated(loss, x, labels, **more)
    assert len(walks) == 1
    for mine, theirs in zip(found, by_pytorch(monkeypatch, loss, x, labels, **more), strict=True):
        close(mine, theirs, 5e-5)
    assert len(walks) == 1


@pytest.mark.parametrize("make", [losses.NormalizedSoftmax, losses.ProxyNCA, losses.ArcFace])
def test_vectors_of_classes(
    make: Callable[[int, int], Loss], walks: list[torch.dtype | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    loss = make(19, 6).to(DEVICE)
    x, labels = numbers(18, 6, seed=3).to(DEVICE), torch.arange(18) % 11
    found = evaluated(loss, x, labels)
    assert len(walks) == 1
    for mine, theirs in zip(found, by_pytorch(monkeypatch, loss, x, labels), strict=True):
        close(mine, theirs, 5e-5)


@pytest.mark.parametrize(
    ("make", "dtype"),
    [(losses.SupCon, BF16), (lambda: losses.TripletMargin(distance=Dot(), margin=1.0), FP16)],
)
def test_half_precision_is_multiplied_as_it_was_given(
    make: Callable[[], Loss],
    dtype: torch.dtype,
    walks: list[torch.dtype | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, labels = numbers(18, 6, seed=5).to(dtype).to(DEVICE), torch.arange(18) % 6
    found = evaluated(make(), x, labels)
    assert walks == [dtype] and found[0].dtype == torch.float32 and found[1].dtype == dtype
    expected = by_pytorch(monkeypatch, make(), x, labels)
    torch.testing.assert_close(found[0].double(), expected[0], rtol=1e-5, atol=1e-5)
    close(found[1], expected[1], 1e-2)
    make()(x.float(), labels)
    make()(x, labels, columns=x.float(), column_relation=labels)
    assert walks[1:] == [None, None]  # float32 stays float32


def test_what_kernels_cannot_do_is_left_to_others(walks: list[torch.dtype | None]) -> None:
    x, labels = numbers(12, 4, seed=1).to(DEVICE), torch.arange(12) % 3
    losses.SupCon()(x.double(), labels)
    losses.Circle()(x, labels)
    losses.Contrastive(distance="cityblock")(x, labels)
    losses.ThresholdConsistentMargin()(x, labels)
    assert not walks
    assert "not measured" in fused.state()
