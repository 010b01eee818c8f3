"""The picture: what it counts, and what it refuses."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.errors import InputError
from likewise.report import PairDistances, Theme, before_and_after, panel_svg
from likewise.report.figures import _histogram


def error_by_loop(same: list[float], different: list[float]) -> float:
    """From the definition: the first cut at which as many are admitted wrongly as missed."""
    values = sorted({*same, *different})
    for cut in [values[0] - 1, *((a + b) / 2 for a, b in pairwise(values)), values[-1]]:
        missed = Fraction(sum(d > cut for d in same), len(same))
        admitted = Fraction(sum(d <= cut for d in different), len(different))
        if admitted >= missed:
            return float((missed + admitted) / 2)
    raise AssertionError("at the largest distance everything is admitted")


# Counts that are powers of two: then the shares are exact, and equal ones are equal.
distances = st.sampled_from([1, 2, 4, 8]).flatmap(
    lambda size: st.lists(st.integers(0, 12).map(float), min_size=size, max_size=size)
)


@settings(deadline=None, max_examples=60)
@given(same=distances, different=distances)
def test_the_share_on_the_wrong_side(same: list[float], different: list[float]) -> None:
    pairs = PairDistances("any", np.array(same), np.array(different))
    assert pairs.error_rate == pytest.approx(error_by_loop(same, different), abs=1e-9)


def test_a_case_by_eye() -> None:
    """Same pairs at 1, 2, 3, 6 and different ones at 4, 7, 8, 9.

    Between 3 and 4 no different pair is admitted and one same pair of four is missed (0.25, 0); between
    4 and 6 one of each is wrong: 0.25 and 0.25, so that is the cut, and 0.25 the rate.
    """
    pairs = PairDistances("by eye", np.array([1.0, 2.0, 3.0, 6.0]), np.array([4.0, 7.0, 8.0, 9.0]))
    assert pairs.threshold == 5.0
    assert pairs.error_rate == 0.25


def test_histograms_hold_every_pair_once_as_a_share() -> None:
    values = np.array([-5.0, 0.0, 0.5, 1.0, 99.0])
    height = _histogram(values, np.linspace(0, 1, 5))
    assert height.sum() == pytest.approx(1.0)
    assert height[-1] == pytest.approx(2 / 5)  # the last bin closes at 1 and takes what lies beyond


@pytest.mark.parametrize("bad", [[], [np.nan], [np.inf], [[1.0]]])
def test_distances_that_cannot_be_drawn_are_refused(bad: list[float]) -> None:
    with pytest.raises(InputError, match="same must hold finite distances"):
        PairDistances("bad", bad, [1.0])
    with pytest.raises(InputError, match="different must hold finite distances"):
        PairDistances("bad", [1.0], bad)


@pytest.mark.parametrize("theme", [Theme.light(), Theme.dark()])
def test_a_panel_is_svg_with_both_colours_and_no_links(theme: Theme) -> None:
    svg = panel_svg(PairDistances("some", np.arange(9.0), np.arange(5.0, 20.0)), theme=theme)
    ElementTree.fromstring(svg)
    assert theme.same in svg
    assert theme.different in svg
    assert 'href="http' not in svg
    assert "<text" not in svg  # outlines: legible without the font


def test_the_same_pairs_give_the_same_bytes() -> None:
    pairs = PairDistances("some", np.arange(9.0), np.arange(5.0, 20.0))
    assert panel_svg(pairs, theme=Theme.light()) == panel_svg(pairs, theme=Theme.light())


def test_equal_distances_can_be_drawn() -> None:
    flat = PairDistances("collapsed", np.zeros(4), np.zeros(3))
    assert flat.error_rate == 0.5
    assert before_and_after([flat, flat], title="Nothing learned", theme=Theme.light()).startswith(b"\x89PNG")


def test_a_picture_needs_a_panel_and_a_known_format() -> None:
    with pytest.raises(InputError, match="at least one"):
        before_and_after([], title="none", theme=Theme.light())
    with pytest.raises(InputError, match="found 'jpg'"):
        before_and_after(
            [PairDistances("a", [1.0], [2.0])], title="x", theme=Theme.light(), file_format="jpg"
        )


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [Theme.light(), Theme.dark()])
def test_every_colour_stands_out_from_its_ground(theme: Theme) -> None:
    back = luminance(theme.background)
    for colour, least in ((theme.ink, 7.0), (theme.faint, 4.5), (theme.same, 3.0), (theme.different, 3.0)):
        light, dark = sorted((luminance(colour), back), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= least
