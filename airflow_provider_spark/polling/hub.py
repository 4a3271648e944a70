"""One queue of waiting generations for each event loop and connection: few workers, one rate limit.

A hub stands between hundreds of triggers and the vendor. What is due is asked for in the order in which it became
due, by whichever worker is free; there are as many workers as calls are under way at a time, each with a connection
that stays open. What an answer means for a wait is not decided here but in :mod:`~airflow_provider_spark.polling.wait`.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import heapq
import itertools
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_spark.api.errors import SparkDanceAuthenticationError, SparkDanceError
from airflow_provider_spark.api.protocol import Protocol, read_retry_after
from airflow_provider_spark.polling.limit import DEFAULT_REQUESTS_PER_SECOND, RateLimit
from airflow_provider_spark.polling.wait import LONGEST_RETRY_AFTER, Ask, GaveUp, Note, Settled, Wait

if TYPE_CHECKING:
    from airflow_provider_spark.api.endpoint import Endpoint
    from airflow_provider_spark.api.generation import Generation
    from airflow_provider_spark.polling.transport import Transport

logger = logging.getLogger(__name__)

# Calls under way at a time, at most: enough for 1,000 polls a second at a quarter of a second each.
MOST_WORKERS = 256
# Each new worker opens a connection: many handshakes at a time would make every answer late, which asks for still more
# workers.
NEW_WORKERS_PER_SECOND = 200.0
# So many polls begin before other tasks of the event loop have their turn.
AT_ONCE = 8
# A worker that had nothing to do for so many seconds goes.
IDLE_SECONDS = 30.0
# A generation whose poll broke in a way that nobody has thought of is asked for again after so many seconds.
BROKEN_STEP = 30.0

# What `Place.turn` is while the generation isn't in a queue.
UNDER_WAY = 0
LEFT = -1
# No two turns are alike, in whatever hub: what stands in a queue under an older turn doesn't count.
_turns = itertools.count(1)


@dataclass(frozen=True)
class Access:
    """What a connection comes down to for polls: those for whom it is the same share a hub and its limit."""

    endpoint: Endpoint
    max_requests_per_second: float = DEFAULT_REQUESTS_PER_SECOND


# A line for the log, the end, why there is no hub to wait in, or what is wrong with the wait itself.
News = Note | Settled | GaveUp | Exception


class Place:
    """The place of one wait in a hub. The hub tells it news; whoever waits hears them in their own task.

    :param refused: called with the access that the vendor refused, and whether it refused the key itself.
    :param joined_at: Unix seconds; a triggerer may take a wait over long after its deadline.
    """

    __slots__ = ("_listener", "_news", "hub", "joined_at", "refused", "turn", "wait")

    def __init__(self, wait: Wait, refused: Callable[[Access, bool], None], joined_at: float) -> None:
        self.wait = wait
        self.refused = refused
        self.joined_at = joined_at
        self.hub: Hub | None = None
        self.turn = LEFT
        self._news: tuple[News, ...] = ()
        self._listener: asyncio.Future[None] | None = None

    def tell(self, news: News) -> None:
        """Leave news for whoever waits here."""
        self._news = (*self._news, news)
        if self._listener is not None and not self._listener.done():
            self._listener.set_result(None)

    def listen(self) -> asyncio.Future[None]:
        """Give what is done as soon as there are news."""
        self._listener = asyncio.get_running_loop().create_future()
        if self._news:
            self._listener.set_result(None)
        return self._listener

    def news(self) -> tuple[News, ...]:
        """Take all news since the last time."""
        news, self._news = self._news, ()
        return news


class Worker:
    """Polls for one place after another.

    :ivar place: for which it polls now; without one it is idle or at its end.
    :ivar idle_since: when it became idle, on the event loop's clock.
    :ivar woken: done as soon as an idle one has a place, or is to go.
    """

    __slots__ = ("idle_since", "place", "woken")

    def __init__(self, place: Place) -> None:
        self.place: Place | None = place
        self.idle_since = 0.0
        self.woken: asyncio.Future[None]


class Hub:
    """Polls for all places of one access on the event loop that it is made on.

    :param now: Unix seconds.
    :param spread: a random number, 0 to 1.
    """

    def __init__(
        self,
        access: Access,
        transport: Transport,
        *,
        now: Callable[[], float] = time.time,
        spread: Callable[[], float] = random.random,
        most_workers: int = MOST_WORKERS,
    ) -> None:
        self.access = access
        self.places: set[Place] = set()
        self._transport = transport
        self._protocol = Protocol(access.endpoint)
        self._limit = RateLimit(access.max_requests_per_second)
        self._now = now
        self._spread = spread
        self._most_workers = most_workers
        self._loop = asyncio.get_running_loop()
        # What a worker logs belongs to no task: it must not inherit the context of whoever came first.
        self._context = contextvars.Context()
        self._queue: list[tuple[float, int, Place]] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._growth = RateLimit(NEW_WORKERS_PER_SECOND)
        # The one that became idle last is taken first, so that those who aren't needed stay idle.
        self._idle: deque[Worker] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._is_held = False
        self._is_closed = False

    @property
    def workers(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    def join(self, place: Place) -> None:
        """Take a wait in: its first poll comes when the wait says so."""
        after = place.wait.first_ask(self._now(), self._spread())
        place.hub = self
        self.places.add(place)
        self._put(place, after)

    def move_here(self, moving: set[Place], other: Hub) -> None:
        """Take over places of another hub, each with its turn; one that is being asked for comes when it has news."""
        for place in moving:
            place.hub = self
        other.places -= moving
        self.places |= moving
        queue, other._queue = other._queue, []
        for entry in queue:
            _, turn, place = entry
            if place.turn == turn:
                heapq.heappush(self._queue if place in moving else other._queue, entry)
        self._dispatch()
        other._dispatch()

    def leave(self, place: Place) -> None:
        """Forget a place. An answer that is still under way for it is thrown away."""
        self.places.discard(place)
        place.turn = LEFT

    def hold(self) -> None:
        """Ask for nothing until released: the key is being read anew."""
        self._is_held = True

    def release(self) -> None:
        """Go on."""
        self._is_held = False
        self._dispatch()

    async def aclose(self) -> None:
        """End the workers and close their connections."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._queue.clear()
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await self._transport.aclose()

    def _put(self, place: Place, after: float) -> None:
        place.turn = next(_turns)
        heapq.heappush(self._queue, (self._loop.time() + after, place.turn, place))
        if self._queue[0][2] is place:
            self._dispatch()

    def _next(self) -> Place | None:
        """Take the place whose turn it is now; without one, see to it that the next turn isn't missed."""
        if self._is_held or self._is_closed:
            return None
        now = self._loop.time()
        queue = self._queue
        while queue:
            due, turn, place = queue[0]
            if place.turn != turn:
                heapq.heappop(queue)
                continue
            at = max(due, self._limit.next_call_at())
            if at > now:
                self._wake_at(at)
                return None
            heapq.heappop(queue)
            place.turn = UNDER_WAY
            self._limit.take(now)
            return place
        return None

    def _wake_at(self, at: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._on_timer, context=self._context)

    def _on_timer(self) -> None:
        self._timer = None
        self._dispatch()

    def _dispatch(self) -> None:
        """Give what is due to workers. Where all are busy, the first to be free takes it."""
        given = 0
        while self._idle or self._may_grow():
            if given == AT_ONCE:
                self._wake_at(self._loop.time())
                break
            if self._idle and self._idle[-1].woken.done():  # it was ended from outside
                self._idle.pop()
                continue
            place = self._next()
            if place is None:
                break
            given += 1
            if self._idle:
                worker = self._idle.pop()
                worker.place = place
                worker.woken.set_result(None)
            else:
                self._begin(Worker(place))
        if self._idle and self._loop.time() - self._idle[0].idle_since > IDLE_SECONDS:
            worker = self._idle.popleft()
            if not worker.woken.done():
                worker.woken.set_result(None)

    def _begin(self, worker: Worker) -> None:
        task = self._loop.create_task(self._work(worker), context=self._context)
        self._workers.add(task)
        task.add_done_callback(functools.partial(self._end, worker))
        self._growth.take(self._loop.time())

    def _end(self, worker: Worker, task: asyncio.Task[None]) -> None:
        self._workers.discard(task)
        place = worker.place
        hub = place.hub if place is not None else None
        # Only where the worker itself was ended: from outside, or with this hub, which all have left for another.
        # Its generation must not be lost.
        if place is not None and hub is not None and place.turn == UNDER_WAY and not hub._is_closed:
            hub._put(place, BROKEN_STEP if hub is self else 0.0)

    def _may_grow(self) -> bool:
        if len(self._workers) >= self._most_workers:
            return False
        at = self._growth.next_call_at()
        if at <= self._loop.time():
            return True
        self._wake_at(at)
        return False

    async def _work(self, worker: Worker) -> None:
        while worker.place is not None:
            await self._poll(worker.place)
            worker.place = self._next()
            if worker.place is None:
                worker.idle_since = self._loop.time()
                worker.woken = self._loop.create_future()
                self._idle.append(worker)
                await worker.woken

    async def _poll(self, place: Place) -> None:
        refused_key = False
        decision: Ask | Settled | GaveUp
        try:
            answer = await self._ask(place.wait.generation_id)
            if isinstance(answer, SparkDanceError):
                wait, decision = place.wait.after_fault(answer, self._now(), self._spread())
                refused_key = isinstance(answer, SparkDanceAuthenticationError)
            else:
                wait, decision = place.wait.after_reply(answer, self._now(), self._spread())
        except Exception as error:
            # Without its text, which may quote a header: nobody knows what this is.
            logger.error("A poll broke (%s); the generation is asked for again.", type(error).__name__)  # noqa: TRY400
            wait, decision = place.wait, Ask(BROKEN_STEP)
        hub = place.hub
        if place.turn != UNDER_WAY or hub is None:
            return
        place.wait = wait
        if not isinstance(decision, Ask):
            hub.leave(place)
            if isinstance(decision, Settled) and decision.note is not None:
                place.tell(decision.note)
            place.tell(decision)
            return
        if decision.note is not None:
            place.tell(decision.note)
        if decision.reload_connection:
            # Before it stands in the queue again, so that it can be held there.
            place.refused(self.access, refused_key)
        hub._put(place, decision.after)

    async def _ask(self, generation_id: str) -> Generation | SparkDanceError:
        asked_at = self._loop.time()
        try:
            status, headers, body = await self._transport.send(self._protocol.poll_call(generation_id))
            if status in (429, 503):
                retry_after = read_retry_after(headers.get("retry-after"), self._now())
                self._limit.slow_down(
                    self._loop.time(),
                    asked_at=asked_at,
                    retry_after=None if retry_after is None else min(retry_after, LONGEST_RETRY_AFTER),
                )
            return self._protocol.read_poll(generation_id, status, headers, body)
        except Exception as fault:
            # Handed on, not raised: the traceback of a transport's exception may lead to the key.
            return self._protocol.poll_fault(generation_id, fault)
