"""The live table shows the last epochs, their figures, throughput and time left."""

from __future__ import annotations

import pytest

from likewise.training import Epoch, live_table, tensorboard_events
from likewise.training.watching import _clock, _left


def test_the_table_shows_loss_figures_throughput_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with live_table() as show:
        for number in range(1, 21):
            figures = {"map@r": number / 100, "recall@1": 0.5}
            show(Epoch(number, 1 / number, figures, 2.0, 5000, 30, "held-out"))
        show(Epoch(1, 0.5, {}, 1.0, 1000, 10, "all"))
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.strip().splitlines()
    assert lines[0].split() == ["training", "epoch", "loss", "map@r", "recall@1", "items/s", "left"]
    assert (
        "20 of 30" in lines[-2] and "0.0500" in lines[-2] and "2,500" in lines[-2] and "0.2000" in lines[-2]
    )
    assert "1 of 10" in lines[-1] and lines[-1].split()[-1] == "0:16"  # nine of (4 * 2 + 1) / 5 seconds
    assert len(lines) == 2 + 12


def test_time_left_counts_the_second_pass() -> None:
    done = [Epoch(number, 1.0, {}, 2.0, 10, 10, "held-out") for number in (1, 2, 3)]
    assert _left(done, 2) == 2.0 * (7 + 10)
    assert _left(done, 1) == 2.0 * 7
    assert (_clock(59.6), _clock(61), _clock(3723)) == ("1:00", "1:01", "1:02:03")


def test_without_a_folder_or_tensorboard_nothing_is_written(tmp_path, monkeypatch) -> None:
    with tensorboard_events(None) as write:
        assert write is None
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with tensorboard_events(tmp_path / "events") as write:
        assert write is None
    assert not (tmp_path / "events").exists()
