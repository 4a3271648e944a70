"""The emulator's time: Unix seconds that run by themselves and that a test can move."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time


class Clock:
    """Unix seconds.

    It runs with the machine, or stands still from `frozen_at` on; both move by `advance`, from any thread.
    """

    def __init__(self, *, frozen_at: float | None = None) -> None:
        self._frozen_at = frozen_at
        self._offset = 0.0
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._lock = threading.Lock()

    def now(self) -> float:
        """Tell the seconds since the Unix epoch, by this clock."""
        return (time.time() if self._frozen_at is None else self._frozen_at) + self._offset

    def advance(self, seconds: float) -> float:
        """Move the clock forward and wake whoever waits on it. The time it then is.

        Raises:
            ValueError: `seconds` is negative: what has ended must not run again.
        """
        if not seconds >= 0:
            raise ValueError("a clock moves forward only")
        with self._lock:
            self._offset += seconds
            waiting = list(self._waiting)
        for loop, moved in waiting:
            with contextlib.suppress(RuntimeError):  # its loop closed while we looked
                loop.call_soon_threadsafe(moved.set)
        return self.now()

    async def wait_until(self, moment: float) -> None:
        """Return once the clock shows `moment` or later."""
        moved = asyncio.Event()
        entry = (asyncio.get_running_loop(), moved)
        with self._lock:
            self._waiting.add(entry)
        try:
            while (left := moment - self.now()) > 0:
                with contextlib.suppress(TimeoutError):
                    # A day at most, as an event loop refuses to sleep for years.
                    await asyncio.wait_for(moved.wait(), min(left, 86_400) if self._frozen_at is None else None)
                moved.clear()
        finally:
            with self._lock:
                self._waiting.discard(entry)
