"""CrossBatchMemory against the wrapped loss on a plain list of past embeddings.

Equal to pytorch-metric-learning 2.9's CrossBatchMemory where items have no ids of their own. Where it
differs: theirs compares an item with its own entry of an earlier epoch, has its pointer and count outside the
state (a restored memory begins anew), casts labels as they come, and refuses losses outside a list of names.
"""

from __future__ import annotations

import io
import warnings

import pytest
import torch
from pytorch_metric_learning import distances as their_distances
from pytorch_metric_learning import losses as their_losses
from pytorch_metric_learning import reducers as their_reducers

from likewise.errors import InputError, UnsupportedError
from likewise.losses import Contrastive, CrossBatchMemory, SupCon, TripletMargin
from likewise.relations import Chunklets, Labels, Mask, Matches, Pairs, Quadruplets, Scores, Triplets


def batches(count: int, n: int = 5, d: int = 3, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        x = torch.randn(n, d, generator=generator, dtype=torch.float64)
        if seed % 2:  # 1e-4 apart at offset 1,000
            x = 1000 + 1e-4 * x
        yield x, torch.randint(0, 3, (n,), generator=generator)


def plain(loss, history, x, labels, *, size):
    """The wrapped loss on what a memory of ``size`` should hold: (item, embedding, label), oldest first."""
    held = history[-size:]
    columns = torch.stack([row for _, row, _ in held])
    ids = [item for item, _, _ in history[-x.shape[0] :]]
    return loss(
        x,
        Labels(labels),
        columns=columns,
        column_relation=Labels([label for _, _, label in held]),
        ids=ids,
        column_ids=[item for item, _, _ in held],
    )


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
@pytest.mark.parametrize("wrapped", [Contrastive(margin=2.0), SupCon(), TripletMargin(margin=0.5)])
@pytest.mark.parametrize("size", [5, 7, 12, 100])
def test_value_and_gradient_are_those_of_a_list_of_past_embeddings(wrapped, size: int) -> None:
    """With and without ids that come back; the ring is passed several times."""
    for with_ids in (False, True):
        memory = CrossBatchMemory(wrapped, 3, size=size).double()
        history = []
        for step, (x, labels) in enumerate(batches(9, seed=int(with_ids))):
            ids = [(step * 5 + k) % 15 for k in range(5)] if with_ids else None
            keys = ids if with_ids else [step * 5 + k for k in range(5)]
            history += list(zip(keys, x, labels.tolist(), strict=True))
            a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
            expected = plain(wrapped, history, a, labels.tolist(), size=size)
            found = memory(b, labels, ids=ids)
            torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
            expected.backward()
            found.backward()
            torch.testing.assert_close(b.grad, a.grad, rtol=1e-10, atol=1e-11)


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
@pytest.mark.parametrize("size", [6, 13])
def test_equal_to_pytorch_metric_learning(size: int) -> None:
    theirs = their_losses.CrossBatchMemory(
        their_losses.ContrastiveLoss(
            pos_margin=0.0,
            neg_margin=1.5,
            distance=their_distances.LpDistance(normalize_embeddings=False),
            reducer=their_reducers.AvgNonZeroReducer(),
        ),
        3,
        memory_size=size,
    )
    ours = CrossBatchMemory(Contrastive(margin=1.5, squared=False, reduction="active"), 3, size=size).double()
    for x, labels in batches(6):
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        found, expected = ours(a, labels), theirs(b, labels)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
        found.backward()
        expected.backward()
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6)


KINDS = {
    "integers": lambda step: [2**62 + step % 2, 2**62, 2**62 + 1, 5],
    "strings": lambda step: [f"class {step}", "class 0", "ä\x00\n", "class 1"],
    "table": lambda step: torch.tensor([[True, False], [False, True], [step % 2 == 0, True], [False, False]]),
    "chunklets": lambda step: Chunklets([0, 0, -1, step]),
    "levels": lambda step: Labels([[0, step], [0, 1], [2**62, 2], [2**62 + 1, 3]], levels=[0.3, 0.7]),
    "names of levels": lambda step: Labels(
        [["a", f"class {step}"], ["a", "x"], ["b", "y"], ["b", "x"]], levels=[0.3, 0.7]
    ),
    "unlabelled": lambda step: Labels([step, 0, -1, 1], unlabelled=-1),
}


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_restored_memory_goes_on_to_the_bit(kind: str) -> None:
    """The state goes through bytes; whatever the kind and number of labels, and where the pointer stands."""
    torch.manual_seed(1)
    data = [torch.randn(4, 3) for _ in range(8)]
    first = CrossBatchMemory(Contrastive(margin=2.0), 3, size=6)
    for step in range(4):
        first(data[step], KINDS[kind](step))
    state = {name: value.clone() for name, value in first.state_dict().items()}
    assert {"queue", "labels", "ids", "names", "pointer", "filled", "next_id", "kind"} <= set(state)
    stored = {}
    for name, value in state.items():
        buffer = io.BytesIO(value.contiguous().numpy().tobytes())
        flat = torch.frombuffer(bytearray(buffer.read()), dtype=value.dtype) if value.numel() else value
        stored[name] = flat.reshape(value.shape)
    second = CrossBatchMemory(Contrastive(margin=2.0), 3, size=6)
    second.load_state_dict(stored)
    for step in range(4, 8):
        a, b = data[step].clone().requires_grad_(), data[step].clone().requires_grad_()
        found, expected = second(a, KINDS[kind](step)), first(b, KINDS[kind](step))
        found.backward()
        expected.backward()
        assert torch.equal(found, expected)
        assert torch.equal(a.grad, b.grad)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
