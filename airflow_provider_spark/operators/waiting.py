"""How long an attempt waits for a generation, and how."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from airflow_provider_spark.polling.wait import Wait

if TYPE_CHECKING:
    from airflow_provider_spark.polling.schedule import Pace, Shape

# The vendor ends a generation by itself when it expires; this many seconds later its word must be there.
EXPIRY_GRACE = 600.0


class Awaited(Protocol):
    """What can be waited for: an order of this task, or a generation from elsewhere."""

    @property
    def generation_id(self) -> str:
        """The vendor's id."""

    @property
    def connection_id(self) -> str:
        """The connection whose account knows it."""

    @property
    def submitted_at(self) -> float:
        """Unix seconds."""

    @property
    def expires_after(self) -> float:
        """Seconds from the submit after which the vendor gives it up."""

    @property
    def estimated_cost_usd(self) -> float | None:
        """What it may cost."""

    @property
    def shape(self) -> Shape:
        """What decides how long the render takes."""


@dataclass(frozen=True)
class Waiting:
    """What the task's author asked for.

    :param timeout: seconds from the submit; ``None`` means until the vendor's own expiry and ten minutes.
    :param execution_timeout: Airflow's, which applies where it is shorter. Airflow itself
        counts it anew in each phase of a task, and not at all while a trigger waits.
    """

    for_completion: bool
    deferrable: bool
    pace: Pace
    timeout: float | None = None
    execution_timeout: timedelta | None = None

    def patience(self, order: Awaited) -> float:
        """Return for how many seconds from the submit an order is waited for."""
        seconds = self.timeout or order.expires_after + EXPIRY_GRACE
        if self.execution_timeout is not None:
            seconds = min(seconds, self.execution_timeout.total_seconds())
        return seconds

    def begin(self, order: Awaited, *, taken_up: bool, now: float) -> Wait:
        """Return the wait for an order.

        An attempt that takes up one whose time has passed has it once more: the render is paid for.
        """
        deadline = order.submitted_at + self.patience(order)
        if taken_up and deadline <= now:
            deadline = now + self.patience(order)
        return Wait(order.generation_id, order.submitted_at, deadline, order.shape, self.pace)
