"""What an answer means for the wait, decided in one place for the trigger and the blocking loop.

A render that was paid for is given up only where waiting can't help any more; the rows of
"Failures" in the documentation stand here as numbers.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_spark.api.errors import (
    SparkDanceError,
    SparkDanceHostError,
    SparkDanceNotFoundError,
    SparkDanceRateLimitError,
    SparkDanceTimeoutError,
    SparkDanceUnreachableError,
    SparkDanceVendorError,
)
from airflow_provider_spark.polling.schedule import Pace, Shape, next_step

if TYPE_CHECKING:
    from airflow_provider_spark.api.generation import Generation

# How long each kind of answer may be doubted, in seconds.
REFUSAL_PATIENCE = 15 * 60.0  # a key or balance may be mended while the render goes on
NOT_FOUND_PATIENCE = 10 * 60.0  # counted from the submit: a new id may not be known everywhere yet
GATEWAY_FAILURE_PATIENCE = 5 * 60.0  # the gateway failed to look, which says nothing of the render
MISSING_VIDEO_PATIENCE = 2 * 60.0

FAULT_CEILING = 60.0
PROGRESS_LOG_STEP = 0.1
PROGRESS_LOG_SECONDS = 60.0

TRANSIENT = (SparkDanceRateLimitError, SparkDanceUnreachableError, SparkDanceVendorError)


@dataclass(frozen=True)
class Note:
    """A line for the task's log."""

    level: int
    text: str


@dataclass(frozen=True)
class Ask:
    """Ask again after so many seconds, with the connection read anew where that may help."""

    after: float
    reload_connection: bool = False
    note: Note | None = None


@dataclass(frozen=True)
class Settled:
    """The generation has ended, well or not."""

    generation: Generation
    note: Note | None = None


@dataclass(frozen=True)
class GaveUp:
    """Waiting can't help any more; the generation may still go on at the vendor."""

    error: SparkDanceError