def test_levels_add_up_in_the_memory_too() -> None:
    """The memory of a hierarchy is the weighted sum of memories of its levels, named or numbered."""
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    coarse, fine = torch.arange(8) % 2, torch.arange(8) % 4
    memories = [CrossBatchMemory(Contrastive(margin=2.0), 3, size=6).double() for _ in range(4)]
    for rows in (slice(0, 4), slice(4, 8)):
        both = torch.stack([coarse, fine], dim=1)[rows]
        names = [[f"genus {g}", f"species {s}"] for g, s in both.tolist()]
        numbered = memories[0](x[rows], Labels(both, levels=[0.3, 0.7]))
        named = memories[1](x[rows], Labels(names, levels=[0.3, 0.7]))
        apart = 0.3 * memories[2](x[rows], coarse[rows]) + 0.7 * memories[3](x[rows], fine[rows])
        torch.testing.assert_close(numbered, apart, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(named, apart, rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
def test_labels_are_exact() -> None:
    """2^62 and 2^62 + 1 are one number in float64, and two classes here; "10" isn't "1"."""
    for first, second in (([2**62], [2**62 + 1]), (["1"], ["10"])):
        memory = CrossBatchMemory(Contrastive(margin=2.0, reduction="sum"), 1, size=4).double()
        memory(torch.zeros(1, 1, dtype=torch.float64), first)
        apart = memory(torch.ones(1, 1, dtype=torch.float64), second)
        assert float(apart) == 0.5  # unlike: (2 - 1)^2 / 2
        alike = memory(torch.full((1, 1), 1.5, dtype=torch.float64), second)
        assert float(alike) == pytest.approx(0.125 + 0.125)  # 0.5^2 / 2 to its like, (2 - 1.5)^2 / 2


def test_names_that_nobody_bears_are_dropped() -> None:
    memory = CrossBatchMemory(Contrastive(), 1, size=4)
    lengths = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in range(50):
            memory(torch.randn(2, 1), [f"class {step:04d}", f"other {step:04d}"])
            lengths.append(memory.names.numel())
    assert max(lengths[5:]) == lengths[5]


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
def test_evaluating_leaves_the_memory_as_it_is() -> None:
    memory = CrossBatchMemory(Contrastive(margin=2.0), 3, size=9).double()
    seen = list(batches(2))
    memory(*seen[0])
    before = {name: value.clone() for name, value in memory.state_dict().items()}
    memory.eval()
    x, labels = seen[1]
    found = memory(x, labels)
    columns = torch.cat([x, seen[0][0]])
    expected = Contrastive(margin=2.0)(
        x,
        labels,
        columns=columns,
        column_relation=torch.cat([labels, seen[0][1]]),
        ids=range(5),
        column_ids=range(10),
    )
    torch.testing.assert_close(found, expected)
    for name, value in memory.state_dict().items():
        assert torch.equal(value, before[name])
    memory.train()
    memory.reset()
    memory(x, ["a", "b", "a", "b", "a"])
    assert int(memory.filled) == 5


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
def test_batches_whose_backward_comes_later_keep_their_gradients() -> None:
    """Accumulating losses over batches that overwrite each other's queue."""
    for reduction in ("mean", "none"):
        memory = CrossBatchMemory(Contrastive(margin=2.0, reduction=reduction), 3, size=6).double()
        twin = CrossBatchMemory(Contrastive(margin=2.0, reduction=reduction), 3, size=6).double()
        late, soon = [], []
        total = 0.0
        for x, labels in batches(3):
            late.append(x.clone().requires_grad_())
            soon.append(x.clone().requires_grad_())
            total = total + memory(late[-1], labels).sum()
            twin(soon[-1], labels).sum().backward()
        total.backward()
        for a, b in zip(late, soon, strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
def test_batch_weight_and_attached() -> None:
    (x, labels), (y, more) = batches(2)
    wrapped = Contrastive(margin=2.0)
    plain_memory, adding, attached = (
        CrossBatchMemory(wrapped, 3, size=10, **options).double()
        for options in ({}, {"batch_weight": 0.5}, {"attached": True})
    )
    for memory in (plain_memory, adding, attached):
        memory(x, labels)
    a, b = y.clone().requires_grad_(), y.clone().requires_grad_()
    expected = plain_memory(y, more)
    torch.testing.assert_close(adding(y, more), expected + 0.5 * wrapped(y, more))
    value = attached(a, more)
    torch.testing.assert_close(value, expected)
    value.backward()
    same = wrapped(
        b,
        more,
        columns=torch.cat([x, b]),
        column_relation=torch.cat([labels, more]),
        ids=range(5, 10),
        column_ids=range(10),
    )
    same.backward()
    torch.testing.assert_close(a.grad, b.grad)
    assert not attached.queue.requires_grad


def test_gradcheck_and_half_precision() -> None:
    """Attached, as the slopes of a batch against its own constants aren't those of its value."""
    memory = CrossBatchMemory(SupCon(), 3, size=10, attached=True).double()
    (x, labels), (y, more) = batches(2)
    memory(x, labels)
    memory.eval()
    weights = torch.rand(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda a, w: memory(a, more, weights=w), (y.clone().requires_grad_(), weights)
    )
    single = CrossBatchMemory(SupCon(), 3, size=10)
    for dtype in (torch.bfloat16, torch.float16):
        low = x.to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = single(low, labels)
        assert value.dtype == torch.float32
        value.backward()
        assert low.grad.dtype == dtype
    assert single.queue.dtype == torch.float32


def test_hostile_input_is_refused_and_leaves_the_memory_as_it_was() -> None:
    memory = CrossBatchMemory(Contrastive(margin=2.0), 3, size=8)
    x = torch.randn(4, 3)
    memory(x, [0, 0, 1, 1])
    before = {name: value.clone() for name, value in memory.state_dict().items()}
    bad = x.clone()
    bad[2, 1] = torch.nan
    for arguments, options, message in (
        ((bad, [0, 0, 1, 1]), {}, "row 2"),
        ((x, [0, 0, 1]), {}, "expected 4, found 3"),
        ((x, [0.0, 0.0, 1.0, 1.0]), {}, "whole numbers or strings"),
        ((x, ["a", "a", "b", "b"]), {}, "must be integers as those in the memory; found strings"),
        ((x, Matches()), {}, "Matches needs columns="),
        ((x, Pairs([0], [4], [True])), {}, "expected under 4, found 4"),
        ((torch.randn(4, 2), [0, 0, 1, 1]), {}, r"\(at most 8, 3\)"),
        ((torch.randn(9, 3), [0] * 9), {}, r"\(at most 8, 3\)"),
        ((x.double(), [0, 0, 1, 1]), {}, "float64"),
        ((x, [0, 0, 1, 1]), {"columns": x}, "the memory is the columns"),
        ((x, [0, 0, 1, 1]), {"ids": [1, 2]}, "ids"),
        ((x, [0, 0, 1, 1]), {"weights": torch.ones(3)}, "weights"),
    ):
        with pytest.raises(InputError, match=message):
            memory(*arguments, **options)
    for name, value in memory.state_dict().items():
        assert torch.equal(value, before[name])
    for options, message in (({"size": 0}, "size"), ({"batch_weight": -1}, "batch_weight")):
        with pytest.raises(InputError, match=message):
            CrossBatchMemory(Contrastive(), 3, **options)
    for loss, dimension, message in (
        (torch.nn.ReLU(), 3, "Loss; found ReLU"),
        (Contrastive(), 0, "dimension"),
    ):
        with pytest.raises(InputError, match=message):
            CrossBatchMemory(loss, dimension)
    with pytest.raises(UnsupportedError, match="walk of its own"):
        memory.function()


LISTS = {
    "pairs": Pairs([0, 1, 2], [1, 2, 4], [True, False, False]),
    "scores": Scores([0, 1, 2], [1, 2, 4], [5.0, 1.0, 2.0], near_from=4, far_to=2),
    "triplets": Triplets([0, 1], [1, 0], [2, 3]),
    "quadruplets": Quadruplets([0, 1], [1, 0], [2, 3], [3, 4]),
    "mask": Mask(torch.eye(5, dtype=torch.bool).roll(1, 0), torch.eye(5, dtype=torch.bool).roll(2, 0)),
}


@pytest.mark.parametrize("kind", sorted(LISTS))
@pytest.mark.parametrize("wrapped", [Contrastive(margin=2.0), TripletMargin(margin=2.0)])
def test_lists_relate_the_rows_of_their_batch_alone(wrapped, kind: str) -> None:
    memory = CrossBatchMemory(wrapped, 3, size=12, batch_weight=0.5).double()
    (x, labels), (y, _) = batches(2)
    memory(x, labels)
    before = {name: value.clone() for name, value in memory.state_dict().items()}
    a, b = y.clone().requires_grad_(), y.clone().requires_grad_()
    found, expected = memory(a, LISTS[kind]), 1.5 * wrapped(b, LISTS[kind])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, a), torch.autograd.grad(expected, b))
    for name, value in memory.state_dict().items():
        assert torch.equal(value, before[name])


def test_an_empty_batch_changes_nothing() -> None:
    memory = CrossBatchMemory(Contrastive(margin=2.0), 3, size=8)
    memory(torch.randn(4, 3), [0, 0, 1, 1])
    x = torch.randn(0, 3, requires_grad=True)
    with pytest.warns(UserWarning, match="raise the samples a class"):
        value = memory(x, torch.zeros(0, dtype=torch.int64))
    value.backward()
    assert float(value.detach()) == 0.0
    assert int(memory.filled) == 4
