"""Two views: what the losses read, by loops, and a quick run without labels above raw pixels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.errors import InputError
from likewise.recipes.experiment import experiment
from likewise.recipes.registry import load_recipe
from likewise.recipes.two_views import Config, _images, build, objective


def views(seed: int = 0, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, generator=generator), torch.randn(count, 5, generator=generator)


def test_nt_xent_of_two_views_by_loops() -> None:
    """2n views; each against its other view among all 2n - 1 others (Chen et al., equation 1)."""
    x, z = views()
    both = torch.nn.functional.normalize(torch.cat([x, z]), dim=1).tolist()
    total, n = 0.0, len(x)
    for i in range(2 * n):
        other = (i + n) % (2 * n)
        logits = [sum(a * b for a, b in zip(both[i], both[v], strict=True)) / 0.2 for v in range(2 * n)]
        below = sum(math.exp(logits[v]) for v in range(2 * n) if v != i)
        total -= math.log(math.exp(logits[other]) / below)
    found = objective(Config(temperature=0.2), "NT-Xent")(x, z, torch.zeros(n, dtype=torch.int64))
    assert found.item() == pytest.approx(total / (2 * n), rel=1e-5)


def test_no_label_is_read_without_labels() -> None:
    x, z = views(1)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    for method in ("NT-Xent", "VICReg"):
        loss = objective(Config(), method)
        assert loss(x, z, labels) == loss(x, z, labels.flip(0) * 0)
    supervised = objective(Config(), "with labels (SupCon)")
    assert supervised(x, z, labels) != supervised(x, z, torch.arange(6))


def test_vicreg_of_two_views_by_loops() -> None:
    x, z = views(2)
    n, d = x.shape
    total = 25 * sum(float((x[i] - z[i]).square().sum()) for i in range(n)) / n / d
    for view in (x.double().numpy(), z.double().numpy()):
        covariance = np.cov(view, rowvar=False)
        hinge = np.mean([max(0.0, 1 - math.sqrt(covariance[j, j] + 1e-4)) for j in range(d)])
        total += 25 * hinge / 2
        total += sum(covariance[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d
    found = objective(Config(), "VICReg")(x, z, torch.zeros(n, dtype=torch.int64))
    assert found.item() == pytest.approx(total, rel=1e-4)


def test_the_projection_is_not_part_of_what_is_kept() -> None:
    network, projection = build(Config(), (16, 16))
    kept = network(torch.rand(2, 16, 16))
    assert kept.shape == (2, network.dimension)
    assert projection(kept).shape == (2, 128)


def test_emoji_are_split_by_class(shared_data: Path) -> None:
    _, labels, _, test_labels = _images("emoji", Config(train=400, test=100), 0, shared_data)
    assert not set(labels.tolist()) & set(test_labels.tolist())
    assert len(set(test_labels.tolist())) == 25
    assert np.bincount(test_labels).max() >= 3


def test_bad_input() -> None:
    with pytest.raises(InputError, match="methods must be of NT-Xent, VICReg"):
        experiment(load_recipe("two-views"), Config(methods="BYOL"), seeds=1)
    with pytest.raises(InputError, match="temperature must be above 0"):
        Config(temperature=0.0)


def test_a_quick_run_beats_raw_pixels_without_labels(shared_data: Path) -> None:
    recipe = load_recipe("two-views")
    config = Config(**{**vars(recipe.quick), "steps": 70, "test": 400})
    result = experiment(recipe, config, quick=True, seeds=1, data=shared_data)
    control = [found for found in result.findings() if found.claim.control]
    assert control
    assert all(found.difference.low > 0 for found in control), control
