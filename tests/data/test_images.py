"""Augmentation moves images as it says; invented shapes are turned and mirrored ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likewise.data import Augmentation, augmentation_for, invent_shapes, load, records_from_arrays
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


def test_every_invented_shape_is_a_turned_or_mirrored_image_but_none_is_an_image_itself() -> None:
    digits = load("digits").take(slice(0, 20))
    made = invent_shapes(digits, count=120, seed=1)
    every = {
        np.rot90(image[:, ::-1] if mirrored else image, turn).tobytes(): (turn, mirrored)
        for image in digits.X
        for turn in range(4)
        for mirrored in (False, True)
    }
    places = [every[np.ascontiguousarray(image).tobytes()] for image in made.X]
    assert set(places) == {(t, m) for t in range(4) for m in (False, True)} - {(0, False)}
    assert made.y.tolist() == list(range(120))
    assert made.fingerprint == invent_shapes(digits, count=120, seed=1).fingerprint


def test_images_that_are_not_square_keep_their_shape() -> None:
    wide = records_from_arrays(np.random.default_rng(0).random((4, 3, 5, 9)), [0, 0, 1, 1])
    assert invent_shapes(wide, count=6).item_shape == (3, 5, 9)
    with pytest.raises(InputError, match="found rows"):
        invent_shapes(load("iris"), count=6)
