"""What is shown and written of a training while it runs: a live table, and TensorBoard events.

Each is a plain function of an :class:`~likewise.training.Epoch` while its context is entered.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likewise.training.progress import Epoch

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["live_table", "tensorboard_events"]

_ROWS = 12
_STAGES = {"held-out": "some held back", "all": "all of it"}


@contextmanager
def live_table(*, passes: int = 2) -> Iterator[Callable[[Epoch], None]]:
    """A table of epochs on standard error: loss, figures, items a second, time left.

    Parameters
    ----------
    passes : int
        How often the data is learned from in all: twice, where some of it is held back first.
    """
    from rich.console import Console
    from rich.live import Live

    done: list[Epoch] = []
    with Live(console=Console(stderr=True), auto_refresh=False, transient=False) as live:

        def show(epoch: Epoch) -> None:
            done.append(epoch)
            live.update(_table(done, passes), refresh=True)

        yield show


def _table(done: list[Epoch], passes: int) -> Table:
    from rich import box
    from rich.table import Table

    figures = list(next((epoch.figures for epoch in done if epoch.figures), {}))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("training", no_wrap=True)
    for name in ("epoch", "loss", *figures, "items/s", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    left = _left(done, passes)
    for epoch in done[-_ROWS:]:
        last = epoch is done[-1]
        table.add_row(
            _STAGES.get(epoch.stage, epoch.stage),
            f"{epoch.epoch} of {epoch.epochs}",
            f"{epoch.loss:.4f}",
            *(f"{epoch.figures[name]:.4f}" if name in epoch.figures else "" for name in figures),
            f"{epoch.items_per_second:,.0f}",
            _clock(left) if last else "",
        )
    return table


def _left(done: list[Epoch], passes: int) -> float:
    """Seconds, if every epoch takes as long as those of late, and a second pass as many as the best."""
    now = done[-1]
    recent = [epoch.seconds for epoch in done[-5:]]
    epochs = now.epochs - now.epoch
    if now.stage == "held-out" and passes > 1:
        epochs += now.epochs
    return epochs * sum(recent) / len(recent)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def tensorboard_events(folder: Path | None) -> Iterator[Callable[[Epoch], None] | None]:
    """Events for TensorBoard in a folder; nothing without a folder, or where it isn't installed."""
    if folder is None or importlib.util.find_spec("tensorboard") is None:
        yield None
        return
    # By name, as the module is typed only where tensorboard is installed.
    summary_writer: Any = importlib.import_module("torch.utils.tensorboard").SummaryWriter
    writers: list[Any] = []

    def write(epoch: Epoch) -> None:
        if not writers:
            writers.append(summary_writer(log_dir=str(folder)))
        for name, value in epoch.line().items():
            if isinstance(value, float):
                writers[0].add_scalar(f"{epoch.stage}/{name}", value, epoch.epoch)
        writers[0].flush()

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()
