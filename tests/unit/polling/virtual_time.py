"""An event loop whose clock stands still while anything happens and jumps to the next moment when nothing does."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# Stories end long before.
LONGEST = 1_000_000.0


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._seconds = 0.0
        self.turns = 0
        """How often it has gone round."""
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._seconds

    def jump(self, seconds: float) -> None:
        self._seconds += seconds
        if self._seconds > LONGEST:
            raise RuntimeError(f"still going on after {LONGEST:,.0f} seconds")


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.turns += 1
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everyone waits, and nothing will ever wake them")
            # A little further, or rounding could leave a timer for ever just ahead.
            self._loop.jump(timeout + 1e-9 if timeout > 0 else 0)
        return ready


def play(story: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a clock of its own, however long that takes there."""
    loop = VirtualTimeLoop()
    try:
        outcome = loop.run_until_complete(story)
        left = asyncio.all_tasks(loop)
        assert not left, f"still running: {left}"
        return outcome
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        loop.close()
