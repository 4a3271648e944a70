"""What an answer means for the wait, decided in one place for the trigger and the blocking loop.

A render that was paid for is given up only where waiting can't help any more; the rows of
"Failures" in the documentation stand here as numbers.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from airflow_provider_spark.api.errors import (
    SparkDanceError,
    SparkDanceHostError,
    SparkDanceNotFoundError,
    SparkDanceRateLimitError,
    SparkDanceTimeoutError,
    SparkDanceUnreachableError,
    SparkDanceVendorError,
)
from airflow_provider_spark.polling.schedule import Pace, Shape, may_be_ready, next_step

if TYPE_CHECKING:
    from airflow_provider_spark.api.generation import Generation

# How long each kind of answer may be doubted, in seconds.
REFUSAL_PATIENCE = 15 * 60.0  # a key or balance may be mended while the render goes on
NOT_FOUND_PATIENCE = 10 * 60.0  # counted from the submit: a new id may not be known everywhere yet
LATE_NOT_FOUND_PATIENCE = 2 * 60.0  # counted from the first: one stray answer mustn't end a wait of hours
GATEWAY_FAILURE_PATIENCE = 5 * 60.0  # the gateway failed to look, which says nothing of the render
MISSING_VIDEO_PATIENCE = 2 * 60.0

# A longer Retry-After is taken for a clock that is wrong: results are kept for a day only.
LONGEST_RETRY_AFTER = 60 * 60.0

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
class Doubt:
    """An end that isn't believed yet, ``since`` when (Unix seconds), and for how many seconds at most."""

    kind: Literal["gateway failure", "missing video"]
    reason: str
    patience: float
    since: float
    looks: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """Where the wait for one generation stands. Times are Unix seconds.

    :param deadline: no poll is put off beyond it; a wait that begins after it asks once, at once.
    """

    generation_id: str
    submitted_at: float
    deadline: float
    shape: Shape
    pace: Pace = Pace()
    status: str | None = None
    progress: float | None = None
    first_progress: tuple[float, float] | None = None
    """Age and progress at the first reply that told any."""
    logged_progress: float = 0.0
    logged_at: float = 0.0
    doubt: Doubt | None = None
    refused_since: float | None = None
    missing_since: float | None = None
    faults: int = 0
    last_fault: str | None = None

    def first_ask(self, now: float, spread: float) -> float:
        """Return the seconds until the first poll."""
        interval = self.pace.interval
        if interval is None:
            step = self._step(self.progress, now, spread)
            if may_be_ready(age=self._age(now), shape=self.shape):
                # A triggerer that restarts with thousands of waits spreads them over the step that it cut short.
                step *= spread
            return self._within_deadline(step, now)
        # In step with the submit, so that a triggerer that restarts puts no poll off by more than an interval.
        return self._within_deadline(interval - self._age(now) % interval, now)

    def after_reply(self, generation: Generation, now: float, spread: float) -> tuple[Wait, Ask | Settled | GaveUp]:
        """Decide after a reply that could be read.

        :param spread: a random number, 0 to 1, for the jitter of the next step.
        """
        note = self._status_note(generation, now)
        wait = replace(
            self,
            status=_status(generation),
            progress=generation.progress,
            first_progress=self._first_progress(generation, now),
            doubt=_doubt(generation, self.doubt, now),
            refused_since=None,
            missing_since=None,
            faults=0,
            last_fault=None,
        )
        if note:
            wait = replace(wait, logged_at=now, logged_progress=generation.progress or 0.0)
        doubt = wait.doubt
        if doubt is None:
            if generation.is_terminal:
                return wait, Settled(generation, note)
            return wait._ask(now, wait._step(generation.progress, now, spread), note=note)
        left = doubt.since + doubt.patience - now
        if left <= 0:
            return wait, Settled(generation, note)
        if doubt.looks == 0:
            note = Note(logging.WARNING, f"Generation {self.generation_id} {doubt.reason}; asking again.")
        return wait._ask(now, min(self._backoff(doubt.looks, spread), left), note=note)

    def after_fault(self, error: SparkDanceError, now: float, spread: float) -> tuple[Wait, Ask | GaveUp]:
        """Decide after a poll that gave no reading of the generation."""
        if isinstance(error, SparkDanceHostError):
            return self, self._give_up(error)
        wait = replace(self, faults=self.faults + 1, last_fault=str(error))
        after = self._backoff(self.faults, spread)
        reload_connection = False
        if isinstance(error, TRANSIENT):
            if isinstance(error, SparkDanceRateLimitError) and error.retry_after is not None:
                after = max(after, min(error.retry_after, LONGEST_RETRY_AFTER))
        else:
            if isinstance(error, SparkDanceNotFoundError):
                since = now if self.missing_since is None else self.missing_since
                wait = replace(wait, missing_since=since)
                left = max(self.submitted_at + NOT_FOUND_PATIENCE, since + LATE_NOT_FOUND_PATIENCE) - now
            else:
                reload_connection = True
                since = now if self.refused_since is None else self.refused_since
                wait = replace(wait, refused_since=since)
                left = since + REFUSAL_PATIENCE - now
            if left <= 0:
                return wait, self._give_up(error)
            after = min(after, left)
        note = Note(logging.WARNING, f"Poll {wait.faults} in a row without an answer: {error} Asking again.")
        return wait._ask(now, after, note=note, reload_connection=reload_connection)

    def ran_out(self, now: float) -> GaveUp:
        """Give the wait up at its deadline."""
        return GaveUp(self._timed_out(now))

    def _ask(
        self, now: float, after: float, *, note: Note | None = None, reload_connection: bool = False
    ) -> tuple[Wait, Ask | GaveUp]:
        if now >= self.deadline:
            return self, self.ran_out(now)
        return self, Ask(self._within_deadline(after, now), reload_connection, note)

    def _within_deadline(self, after: float, now: float) -> float:
        return max(0.0, min(after, self.deadline - now))

    def _age(self, now: float) -> float:
        return max(0.0, now - self.submitted_at)

    def _step(self, progress: float | None, now: float, spread: float) -> float:
        return next_step(
            age=self._age(now),
            progress=progress,
            shape=self.shape,
            pace=self.pace,
            spread=spread,
            first_progress=self.first_progress,
        )

    def _first_progress(self, generation: Generation, now: float) -> tuple[float, float] | None:
        if self.first_progress is None and generation.progress and not generation.is_terminal:
            return self._age(now), generation.progress
        return self.first_progress

    def _backoff(self, tries: int, spread: float) -> float:
        shortest = self.pace.floor if self.pace.interval is None else self.pace.interval
        longest = max(self.pace.ceiling, shortest)
        return max(shortest, min(shortest * 2.0 ** min(tries, 10), longest) * (0.5 + spread / 2))

    def _status_note(self, generation: Generation, now: float) -> Note | None:
        known = generation.progress
        progress = f", {known:.0%} done" if known is not None and not generation.is_terminal else ""
        text = f"Generation {self.generation_id} is {_status(generation)}{progress}."
        if _status(generation) != self.status:
            if generation.status == "unknown":
                return Note(logging.WARNING, f"{text} That status isn't in the vendor's documents; waiting on.")
            return Note(logging.INFO, text)
        grown = (known or 0.0) - self.logged_progress >= PROGRESS_LOG_STEP
        if grown or now - self.logged_at >= PROGRESS_LOG_SECONDS:
            return Note(logging.INFO, text)
        return None

    def _give_up(self, error: SparkDanceError) -> GaveUp:
        if self.generation_id in str(error):
            return GaveUp(error)
        # What is wrong with a connection knows of no generation; who reads the log must.
        about = type(error)(
            f"The wait for generation {self.generation_id} was given up: {error} "
            "The render goes on at the vendor and is billed if it succeeds.",
            http_status=error.http_status,
            code=error.code,
            vendor_message=error.vendor_message,
            generation_id=self.generation_id,
        )
        return GaveUp(about)

    def _timed_out(self, now: float) -> SparkDanceTimeoutError:
        waited = f"{self._age(now):.0f} s after the submit"
        last = f"last status {self.status!r}" if self.status else "no status was ever read"
        doubt = f", not believed yet: it {self.doubt.reason}" if self.doubt else ""
        fault = f"; the last {self.faults} polls failed: {self.last_fault}" if self.faults else ""
        return SparkDanceTimeoutError(
            f"The wait for generation {self.generation_id} ran out {waited} ({last}{doubt}{fault}). "
            "The vendor has no cancel: the render goes on and is billed if it succeeds.",
            generation_id=self.generation_id,
        )


def _status(generation: Generation) -> str:
    return generation.vendor_status or "without a status"


def _doubt(generation: Generation, before: Doubt | None, now: float) -> Doubt | None:
    """Say why an end isn't believed yet; each kind of doubt has its own time."""
    if generation.is_failure_in_doubt:
        doubt = Doubt(
            "gateway failure", f"is reported as failed with {generation.error}", GATEWAY_FAILURE_PATIENCE, now
        )
    elif generation.is_completed and generation.video_url is None:
        doubt = Doubt("missing video", "is completed but has no video yet", MISSING_VIDEO_PATIENCE, now)
    else:
        return None
    if before is not None and before.kind == doubt.kind:
        return replace(doubt, since=before.since, looks=before.looks + 1)
    return doubt
