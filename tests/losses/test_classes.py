"""What every loss against learned vectors must keep, as test_contract.py says it of tables.

By discovery, the losses of reference.families.classes: AdaFace, ArcFace, CosFace, Instance,
LargeMarginSoftmax, MagFace, MultiProxy, NormalizedSoftmax, P2SGrad, ProxyAnchor, ProxyNCA, SoftTriple,
SphereFace and SubCenterArcFace.
"""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from likewise import losses
from likewise.errors import InputError, UnsupportedError
from likewise.losses.classes import ClassLoss
from likewise.relations import Labels, Pairs
from reference.families.classes import CLASSES, ClassReference
from reference.losses import reduced

CASES = [
    pytest.param(reference, id=f"{name}-{number}")
    for name, listed in CLASSES.items()
    for number, reference in enumerate(listed)
]
REDUCTIONS = ("mean", "active", "sum", "none")


def double(
    reference: ClassReference, n_classes: int, dimension: int, w: Tensor | None = None, **more: Any
) -> ClassLoss:
    """The loss in float64 and evaluation mode, with given vectors."""
    loss = reference.loss(n_classes, dimension, **more).double().eval()
    assert isinstance(loss, ClassLoss)
    if w is not None:
        with torch.no_grad():
            loss.weight.copy_(w)
    return loss


def case(draw: random.Random, reference: ClassReference) -> tuple[Tensor, Tensor, list[int], int]:
    """Embeddings, vectors, classes, number of classes: in all the shapes that batches come in."""
    n, n_classes, d = draw.randint(1, 5), draw.choice([1, 2, 2, 3, 4, 5]), draw.choice([2, 3, 12])
    generator = torch.Generator().manual_seed(draw.randrange(2**31))
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) * draw.choice([0.01, 1.0, 30.0])
    w = torch.randn(n_classes * reference.centres, d, generator=generator, dtype=torch.float64)
    x, w = x.float().double(), w.float().double()  # float32 sees the same points
    kind = draw.choice(["plain", "plain", "one class", "duplicates", "unlabelled", "on a vector"])
    classes = [draw.randrange(n_classes) for _ in range(n)]
    if kind == "one class":
        classes = [n_classes - 1] * n
    elif kind == "duplicates":
        x[-1] = x[0]
        w[-1] = w[0]
    elif kind == "unlabelled":
        classes = [draw.choice([-1, y]) for y in classes]
    elif kind == "on a vector" and not reference.angles:
        x[0] = 2 * w[classes[0] * reference.centres]
        x[-1] = -w[0]
    return x, w, classes, n_classes


def relation_of(classes: list[int]) -> Any:
    return Labels(classes, unlabelled=-1) if -1 in classes else torch.tensor(classes)


def expected_value(
    reference: ClassReference,
    x: Tensor,
    w: Tensor,
    classes: list[int],
    reduction: str,
    weights: Tensor | None,
) -> Tensor:
    terms = reference.terms(x, w, classes, **reference.options)
    value = reduced(terms, reduction, weights, x.sum() + w.sum())
    return value if reference.added is None else value + reference.added(w, **reference.options)


def call(loss: ClassLoss, x: Tensor, classes: list[int], weights: Tensor | None = None) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no positive pair.*")
        value = loss(x, relation_of(classes), weights=weights)
    assert isinstance(value, Tensor)
    return value


