"""What the demo shows: progress while it waits, then a table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import av
from rich.console import Console
from rich.live import Live
from rich.table import Table

WAITING_WORD = {"deferred": "rendering, no worker held"}


class Progress(Protocol):
    """Takes a run's task instances, as often as wanted."""

    def update(self, instances: list[dict[str, Any]]) -> None:
        """Show them."""


class Display:
    """A terminal, or a plain stream of lines where there is none."""

    def __init__(self) -> None:
        terminal = Console(highlight=False)
        # Where no terminal gives a width, lines may be as long as the table needs.
        self.console = terminal if terminal.is_terminal else Console(highlight=False, width=120)

    def say(self, text: str) -> None:
        """Print a sentence."""
        self.console.print(text, markup=False, soft_wrap=True)

    def show(self, table: Table) -> None:
        """Print a table."""
        self.console.print(table)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Show how the tasks of a run are."""
        if not self.console.is_terminal:
            yield _Lines(self)
            return
        with Live(console=self.console, refresh_per_second=4, transient=True) as live:
            yield _Table(live)


class _Lines:
    def __init__(self, display: Display) -> None:
        self._display = display
        self._shown: dict[str, str] = {}

    def update(self, instances: list[dict[str, Any]]) -> None:
        for name, state in _states(instances):
            if self._shown.get(name) != state:
                self._shown[name] = state
                self._display.say(f"  {name}: {state}")


class _Table:
    def __init__(self, live: Live) -> None:
        self._live = live

    def update(self, instances: list[dict[str, Any]]) -> None:
        table = Table("task", "state", title="The run, as Airflow sees it")
        for name, state in _states(instances):
            table.add_row(name, state)
        self._live.update(table)


def _states(instances: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for ti in instances:
        if ti["state"] is not None:
            index = f" [{ti['map_index']}]" if ti["map_index"] >= 0 else ""
            yield f"{ti['task_id']}{index}", WAITING_WORD.get(ti["state"], ti["state"])


def results_table(clips: list[dict[str, Any]], *, billed_usd: float) -> Table:
    """Return a row for each clip; pixels and seconds are read off the files themselves."""
    table = Table(title="Clips", show_footer=True)
    table.add_column("clip", "total")
    table.add_column("status")
    table.add_column("pixels")
    table.add_column("seconds", justify="right")
    table.add_column("estimated USD", f"{sum(clip['estimated_cost_usd'] for clip in clips):.4f}", justify="right")
    table.add_column("billed USD", f"{billed_usd:.4f}", justify="right")
    table.add_column("file", overflow="fold")
    for clip in clips:
        path = Path(clip["video_path"])
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            pixels, seconds = f"{stream.width}x{stream.height}", stream.frames / (stream.average_rate or 1)
        table.add_row(
            str(clip["map_index"]),
            clip["status"],
            pixels,
            f"{float(seconds):.3f}",
            f"{clip['estimated_cost_usd']:.4f}",
            f"{clip['cost_usd']:.4f}",
            path.name,
        )
    return table
