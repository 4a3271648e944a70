"""What a running task does when it is told to end: it finishes a submit first, and starts none after."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import ClassVar

from airflow_provider_spark.api.errors import SparkDanceError

# How soon a sleep notices that the task was told to end, in seconds.
ATTENTION = 0.5
# Sent by Airflow and container platforms, by its execution_timeout, and by Ctrl-C.
HELD = (signal.SIGTERM, signal.SIGALRM, signal.SIGINT)


class InterruptedTaskError(SparkDanceError):
    """The task was told to end. It costs nothing to try again."""

    may_repeat: ClassVar[bool] = True


class Interruption:
    """Whether the task was told to end: Airflow's own signal handler doesn't raise, it calls ``on_kill``."""

    def __init__(self) -> None:
        self._requested = False

    def request(self) -> None:
        """Tell the task to end. May be called from a signal handler."""
        self._requested = True

    def check(self, outcome: str) -> None:
        """Raise where the task was told to end.

        :param outcome: what that means for the order, for the message.
        :raises InterruptedTaskError: it was.
        """
        if self._requested:
            raise InterruptedTaskError(f"The task was told to end. {outcome}")

    def sleep(self, seconds: float, *, outcome: str) -> None:
        """Sleep, or end at once where the task is told to.

        :raises InterruptedTaskError: it was.
        """
        until = time.monotonic() + seconds
        self.check(outcome)
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, ATTENTION))
            self.check(outcome)


@contextmanager
def finishing_first() -> Iterator[None]:
    """Let signals that end the task wait until the block is done.

    A submit that is cut off half-way is a submit that no one knows the outcome of. What the
    signal does, a timeout's exception included, it does right after the block. ``SIGKILL`` can't be held:
    Airflow sends it five seconds after ``SIGTERM``.
    """
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return
    arrived: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        arrived.append(number)

    # A handler that wasn't set from Python reads as None and couldn't be put back.
    before = {number: handler for number in HELD if (handler := signal.getsignal(number)) is not None}
    for number in before:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for held in dict.fromkeys(arrived):
            signal.raise_signal(held)
