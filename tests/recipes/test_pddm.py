"""Huang, Loy, Tang 2016: the unit, wrong labels, what mines."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from likewise.recipes import pddm, unseen


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
