"""Screening by float32 products: no near column is missed, and few that aren't near come along."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.linear import NCA, screening
from likewise.linear.neighbours import class_ranges
from likewise.linear.screening import Screen


@pytest.fixture(autouse=True, scope="module")
def small_tiles() -> Iterator[None]:
    """Several tiles a block and several blocks, of few rows."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"_FEWEST_ROWS": 2, "_ROWS": 32, "_COLUMNS": 64, "_FEW": 1.0}.items():
            patch.setattr(screening, name, value)
        yield


def squares(mapped: np.ndarray) -> np.ndarray:
    return np.sum((mapped[:, None] - mapped[None]) ** 2, axis=2)


def chosen(screen: Screen, n: int, **asked: object) -> np.ndarray:
    """What the screen chooses, as a table (n, n) of truths."""
    found, start = np.zeros((n, n), dtype=bool), 0
    while start < n:
        stop = screen.end(start)
        reach = asked.get("reach")
        near = screen.near(
            start,
            stop,
            reach=reach[start:stop] if isinstance(reach, np.ndarray) else None,
            span=float(str(asked.get("span", 0.0))),
        )
        assert near is not None
        local, columns = near
        assert (np.diff(local * n + columns) > 0).all()  # in order, each once
        found[start + local, columns] = True
        start = stop
    return found


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    scale=st.floats(1e-3, 1e4),
    offset=st.floats(0, 1e3),
    n=st.integers(2, 150),
    k=st.integers(1, 6),
)
def test_no_near_column_is_missed(seed: int, scale: float, offset: float, n: int, k: int) -> None:
    """Also far from the centre, where float32 holds no small distance at all."""
    generator = np.random.default_rng(seed)
    mapped = scale * generator.normal(size=(n, k)) + offset * scale
    mapped[n // 2] = mapped[0]
    exact = squares(mapped)
    own = np.arange(n)
    screen = Screen.of(mapped, np.stack([own, own + 1], axis=1))
    assert screen is not None
    np.fill_diagonal(exact, np.inf)
    span = scale**2
    found = chosen(screen, n, span=span)
    assert found[exact <= exact.min(axis=1)[:, None] + span].all()
    assert not found.diagonal().any()

    codes = np.sort(generator.integers(3, size=n))
    screen = Screen.of(mapped, class_ranges(codes))
    assert screen is not None
    reach = scale**2 * generator.uniform(0, 3, size=n)
    found = chosen(screen, n, reach=reach)
    other = codes[:, None] != codes[None]
    assert found[(exact <= reach[:, None]) & other].all()
    assert not found[~other].any()


def test_near_the_centre_what_comes_along_is_within_rounding() -> None:
    mapped = np.random.default_rng(0).normal(size=(150, 5))
    own = np.arange(150)
    screen = Screen.of(mapped, np.stack([own, own + 1], axis=1))
    assert screen is not None
    exact = squares(mapped)
    np.fill_diagonal(exact, np.inf)
    found = chosen(screen, 150, span=2.0)
    np.testing.assert_array_equal(found, exact <= exact.min(axis=1)[:, None] + 2.0)


def test_it_gives_way_to_products_where_many_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screening, "_FEW", 0.02)
    mapped = np.random.default_rng(0).normal(size=(100, 2))
    screen = Screen.of(mapped, np.stack([np.arange(100), np.arange(1, 101)], axis=1))
    assert screen is not None and screen.near(0, 32, span=100.0) is None


def test_it_isnt_asked_where_it_could_not_keep_its_bound() -> None:
    """Norms beyond float32, and products that PyTorch was told to round to sixteen bits."""
    own = np.stack([np.arange(9), np.arange(1, 10)], axis=1)
    assert Screen.of(np.full((9, 2), 1e20), own) is None
    assert Screen.of(np.full((9, 2), np.nan), own) is None
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert Screen.of(np.ones((9, 2)), own) is None
    finally:
        torch.set_float32_matmul_precision(before)


def test_nca_by_screen_is_nca_by_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole descent ends at one L, whichever way its tables went."""
    generator = np.random.default_rng(0)
    y = np.arange(200) % 4
    X = generator.normal(size=(200, 4)) + 4 * generator.normal(size=(4, 4))[y]
    screened = NCA(max_iter=20, tol=1e-12).fit(X, y)
    monkeypatch.setattr(screening, "_FEWEST_ROWS", 10**9)
    plain = NCA(max_iter=20, tol=1e-12).fit(X, y)
    np.testing.assert_allclose(screened.objective_, plain.objective_, rtol=1e-6)
