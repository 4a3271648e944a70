"""How long an attempt waits for a generation, and how."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_spark.polling.wait import Wait

if TYPE_CHECKING:
    from airflow_provider_spark.ledger.order import Order
    from airflow_provider_spark.polling.schedule import Pace

# The vendor ends a generation by itself when it expires; this many seconds later its word must be there.
EXPIRY_GRACE = 600.0


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

    def patience(self, order: Order) -> float:
        """Return for how many seconds from the submit an order is waited for."""
        seconds = self.timeout or order.expires_after + EXPIRY_GRACE
        if self.execution_timeout is not None:
            seconds = min(seconds, self.execution_timeout.total_seconds())
        return seconds

    def begin(self, order: Order, *, taken_up: bool, now: float) -> Wait:
        """Return the wait for an order.

        An attempt that takes up one whose time has passed has it once more: the render is paid for.
        """
        deadline = order.submitted_at + self.patience(order)
        if taken_up and deadline <= now:
            deadline = now + self.patience(order)
        return Wait(order.generation_id, order.submitted_at, deadline, order.shape, self.pace)
