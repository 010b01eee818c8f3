"""Each random change does what it says, on every kind of item, and depends on its generator alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from likewise.data import Augmentation, Records, TableItems, TextItems, augmentation_for, load
from likewise.data.grounds import on_even_ground
from likewise.errors import InputError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


TABLE = np.zeros(300, dtype=[("age", "f4"), ("city", "U4")])
TABLE["age"] = np.where(np.arange(300) % 10 == 0, np.nan, np.arange(300))
TABLE["city"] = np.where(np.arange(300) % 2 == 0, "Bonn", "")
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "grey": (torch.rand(20, 9, 9), {"shift": 0.2, "erase": 0.3, "brightness": 0.3}),
    "colour": (torch.rand(20, 3, 9, 8), {"flip": 0.5, "crop": 0.5, "saturation": 0.5, "contrast": 0.4}),
    "array": (np.random.default_rng(0).random((20, 3, 9, 8)).astype(np.float32), {"rotation": 20.0}),
    "features": (torch.rand(50, 4), {"noise": 0.1, "corruption": 0.3}),
    "table": (TABLE, {"noise": 0.1, "corruption": 0.3}),
    "texts": (TextItems([f"some words of text number {i}" for i in range(20)]).texts, {"word_dropout": 0.3}),
}


def same(first: Any, second: Any) -> bool:
    return repr(first.tolist()) == repr(second.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_decides_and_what_is_given_is_left_alone(kind: str) -> None:
    items, options = KINDS[kind]
    before = items.clone() if isinstance(items, torch.Tensor) else items.copy()
    change = Augmentation(**options)
    first, again, other = (change(items, generator=seeded(seed)) for seed in (1, 1, 2))
    assert type(first) is type(items) and first.shape == items.shape and first.dtype == items.dtype
    assert same(first, again) and not same(first, other) and same(items, before)
    assert same(Augmentation()(items, generator=seeded()), items)


def test_a_flip_mirrors_about_as_many_as_said() -> None:
    images = torch.rand(400, 3, 6, 5)
    flipped = Augmentation(flip=0.25)(images, generator=seeded())
    mirrored = torch.isclose(flipped, images.flip(-1), atol=1e-5).all((1, 2, 3))
    left = torch.isclose(flipped, images, atol=1e-5).all((1, 2, 3))
    assert bool((mirrored ^ left).all()) and 70 <= int(mirrored.sum()) <= 130


def test_a_crop_shows_a_part_of_the_image_blown_up() -> None:
    """On a ramp, a crop to a share a of the area leaves a slope of sqrt(a), and stays within the ramp."""
    ramp = torch.linspace(0, 1, 33).repeat(300, 33, 1)
    cropped = Augmentation(crop=0.75, fill="border")(ramp, generator=seeded())
    slopes = (cropped[:, 16, 24] - cropped[:, 16, 8]) / (ramp[0, 16, 24] - ramp[0, 16, 8])
    assert slopes.min() >= 0.5 - 1e-3 and slopes.max() <= 1 + 1e-3
    areas = slopes**2
    assert areas.min() < 0.3 and areas.max() > 0.95 and abs(float(areas.mean()) - 0.625) < 0.04
    assert cropped.min() >= 0 and cropped.max() <= 1


def test_brightness_contrast_and_saturation_are_their_definitions() -> None:
    images = torch.rand(300, 3, 5, 5) * 0.4 + 0.3  # far enough from the ends of the batch to be seen
    images[0], images[1] = 0.0, 1.0
    bright = Augmentation(brightness=0.2)(images, generator=seeded())[2:] / images[2:]
    assert torch.allclose(bright.amax((1, 2, 3)), bright.amin((1, 2, 3)), atol=1e-5)
    assert 0.8 <= bright.min() < 0.82 and 1.18 < bright.max() <= 1.2 + 1e-5
    calm = Augmentation(contrast=0.3)(images, generator=seeded())[2:]
    torch.testing.assert_close(calm.mean((1, 2, 3)), images[2:].mean((1, 2, 3)))
    spread = calm.std((1, 2, 3)) / images[2:].std((1, 2, 3))
    assert 0.7 - 1e-4 <= spread.min() < 0.73 and 1.27 < spread.max() <= 1.3 + 1e-4
    pale = Augmentation(saturation=0.5)(images, generator=seeded())[2:]
    torch.testing.assert_close(pale.mean(1), images[2:].mean(1))
    grey = images[:, :1]
    assert torch.equal(Augmentation(saturation=0.5)(grey, generator=seeded()), grey)


def test_erasing_takes_one_patch_of_at_most_so_much() -> None:
    images = torch.rand(400, 20, 30)
    out = Augmentation(erase=0.25)(images, generator=seeded())
    changed = out != images
    share = changed.float().mean((1, 2))
    assert 0.4 < float((share > 0).float().mean()) < 0.6 and 0.2 < share.max() <= 0.3
    for image, mask, erased in zip(images, changed, out, strict=True):
        if mask.any():
            torch.testing.assert_close(erased[mask], image.mean().expand(int(mask.sum())))
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            assert mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()


def test_words_are_left_out_in_order_and_one_stays() -> None:
    words = [f"w{i}" for i in range(200)]
    texts = TextItems([" ".join(words), "alone"] * 20).texts
    out = Augmentation(word_dropout=0.3)(texts, generator=seeded())
    for text in out[::2]:
        kept = text.split()
        assert 100 < len(kept) < 175 and kept == [word for word in words if word in set(kept)]
    assert set(out[1::2]) == {"alone"}
    assert all(len(text.split()) == 1 for text in Augmentation(word_dropout=1.0)(texts, generator=seeded()))


def test_noise_is_in_deviations_and_corruption_takes_other_items_values() -> None:
    items = torch.rand(4000, 2) * torch.tensor([1.0, 100.0])
    moved = Augmentation(noise=0.1)(items, generator=seeded()) - items
    torch.testing.assert_close(moved.std(0) / items.std(0), torch.tensor([0.1, 0.1]), rtol=0.05, atol=0)
    swapped = Augmentation(corruption=0.25)(items, generator=seeded())
    changed = swapped != items
    assert 0.22 < float(changed.float().mean()) < 0.28
    for column in range(2):
        assert set(swapped[:, column].tolist()) <= set(items[:, column].tolist())
    rows = Augmentation(corruption=0.5)(TABLE, generator=seeded())
    assert (
        set(rows["city"].tolist()) == {"Bonn", ""} and 20 < int((rows["city"] != TABLE["city"]).sum()) < 150
    )
    values = rows["age"][~np.isnan(rows["age"])]
    assert set(values.tolist()) <= set(TABLE["age"].tolist()) and np.isnan(rows["age"]).any()
    noisy = Augmentation(noise=0.1)(TABLE, generator=seeded())
    assert np.array_equal(np.isnan(noisy["age"]), np.isnan(TABLE["age"]))


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize(("side", "even"), [(3, False), (4, False), (5, True), (10, True)])
def test_a_ground_is_one_value_in_a_fifth_of_the_pixels(channels: int | None, side: int, even: bool) -> None:
    """Of 10 x 10 pixels, side x 4.4 or so are of one colour: 13, 18, 22, 44 of 100."""
    images = np.random.default_rng(1).uniform(size=(5, channels or 1, 100)).astype(np.float32)
    # All pixels differ by their first channel, but for those of the ground.
    images[:, 0] = np.random.default_rng(2).permuted(np.tile(np.arange(100) / 99, (5, 1)), axis=1)
    images[:, :, : int(side * 4.4)] = 0.25
    images = images.reshape(5, channels or 1, 10, 10)
    assert on_even_ground(Records(images[:, 0] if channels is None else images, None, "some")) is even


def test_images_of_one_value_are_ground_alone() -> None:
    assert on_even_ground(Records(np.full((3, 8, 8), 7, dtype=np.uint8), None, "flat"))


def test_defaults_suit_the_items() -> None:
    colour = Records(np.zeros((2, 3, 9, 9), dtype=np.float32), None, "colour")
    assert augmentation_for(colour).flip and not augmentation_for(load("digits")).flip
    assert augmentation_for(Records(TextItems(["a"]), None, "texts")).word_dropout
    assert augmentation_for(Records(TableItems(TABLE), None, "rows")) == Augmentation()
    for records in (colour, load("iris"), Records(TableItems(TABLE), None, "rows")):
        assert augmentation_for(records, views=True) != augmentation_for(records)
    drawing = np.zeros((6, 9, 9), dtype=np.float32)
    drawing[:, 2:8, 2:8] = np.random.default_rng(0).uniform(0.5, 1, size=(6, 6, 6))
    photograph = np.random.default_rng(0).uniform(size=(6, 9, 9)).astype(np.float32)
    of_drawings, of_photographs = (
        augmentation_for(Records(images, None, "grey")) for images in (drawing, photograph)
    )
    assert (of_drawings.fill, of_photographs.fill) == ("zeros", "border")
    assert of_drawings.shear and not of_photographs.shear
    for made in (augmentation_for(colour), augmentation_for((9, 9), views=True), Augmentation()):
        assert Augmentation(**made.config()) == made


@pytest.mark.parametrize(
    "options",
    [{"flip": 1.5}, {"crop": 1.0}, {"erase": 1.0}, {"word_dropout": -0.1}, {"noise": float("inf")},
     {"corruption": 2}, {"fill": "mirror"}, {"brightness": True}, {"shift": "much"}],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        Augmentation(**options)
