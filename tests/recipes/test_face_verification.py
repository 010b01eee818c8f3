"""Chopra, Hadsell, LeCun 2005: energies, folds, rates, axes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from likewise.errors import DataError, InputError
from likewise.evaluation import verification
from likewise.recipes import face_verification
from likewise.recipes.face_nets import HalvedNet, even, whitened_axes


def test_the_2005_branches_cross_at_half_of_q_and_push_hardest_at_zero() -> None:
    loss = face_verification.objective(face_verification.Config(), "2005 energy")
    q = 2 * 100**0.5  # the cityblock distance of opposite unit vectors of 100 equal numbers
    assert loss.upper_bound == pytest.approx(q)
    pair = torch.tensor([[0.0], [q / 2]])
    alike, unlike = loss(pair, [0, 0]).item(), loss(pair, [0, 1]).item()
    assert alike == pytest.approx(q / 2)
    assert unlike == pytest.approx(q / 2, rel=2e-3)  # 2.77 is 4 log 2 to two digits
    slopes = []
    for energy in (1e-3, 2.0, q / 2):
        x = torch.tensor([[0.0], [energy]], requires_grad=True)
        loss(x, [0, 1]).backward()
        assert x.grad is not None
        slopes.append(abs(x.grad[1, 0].item()))
    assert slopes[0] == pytest.approx(5.54, rel=1e-3)
    assert slopes == sorted(slopes, reverse=True)


def test_the_face_net_has_the_papers_geometry() -> None:
    net = face_verification.build(face_verification.Config(), "2006 margin, published net")
    seen: list[tuple[int, ...]] = []
    for layer in net.maps:  # type: ignore[union-attr]
        layer.register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape[1:])))
    assert net(torch.rand(2, 56, 46)).shape == (2, 50)
    assert list(dict.fromkeys(seen)) == [(15, 50, 40), (15, 25, 20), (45, 20, 15), (45, 5, 5), (250, 1, 1)]


def test_persons_of_a_fold_are_never_learned_from(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[set[int]] = []

    def note(method: str, items: Tensor, labels: np.ndarray, *_: object) -> nn.Module:
        learned.append(set(labels.tolist()))
        return face_verification.build(face_verification.QUICK)

    monkeypatch.setattr(face_verification, "_trained", note)
    config = face_verification.Config(methods="2005 energy", learning_rates="0.01,0.02")
    face_verification.run(config, seed=0, data=str(shared_data))
    folds = [set(range(first, first + 5)) for first in range(1, 41, 5)]
    for fold, one, other, last in zip(folds, learned[::3], learned[1::3], learned[2::3], strict=True):
        assert last == set(range(1, 41)) - fold  # the networks that are judged
        assert one == other < last and len(one) == 30  # those by which the learning rate is chosen


def test_false_rejections_of_persons_are_those_of_the_verification_report() -> None:
    generator = np.random.default_rng(2)
    distances = np.round(generator.normal(size=900), 1)  # with ties
    same, persons = generator.random(900) < 0.3, generator.integers(5, size=900)
    distances[same] -= 1
    fold = face_verification._rates(distances, same, persons)
    report = verification(distances, same, fars=tuple(fold.rejected))
    assert fold.eer == report["eer"].value
    for far, rejected in fold.rejected.items():
        assert rejected.mean() == pytest.approx(report[f"frr@far={far:g}"].value)
        assert len(rejected) == len(fold.persons) == same.sum()


def test_every_image_claims_to_be_each_person_once_by_the_gaussian_rule() -> None:
    labels = np.repeat(np.arange(5), 10)
    generator = torch.Generator().manual_seed(1)
    centres = 20 * torch.eye(5)[torch.from_numpy(labels)]
    fold = face_verification._gaussian(centres + torch.randn(50, 5, generator=generator) / 4, labels)
    assert np.bincount(fold.persons).tolist() == [10] * 5
    assert fold.eer < 0.03 and all(each.sum() == 0 for each in fold.rejected.values())


def test_half_of_a_face_is_its_place_on_whitened_axes_whatever_the_light() -> None:
    generator = torch.Generator().manual_seed(4)
    faces = torch.rand(24, 56, 46, generator=generator) + torch.rand(24, 1, 1, generator=generator)
    labels = torch.arange(24) // 4
    net = face_verification.build(face_verification.Config(outputs=5)).eval()
    assert isinstance(net, HalvedNet) and net.axes is not None
    net.axes.fit(faces, labels)
    halved = nn.functional.avg_pool2d(even(faces)[:, None], 2).flatten(1)
    mean, axes = whitened_axes(halved, labels, 5)
    expected = nn.functional.normalize((halved - mean) @ axes.T) / math.sqrt(2)
    found = net(faces)
    torch.testing.assert_close(found[:, :5], expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(24))
    torch.testing.assert_close(found[:, 5:].norm(dim=1), torch.full((24,), 0.5).sqrt())
    torch.testing.assert_close(net(3 * faces + 1), found, rtol=1e-3, atol=1e-4)
    assert not any(name.startswith("axes") for name, _ in net.named_parameters())


def test_within_classes_whitened_rows_spread_alike_in_all_directions() -> None:
    generator = torch.Generator().manual_seed(6)
    labels = torch.arange(120) % 6
    rows = torch.randn(120, 4, generator=generator) * torch.tensor([1.0, 5.0, 0.2, 2.0])
    rows += 3 * torch.randn(6, 4, generator=generator)[labels]
    mean, axes = whitened_axes(rows, labels, 4, shrinkage=0.0)
    mapped = (rows - mean) @ axes.T
    apart = mapped - torch.stack([mapped[labels == c].mean(0) for c in range(6)])[labels]
    torch.testing.assert_close(apart.T @ apart / 120, torch.eye(4), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(mapped.mean(0), torch.zeros(4), rtol=0, atol=1e-4)


def test_a_learning_rate_that_is_none_is_refused_before_anything_is_read() -> None:
    for given in ("0", "1e-3;2e-3", "", "inf"):
        with pytest.raises(InputError, match="learning_rates must be numbers above 0 with commas between"):
            face_verification.run(face_verification.Config(learning_rates=given), seed=0, data="nowhere")


def test_too_few_persons_are_refused(shared_data: Path) -> None:
    config = face_verification.Config(held_out=21)
    with pytest.raises(DataError, match="21 persons held out need as many to learn from; found 40"):
        face_verification.run(config, seed=0, data=shared_data)