@dataclass(frozen=True)
class Wait:
    """Where the wait for one generation stands. Times are Unix seconds.

    :param deadline: no poll is made after it.
    """

    generation_id: str
    submitted_at: float
    deadline: float
    shape: Shape
    pace: Pace = Pace()
    status: str | None = None
    progress: float | None = None
    logged_progress: float = 0.0
    logged_at: float = 0.0
    doubted_since: float | None = None
    refused_since: float | None = None
    faults: int = 0
    last_fault: str | None = None

    def first_ask(self, now: float, spread: float) -> float:
        """Return the seconds until the first poll."""
        if self.pace.interval is not None and now - self.submitted_at < self.pace.interval:
            return self._within_deadline(self.submitted_at + self.pace.interval - now, now)
        return self._within_deadline(self._step(now, spread), now)

    def after_reply(self, generation: Generation, now: float, spread: float) -> tuple[Wait, Ask | Settled | GaveUp]:
        """Decide after a reply that could be read.

        :param spread: a random number, 0 to 1, for the jitter of the next step.
        """
        note = self._status_note(generation, now)
        wait = replace(
            self,
            status=generation.vendor_status,
            progress=generation.progress,
            refused_since=None,
            faults=0,
            last_fault=None,
        )
        if note:
            wait = replace(wait, logged_at=now, logged_progress=generation.progress or 0.0)
        doubt = _doubt(generation)
        if doubt is None:
            wait = replace(wait, doubted_since=None)
            if generation.is_terminal:
                return wait, Settled(generation, note)
            return wait._ask(now, self._step_after(generation.progress, now, spread), note=note)
        reason, patience = doubt
        wait = replace(wait, doubted_since=self.doubted_since or now)
        if now - (wait.doubted_since or now) >= patience or now >= self.deadline:
            return wait, Settled(generation, note)
        if self.doubted_since is None:
            note = Note(logging.WARNING, f"Generation {self.generation_id} {reason}; asking again.")
        return wait._ask(now, min(self._backoff(spread), patience), note=note)

    def after_fault(self, error: SparkDanceError, now: float, spread: float) -> tuple[Wait, Ask | GaveUp]:
        """Decide after a poll that gave no reading of the generation."""
        if isinstance(error, SparkDanceHostError):
            return self, GaveUp(error)
        wait = replace(self, faults=self.faults + 1, last_fault=str(error))
        after = self._backoff(spread)
        if isinstance(error, SparkDanceRateLimitError) and error.retry_after is not None:
            after = max(after, error.retry_after)
        reload_connection = False
        if not isinstance(error, TRANSIENT):
            wait = replace(wait, refused_since=self.refused_since or now)
            if isinstance(error, SparkDanceNotFoundError):
                patient_until = self.submitted_at + NOT_FOUND_PATIENCE
            else:
                patient_until = (wait.refused_since or now) + REFUSAL_PATIENCE
                reload_connection = True
            if now >= patient_until:
                return wait, GaveUp(error)
        note = Note(logging.WARNING, f"Poll {wait.faults} in a row without an answer: {error} Asking again.")
        return wait._ask(now, after, note=note, reload_connection=reload_connection)

    def _ask(
        self, now: float, after: float, *, note: Note | None = None, reload_connection: bool = False
    ) -> tuple[Wait, Ask | GaveUp]:
        if now >= self.deadline:
            return self, GaveUp(self._timed_out(now))
        return self, Ask(self._within_deadline(after, now), reload_connection, note)

    def _within_deadline(self, after: float, now: float) -> float:
        return max(0.0, min(after, self.deadline - now))

    def _step(self, now: float, spread: float) -> float:
        return self._step_after(self.progress, now, spread)

    def _step_after(self, progress: float | None, now: float, spread: float) -> float:
        age = max(0.0, now - self.submitted_at)
        return next_step(age=age, progress=progress, shape=self.shape, pace=self.pace, spread=spread)

    def _backoff(self, spread: float) -> float:
        ceiling = min(self.pace.floor * 2.0 ** min(self.faults, 10), FAULT_CEILING)
        return max(self.pace.floor, ceiling * (0.5 + spread / 2))

    def _status_note(self, generation: Generation, now: float) -> Note | None:
        known = generation.progress
        progress = f", {known:.0%} done" if known is not None and not generation.is_terminal else ""
        text = f"Generation {self.generation_id} is {generation.vendor_status}{progress}."
        if generation.vendor_status != self.status:
            if generation.status == "unknown":
                return Note(logging.WARNING, f"{text} That status isn't in the vendor's documents; waiting on.")
            return Note(logging.INFO, text)
        grown = (known or 0.0) - self.logged_progress >= PROGRESS_LOG_STEP
        if grown or now - self.logged_at >= PROGRESS_LOG_SECONDS:
            return Note(logging.INFO, text)
        return None

    def _timed_out(self, now: float) -> SparkDanceTimeoutError:
        waited = f"{max(0.0, now - self.submitted_at):.0f} s after the submit"
        last = f"last status {self.status!r}" if self.status else "no status was ever read"
        fault = f"; the last {self.faults} polls failed: {self.last_fault}" if self.faults else ""
        return SparkDanceTimeoutError(
            f"The wait for generation {self.generation_id} ran out {waited} ({last}{fault}). "
            "The vendor has no cancel: the render goes on and is billed if it succeeds.",
            generation_id=self.generation_id,
        )


def _doubt(generation: Generation) -> tuple[str, float] | None:
    """Say why an end isn't believed yet, and for how many seconds it may be doubted."""
    if generation.is_failed:
        if generation.is_failure_in_doubt:
            return f"is reported as failed with {generation.error}", GATEWAY_FAILURE_PATIENCE
        return None
    if generation.is_terminal and generation.video_url is None:
        return "is completed but has no video yet", MISSING_VIDEO_PATIENCE
    return None
