"""One step: cached gradients are the large batch's, the average is its recurrence, loss parameters learn."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from likewise.data import records_from_arrays
from likewise.errors import DataError, InputError
from likewise.losses import (
    BarlowTwins,
    Contrastive,
    CrossBatchMemory,
    NTXent,
    ProxyAnchor,
    SupCon,
    TripletMargin,
    VICReg,
)
from likewise.mining import BatchHard
from likewise.relations import Matches, Pairs, Scores, Triplets
from likewise.training import Batch, Learner, Schedule, Stepping, Task
from likewise.training.average import Average

LABELS = torch.arange(24) % 5


def encoder() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(7, 16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 4)).double()


def learner(loss: nn.Module, **options: object) -> Learner:
    made = Learner(
        encoder(),
        copy.deepcopy(loss).double(),
        schedule=Schedule(epochs=1, weight_decay=0.0),
        stepping=Stepping(**options),  # type: ignore[arg-type]
    )
    made.train()
    return made


def batch(relation: object = LABELS) -> Batch:
    return Batch(np.arange(24), relation, ids=torch.arange(24))  # type: ignore[arg-type]


def gradients(made: Learner, items: Tensor, of: Batch) -> tuple[float, list[Tensor]]:
    torch.manual_seed(5)  # what dropout draws
    value = made.gradients(items, of)
    return value, [parameter.grad.clone() for parameter in made.parameters() if parameter.grad is not None]


LOSSES = {
    "supcon": (SupCon(), LABELS),
    "hard triplets": (TripletMargin(miner=BatchHard()), LABELS),
    "proxies": (ProxyAnchor(5, 4), LABELS),
    "memory": (CrossBatchMemory(Contrastive(), 4, size=64), LABELS),
    "views": (NTXent(), torch.arange(12).repeat(2)),
    "pairs": (Contrastive(), Pairs([0, 4, 9], [5, 8, 20], [1, 0, 1])),
    "triplets": (TripletMargin(margin=3.0), Triplets([0, 4], [5, 8], [7, 23])),
}


@pytest.mark.parametrize("size", [1, 5, 24, 100])
@pytest.mark.parametrize("case", LOSSES)
def test_cached_gradients_are_those_of_the_whole_batch(case: str, size: int) -> None:
    loss, relation = LOSSES[case]
    torch.manual_seed(2)
    items = torch.randn(24, 7, dtype=torch.float64)
    whole, parts = learner(loss), learner(loss, cached_gradients=size)
    # Dropout draws by the shape of what it is given, so only without it are parts and whole the same.
    for made in (whole, parts):
        made.learned.eval()
    value, expected = gradients(whole, items, batch(relation))
    found_value, found = gradients(parts, items, batch(relation))
    assert found_value == pytest.approx(value, rel=1e-12)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12)
    assert any(float(gradient.abs().max()) > 1e-4 for gradient in expected)


def test_cached_gradients_repeat_what_dropout_drew() -> None:
    torch.manual_seed(2)
    items = torch.randn(24, 7, dtype=torch.float64)
    made = learner(SupCon(), cached_gradients=6)
    value, found = gradients(made, items, batch())
    # The same by hand: parts in order, one graph.
    torch.manual_seed(5)
    plain = encoder().train()
    torch.manual_seed(5)
    embeddings = torch.cat([plain(part) for part in items.split(6)])
    loss = SupCon()(embeddings, LABELS)
    loss.backward()
    assert value == pytest.approx(loss.item(), rel=1e-12)
    for one, other in zip(found, plain.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad, rtol=1e-6, atol=1e-12)


def test_parameters_of_the_loss_are_learned_without_asking_and_faster() -> None:
    made = learner(ProxyAnchor(5, 4))
    before = made.loss.weight.detach().clone()
    made.gradients(torch.randn(24, 7, dtype=torch.float64), batch())
    made.step(1.0)
    moved = (made.loss.weight.detach() - before).abs().max()
    encoder_rate, loss_rate = made.rates
    # Adam's first step moves a parameter by its rate: proxies ten times faster than the encoder.
    assert loss_rate == pytest.approx(10 * encoder_rate)
    assert float(moved) == pytest.approx(loss_rate, rel=1e-3)


def test_a_module_learns_at_its_own_pace() -> None:
    class Quick(nn.Linear):
        pace = 5.0

    torch.manual_seed(0)
    shared = Quick(4, 4)
    net = nn.Sequential(nn.Linear(4, 4), shared, nn.Tanh(), shared)
    made = Learner(net, SupCon(), schedule=Schedule(epochs=1, learning_rate=0.01), stepping=Stepping())
    rates = {id(p): group["lr"] for group in made.optimizer.param_groups for p in group["params"]}
    assert rates == {
        **{id(parameter): 0.01 for parameter in net[0].parameters()},
        **{id(parameter): 0.05 for parameter in shared.parameters()},
    }
    before = [parameter.detach().clone() for parameter in net.parameters()]
    made.train()
    made.gradients(torch.randn(8, 4), Batch(np.arange(8), torch.arange(8) % 2))
    made.step(1.0)
    moved = [
        float((now.detach() - then).abs().max()) for now, then in zip(net.parameters(), before, strict=True)
    ]
    # Adam's first step is the rate itself, whatever the gradient; weight decay adds a little.
    np.testing.assert_allclose(moved, [0.01, 0.01, 0.05, 0.05], rtol=0.02)


def test_a_clipped_gradient_has_the_norm_that_was_asked_for() -> None:
    made = learner(SupCon(), clip_gradient=1e-3)
    made.gradients(torch.randn(24, 7, dtype=torch.float64) * 10, batch())
    norm = torch.cat([parameter.grad.flatten() for parameter in made.parameters()]).norm()
    assert norm > 1e-2
    seen: list[Tensor] = []
    made.optimizer.register_step_pre_hook(
        lambda *_: seen.append(torch.cat([p.grad.flatten() for p in made.parameters()]).norm())
    )
    made.step(1.0)
    assert float(seen[0]) == pytest.approx(1e-3, rel=1e-3)


def test_bf16_computes_the_encoder_in_bfloat16_and_the_loss_in_float32() -> None:
    seen: dict[str, torch.dtype] = {}

    class Watch(SupCon):
        def forward(self, embeddings: Tensor, relation: object, **options: object) -> Tensor:
            seen["embeddings"] = embeddings.dtype
            return super().forward(embeddings, relation, **options)

    made = Learner(
        encoder().float(), Watch(), schedule=Schedule(epochs=1), stepping=Stepping(precision="bf16")
    )
    made.learned[0].register_forward_hook(lambda _module, _items, out: seen.update(inside=out.dtype))
    made.learned.eval()
    items = torch.randn(24, 7)
    value = made.gradients(items, batch())
    assert seen == {"embeddings": torch.float32, "inside": torch.bfloat16}
    assert all(parameter.dtype == parameter.grad.dtype == torch.float32 for parameter in made.parameters())
    exact = Learner(encoder().float(), SupCon(), schedule=Schedule(epochs=1), stepping=Stepping())
    exact.learned.eval()
    assert value == pytest.approx(exact.gradients(items, batch()), rel=2e-2)


def test_the_average_follows_its_recurrence_and_is_swapped_in_and_out() -> None:
    layer = nn.Linear(3, 2)
    average = Average(layer, decay=0.5)
    expected = layer.weight.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            layer.weight.normal_()
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
    own = layer.weight.detach().clone()
    with average.applied():
        torch.testing.assert_close(layer.weight.detach(), expected)
    assert torch.equal(layer.weight.detach(), own)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"precision": "fp8"}, "float32 or bf16"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"cached_gradients": -1}, "cached_gradients"),
        ({"average": 1.0}, r"average in \[0, 1\)"),
        ({"clip_gradient": 0.0}, "clip_gradient must be above 0"),
    ],
)
def test_a_step_out_of_range_is_refused(options: dict[str, object], found: str) -> None:
    with pytest.raises(InputError, match=found):
        Stepping(**options)  # type: ignore[arg-type]


X = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)


@pytest.mark.parametrize(
    ("relation", "kind"),
    [
        (Pairs([0, 4, 8], [1, 5, 2], [1, 0, 1]), "pairs"),
        (Scores([0, 4, 8], [1, 5, 2], [0.5, 1.0, 0.0]), "scores"),
        (Triplets([0, 4, 8], [1, 5, 2], [2, 6, 4]), "triplets"),
    ],
)
def test_a_batch_of_entries_reads_each_item_once_and_speaks_of_them_by_place(
    relation: Pairs | Scores | Triplets, kind: str
) -> None:
    records = replace(records_from_arrays(X, [0] * 9), y=None, relation=relation)
    task = Task(records)
    assert (task.supervision, task.count) == (kind, 3)
    made = task.batch([2, 0])
    assert len(set(made.rows.tolist())) == len(made.rows)
    for name in ("left", "right", "anchor", "positive", "negative"):
        if hasattr(relation, name):
            places = getattr(made.relation, name)
            assert made.rows[places].tolist() == getattr(relation, name)[[2, 0]].tolist()


def test_items_of_which_nothing_is_known_are_shown_twice_and_are_their_own_class() -> None:
    task = Task(replace(records_from_arrays(X, [0] * 9), y=None))
    made = task.batch([7, 3])
    assert (task.supervision, made.views, made.rows.tolist()) == ("views", 2, [7, 3])
    assert made.relation.tolist() == [7, 3, 7, 3]
    assert made.ids is None  # or the two views would be one item to a memory


@pytest.mark.parametrize("kind", [VICReg, BarlowTwins])
@pytest.mark.parametrize("cached", [0, 3])
def test_losses_of_two_views_get_each_view_apart(kind: type[nn.Module], cached: int) -> None:
    torch.manual_seed(0)
    linear, items = nn.Linear(3, 4), torch.randn(10, 3)
    made = Learner(linear, kind(), schedule=Schedule(epochs=1), stepping=Stepping(cached_gradients=cached))
    rows = np.arange(5)
    batch = Batch(rows, torch.from_numpy(rows).repeat(2), views=2)
    found = made.gradients(items, batch)
    gradient = linear.weight.grad.clone()
    linear.zero_grad()
    expected = kind()(linear(items[:5]), Matches(), columns=linear(items[5:]))
    expected.backward()
    assert found == pytest.approx(float(expected.detach()), rel=1e-5)
    torch.testing.assert_close(gradient, linear.weight.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [Scores, Pairs])
def test_a_thing_paired_with_itself_teaches_nothing_and_is_left_out(kind) -> None:
    records = replace(records_from_arrays(np.eye(4, dtype=np.float32), [0] * 4), y=None)
    task = Task(replace(records, relation=kind([0, 1, 2, 3], [0, 2, 3, 3], [1, 0, 1, 1])))
    made = task.batch([0, 1])
    assert (task.count, made.rows.tolist()) == (2, [1, 2, 3])
    assert (made.relation.left.tolist(), made.relation.right.tolist()) == ([0, 1], [1, 2])
    with pytest.raises(DataError, match="every pair is of a thing with itself"):
        Task(replace(records, relation=kind([0, 1], [0, 1], [1, 0])))
