"""Waits for one generation on the triggerer's event loop."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.ledger.order import left_behind
from airflow_provider_spark.polling.hub import Access
from airflow_provider_spark.polling.lines import lines
from airflow_provider_spark.polling.schedule import Pace, Shape
from airflow_provider_spark.polling.wait import Note, Wait
from airflow_provider_spark.triggers.events import to_event

# One for all: Airflow's own would be one for each trigger, a tenth of what waiting holds. Which task's log a line goes
# to is told by the asyncio task that logs it, whoever the logger is.
logger = logging.getLogger(__name__)


class SparkDanceGenerationTrigger(BaseTrigger):
    """Waits until a generation has ended or the deadline is there, then fires one event.

    All that wait with the same connection share a hub, which polls for them. It only ever reads: a restart of the
    triggerer asks again and orders nothing.

    :param generation_id: the vendor's id.
    :param spark_dance_conn_id: connection to poll with.
    :param submitted_at: Unix seconds.
    :param deadline: Unix seconds at which the last poll is made, or as soon as there is a chance to.
    :param shape: ``pixels`` of a frame, ``frames`` and ``tier``: what decides how long it may take.
    :param poll: ``floor`` and ``ceiling`` of the time between polls, or a fixed ``interval``, in seconds.
    :param estimated_cost_usd: what the render may cost, for the log.
    """

    def __init__(
        self,
        *,
        generation_id: str,
        spark_dance_conn_id: str,
        submitted_at: float,
        deadline: float,
        shape: Shape,
        poll: dict[str, float],
        estimated_cost_usd: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generation_id = generation_id
        self.spark_dance_conn_id = spark_dance_conn_id
        self.submitted_at = submitted_at
        self.deadline = deadline
        self.shape = shape
        self.poll = poll
        self.estimated_cost_usd = estimated_cost_usd

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as they are kept in the database."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "generation_id": self.generation_id,
                "spark_dance_conn_id": self.spark_dance_conn_id,
                "submitted_at": self.submitted_at,
                "deadline": self.deadline,
                "shape": self.shape,
                "poll": self.poll,
                "estimated_cost_usd": self.estimated_cost_usd,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: how the generation, or the wait for it, has ended."""
        # However this ends, by a cancel too, the place in the hub is given back.
        end = await lines().wait_for_end(
            self._begin(), conn_id=self.spark_dance_conn_id, look_up=look_up, tell=self._tell
        )
        yield TriggerEvent(to_event(end))  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Say what becomes of the render when a user clears or marks the waiting task (Airflow 3.3 and later)."""
        self.log.warning(left_behind(self.generation_id, self.estimated_cost_usd))

    def _begin(self) -> Wait:
        # Taken by name, so that what another version wrote beside them does no harm.
        pace = shared_pace(**{name: self.poll[name] for name in ("floor", "ceiling", "interval") if name in self.poll})
        return Wait(self.generation_id, self.submitted_at, self.deadline, self.shape, pace)

    @staticmethod
    def _tell(note: Note) -> None:
        logger.log(note.level, note.text)


# Thousands wait, and most of them alike.
shared_pace = lru_cache(Pace)


async def look_up(conn_id: str) -> Access:
    """Read a connection without blocking the event loop, as far as polls need it."""
    settings = await SparkDanceHook(conn_id).areload()
    return Access(settings.endpoint, settings.max_requests_per_second)
