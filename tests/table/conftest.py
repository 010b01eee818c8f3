"""What the tests of the engine share."""

from __future__ import annotations

import pytest

from likewise.table import compiled


@pytest.fixture(params=["compiled", "PyTorch"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which form the functions take."""
    if request.param == "PyTorch":
        monkeypatch.setattr(compiled, "library", lambda: None)
    elif compiled.library() is None:
        pytest.skip("no C compiler here")
    return str(request.param)