@pytest.mark.parametrize("reference", CASES)
def test_value_and_gradients_equal_the_loops(reference: ClassReference) -> None:
    """200 random cases in float64 (60 of a further option): value and gradients of both, to 1e-9."""
    draw = random.Random(7)
    first = any(reference is listed[0] for listed in CLASSES.values())
    for number in range(200 if first else 60):
        x, w, classes, n_classes = case(draw, reference)
        reduction = REDUCTIONS[number % 4]
        weights = None
        if draw.random() < 0.3 and not reference.rows_are_classes:
            weights = torch.rand(x.shape[0], dtype=torch.float64)
        a, b = x.clone().requires_grad_(), w.clone().requires_grad_()
        expected = expected_value(reference, a, b, classes, reduction, weights)
        mix = torch.linspace(0.5, 1.5, max(1, expected.numel()), dtype=torch.float64).reshape(expected.shape)
        slopes = torch.autograd.grad((expected * mix).sum(), (a, b))
        loss = double(reference, n_classes, x.shape[1], w, reduction=reduction)
        y = x.clone().requires_grad_()
        found = call(loss, y, classes, weights)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
        (found * mix).sum().backward()
        torch.testing.assert_close(y.grad, slopes[0], rtol=1e-7, atol=1e-8)
        torch.testing.assert_close(loss.weight.grad, slopes[1], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("reference", CASES)
def test_float32_is_as_exact_as_float32_can_be(reference: ClassReference) -> None:
    draw = random.Random(3)
    for _ in range(30):
        x, w, classes, n_classes = case(draw, reference)
        expected = expected_value(reference, x, w, classes, "sum", None)
        loss = double(reference, n_classes, x.shape[1], w, reduction="sum").float()
        found = call(loss, x.float(), classes)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("reference", [case for case in CASES if not case.values[0].held])
def test_gradcheck(reference: ClassReference) -> None:
    generator = torch.Generator().manual_seed(10)  # not that of the vectors: no embedding lies on one
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(5, generator=generator, dtype=torch.float64, requires_grad=True)
    for reduction in ("mean", "none"):
        loss = double(reference, 4, 3, reduction=reduction)

        def value(a: Tensor, w: Tensor, v: Tensor, loss: ClassLoss = loss) -> Tensor:
            options = {} if reference.rows_are_classes else {"weights": w}
            found = torch.func.functional_call(loss, {"weight": v}, (a, [0, 0, 1, 3, 3]), options)
            assert isinstance(found, Tensor)
            return found

        vectors = loss.weight.detach().clone().requires_grad_()
        if reference.rows_are_classes:
            weights = weights.detach()
        assert torch.autograd.gradcheck(value, (x, weights, vectors), nondet_tol=0.0)


@pytest.mark.parametrize("reference", CASES)
def test_tile_size_changes_nothing(reference: ClassReference, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(23, 5, generator=generator, dtype=torch.float64)
    classes = torch.randint(0, 31, (23,), generator=generator)
    loss = double(reference, 31, 5)
    found = []
    for tile, whole, rows, fewest in (
        (1 << 19, 8192, 256, 64),
        (64, 2, 4, 1),
        (64, 2, 16, 1),
        (64, 99, 9, 2),
    ):
        monkeypatch.setattr("likewise.table.blocks.TILE", tile)
        monkeypatch.setattr("likewise.table.blocks.WHOLE_ROWS", whole)
        monkeypatch.setattr("likewise.table.blocks.ROWS", rows)
        monkeypatch.setattr("likewise.table.blocks.FEWEST_ROWS", fewest)
        a = x.clone().requires_grad_()
        loss.zero_grad()
        value = loss(a, classes)
        value.backward()
        found.append((value.detach(), a.grad, loss.weight.grad))
    for others in found[1:]:
        for other, first in zip(others, found[0], strict=True):
            torch.testing.assert_close(other, first, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("reference", CASES)
def test_order_of_batch_and_classes_changes_nothing(reference: ClassReference) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    classes = torch.randint(0, 5, (20,), generator=generator)
    order, renamed = torch.randperm(20, generator=generator), torch.randperm(5, generator=generator)
    first = double(reference, 5, 4)
    w = first.weight.detach().view(5, reference.centres, 4)
    second = double(reference, 5, 4, w[renamed].reshape(-1, 4))  # class c is now renamed.argsort()[c]
    a, b = x.clone().requires_grad_(), x[order].clone().requires_grad_()
    values = first(a, classes), second(b, renamed.argsort()[classes[order]])
    (values[0] + values[1]).backward()
    torch.testing.assert_close(values[0], values[1], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(a.grad[order], b.grad, rtol=1e-11, atol=1e-12)
    gradient = first.weight.grad.view(5, reference.centres, 4)
    torch.testing.assert_close(gradient[renamed].reshape(-1, 4), second.weight.grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("reference", CASES)
def test_half_precision_sums_in_float32_and_vectors_keep_their_dtype(reference: ClassReference) -> None:
    x = torch.randn(24, 8, generator=torch.Generator().manual_seed(4))
    labels = torch.arange(24) // 4
    loss = reference.loss(6, 8).eval()
    for dtype in (torch.bfloat16, torch.float16):
        low = x.to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = loss(low, labels)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, loss(low.detach().float(), labels))
        found.backward()
        assert low.grad.dtype == dtype
    loss(x.double(), labels).backward()
    (weight,) = loss.parameters()
    assert weight.dtype == weight.grad.dtype == torch.float32


@pytest.mark.parametrize("reference", CASES)
def test_backward_twice_and_double_backward(reference: ClassReference) -> None:
    x = torch.randn(
        12, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64, requires_grad=True
    )
    loss = double(reference, 4, 3)
    value = loss(x, torch.arange(12) // 3)
    wanted = (x, loss.weight)
    first = [g.clone() for g in torch.autograd.grad(value, wanted, retain_graph=True)]
    second = torch.autograd.grad(value * 2, wanted, retain_graph=True)
    for g, h in zip(first, second, strict=True):
        torch.testing.assert_close(h, 2 * g, rtol=1e-12, atol=1e-14)
    with pytest.raises(UnsupportedError, match="twice"):
        torch.autograd.grad(value, x, create_graph=True)


@pytest.mark.parametrize("reference", CASES)
def test_a_batch_of_nothing_is_zero_with_gradients_and_one_warning(reference: ClassReference) -> None:
    """Without an embedding, and with none of a known class; but the term of the centres stays."""
    for n, kind in ((0, "mean"), (2, "mean"), (2, "none")):
        options = {"regularization": 0.0} if reference.added is not None else {}
        loss = reference.build(3, 4, **(reference.options | options), reduction=kind).double()
        x = torch.ones(n, 4, dtype=torch.float64, requires_grad=True)
        with pytest.warns(UserWarning, match="raise the samples a class") as caught:
            value = loss(x, Labels([-1] * n, unlabelled=-1))
        assert len(caught) == 1
        value.sum().backward()
        if reference.rows_are_classes and kind == "none":
            assert value.shape == (3,)
        elif kind == "none":
            assert value.shape == (n,)
        assert not value.any()
        assert x.grad is not None
        assert not x.grad.any()
        assert loss.weight.grad is not None
        assert not loss.weight.grad.any()


@pytest.mark.parametrize("reference", CASES)
def test_hostile_input_is_refused(reference: ClassReference) -> None:
    loss = reference.loss(2, 3)
    x = torch.randn(4, 3)
    bad = x.clone()
    bad[2, 1] = torch.nan
    labels = torch.tensor([0, 0, 1, 1])
    refused: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((bad, labels), {}, "row 2"),
        ((x, [0, 0, 1]), {}, "expected 4, found 3|as many"),
        ((x, [0.0, 0.0, 1.0, 1.0]), {}, "whole numbers or strings"),
        ((x, [0, 0, 1, 2]), {}, r"integers from 0 to 1 .* found 2 in row 3"),
        ((x, [0, -1, 1, 1]), {}, "found -1 in row 1"),
        ((x, ["a", "a", "b", "b"]), {}, "number the classes"),
        ((x, torch.eye(4, 3, dtype=torch.bool)), {}, "a column a class: expected 2, found 3"),
        ((x, Pairs([0], [2], [True])), {}, "right must be below the number of items"),
        ((x[0], labels), {}, "shape"),
        ((torch.randn(4, 2), labels), {}, r"\(n, 3\); found \(4, 2\)"),
        ((x.long(), labels), {}, "floating"),
        ((x, labels), {"weights": torch.ones(9)}, "weights"),
    ]
    if not isinstance(loss, losses.Instance):  # its columns are the other modality
        columns = {"columns": x, "column_relation": labels}
        refused.append(((x, labels), columns, "leave out columns and column_relation"))
    for arguments, options, message in refused:
        with pytest.raises(InputError, match=message):
            loss(*arguments, **options)
    with torch.no_grad():
        next(loss.parameters())[1, 0] = torch.inf
    with pytest.raises(InputError, match=r"weight must be finite.* row 1"):
        loss(x, labels)
    for sizes in ((0, 3), (2, 0), (2.0, 3), (True, 3)):
        with pytest.raises(InputError, match="whole number above zero"):
            reference.loss(*sizes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="reduction"):
        reference.loss(2, 3, reduction="average")


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_bad_parameters_are_refused(name: str) -> None:
    build = getattr(losses, name)
    for option in ("margin", "scale", "alpha", "temperature"):
        if option in CLASSES[name][0].options:
            for value in (-1.0, float("nan"), float("inf"), "much"):
                with pytest.raises(InputError, match=option):
                    build(2, 3, **{option: value})
    for option in ("scale", "alpha", "temperature"):
        if option in CLASSES[name][0].options:
            with pytest.raises(InputError, match=option):
                build(2, 3, **{option: 0.0})


@pytest.mark.parametrize("reference", CASES)
def test_vectors_are_the_whole_checkpoint(reference: ClassReference) -> None:
    first, second = reference.loss(3, 4).eval(), reference.loss(3, 4).eval()
    assert set(first.state_dict()) - {"norm_mean", "norm_deviation"} == {"weight"}
    second.load_state_dict(first.state_dict())
    x, labels = torch.randn(6, 4), torch.arange(6) % 3
    assert torch.equal(first(x, labels), second(x, labels))


class LargestArray(TorchDispatchMode):
    """Remembers the most numbers in any array that an operation gave."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for part in out if isinstance(out, tuple | list) else (out,):
            if isinstance(part, Tensor):
                self.numbers = max(self.numbers, part.numel())
        return out


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_no_array_of_rows_by_classes(name: str) -> None:
    """With 300 rows and 9,000 classes nothing as large as a fifth of the table is ever made."""
    loss = CLASSES[name][0].loss(9000, 4)
    x = torch.randn(300, 4, requires_grad=True)
    with LargestArray() as largest:
        loss(x, torch.arange(300) * 29).backward()
    assert x.grad is not None
    assert x.grad.any()
    assert largest.numbers <= 300 * 9000 // 5


def test_instance_classifies_both_modalities() -> None:
    generator = torch.Generator().manual_seed(0)
    x, z = torch.randn(5, 3, generator=generator), torch.randn(5, 3, generator=generator)
    items = torch.tensor([3, 0, 1, 1, 2])
    loss = losses.Instance(4, 3, temperature=0.3)
    torch.testing.assert_close(loss(x, items, columns=z), loss(x, items) + loss(z, items))
    few = loss(x, items, columns=z[:2], column_relation=items[3:])
    torch.testing.assert_close(few, loss(x, items) + loss(z[:2], items[3:]))
    with pytest.raises(InputError, match="expected 5, found 2"):
        loss(x, items, columns=z[:2])
