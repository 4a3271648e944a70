"""A bound on how long each of many calls may take, which adds little to what a call holds."""

from __future__ import annotations

import asyncio
from types import TracebackType


class SharedTimeout:
    """Ends calls that take too long, with one timer for all that are under way.

    It stands around a call as ``asyncio.timeout()`` would, or a timeout of aiohttp's. Those keep a timer, a context and
    more for each call. With a hundred calls under way, that sets off Python's garbage collector about twice as often,
    and its pauses are most of what makes a loop with thousands of waiting generations late.

    :param seconds: how long a call may take, counted from where it is entered.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Of each call that is under way, the oldest first: when it ends, and how often its task was cancelled before.
        self._calls: dict[asyncio.Task[object], tuple[float, int]] = {}
        self._overdue: dict[asyncio.Task[object], int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._seconds
        task = _current_task()
        self._calls[task] = ends_at, task.cancelling()
        if self._timer is None:
            self._timer = loop.call_at(ends_at, self._end_overdue)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task = _current_task()
        if task in self._overdue:
            # Where someone else wants the task to end, too, it does.
            if task.uncancel() <= self._overdue.pop(task) and kind is asyncio.CancelledError:
                raise TimeoutError from error
            return
        del self._calls[task]
        if not self._calls and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._calls:
            task, (ends_at, cancelled_before) = next(iter(self._calls.items()))
            if ends_at > loop.time():
                self._timer = loop.call_at(ends_at, self._end_overdue)
                return
            del self._calls[task]
            self._overdue[task] = cancelled_before
            task.cancel()


def _current_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("only the call of a task can be ended")
    return task
