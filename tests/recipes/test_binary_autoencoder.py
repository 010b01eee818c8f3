"""PC-AE: half the slack is the cross-entropy, known optima, codes in the box, binary neighbours."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.data.binary_density import binary_density_set
from likewise.errors import InputError
from likewise.recipes.binary_autoencoder import binary_neighbours, build, objective
from likewise.recipes.correlation_decoder import (
    PairwiseDecoder,
    correlations,
    cross_entropy,
    decoder_slack,
    fit_codes,
    fit_weights,
    pairwise_decoder,
)
from likewise.recipes.experiment import experiment
from likewise.recipes.registry import load_recipe


def some(seed: int, n: int = 7, bits: int = 5, units: int = 3) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 2, (n, bits), generator=generator).double() * 2 - 1
    e = torch.rand(n, units, generator=generator, dtype=torch.float64) * 2 - 1
    w = 3 * torch.randn(bits, units, generator=generator, dtype=torch.float64)
    return x, e, w


def looped_cross_entropy(x: torch.Tensor, e: torch.Tensor, w: torch.Tensor) -> float:
    total = 0.0
    for row, code in zip(x.tolist(), e.tolist(), strict=True):
        for bit, weights in zip(row, w.tolist(), strict=True):
            p = 1 / (1 + math.exp(-sum(a * b for a, b in zip(weights, code, strict=True))))
            total -= math.log(p if bit > 0 else 1 - p)
    return total / len(x)


@pytest.mark.parametrize("seed", range(20))
def test_half_the_slack_is_the_cross_entropy(seed: int) -> None:
    x, e, w = some(seed)
    expected = looped_cross_entropy(x, e, w)
    assert cross_entropy(w, e, x).mean().item() == pytest.approx(expected, abs=1e-12)
    assert decoder_slack(w, e, correlations(x, e)).sum().item() / 2 == pytest.approx(expected, abs=1e-12)


def test_with_other_correlations_the_slack_is_off_by_what_they_are_off() -> None:
    """1/2 sum_v gamma(B') - CE = 1/2 sum_v w_v'(b_v - b'_v): it bounds the loss, it is not the loss."""
    x, e, w = some(0)
    told = correlations(*some(1)[:2])
    half = decoder_slack(w, e, told).sum().item() / 2
    off = ((correlations(x, e) - told) * w).sum().item() / 2
    assert half == pytest.approx(looped_cross_entropy(x, e, w) + off, abs=1e-12)
    assert abs(off) > 0.01


@pytest.mark.parametrize("share", [0.6, 0.75, 0.9])
def test_the_known_optimum_of_one_unit(share: float) -> None:
    """e = 1 always and x = 1 in a share p: tanh(w / 2) = 2p - 1, and the loss is the entropy of p."""
    n = 20
    x = torch.ones(n, 1, dtype=torch.float64)
    x[: round(n * (1 - share))] = -1
    e = torch.ones(n, 1, dtype=torch.float64)
    w = fit_weights(torch.zeros(1, 1, dtype=torch.float64), e, correlations(x, e), steps=3000)
    assert w.item() == pytest.approx(math.log(share / (1 - share)), abs=1e-6)
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert cross_entropy(w, e, x).mean().item() == pytest.approx(entropy, abs=1e-9)
    assert PairwiseDecoder(w, e).decoded(e)[0].item() == pytest.approx(2 * share - 1, abs=1e-6)


def test_codes_meet_the_conditions_of_a_minimum_in_a_box() -> None:
    """Inside the slope is zero; at 1 it pushes out (negative), at -1 too (positive)."""
    x, _, w = some(3, n=40, bits=12, units=4)
    codes = fit_codes(x, w / 3, steps=4000)
    slope = (torch.tanh(codes @ w.T / 6) - x) @ w / 3
    inside = codes.abs() < 1 - 1e-9
    assert inside.any()
    assert (~inside).any()
    assert slope[inside].abs().max() < 1e-3
    assert (slope[~inside] * codes[~inside]).max() < 1e-3


def test_no_weights_do_better_than_the_fitted_ones() -> None:
    x, e, _ = some(4, n=60)
    told = correlations(x, e)
    w = fit_weights(torch.zeros(5, 3, dtype=torch.float64), e, told, steps=6000)
    least = decoder_slack(w, e, told)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        moved = w + 0.3 * torch.randn(w.shape, generator=generator, dtype=torch.float64)
        assert (decoder_slack(moved, e, told) > least - 1e-9).all()


def test_a_price_on_the_weights_makes_some_of_them_zero() -> None:
    x, e, w = some(5, n=60)
    told = correlations(x, e)
    free = fit_weights(w, e, told, steps=800)
    priced = fit_weights(w, e, told, steps=800, sparsity=0.1)
    assert (free.abs() < 1e-8).sum() == 0
    assert (priced == 0).sum() > 0
    assert priced.abs().sum() < free.abs().sum()


def test_permuting_or_turning_code_units_changes_no_loss() -> None:
    x, e, w = some(6)
    turned = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    order = [2, 0, 1]
    plain = cross_entropy(w, e, x)
    torch.testing.assert_close(cross_entropy(w[:, order] * turned, e[:, order] * turned, x), plain)


def test_the_autoencoder_reads_the_same_loss() -> None:
    x, _, _ = some(7)
    network = build(5, 3).double()
    with torch.no_grad():
        network.decoder.bias.zero_()
        codes = network.encoder(x)
        torch.testing.assert_close(objective(network(x), x), cross_entropy(network.decoder.weight, codes, x))


def test_neighbours_of_faiss_are_those_of_a_loop() -> None:
    generator = np.random.default_rng(0)
    queries, gallery = (generator.choice([-1.0, 1.0], (size, 13)) for size in (6, 30))
    found = binary_neighbours(queries, gallery, k=4)
    for query, near in zip(queries, found, strict=True):
        distances = [int((query != code).sum()) for code in gallery]
        assert [distances[row] for row in near] == sorted(distances)[:4]


def test_bad_input() -> None:
    x, e, w = some(0)
    with pytest.raises(InputError, match=r"codes must have shape \(n, 3\).*found \(7, 2\)"):
        cross_entropy(w, e[:, :2], x)
    with pytest.raises(InputError, match="codes must lie between -1 and 1"):
        decoder_slack(w, e * 9, correlations(x, e))
    with pytest.raises(InputError, match="equally many rows"):
        correlations(x[:3], e)
    with pytest.raises(InputError, match="bits must be -1 or 1"):
        pairwise_decoder((x + 1) / 2, units=2, rounds=1, steps=1, generator=torch.Generator())
    with pytest.raises(InputError, match="gallery's length, 3; found 2"):
        binary_neighbours(np.ones((1, 2)), np.ones((4, 3)), k=1)
    with pytest.raises(InputError, match="rows of -1 and 1"):
        binary_neighbours(np.zeros((1, 3)), np.ones((4, 3)), k=1)
    with pytest.raises(InputError, match="set must be one of accidents"):
        binary_density_set("msnbc")


def test_the_binary_density_sets(shared_data: Path) -> None:
    """Sizes as published: NLTCS 16 bits, 16,181 / 2,157 / 3,236 rows, density 0.332."""
    parts = binary_density_set("nltcs", data=shared_data)
    assert [parts[name].shape for name in ("train", "valid", "test")] == [(16181, 16), (2157, 16), (3236, 16)]
    assert parts["train"].mean() == pytest.approx(0.332, abs=0.001)


def test_a_quick_run_loses_less_than_pca() -> None:
    recipe = load_recipe("binary-autoencoder")
    config = type(recipe.quick)(
        **{
            **vars(recipe.quick),
            "units": "10",
            "rounds": 6,
            "train": 600,
            "test": 200,
            "autoencoder_steps": 100,
        }
    )
    result = experiment(recipe, config, quick=True, seeds=1)
    control = [found for found in result.findings() if found.claim.control]
    assert control
    assert all(found.difference.low > 0 for found in control), control
