"""Quick runs of the first six systems, as continuous integration runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from likewise.recipes import load_recipe
from likewise.recipes.experiment import experiment


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
