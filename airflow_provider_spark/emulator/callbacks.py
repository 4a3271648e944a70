"""Callbacks: the poll reply, posted to the order's `callback_url` on each change of its status."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import httpx

if TYPE_CHECKING:
    from airflow_provider_spark.emulator.service import Service
    from airflow_provider_spark.emulator.store import Generation

_PAUSES: Final = (0.2, 1.0, 3.0)
"""Seconds between the attempts at one delivery; after the last attempt it is given up."""


class Postman:
    """Delivers callbacks in the background, each generation's in order, unsigned."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._rounds: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None

    def watch(self, generation: Generation, since: float) -> None:
        """Deliver every change of status from the moment `since` on, in Unix seconds."""
        if generation.callback_url is None:
            return
        round_ = asyncio.create_task(self._round(generation, generation.callback_url, since))
        self._rounds.add(round_)
        round_.add_done_callback(self._rounds.discard)

    async def close(self) -> None:
        """Drop what is still to be delivered."""
        for round_ in self._rounds:
            round_.cancel()
        await asyncio.gather(*self._rounds, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _round(self, generation: Generation, url: str, since: float) -> None:
        for moment in generation.life.changes():
            if moment >= since:
                await self._service.clock.wait_until(moment)
                await self._deliver(url, self._service.reply(generation, generation.base_url, moment))

    async def _deliver(self, url: str, body: dict[str, object]) -> None:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=5, trust_env=False)
        for pause in (*_PAUSES, None):
            try:
                reply = await self._client.post(url, json=body)
            except (httpx.HTTPError, httpx.InvalidURL):
                pass
            else:
                if reply.is_success:
                    return
            if pause is not None:
                await asyncio.sleep(pause)
