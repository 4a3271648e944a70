"""The life of a generation: a pure function of its clock, fixed when the order is accepted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """How a generation fails: the vendor's code, its message, and the status word that goes with it."""

    code: str
    message: str
    status: str = "failed"


EXPIRED = Failure("003005095", "The task was not finished within execution_expires_after and has expired")


@dataclass(frozen=True)
class Stage:
    """Where a generation is at one moment: `queued`, `in_progress`, `completed`, or the word of its failure.

    `progress`, from 0 to 1, is there only while in progress.
    """

    status: str
    progress: float | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Life:
    """When a generation is accepted, starts, is ready, and expires, in Unix seconds.

    A render that is stuck still has the time at which it should have been ready, for its progress.
    """

    created_at: float
    starts_at: float
    ready_at: float
    expires_at: float
    stuck: bool = False
    failure: Failure | None = None

    @property
    def ends_at(self) -> float:
        """When the generation comes to its end, good or bad."""
        return self.expires_at if self._expires else self.ready_at

    @property
    def billed(self) -> bool:
        """Whether the end is a success, as only that is billed."""
        return not self._expires and self.failure is None

    def at(self, now: float) -> Stage:
        """Tell the stage at a moment."""
        if now >= self.ends_at:
            if self._expires:
                return Stage(EXPIRED.status, failure=EXPIRED)
            return Stage(self.failure.status, failure=self.failure) if self.failure else Stage("completed")
        if now < self.starts_at:
            return Stage("queued")
        done = (now - self.starts_at) / (self.ready_at - self.starts_at) if self.ready_at > self.starts_at else 1.0
        return Stage("in_progress", progress=min(round(done, 2), 0.99))

    def changes(self) -> tuple[float, ...]:
        """List the moments at which the status changes, in order."""
        if self.starts_at < self.ends_at:
            return (self.starts_at, self.ends_at)
        return (self.ends_at,)

    @property
    def _expires(self) -> bool:
        return self.stuck or self.expires_at < self.ready_at
