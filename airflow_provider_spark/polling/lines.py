"""From a connection's id to its hub: one look-up for all who wait, renewed for all when the vendor refuses it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from airflow_provider_spark.api.errors import (
    SparkDanceConnectionLookupError,
    SparkDanceError,
    SparkDanceTimeoutError,
)
from airflow_provider_spark.polling.hub import UNDER_WAY, Access, Hub, Place
from airflow_provider_spark.polling.wait import Ask, GaveUp, Note, Settled, Wait

if TYPE_CHECKING:
    from airflow_provider_spark.api.endpoint import Endpoint
    from airflow_provider_spark.polling.transport import Transport

logger = logging.getLogger(__name__)

LookUp = Callable[[str], Awaitable[Access]]
Tell = Callable[[Note], None]

# Seconds between two look-ups of a connection, at least: each is a round trip to Airflow's supervisor.
LOOK_UP_SPACING = 2.0
# A hub that can't be opened, that the vendor holds back or that has many to ask for doesn't ask at the very deadline:
# so many seconds later the wait ends unasked. Even with the time until the next sweep, Airflow's own end comes later.
GRACE = 45.0
# Looking for those takes one timer for a connection, which fires every so many seconds; one a wait would cost more
# memory than the wait.
SWEEP = 15.0
# So many waits enter a hub before other tasks of the event loop have their turn.
AT_ONCE = 100


async def open_transport(endpoint: Endpoint) -> Transport:
    """Open the transport for an endpoint; what takes long about it happens in a thread."""
    transports = await asyncio.to_thread(_load, endpoint)
    return transports(endpoint)


def _load(endpoint: Endpoint) -> Callable[[Endpoint], Transport]:
    from airflow_provider_spark.polling import transport

    endpoint.tls()
    return transport.open_transport


class Lines:
    """The connections that are waited with on one event loop, and their hubs."""

    def __init__(
        self,
        *,
        open_transport: Callable[[Endpoint], Awaitable[Transport]] = open_transport,
        now: Callable[[], float] = time.time,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.hubs: dict[Access, Hub] = {}
        self._lines: dict[str, Line] = {}
        self._open_transport = open_transport
        self._now = now
        self._spread = spread

    async def wait_for_end(self, wait: Wait, *, conn_id: str, look_up: LookUp, tell: Tell) -> Settled | GaveUp:
        """Wait in the hub of a connection until the generation has ended, or the wait for it.

        :param look_up: reads the connection; raises a SparkDanceError where it can't be right.
        :param tell: called with each line for the log, in the task that waits.
        """
        line = self._lines.get(conn_id)
        if line is None:
            line = self._lines[conn_id] = Line(conn_id, look_up, self, self._now)
        place = Place(wait, line.renew, self._now())
        line.places.add(place)
        try:
            line.take_in(place)
            while True:
                await place.listen()
                for news in place.news():
                    if isinstance(news, Settled | GaveUp):
                        return news
                    if isinstance(news, SparkDanceError):
                        # The connection can't be read: that may be mended, as whatever else goes wrong with a poll.
                        place.wait, decision = place.wait.after_fault(news, self._now(), self._spread())
                        if isinstance(decision, GaveUp):
                            if not isinstance(decision.error, SparkDanceTimeoutError):
                                return decision
                            # It couldn't ask at its deadline: where that stays so, the next sweep ends it.
                            decision = Ask(LOOK_UP_SPACING)
                        if decision.note is not None:
                            tell(decision.note)
                        await asyncio.sleep(decision.after)
                        line.take_in(place)
                    elif isinstance(news, Note):
                        tell(news)
                    else:
                        raise news
        finally:
            await self._leave(line, place)

    async def _leave(self, line: Line, place: Place) -> None:
        line.forget(place)
        if not line.places and self._lines.get(line.conn_id) is line:
            del self._lines[line.conn_id]
            line.close()
        if place.hub is not None:
            place.hub.leave(place)
            await self.close_if_empty(place.hub)

    async def open(self, access: Access) -> Hub:
        """Give the hub for an access, and open it where there is none."""
        hub = self.hubs.get(access)
        if hub is not None:
            return hub
        transport = await self._open_transport(access.endpoint)
        hub = self.hubs.get(access)
        if hub is not None:  # another connection with the same access was faster
            await transport.aclose()
            return hub
        hub = self.hubs[access] = Hub(access, transport, now=self._now, spread=self._spread)
        return hub

    async def close_if_empty(self, hub: Hub) -> None:
        """Close a hub that nobody waits in any more, even where the one who left last is being cancelled."""
        if not hub.places and self.hubs.get(hub.access) is hub:
            del self.hubs[hub.access]
            await asyncio.shield(asyncio.create_task(hub.aclose(), context=contextvars.Context()))


class Line:
    """One connection: who waits with it, and where."""

    def __init__(self, conn_id: str, look_up: LookUp, lines: Lines, now: Callable[[], float]) -> None:
        self.conn_id = conn_id
        self.places: set[Place] = set()
        # Those who are before the door: not who was told that it can't be opened and tries again later.
        self._at_the_door: set[Place] = set()
        self._look_up = look_up
        self._lines = lines
        self._hub: Hub | None = None
        self._opening: asyncio.Task[None] | None = None
        self._is_pausing = False
        self._looked_up_at = float("-inf")
        self._now = now
        self._end_overdue()

    def close(self) -> None:
        """End what goes on for those who wait here, when the last of them has gone."""
        self._sweep.cancel()
        # Not in the midst of a look-up: the supervisor's answer would be read by whoever asks it next.
        if self._opening is not None and self._is_pausing:
            self._opening.cancel()

    def take_in(self, place: Place) -> None:
        """See that a wait gets its place in this connection's hub, or is told why it can't."""
        hub = self._hub
        if hub is not None and self._lines.hubs.get(hub.access) is hub:
            hub.join(place)
        else:
            self._at_the_door.add(place)
            self._start()

    def forget(self, place: Place) -> None:
        """Leave out who has gone."""
        self.places.discard(place)
        self._at_the_door.discard(place)

    def renew(self, refused: Access, is_key: bool) -> None:
        """Look the connection up anew, once for all, unless that was done since the vendor refused this access."""
        hub = self._hub
        if self._opening is not None or hub is None or hub.access != refused:
            return
        if is_key:
            # Whoever would be asked for meanwhile would be refused too.
            hub.hold()
        self._start()

    def _end_overdue(self) -> None:
        now = self._now()
        for place in self.places:
            if max(place.wait.deadline, place.joined_at) + GRACE < now and place.turn != UNDER_WAY:
                place.tell(place.wait.ran_out(now))
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(SWEEP, self._end_overdue, context=contextvars.Context())

    def _start(self) -> None:
        if self._opening is None:
            # In a task and a context of its own: whoever came first may be cancelled, and logs for itself.
            self._opening = asyncio.get_running_loop().create_task(self._open(), context=contextvars.Context())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        before = self._hub
        try:
            self._is_pausing = True
            await asyncio.sleep(max(0.0, self._looked_up_at + LOOK_UP_SPACING - loop.time()))
            self._is_pausing = False
            self._looked_up_at = loop.time()
            access = await self._look_up(self.conn_id)
            hub = self._hub = await self._lines.open(access)
            moving = {place for place in self.places if place.hub is before and place.hub not in (None, hub)}
            if before is not None and moving:
                hub.move_here(moving, before)
                await self._lines.close_if_empty(before)
            await self._take_in_all(access)
        except (Exception, asyncio.CancelledError) as fault:
            task = asyncio.current_task()
            if isinstance(fault, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            # A stranger's own text may quote the connection.
            error = (
                fault
                if isinstance(fault, SparkDanceError)
                else SparkDanceConnectionLookupError(
                    f"Connection {self.conn_id!r} can't be read at the moment ({type(fault).__name__})."
                )
            )
            if before is not None:
                logger.warning("Connection %r was refused and can't be read anew: %s", self.conn_id, error)
            for place in self._at_the_door:
                place.tell(error)
            self._at_the_door.clear()
        finally:
            self._opening = None
            if before is not None:
                before.release()
        if self._at_the_door:  # they came just as the hub was closed again
            self._start()

    async def _take_in_all(self, access: Access) -> None:
        """Let all in who wait for the hub, and the event loop go on between."""
        while self._at_the_door:
            hub = self._hub = await self._lines.open(access)
            for _ in range(min(AT_ONCE, len(self._at_the_door))):
                place = self._at_the_door.pop()
                try:
                    hub.join(place)
                except Exception as fault:
                    # Raised where this one waits: it is nobody else's business.
                    place.tell(fault)
            await asyncio.sleep(0)
        if self._hub is not None:
            await self._lines.close_if_empty(self._hub)


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, Lines] = WeakKeyDictionary()


def lines() -> Lines:
    """Give the lines of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _lines:
        _lines[loop] = Lines()
    return _lines[loop]
