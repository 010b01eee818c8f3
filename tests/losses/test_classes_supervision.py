"""Every loss against vectors of classes takes every kind of supervision; held against the loops.

A loop knows one class a row. A row near to the classes Y and far from F is, for a softmax, the sum over y in
Y of the loop's terms for the class y among {y} and F alone; what is in neither is left out of it.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.losses.classes import ClassLoss
from likewise.relations import Chunklets, Labels, Mask, Matches, Pairs, Quadruplets, Scores, Triplets
from reference.families.classes import CLASSES, ClassReference, product, unit
from reference.losses import reduced

FIRST = {name: listed[0] for name, listed in CLASSES.items()}
NAMES = ["ant", "bee", "cat", "dog"]
N_CLASSES, DIMENSION = 4, 3


@dataclass
class Case:
    """What a loss is called with, and each row as (embedding, near classes, far classes)."""

    name: str
    relation: Any
    rows: list[tuple[int, list[int], list[int]]]
    n: int


def _one_class(classes: list[int]) -> list[tuple[int, list[int], list[int]]]:
    every = range(N_CLASSES)
    return [
        (i, [y] if y >= 0 else [], [c for c in every if c != y] if y >= 0 else [])
        for i, y in enumerate(classes)
    ]


def cases(draw: random.Random) -> list[Case]:
    """One case of each kind."""
    n = draw.randint(2, 5)
    classes = [draw.randrange(N_CLASSES) for _ in range(n)]
    found = [Case("numbers", Labels(classes), _one_class(classes), n)]
    unknown = [draw.choice([-1, y]) for y in classes]
    found.append(Case("unlabelled", Labels(unknown, unlabelled=-1), _one_class(unknown), n))
    groups = [draw.choice([-1, -7, y]) for y in classes]
    found.append(Case("chunklets", Chunklets(groups), _one_class(groups), n))
    table = [[draw.random() < 0.4 for _ in range(N_CLASSES)] for _ in range(n)]
    several = []
    for i, marks in enumerate(table):
        near = [c for c in range(N_CLASSES) if marks[c]]
        several.append((i, near, [c for c in range(N_CLASSES) if not marks[c]] if near else []))
    found.append(Case("several", Labels(torch.tensor(table)), several, n))
    cells = draw.sample([(i, c) for i in range(n) for c in range(N_CLASSES)], k=min(2 * n, 6))
    flags = [draw.random() < 0.5 for _ in cells]
    listed: list[tuple[int, list[int], list[int]]] = [(i, [], []) for i in range(n)]
    for (i, c), alike in sorted(zip(cells, flags, strict=True)):
        listed[i][1 if alike else 2].append(c)
    left, right = [i for i, _ in cells], [c for _, c in cells]
    found.append(Case("pairs", Pairs(left, right, flags), listed, n))
    score = [5.0 if alike else 1.0 for alike in flags]
    found.append(Case("scores", Scores(left, right, score, near_from=4, far_to=2), listed, n))
    near, far = (torch.zeros(n, N_CLASSES, dtype=torch.bool) for _ in range(2))
    for (i, c), alike in zip(cells, flags, strict=True):
        (near if alike else far)[i, c] = True
    found.append(Case("mask", Mask(near, far.to_sparse()), listed, n))
    triplets = [(draw.randrange(n), *draw.sample(range(N_CLASSES), 2)) for _ in range(3)]
    rows = [(i, [p], [q]) for i, p, q in triplets]
    found.append(Case("triplets", Triplets(*zip(*triplets, strict=True)), rows, n))
    every = [(i, [i], [c for c in range(N_CLASSES) if c != i]) for i in range(N_CLASSES)]
    found.append(Case("matches", Matches(), every, N_CLASSES))
    return found


Terms = list[list[tuple[str, Tensor]]]


def by_class(reference: ClassReference, x: Tensor, w: Tensor, case: Case) -> Terms:
    """The loop of one class a row, once for each near class."""
    k = reference.centres
    terms: Terms = []
    for i, near, far in case.rows:
        row = []
        for y in near:
            kept = torch.cat([w[c * k : (c + 1) * k] for c in (y, *far)])
            row += reference.terms(x[i : i + 1], kept, [0], **reference.options)[0]
        terms.append(row)
    return terms


def proxy_nca(reference: ClassReference, x: Tensor, w: Tensor, case: Case) -> Terms:
    """Without anything far the sum is empty: no term."""
    some = Case("", None, [(i, near if far else [], far) for i, near, far in case.rows], case.n)
    return by_class(reference, x, w, some)


def p2s_grad(reference: ClassReference, x: Tensor, w: Tensor, case: Case) -> Terms:
    """One regression a row on ones and zeros."""
    cos = lambda i, c: product(unit(x[i]), unit(w[c]))  # noqa: E731
    return [
        [("joint", sum((cos(i, c) - 1) ** 2 for c in near) + sum(cos(i, c) ** 2 for c in far))]
        if near
        else []
        for i, near, far in case.rows
    ]


def multi_proxy(reference: ClassReference, x: Tensor, w: Tensor, case: Case) -> Terms:
    """The near classes are one mixture."""
    k, scale = reference.centres, reference.options["scale"]
    terms: Terms = []
    for i, near, far in case.rows:
        logits = [-scale * ((unit(x[i]) - unit(v)) ** 2).sum() for v in w]
        pick = lambda some, z=logits: [z[c * k + j] for c in some for j in range(k)]  # noqa: E731
        if not near:
            terms.append([])
            continue
        total, own = torch.stack(pick([*near, *far])), torch.stack(pick(near))
        # a row from which nothing is far is a term of value zero
        gap = torch.logsumexp(total, 0) - torch.logsumexp(own, 0) if far else own.sum() * 0
        terms.append([("joint", gap)])
    return terms


def proxy_anchor(reference: ClassReference, x: Tensor, w: Tensor, case: Case) -> Terms:
    """The rows are the classes."""
    alpha, margin = reference.options["alpha"], reference.options["margin"]
    cells: tuple[set[tuple[int, int]], set[tuple[int, int]]] = (set(), set())
    for i, near, far in case.rows:
        cells[0].update((c, i) for c in near)
        cells[1].update((c, i) for c in far)
    terms: Terms = []
    for c in range(N_CLASSES):
        cos = lambda i, c=c: product(unit(x[i]), unit(w[c]))  # noqa: E731
        pull = [torch.exp(-alpha * (cos(i) - margin)) for d, i in sorted(cells[0]) if d == c]
        push = [torch.exp(alpha * (cos(i) + margin)) for d, i in sorted(cells[1]) if d == c]
        row = [("near", torch.log(1 + sum(pull)))] if pull else []
        terms.append([*row, ("far", torch.log(1 + sum(push, w.sum() * 0)))])
    return terms


SPECIAL: dict[str, Callable[..., Terms]] = {
    "ProxyNCA": proxy_nca,
    "P2SGrad": p2s_grad,
    "MultiProxy": multi_proxy,
    "ProxyAnchor": proxy_anchor,
}


def build(name: str, **more: Any) -> ClassLoss:
    torch.manual_seed(0)  # the same vectors for the same sizes
    loss = FIRST[name].loss(N_CLASSES, DIMENSION, **more).double().eval()
    assert isinstance(loss, ClassLoss)
    return loss


def call(loss: ClassLoss, x: Tensor, relation: Any, **options: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no positive pair.*")
        value = loss(x, relation, **options)
    assert isinstance(value, Tensor)
    return value


@pytest.mark.parametrize("name", sorted(FIRST))
def test_every_kind_equals_the_loops(name: str) -> None:
    """63 random tables of nine kinds: value and both gradients, to 1e-9."""
    draw, reference = random.Random(3), FIRST[name]
    for number in range(7):
        for kind, case in enumerate(cases(draw)):
            reduction = ("mean", "active", "sum", "none")[(number + kind) % 4]
            generator = torch.Generator().manual_seed(draw.randrange(2**31))
            x = torch.randn(case.n, DIMENSION, generator=generator, dtype=torch.float64)
            loss = build(name, reduction=reduction)
            a, b = x.clone().requires_grad_(), loss.weight.detach().clone().requires_grad_()
            terms = SPECIAL.get(name, by_class)(reference, a, b, case)
            expected = reduced(terms, reduction, None, a.sum() + b.sum())
            known = any(near for _, near, _ in case.rows)
            if reference.added is not None:
                expected = expected + reference.added(b, **reference.options)
            if name == "ProxyAnchor" and not known:
                expected = expected * 0  # nothing to learn from, and a warning
            expected.sum().backward()
            y = x.clone().requires_grad_()
            found = call(loss, y, case.relation)
            where = lambda message, c=case: f"{c.name}: {message}"  # noqa: E731
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11, msg=where)
            found.sum().backward()
            torch.testing.assert_close(y.grad, a.grad, rtol=1e-7, atol=1e-8, msg=where)
            torch.testing.assert_close(loss.weight.grad, b.grad, rtol=1e-7, atol=1e-8, msg=where)


@pytest.mark.parametrize("name", sorted(FIRST))
def test_classes_go_by_name_and_by_level(name: str) -> None:
    """Strings and integers near 2^63 are compared exactly; levels are a sum of losses."""
    x = torch.randn(5, DIMENSION, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    numbers = [3, 0, 0, 2, 1]
    expected = call(build(name), x, numbers)
    near_the_end = [2**63 - 1 - c for c in range(N_CLASSES)]
    for names in (NAMES, near_the_end):
        loss = build(name, classes=names)
        found = call(loss, x, [names[c] for c in numbers])
        assert torch.equal(found, expected)
    with pytest.raises(InputError, match="among classes=; found cow in row 1"):
        build(name, classes=NAMES)(x, ["ant", "cow", "ant", "ant", "ant"])
    with pytest.raises(InputError, match="strings; found integers"):
        build(name, classes=NAMES)(x, numbers)

    loss = build(name, classes=[["insect", "mammal"], ["ant", "cat"]])
    genus, species = ["insect", "mammal", "insect", "mammal", "mammal"], ["ant", "cat", "ant", "cat", "cat"]
    found = call(loss, x, Labels(list(zip(genus, species, strict=True)), levels=[0.25, 0.75]))
    k, parts = loss.centres, []
    for first, numbers in ((0, [0, 1, 0, 1, 1]), (2, [0, 1, 0, 1, 1])):
        part = FIRST[name].loss(2, DIMENSION).double().eval()
        with torch.no_grad():
            part.weight.copy_(loss.weight[first * k : (first + 2) * k])
        parts.append(call(part, x, numbers))
    torch.testing.assert_close(found, 0.25 * parts[0] + 0.75 * parts[1], rtol=1e-12, atol=1e-13)
    with pytest.raises(InputError, match="2 levels"):
        loss(x, genus)
    with pytest.raises(InputError, match=r"classes=\[\[\.\.\.\], \.\.\.\]"):
        build(name)(x, Labels([[0, 1]] * 5, levels=[0.5, 0.5]))


@pytest.mark.parametrize("name", sorted(set(FIRST) - {"ProxyAnchor"}))
def test_two_classes_of_one_comparison(name: str) -> None:
    """(0, class 1) nearer than (2, class 3): the far cell is measured from an embedding of its own."""
    x = torch.randn(3, DIMENSION, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    same = x.clone()
    same[2] = same[0]  # from one embedding it is a triplet
    loss = build(name)
    first = call(loss, same, Quadruplets([0], [1], [2], [3]))
    torch.testing.assert_close(first, call(loss, same, Triplets([0], [1], [3])), rtol=1e-10, atol=1e-12)
    if name == "Manifold":
        return
    moved = call(loss, x, Quadruplets([0], [1], [2], [3]))
    assert not torch.allclose(moved, first)


def test_what_says_no_class_is_refused() -> None:
    x = torch.randn(4, DIMENSION)
    for relation, message in (
        (Chunklets([0, 0, 1, 4]), "from 0 to 3 of shape"),
        (Chunklets([0, 0, 1]), "expected 4, found 3"),
        (Labels(torch.ones(4, 3, dtype=torch.bool)), "a column a class: expected 4, found 3"),
        (Pairs([0], [4], [True]), "right must be below the number of items"),
        (Scores([0], [1], [1.0]), "near_from"),
    ):
        with pytest.raises(InputError, match=message):
            build("ArcFace").float()(x, relation)
    for classes, message in ((["a", "b"], "n_classes=4"), (["a", "b", "b", "c"], "b twice")):
        with pytest.raises(InputError, match=message):
            build("ArcFace", classes=classes)
