"""Waits for one generation on the triggerer's event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_spark.api.errors import SparkDanceError
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.ledger.order import left_behind
from airflow_provider_spark.polling.schedule import Pace, Shape
from airflow_provider_spark.polling.wait import Ask, GaveUp, Settled, Wait
from airflow_provider_spark.triggers.events import to_event


class SparkDanceGenerationTrigger(BaseTrigger):
    """Polls a generation until it has ended or the deadline is there, then fires one event.

    It only ever reads: a restart of the triggerer asks again and orders nothing.

    :param generation_id: the vendor's id.
    :param spark_dance_conn_id: connection to poll with.
    :param submitted_at: Unix seconds.
    :param deadline: Unix seconds after which no poll is made.
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
        yield TriggerEvent(to_event(await self._wait()))  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Say what becomes of the render when a user clears or marks the waiting task (Airflow 3.3 and later)."""
        self.log.warning(left_behind(self.generation_id, self.estimated_cost_usd))

    async def _wait(self) -> Settled | GaveUp:
        # Taken by name, so that what another version wrote beside them does no harm.
        pace = Pace(**{name: self.poll[name] for name in ("floor", "ceiling", "interval") if name in self.poll})
        wait = Wait(self.generation_id, self.submitted_at, self.deadline, self.shape, pace)
        hook = SparkDanceHook(self.spark_dance_conn_id)
        client = None
        decision: Ask | Settled | GaveUp = Ask(wait.first_ask(time.time(), random.random()))
        try:
            while isinstance(decision, Ask):
                await asyncio.sleep(decision.after)
                try:
                    if client is None or decision.reload_connection:
                        if client is not None:
                            await client.aclose()
                        client = None
                        await hook.areload()
                        client = await hook.get_async_conn()
                    generation = await client.get(self.generation_id)
                except SparkDanceError as error:
                    wait, decision = wait.after_fault(error, time.time(), random.random())
                else:
                    wait, decision = wait.after_reply(generation, time.time(), random.random())
                if not isinstance(decision, GaveUp) and decision.note is not None:
                    self.log.log(decision.note.level, decision.note.text)
        finally:
            if client is not None:
                await client.aclose()
        return decision
