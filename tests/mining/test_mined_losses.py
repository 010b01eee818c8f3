"""Losses of what is mined, and miners against pytorch-metric-learning where it agrees.

pytorch-metric-learning 2.9: BatchHardMiner, BatchEasyHardMiner (easy positive, semi-hard negative) and
MultiSimilarityMiner choose as ours do. Its TripletMarginMiner lists every triplet inside the margin and calls
those semi-hard that FaceNet chooses from; its DistanceWeightedMiner draws with replacement from the global
random state, one positive at random, and takes weights off the largest of the whole table, so that rows far
from everything underflow to no weight at all.
"""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning import distances as their_distances
from pytorch_metric_learning import miners as theirs

from likewise import mining
from likewise.distances import Cosine, Euclidean, unit_rows
from likewise.losses import Contrastive, TripletMargin
from likewise.relations import Labels, Sides
from reference.losses import euclidean
from reference.mining import ALL, Look, batch_hard, listing, semi_hard
from reference.tables import PlainRow, PlainTable


@pytest.mark.parametrize("name", ["hard", "easy", "multi"])
def test_equal_to_pytorch_metric_learning(name: str) -> None:
    euclid = their_distances.LpDistance()
    for seed in range(5):
        x = torch.randn(24, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        labels = torch.arange(24) // 4
        table = Labels(labels).resolve(None, Sides(24, 24, True, torch.device("cpu")))
        if name == "multi":
            a, p, b, n = theirs.MultiSimilarityMiner(0.1)(x, labels)
            found = mining.MultiSimilarityPairs(epsilon=0.1)(x, table, distance=Cosine())
            rows = listing(found)
            assert sorted(cell for near, _ in rows for cell in near) == sorted(
                zip(a.tolist(), p.tolist(), strict=True)
            )
            assert sorted(cell for _, far in rows for cell in far) == sorted(
                zip(b.tolist(), n.tolist(), strict=True)
            )
            continue
        if name == "hard":
            triplets = theirs.BatchHardMiner(distance=euclid)(x, labels)
            found = mining.BatchHard()(unit_rows(x), table, distance=Euclidean())
        else:
            a, p, _, n = theirs.BatchEasyHardMiner(distance=euclid)(x, labels)
            triplets = (a, p, n)
            found = mining.EasyPositive()(unit_rows(x), table, distance=Euclidean())
        ours = {(near[0][0], near[0][1], far[0][1]) for near, far in listing(found) if near}
        assert ours == set(zip(*(part.tolist() for part in triplets), strict=True))


def test_a_mined_loss_is_the_loss_of_the_mined_triplets() -> None:
    """Value and gradient of batch-hard and semi-hard triplets, by loops."""
    x = torch.randn(15, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = [i // 3 for i in range(15)]
    rows = [
        PlainRow(
            [(i, j) for j in range(15) if j != i and labels[j] == labels[i]],
            [(i, j) for j in range(15) if labels[j] != labels[i]],
        )
        for i in range(15)
    ]
    table = PlainTable("labels", x, labels, rows)
    look = Look(table)
    chosen = {
        "hard": [batch_hard(row, look) for row in rows],
        "semi": semi_hard("nothing")(table, look),
    }
    for name, miner in (("hard", mining.BatchHard()), ("semi", mining.SemiHard())):
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        found = TripletMargin(margin=0.4, reduction="mean", miner=miner)(a, labels)
        terms = [
            torch.relu(euclidean(b[n[0][0]], b[n[0][1]]) - euclidean(b[f[0][0]], b[f[0][1]]) + 0.4)
            for n, f in chosen[name]
        ]
        expected = torch.stack(terms).mean()
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        found.backward()
        expected.backward()
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)
        assert a.grad.any()


@pytest.mark.parametrize("miner", ALL, ids=lambda miner: type(miner).__name__)
def test_batches_without_pairs_give_zero(miner: mining.Miner) -> None:
    for n in (0, 1, 3):
        x = torch.randn(n, 3, requires_grad=True)
        with pytest.warns(UserWarning, match="raise the samples a class"):
            value = TripletMargin(miner=miner)(x, list(range(n)))
        value.backward()
        assert float(value.detach()) == 0.0
        assert not x.grad.any()


def test_multi_similarity_pairs_keep_both_parts_of_another_loss() -> None:
    """Contrastive over the kept pairs is the sum over the two lists."""
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    labels = torch.arange(20) // 4
    miner = mining.MultiSimilarityPairs(epsilon=0.05)
    value = Contrastive(margin=3.0, squared=False, miner=miner)(x, labels)
    table = Labels(labels).resolve(None, Sides(20, 20, True, torch.device("cpu")))
    rows = listing(miner(x, table, distance=Euclidean()))
    near = [float(euclidean(x[a], x[c])) for cells, _ in rows for a, c in cells]
    far = [max(0.0, 3.0 - float(euclidean(x[a], x[c]))) for _, cells in rows for a, c in cells]
    assert 0 < len(far) < 20 * 16
    assert float(value) == pytest.approx(sum(near) / len(near) + sum(far) / len(far), rel=1e-9)
