"""The published systems of pairs, triplets, proxies and local metrics: facts, quick runs, bad input."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from likewise.data import Records
from likewise.errors import DataError, InputError
from likewise.evaluation import verification
from likewise.losses import ProxyNCA
from likewise.recipes import (
    face_verification,
    geometry_aware,
    load_recipe,
    omniglot,
    pddm,
    proxies,
    proxy_nca,
    siamese_oneshot,
    triplet_network,
    unseen,
)
from likewise.recipes.experiment import Scores, experiment
from likewise.recipes.face_nets import HalvedNet, even, whitened_axes


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


# S2: Koch, Zemel, Salakhutdinov 2015


def test_the_full_siamese_net_has_its_38951745_parameters() -> None:
    config = siamese_oneshot.Config(full=True)
    with torch.device("meta"):
        net = siamese_oneshot.SiameseNet(
            105, filters=(64, 128, 128, 256), kernels=(10, 7, 4, 4), dense=4096, printed=True
        )
    assert count(net, siamese_oneshot.objective(config)) == 38_951_745


def test_the_modified_hausdorff_distance_errs_as_published_on_lakes_runs(shared_data: Path) -> None:
    assert siamese_oneshot.hausdorff_error(str(shared_data)) == pytest.approx(0.3875)


def test_modified_hausdorff_by_hand() -> None:
    """Points (0, 0), (0, 2) and (0, 0), (0, 4): less their means -1, 1 and -2, 2; every nearest is 1 away."""
    one, other = torch.zeros(1, 1, 5), torch.zeros(1, 1, 5)
    one[0, 0, [0, 2]], other[0, 0, [0, 4]] = 1.0, 1.0
    assert omniglot.modified_hausdorff(one, other).item() == pytest.approx(1.0)


def characters(*, alphabets: int, characters: int, drawers: int = 4) -> Records:
    n = alphabets * characters * drawers
    label = np.arange(n) // drawers
    columns = {
        "alphabet": np.array([f"a{each // characters}" for each in label]),
        "drawer": np.arange(n) % drawers + 1,
        "part": np.where(np.arange(n) < n // 2, "background", "evaluation"),
    }
    return Records(np.zeros((n, 4, 4), dtype=np.float32), label, "drawn", columns=columns)


def test_trials_lie_within_an_alphabet_by_two_drawers() -> None:
    records = characters(alphabets=2, characters=6)
    trials = omniglot.within_alphabet_trials(records, np.arange(len(records)), rounds=3, seed=0, ways=5)
    assert len(trials) == 6
    for trial in trials:
        both = np.concatenate([trial.support, trial.query])
        assert len(set(records.columns["alphabet"][both])) == 1
        assert len(set(records.columns["drawer"][trial.support])) == 1
        assert len(set(records.columns["drawer"][trial.query])) == 1
        assert records.columns["drawer"][trial.support[0]] != records.columns["drawer"][trial.query[0]]
        assert (records.labels[trial.support][trial.answer] == records.labels[trial.query]).all()


def test_a_tie_counts_as_guessing_among_the_nearest() -> None:
    trial = omniglot.Trial(np.array([0, 1]), np.array([2, 3]), np.array([0, 1]), 0)
    scores = omniglot.one_shot_scores([trial], lambda q, s: torch.tensor([[1.0, 1.0], [3.0, 2.0]]))
    assert scores.values.tolist() == [0.5, 1.0]


def test_an_alphabet_with_too_few_characters_is_refused() -> None:
    records = characters(alphabets=2, characters=6)
    with pytest.raises(
        DataError, match="alphabet a0: 20-way one-shot needs 20 characters by two drawers; found 6"
    ):
        omniglot.within_alphabet_trials(records, np.arange(len(records)), rounds=1, seed=0)
    with pytest.raises(DataError, match="needs the 20 evaluation alphabets of Omniglot; found 1"):
        omniglot.alphabet_split(records, "30/20")


# S3: Chopra, Hadsell, LeCun 2005


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


# S4: Hoffer, Ailon 2015


@pytest.mark.parametrize(("method", "value"), [("ratio, paper's scale", 0.5), ("ratio, code's scale", 0.25)])
def test_a_collapsed_embedding_sets_the_alarm_off(method: str, value: float) -> None:
    loss = triplet_network.objective(triplet_network.Config(), method, 8, 2)
    assert loss(torch.ones(6, 8), torch.tensor([0, 0, 0, 1, 1, 1])).item() == pytest.approx(value)


def test_the_ratio_loss_pulls_hardest_at_two_thirds() -> None:
    """d+ = 2/3 where the positive is log 2 farther than the negative."""
    loss = triplet_network.objective(triplet_network.Config(), "ratio, paper's scale", 1, 2)
    slopes = {}
    for gap in (math.log(2) - 0.3, math.log(2), math.log(2) + 0.3):
        x = torch.tensor([[0.0], [2.0 + gap], [-2.0]], requires_grad=True)
        from likewise.relations import Triplets

        loss(x, Triplets([0], [1], [2])).backward()
        assert x.grad is not None
        slopes[gap] = x.grad[1, 0].item()
    assert max(slopes, key=slopes.__getitem__) == math.log(2)
    assert slopes[math.log(2)] == pytest.approx(4 * (2 / 3) ** 2 * (1 / 3))


def test_the_triplet_net_is_the_authors() -> None:
    net = triplet_network.build(triplet_network.Config(width=64), 3)
    # 5x5x3x64 + 64, 3x3x64x128 + 128, 3x3x128x256 + 256, 2x2x256x128 + 128
    assert count(net) == 4_864 + 73_856 + 295_168 + 131_200
    found = net.eval()(torch.randn(4, 3, 32, 32))
    assert found.shape == (4, 128) and (found >= 0).all()


# S7: Huang, Qiu, Calderbank, Sapiro 2015


def test_the_transform_is_the_weighted_sum_of_its_two_ends() -> None:
    """lam (h-1)^2 + (1-lam) (h-c)^2 = (h-t)^2 + lam (1-lam) (1-c)^2: the rest has no network in it."""
    generator = torch.Generator().manual_seed(3)
    inputs, labels = torch.randn(8, 5, generator=generator), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    rest = []
    for _ in range(3):
        x = torch.randn(8, 4, generator=generator)
        both, one, zero = (
            geometry_aware.objective(f"lambda {value}", 2)(x, labels, inputs).item()
            for value in ("0.25", "1", "0")
        )
        rest.append(0.25 * one + 0.75 * zero - both)
    assert rest == pytest.approx([rest[0]] * 3, abs=1e-5) and rest[0] > 0.1


def test_the_feasible_target_can_be_met_by_three_classes() -> None:
    angle = torch.tensor([0.0, 0.0, 1.0, 1.0, 2.0, 2.0]) * (2 * math.pi / 3)
    x, labels = torch.stack([angle.cos(), angle.sin()], 1), torch.tensor([0, 0, 1, 1, 2, 2])
    feasible = geometry_aware.objective("lambda 1, feasible target", 3)
    assert feasible(x, labels, x).item() == pytest.approx(0.0, abs=1e-6)
    assert geometry_aware.objective("lambda 1", 3)(x, labels, x).item() == pytest.approx(0.25)  # (-1/2 + 1)^2


# S10: Huang, Loy, Tang 2016


def test_the_unit_sees_local_densities_that_euclid_does_not() -> None:
    found = pddm.two_densities(0)
    assert found["unit, inputs as they are"] > found["Euclid"] + 0.1
    assert found["unit, as printed"] > found["Euclid"]
    assert found["unit, inputs as they are"] > found["unit, as printed"]


def test_wrong_labels_are_as_many_as_asked_for() -> None:
    labels = torch.arange(10_000) % 50
    noisy = pddm._with_noise(labels, 0.1, 50, 0)
    share = (noisy != labels).double().mean().item()
    assert abs(share - 0.1) < 0.015 and noisy.min() >= 0 and noisy.max() < 50


def test_quadruplets_are_mined_by_the_unit_after_a_tenth_of_the_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mined: list[str] = []
    real = pddm.DoubleHeaderHinge.forward

    def note(self: pddm.DoubleHeaderHinge, *given: object, **named: object) -> Tensor:
        mined.append(self.mine_by)
        return real(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(pddm.DoubleHeaderHinge, "forward", note)
    labels = torch.arange(40) // 4
    held = unseen.UnseenClasses("toy", torch.randn(40, 6), labels, torch.randn(8, 6), labels[:8], 10)
    config = pddm.Config(steps=20, batch=16, dimension=4)
    pddm._trained("PDDM", held, labels, config, 0)
    assert mined == ["embedding"] * 2 + ["unit"] * 18


# S12: Movshovitz-Attias et al. 2017


def test_proxy_nca_falls_below_zero_without_the_own_proxy() -> None:
    loss = proxy_nca.objective(proxy_nca.Config(dimension=2), "Proxy-NCA", 2)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))  # type: ignore[attr-defined]
    assert loss(torch.tensor([[5.0, 0.0]]), torch.tensor([0])).item() == pytest.approx(-4.0)


def test_with_the_own_proxy_it_is_cross_entropy_of_twice_the_cosine() -> None:
    loss = proxy_nca.objective(proxy_nca.Config(dimension=3), "own proxy in", 4)
    x, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 3, 0, 1])
    vectors = nn.functional.normalize(loss.weight.detach())  # type: ignore[attr-defined]
    expected = nn.functional.cross_entropy(2 * nn.functional.normalize(x) @ vectors.T, labels)
    assert loss(x, labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_dynamic_proxies_by_a_plain_loop() -> None:
    loss = proxies.DynamicProxies(3, 2)
    x, labels = torch.randn(7, 2), torch.tensor([0, 0, 1, 1, 2, 2, 2])
    unit, vectors = nn.functional.normalize(x), nn.functional.normalize(loss.proxies.detach())
    distance = (unit[:, None] - vectors[None]).square().sum(2)
    taken = distance.argmin(1)
    terms = []
    for i in range(7):
        for j in range(7):
            if i == j or labels[i] != labels[j]:
                continue
            others = {int(taken[k]) for k in range(7) if labels[k] != labels[i]} - {int(taken[j])}
            if others:
                total = sum(math.exp(-float(distance[i, p])) for p in others)
                terms.append(float(distance[i, taken[j]]) + math.log(total))
    assert terms
    assert loss(x, labels).item() == pytest.approx(np.mean(terms), rel=1e-5)


@pytest.mark.parametrize(("scale", "classes"), [(1.0, 964), (1.0, 13), (9.0, 964)])
def test_a_near_proxy_pushes_by_its_softmax_share_alone(scale: float, classes: int) -> None:
    """At the paper's scale among 964 classes that is 3 % of the push, however near the proxy is.

    x lies on the first axis, its own proxy on the second, the near one half a right angle away towards the
    third, and all others opposite: d/dx_3 of log sum exp(2 s cos) is 2 s sin(45) times the share.
    """
    loss, half = ProxyNCA(classes, 3, scale=scale), math.sqrt(0.5)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([-1.0, 0.0, 0.0]).expand(classes, 3))
        loss.weight[:2] = torch.tensor([[0.0, 1.0, 0.0], [half, 0.0, half]])
    x = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    loss(x, torch.tensor([0])).backward()
    near, others = math.exp(2 * scale * half), (classes - 2) * math.exp(-2 * scale)
    share = near / (near + others)
    assert x.grad is not None
    assert x.grad[0, 2].item() == pytest.approx(2 * scale * half * share, rel=1e-4)
    assert (share < 0.04) == (scale == 1.0 and classes == 964)


def test_static_proxies_start_where_their_items_are() -> None:
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(30) % 5
    items = torch.randn(30, 4, generator=generator) * (1 + labels[:, None])
    loss = ProxyNCA(5, 4)
    proxies.start_among_items(loss, items, labels)
    unit = items / items.norm(dim=1, keepdim=True)
    means = torch.stack([unit[labels == c].mean(0) for c in range(5)])
    expected = means - means.mean(0)
    torch.testing.assert_close(loss.weight.detach(), expected / expected.norm(dim=1, keepdim=True))
    few = proxies.FewProxies(2, 4)
    proxies.start_among_items(few, items, labels)
    both = torch.stack([unit[labels % 2 == c].mean(0) for c in range(2)])
    expected = both - both.mean(0)
    torch.testing.assert_close(few.loss.weight.detach(), expected / expected.norm(dim=1, keepdim=True))


def test_dynamic_proxies_start_at_items_without_their_labels() -> None:
    items, loss = torch.eye(6) + 0.1, proxies.DynamicProxies(3, 6)
    proxies.start_among_items(loss, items, torch.zeros(6, dtype=torch.long))
    unit = nn.functional.normalize(items)
    expected = nn.functional.normalize(unit[[0, 2, 4]] - unit.mean(0))
    torch.testing.assert_close(loss.proxies.detach(), expected)
    with pytest.raises(TypeError, match="a loss with one vector a class is needed; found Linear"):
        proxies.start_among_items(nn.Linear(2, 2), items, torch.zeros(6, dtype=torch.long))


def test_dimensions_used_counts_even_directions() -> None:
    corners = torch.cat([torch.eye(4), -torch.eye(4)])
    assert proxies.dimensions_used(3 * corners) == pytest.approx(4.0)
    assert proxies.dimensions_used(corners[[0, 4]]) == pytest.approx(1.0)
    uneven = torch.cat([corners[[0, 4]]] * 3 + [corners[[1, 5]]])  # variances 6 and 2: 64 / 40
    assert proxies.dimensions_used(uneven) == pytest.approx(1.6)


def test_half_as_many_static_proxies_are_shared_by_two_classes() -> None:
    loss = proxies.FewProxies(2, 3)
    x = torch.randn(4, 3)
    assert loss(x, torch.tensor([0, 1, 2, 3])).item() == loss(x, torch.tensor([2, 3, 0, 1])).item()


def test_times_faster_are_read_between_looks() -> None:
    assert proxy_nca._crossing([10, 20, 30], [0.2, 0.4, 0.5], 0.3) == pytest.approx(15.0)
    assert proxy_nca._crossing([10, 20, 30], [0.2, 0.4, 0.5], 0.1) == 10.0
    assert proxy_nca._crossing([10, 20, 30], [0.2, 0.4, 0.5], 0.6) is None


# Unseen classes


def test_no_class_is_on_both_sides(shared_data: Path) -> None:
    held = unseen.unseen_classes("letter", str(shared_data))
    assert held.n_classes == 13 and held.item_shape == (16,)
    assert held.labels.unique().tolist() == list(range(13))
    assert held.unseen_labels.unique().tolist() == list(range(13, 26))
    assert held.items.mean(0).abs().max() < 1e-4


def test_fewer_classes_than_the_protocol_needs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Records(np.zeros((6, 2), dtype=np.float32), np.array([0, 0, 1, 1, 2, 2]), "few")
    monkeypatch.setattr(unseen, "load", lambda *_, **__: few)
    unseen._read.cache_clear()
    with pytest.raises(DataError, match="few: unseen classes need four classes, two on either side; found 3"):
        unseen.unseen_classes("letter")
    unseen._read.cache_clear()


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (geometry_aware, "few: unlike pairs need two classes; found 1"),
        (triplet_network, "MNIST: triplets need two classes; found 1"),
    ],
)
def test_one_class_is_refused(module: Any, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few = Records(
        np.random.default_rng(0).random((6, 28, 28), dtype=np.float32), np.zeros(6, dtype=int), "few"
    )
    monkeypatch.setattr(module, "load", lambda *_, **__: few)
    with pytest.raises(DataError, match=told):
        module.run(module.QUICK, seed=0, data="here")


def test_paired_rows_must_be_scored_on_the_same_units() -> None:
    from likewise.recipes.experiment.runner import _of_pair

    one = Scores(np.ones(4), np.arange(4))
    with pytest.raises(InputError, match="paired rows must be scored on the same units"):
        _of_pair(one, Scores(np.ones(4), np.array([0, 0, 1, 2])), 1.0)


# Quick runs, as continuous integration runs them


@pytest.mark.parametrize(
    "name",
    [
        "siamese-oneshot",
        "triplet-network",
        "geometry-aware",
        "pddm",
        "proxy-nca",
        "face-verification",
    ],
)
def test_a_quick_run_beats_its_raw_control_beyond_its_interval(name: str, shared_data: Path) -> None:
    result = experiment(load_recipe(name), quick=True, seeds=1, data=str(shared_data))
    controls = [found for found in result.findings() if found.claim.control]
    assert controls
    for found in controls:
        assert found.difference.low > 0, found
    if name == "pddm":  # a naive version sits where it began while its loss falls
        alive = [found for found in result.findings() if found.claim.than == "untrained"]
        assert [found.difference.low > 0 for found in alive] == [True]
