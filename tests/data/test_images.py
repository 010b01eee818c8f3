"""Augmentation moves images as it says; turned classes are what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likewise.data import Augmentation, augmentation_for, load, records_from_arrays, turned_classes
from likewise.errors import InputError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def centre_of_mass(images: torch.Tensor) -> torch.Tensor:
    places = torch.arange(images.shape[-1], dtype=torch.float32)
    mass = images.sum((-2, -1))
    return torch.stack(
        [(images.sum(-1) * places).sum(-1) / mass, (images.sum(-2) * places).sum(-1) / mass], 1
    )


def blob(size: int = 17) -> torch.Tensor:
    """A smooth spot off the middle, well inside."""
    places = torch.arange(size, dtype=torch.float32)
    column = torch.exp(-((places - 10) ** 2) / 2)[:, None]
    return column * torch.exp(-((places - 7) ** 2) / 2)[None, :]


def test_no_augmentation_changes_nothing() -> None:
    images = torch.rand(3, 8, 8)
    assert torch.equal(Augmentation()(images, generator=seeded()), images)
    rows = torch.rand(3, 5)
    assert torch.equal(Augmentation(shift=0.5)(rows, generator=seeded()), rows)


def test_a_shift_moves_the_whole_image_by_at_most_so_much_and_each_on_its_own() -> None:
    images = blob().repeat(200, 1, 1)
    moved = Augmentation(shift=0.1)(images, generator=seeded())
    shifts = centre_of_mass(moved) - centre_of_mass(images)
    assert shifts.abs().max() <= 1.7 + 1e-3
    assert shifts.abs().max() > 1.4  # 10 % of 17 pixels is reached
    assert shifts.std(0).min() > 0.7
    torch.testing.assert_close(moved.sum((-2, -1)), images.sum((-2, -1)), rtol=2e-2, atol=0)


def test_a_rotation_keeps_the_distance_to_the_middle_and_its_angle_is_limited() -> None:
    images = blob().repeat(200, 1, 1)
    arms = centre_of_mass(Augmentation(rotation=30)(images, generator=seeded())) - 8.0
    torch.testing.assert_close(arms.norm(dim=1), torch.full((200,), 5**0.5), rtol=3e-2, atol=0)
    start = torch.tensor([2.0, -1.0])
    angles = torch.rad2deg(torch.arccos((arms @ start / arms.norm(dim=1) / start.norm()).clamp(max=1)))
    assert 27 < angles.max() <= 30.5


def test_colour_channels_move_together_and_the_generator_decides() -> None:
    images = torch.rand(4, 3, 12, 12)
    images[:, 1] = images[:, 0]
    strong = Augmentation(shift=0.1, rotation=20, scale=0.2, shear=0.2)
    first = strong(images, generator=seeded(1))
    assert first.shape == images.shape
    assert torch.equal(first[:, 0], first[:, 1])
    assert torch.equal(first, strong(images, generator=seeded(1)))
    assert not torch.equal(first, strong(images, generator=seeded(2)))


@pytest.mark.parametrize("options", [{"shift": -0.1}, {"scale": 1.0}, {"rotation": float("nan")}])
def test_sizes_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        Augmentation(**options)


def test_defaults_follow_the_items_shape() -> None:
    assert augmentation_for((30,)) == Augmentation()
    assert augmentation_for((8, 8)).rotation > 0
    assert Augmentation(**augmentation_for((8, 8)).config()) == augmentation_for((8, 8))


def test_turned_classes_are_the_images_themselves_and_each_turn_of_them() -> None:
    """Against turns and mirrors by hand, pixel by pixel."""
    X = np.arange(2 * 3 * 3, dtype=np.float32).reshape(2, 3, 3)
    made = turned_classes(records_from_arrays(X, [4, 9], name="two"))
    assert made.X.shape == (16, 3, 3)
    assert np.array_equal(made.X[:2], X)
    assert sorted(made.y.tolist()) == list(range(16))
    quarter = [[[X[i, c, 2 - r] for c in range(3)] for r in range(3)] for i in range(2)]
    assert np.array_equal(made.X[2:4], np.array(quarter, dtype=np.float32))
    mirrored = [[[X[i, r, 2 - c] for c in range(3)] for r in range(3)] for i in range(2)]
    assert np.array_equal(made.X[8:10], np.array(mirrored, dtype=np.float32))
    assert len({image.tobytes() for image in made.X}) == 16


def test_images_that_are_not_square_turn_half_way_only() -> None:
    wide = records_from_arrays(np.random.default_rng(0).random((4, 3, 5, 9)), [0, 0, 1, 1], name="wide")
    made = turned_classes(wide)
    assert made.item_shape == (3, 5, 9)
    assert len(made) == 16
    assert sorted(set(made.y.tolist())) == list(range(8))
    with pytest.raises(InputError, match="rows"):
        turned_classes(load("iris"))
