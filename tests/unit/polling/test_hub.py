from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import random
import re
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_spark.api.endpoint import Endpoint
from airflow_provider_spark.api.errors import SparkDanceConfigurationError, SparkDanceTimeoutError
from airflow_provider_spark.api.protocol import Call
from airflow_provider_spark.polling.hub import Access
from airflow_provider_spark.polling.lines import Lines
from airflow_provider_spark.polling.schedule import Pace, Shape
from airflow_provider_spark.polling.wait import GaveUp, Note, Settled, Wait
from tests.unit.polling.virtual_time import VirtualTimeLoop, play

NOON = 1_800_000_000.0
CLIP = Shape(pixels=864 * 480, frames=48, tier="default")
EVERY_SECOND = Pace(floor=1, ceiling=1, interval=1)
KEY = "sk-good"

Reply = tuple[int, dict[str, str], bytes]
Answer = Reply | Exception


def reply(generation_id: str, status: str = "in_progress") -> Reply:
    told: dict[str, Any] = {"id": generation_id, "status": status}
    if status == "completed":
        told["output"] = [{"content": [{"type": "video", "url": "https://r.example.com/1.mp4"}]}]
    return 200, {}, json.dumps(told).encode()


@dataclass
class Asked:
    at: float
    turn: int
    generation_id: str
    key: str


def seconds() -> float:
    return asyncio.get_running_loop().time()


def turns() -> int:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop.turns


@dataclass
class World:
    """A vendor, an Airflow that knows one connection, and the lines between them.

    :ivar answer: what the vendor says, by the generation's id.
    """

    answer: Callable[[str], Answer]
    latency: float = 0.1
    latencies: dict[str, float] = field(default_factory=dict)
    closing: float = 0.0
    rate: float = 1000.0
    key: str = KEY
    asked: list[Asked] = field(default_factory=list)
    look_ups: list[float] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    under_way: int = 0
    most_under_way: int = 0

    def __post_init__(self) -> None:
        self.lines = Lines(
            open_transport=self.open_transport, now=lambda: NOON + seconds(), spread=random.Random(7).random
        )

    async def open_transport(self, endpoint: Endpoint) -> Transport:
        self.opened += 1
        return Transport(self)

    async def look_up(self, conn_id: str) -> Access:
        self.look_ups.append(seconds())
        await asyncio.sleep(0.03)
        return Access(Endpoint(api_key=self.key, base_url="http://127.0.0.1:1"), self.rate)

    def waits(
        self,
        generation_id: str,
        *,
        timeout: float = 3600,
        age: float = 0,
        pace: Pace = EVERY_SECOND,
        conn_id: str = "farm",
        tell: Callable[[Note], None] = lambda note: None,
        look_up: Callable[[str], Awaitable[Access]] | None = None,
    ) -> asyncio.Task[Settled | GaveUp]:
        submitted_at = NOON + seconds() - age
        wait = Wait(generation_id, submitted_at, submitted_at + timeout, CLIP, pace)
        return asyncio.create_task(
            self.lines.wait_for_end(wait, conn_id=conn_id, look_up=look_up or self.look_up, tell=tell)
        )

    def times_of(self, generation_id: str) -> list[float]:
        return [asked.at for asked in self.asked if asked.generation_id == generation_id]

    @property
    def is_empty(self) -> bool:
        return not self.lines.hubs and self.opened == self.closed


@dataclass
class Transport:
    world: World

    async def send(self, call: Call) -> Reply:
        world = self.world
        generation_id = call.url.rpartition("/")[2]
        key = dict(call.headers)["Authorization"].removeprefix("Bearer ")
        world.asked.append(Asked(seconds(), turns(), generation_id, key))
        world.under_way += 1
        world.most_under_way = max(world.most_under_way, world.under_way)
        try:
            await asyncio.sleep(world.latencies.get(generation_id, world.latency))
            answer = world.answer(generation_id)
        finally:
            world.under_way -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self) -> None:
        await asyncio.sleep(self.world.closing)
        self.world.closed += 1


def after(polls: int, then: str = "completed") -> Callable[[str], Answer]:
    """A vendor for whom each generation is done at its so-manieth poll."""
    count: Counter[str] = Counter()

    def answer(generation_id: str) -> Answer:
        count[generation_id] += 1
        return reply(generation_id, then if count[generation_id] >= polls else "in_progress")

    return answer


def in_any_second(moments: list[float]) -> int:
    """The most moments that lie within any second."""
    moments = sorted(moments)
    most = start = 0
    for end, moment in enumerate(moments):
        while moment - moments[start] >= 1 - 1e-6:
            start += 1
        most = max(most, end - start + 1)
    return most


class TestWhoJoins:
    def test_shares_one_look_up_and_one_hub_with_all_others(self) -> None:
        async def story() -> None:
            world = World(after(2))
            ends = await asyncio.gather(*(world.waits(f"sd-{at}") for at in range(300)))
            assert all(isinstance(end, Settled) and end.generation.is_completed for end in ends)
            assert {end.generation.id for end in ends if isinstance(end, Settled)} == {f"sd-{at}" for at in range(300)}
            assert len(world.look_ups) == world.opened == 1
            assert Counter(asked.generation_id for asked in world.asked) == dict.fromkeys(world_ids(300), 2)

        play(story())

    def test_shares_a_hub_where_two_connections_come_down_to_the_same(self) -> None:
        async def story() -> None:
            world = World(after(3))
            both = world.waits("sd-1"), world.waits("sd-2", conn_id="farm_too")
            await asyncio.sleep(1)
            assert len(world.look_ups) == 2
            assert len(world.lines.hubs) == 1
            await asyncio.gather(*both)
            assert world.is_empty

        play(story())

    def test_has_a_hub_apart_where_the_key_is_another(self) -> None:
        async def story() -> None:
            world = World(after(3))

            async def look_up(conn_id: str) -> Access:
                return Access(Endpoint(api_key=f"sk-{conn_id}", base_url="http://127.0.0.1:1"), 1000)

            both = [world.waits(f"sd-{name}", conn_id=name, look_up=look_up) for name in ("east", "west")]
            await asyncio.sleep(1)
            assert len(world.lines.hubs) == 2
            await asyncio.gather(*both)
            assert {(asked.generation_id, asked.key) for asked in world.asked} == {
                ("sd-east", "sk-east"),
                ("sd-west", "sk-west"),
            }
            assert world.is_empty

        play(story())

    def test_after_a_restart_with_thousands_makes_no_burst(self) -> None:
        async def story() -> None:
            world = World(after(1), rate=50)
            waiting = []
            for at in range(5000):
                waiting.append(world.waits(f"sd-{at}", age=600 + at % 7, timeout=36_000, pace=Pace()))
                await asyncio.sleep(0.0002)
            await asyncio.gather(*waiting)
            assert len(world.look_ups) == 1
            assert in_any_second([asked.at for asked in world.asked]) <= 50
            # Nor is the limit left unused: 5,000 at 50 a second take 100 s, and the slack a twentieth more.
            assert world.asked[-1].at < 125

        play(story())

    def test_waits_on_where_the_look_up_fails_and_all_try_again_together(self) -> None:
        async def story() -> None:
            world = World(after(1))
            tries: list[float] = []
            notes: list[str] = []

            async def look_up(conn_id: str) -> Access:
                tries.append(seconds())
                await asyncio.sleep(0.01)
                if seconds() < 20:
                    raise ValueError("a text that quotes the password")
                return await world.look_up(conn_id)

            waiting = [
                world.waits(f"sd-{at}", look_up=look_up, tell=lambda note: notes.append(note.text)) for at in range(200)
            ]
            ends = await asyncio.gather(*waiting)
            assert all(isinstance(end, Settled) for end in ends)
            assert len(tries) <= 12
            assert all(later - sooner >= 2 - 1e-6 for sooner, later in pairwise(tries))
            assert any("'farm' can't be read" in note for note in notes)
            assert not any("password" in note for note in notes)

        play(story())

    def test_waits_on_where_what_the_look_up_waits_for_is_cancelled(self) -> None:
        async def story() -> None:
            world = World(after(1))

            async def look_up(conn_id: str) -> Access:
                if not world.look_ups:
                    world.look_ups.append(seconds())
                    raise asyncio.CancelledError
                return await world.look_up(conn_id)

            ends = await asyncio.gather(*(world.waits(one, look_up=look_up) for one in world_ids(5)))
            assert all(isinstance(end, Settled) for end in ends)
            assert len(world.look_ups) == 2
            assert seconds() < 10

        play(story())

    def test_is_let_in_though_the_hub_is_just_being_closed(self) -> None:
        async def story() -> None:
            world = World(after(1), closing=60)

            async def look_up(conn_id: str) -> Access:
                access = await world.look_up(conn_id)
                if len(world.look_ups) == 1:
                    raise ConnectionResetError
                return access

            first = world.waits("sd-1", look_up=look_up, pace=Pace(interval=10))
            await asyncio.sleep(0.5)
            gone = world.waits("sd-gone", look_up=look_up)
            await asyncio.sleep(1.52)
            assert len(world.look_ups) == 2
            await leave([gone])  # so that nobody is there when the hub is opened
            assert isinstance(await first, Settled)
            assert world.is_empty

        play(story())

    def test_cuts_no_look_up_off_by_leaving(self) -> None:
        async def story() -> None:
            world = World(after(1))
            answered = []

            async def look_up(conn_id: str) -> Access:
                access = await world.look_up(conn_id)
                answered.append(seconds())
                return access

            waiting = world.waits("sd-1", look_up=look_up)
            await asyncio.sleep(0.01)
            await leave([waiting])
            assert not answered
            await asyncio.sleep(1)
            assert answered
            assert world.is_empty

        play(story())

    def test_hears_of_a_failed_look_up_once_for_each_time_it_has_asked(self) -> None:
        async def story() -> None:
            world = World(after(1))
            notes: list[str] = []

            async def look_up(conn_id: str) -> Access:
                if seconds() < 600:
                    raise OSError
                return await world.look_up(conn_id)

            waiting = [
                world.waits(one, look_up=look_up, tell=lambda note: notes.append(note.text), pace=Pace(ceiling=60))
                for one in world_ids(50)
            ]
            assert all(isinstance(end, Settled) for end in await asyncio.gather(*waiting))
            assert seconds() < 600 + 60 + 66
            assert len(notes) < 50 * 30

        play(story())

    def test_hears_from_the_line_why_the_connection_can_not_be_right(self) -> None:
        async def story() -> None:
            world = World(after(1))

            async def look_up(conn_id: str) -> Access:
                raise SparkDanceConfigurationError("Connection 'farm': no key.")

            end = await world.waits("sd-1", look_up=look_up, timeout=60)
            assert isinstance(end, GaveUp)
            assert "no key" in str(end.error)
            assert world.asked == []

        play(story())


def world_ids(count: int) -> list[str]:
    return [f"sd-{at}" for at in range(count)]


class TestTheQueue:
    def test_asks_in_the_order_in_which_they_become_due(self) -> None:
        async def story() -> None:
            world = World(after(1), latency=0.01)
            intervals = {f"sd-{at}": float(interval) for at, interval in enumerate([9, 3, 27, 1, 14])}
            waiting = [world.waits(one, pace=Pace(floor=1, ceiling=60, interval=at)) for one, at in intervals.items()]
            await asyncio.gather(*waiting)
            assert [asked.generation_id for asked in world.asked] == sorted(intervals, key=lambda one: intervals[one])
            for asked in world.asked:
                assert asked.at == pytest.approx(intervals[asked.generation_id], abs=0.1)

        play(story())

    def test_starves_no_one_where_more_is_due_than_may_be_asked(self) -> None:
        async def story() -> None:
            world = World(lambda one: reply(one), rate=10)
            hasty = [world.waits(f"hasty-{at}", pace=Pace(interval=0.1)) for at in range(40)]
            patient = [world.waits(f"patient-{at}", pace=Pace(interval=20)) for at in range(20)]
            await asyncio.sleep(300)
            counts = Counter(asked.generation_id for asked in world.asked)
            # 60 generations at 10 a second are asked for every 6 s; who wants it every 20 s gets that.
            for at in range(20):
                assert counts[f"patient-{at}"] >= 10
            of_hasty = [counts[f"hasty-{at}"] for at in range(40)]
            assert max(of_hasty) - min(of_hasty) <= 2
            await leave([*hasty, *patient])
            assert world.is_empty

        play(story())

    def test_never_asks_for_one_generation_twice_at_a_time(self) -> None:
        async def story() -> None:
            world = World(lambda one: reply(one), latency=5)
            waiting = world.waits("sd-1")
            await asyncio.sleep(60)
            assert world.most_under_way == 1
            assert all(later - sooner >= 5 for sooner, later in pairwise(world.times_of("sd-1")))
            await leave([waiting])

        play(story())


class TestTheWorkers:
    @pytest.mark.parametrize(("latency", "fewest", "most"), [(0.01, 1, 3), (0.15, 14, 18), (1, 95, 105)])
    def test_are_as_many_as_load_and_latency_need(self, latency: float, fewest: int, most: int) -> None:
        async def story() -> None:
            world = World(lambda one: reply(one), latency=latency, rate=100 * 1.05)
            waiting = [world.waits(one, pace=Pace(interval=2)) for one in world_ids(500)]
            await asyncio.sleep(120)
            (hub,) = world.lines.hubs.values()
            assert fewest <= hub.workers <= most
            await leave(waiting)

        play(story())

    def test_are_never_more_than_so_many(self) -> None:
        async def story() -> None:
            world = World(lambda one: reply(one), latency=20, rate=5000)
            waiting = [world.waits(one) for one in world_ids(1000)]
            await asyncio.sleep(100)
            assert world.most_under_way == 256
            await leave(waiting)

        play(story())

    def test_come_one_by_one_however_many_are_due_and_however_late_the_answers_are(self) -> None:
        async def story() -> None:
            world = World(lambda one: reply(one), latency=10, rate=5000)
            waiting = [world.waits(one) for one in world_ids(1000)]
            await asyncio.sleep(9)
            first_polls = [asked.at for asked in world.asked]
            assert in_any_second(first_polls) <= 200
            assert len(first_polls) == 256
            await leave(waiting)

        play(story())

    def test_begin_few_polls_before_other_tasks_have_their_turn(self) -> None:
        async def story() -> None:
            world = World(lambda one: reply(one), latency=1, rate=5000)
            waiting = [world.waits(one, pace=Pace(interval=10)) for one in world_ids(1000)]
            await asyncio.sleep(60)
            (hub,) = world.lines.hubs.values()
            hub.hold()
            await asyncio.sleep(15)
            world.asked.clear()
            hub.release()  # all are due, and the workers idle
            await asyncio.sleep(0.5)
            begun = Counter(asked.turn for asked in world.asked)
            assert sum(begun.values()) > 50
            assert max(begun.values()) <= 8
            await leave(waiting)

        play(story())

    def test_go_when_there_is_less_to_do(self) -> None:
        async def story() -> None:
            world = World(after(5), latency=0.5)
            last = world.waits("last", pace=Pace(interval=5), timeout=100_000)
            await asyncio.gather(*(world.waits(one) for one in world_ids(100)))
            (hub,) = world.lines.hubs.values()
            assert hub.workers >= 50
            world.answer = lambda one: reply(one)
            await asyncio.sleep(3600)
            assert hub.workers <= 2
            await leave([last])

        play(story())

    def test_lose_no_generation_where_they_are_ended_from_outside_in_whatever_turn(self) -> None:
        async def story(ended_at: float | None = None, turns_later: int = 0) -> list[float]:
            world = World(after(4))
            waiting = [world.waits(one, pace=Pace(interval=10)) for one in world_ids(3)]
            ended = 0

            def end(turns_left: int) -> None:
                nonlocal ended
                if turns_left:
                    asyncio.get_running_loop().call_soon(end, turns_left - 1)
                else:
                    ended += sum(worker.cancel() for worker in running("Hub._work"))

            if ended_at is not None:
                asyncio.get_running_loop().call_at(ended_at, end, turns_later)
            assert all(isinstance(end, Settled) for end in await asyncio.gather(*waiting))
            assert seconds() < undisturbed + 31
            assert bool(ended) == (ended_at is not None)
            return [asked.at for asked in world.asked]

        undisturbed = float("inf")
        moments = play(story())
        undisturbed = moments[-1]
        while_idle = [(sooner + later) / 2 for sooner, later in pairwise(moments)]
        for moment in [*moments, *while_idle]:
            for turns_later in range(4):
                play(story(moment, turns_later))

    def test_carry_nothing_of_the_task_that_came_first(self) -> None:
        async def story() -> None:
            mine: contextvars.ContextVar[str] = contextvars.ContextVar("mine", default="nobody")
            seen = set()

            def answer(one: str) -> Answer:
                seen.add(mine.get())
                return reply(one, "completed")

            async def look_up(conn_id: str) -> Access:
                seen.add(mine.get())
                return await world.look_up(conn_id)

            world = World(answer)
            mine.set("the first task")
            await world.waits("sd-1", look_up=look_up)
            assert seen == {"nobody"}

        play(story())


class TestManners:
    @pytest.mark.parametrize("rate", [0.5, 3, 20, 200])
    def test_keep_to_the_limit_in_every_second(self, rate: float) -> None:
        async def story() -> None:
            world = World(lambda one: reply(one), rate=rate)
            waiting = [world.waits(one) for one in world_ids(400)]
            await asyncio.sleep(60)
            assert in_any_second([asked.at for asked in world.asked]) <= max(1, rate)
            assert len(world.asked) >= 0.9 * rate * 58
            await leave(waiting)

        play(story())

    @pytest.mark.parametrize("status", [429, 503])
    @pytest.mark.parametrize("form", ["seconds", "date"])
    def test_let_one_answer_slow_all(self, status: int, form: str) -> None:
        async def story() -> None:
            def answer(one: str) -> Answer:
                if not refused and seconds() > 10:
                    refused.append(seconds())
                    # A date has no fractions of a second.
                    until = datetime.fromtimestamp(NOON + int(seconds()) + 31, UTC)
                    return status, {"retry-after": "30" if form == "seconds" else format_datetime(until, True)}, b""
                return reply(one)

            refused: list[float] = []
            world = World(answer, rate=100, latency=0.001)
            waiting = [world.waits(one) for one in world_ids(50)]
            await asyncio.sleep(200)
            later = [asked.at for asked in world.asked if asked.at > refused[0]]
            assert min(later) >= refused[0] + 29.9
            assert min(later) <= refused[0] + 32
            # Not all at once when the time is over, and back at the full pace in the end.
            assert in_any_second([at for at in later if at < min(later) + 1]) <= 55
            assert len([at for at in later if at >= 190]) == pytest.approx(500, rel=0.1)
            await leave(waiting)

        play(story())

    def test_recover_step_by_step(self) -> None:
        async def story() -> None:
            def answer(one: str) -> Answer:
                return (429, {}, b"") if 10 < seconds() < 20 else reply(one)

            world = World(answer, rate=100, latency=0.05)
            waiting = [world.waits(one) for one in world_ids(2000)]
            await asyncio.sleep(300)

            def per_second(start: float) -> float:
                return sum(start <= asked.at < start + 10 for asked in world.asked) / 10

            assert per_second(0) > 80
            assert per_second(15) < 10
            rates = [per_second(at) for at in range(20, 160, 20)]
            assert rates == sorted(rates)
            assert rates[2] < 60
            assert per_second(200) == pytest.approx(95, rel=0.05)
            await leave(waiting)

        play(story())


class TestIsolation:
    @pytest.mark.parametrize(
        "broken",
        [
            (200, {}, b"\xff\x00 no JSON"),
            (200, {}, b"[]"),
            (500, {}, b"oops"),
            (404, {}, b""),
            (403, {}, b""),
            OSError("the connection is dead"),
            RuntimeError("nobody has thought of this"),
            ValueError("nor of this"),
        ],
        ids=repr,
    )
    def test_one_broken_answer_harms_no_other(self, broken: Answer) -> None:
        async def story() -> None:
            good = after(20)
            world = World(lambda one: broken if one == "sd-0" else good(one))
            waiting = {one: world.waits(one) for one in world_ids(30)}
            for one, task in waiting.items():
                if one != "sd-0":
                    assert isinstance(await task, Settled)
                    assert all(gap <= 1.3 for gap in gaps(world.times_of(one)))
            assert not waiting["sd-0"].done()
            assert len(world.times_of("sd-0")) > 3
            world.answer = after(1)
            assert isinstance(await waiting["sd-0"], Settled)

        play(story())

    def test_an_error_in_what_decides_is_contained_and_the_generation_asked_again(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Hostile(dict[str, str]):
            def get(self, *_: object) -> Any:
                raise RecursionError("a key in a text")

        async def story() -> None:
            answers = iter([(429, Hostile(), b"")])
            world = World(lambda one: next(answers, reply(one, "completed")))
            assert isinstance(await world.waits("sd-1"), Settled)
            assert len(world.asked) == 2

        play(story())
        assert "a key in a text" not in caplog.text

    def test_one_that_is_cancelled_harms_no_other(self) -> None:
        async def story() -> None:
            world = World(after(10))
            waiting = [world.waits(one) for one in world_ids(40)]
            await asyncio.sleep(3.25)
            assert world.under_way > 10
            await leave(waiting[::2])
            ends = await asyncio.gather(*waiting[1::2])
            assert all(isinstance(end, Settled) for end in ends)
            assert all(len(world.times_of(one)) <= 3 for one in world_ids(40)[::2])
            assert world.is_empty

        play(story())

    def test_one_that_makes_no_sense_harms_no_other(self) -> None:
        async def story() -> None:
            world = World(after(2))
            told: list[Note] = []
            nonsense = Wait("sd-odd", NOON, NOON + 3600, {"pixels": 1}, Pace())  # type: ignore[typeddict-item]
            waiting = [world.waits(one, tell=told.append) for one in world_ids(5)]
            odd = world.lines.wait_for_end(nonsense, conn_id="farm", look_up=world.look_up, tell=told.append)
            with pytest.raises(KeyError):
                await odd
            assert seconds() < 1
            waiting += [world.waits("came-later", tell=told.append)]
            ends = await asyncio.gather(*waiting)
            assert all(isinstance(end, Settled) for end in ends)
            assert [note for note in told if note.level > logging.INFO] == []
            assert world.is_empty

        play(story())

    def test_the_first_one_may_be_cancelled_while_the_connection_is_looked_up(self) -> None:
        async def story() -> None:
            world = World(after(2))
            waiting = [world.waits(one) for one in world_ids(5)]
            await asyncio.sleep(0.01)
            await leave(waiting[:1])
            ends = await asyncio.gather(*waiting[1:])
            assert all(isinstance(end, Settled) for end in ends)
            assert len(world.look_ups) == 1

        play(story())

    def test_a_call_that_hangs_holds_up_no_other(self) -> None:
        async def story() -> None:
            world = World(after(5))
            transport_waits = world.latency
            waiting = [world.waits(one) for one in world_ids(20)]
            await asyncio.sleep(0.5)
            world.latency = 10_000
            await asyncio.sleep(0.55)
            world.latency = transport_waits
            stuck = {asked.generation_id for asked in world.asked}
            others = [world.waits(f"other-{at}") for at in range(20)]
            assert all(isinstance(end, Settled) for end in await asyncio.gather(*others))
            assert stuck
            await leave(waiting)
            assert world.is_empty

        play(story())


class TestARefusedKey:
    def test_loses_no_poll_that_is_under_way_when_all_move_to_the_new_one(self) -> None:
        async def story() -> None:
            def answer(one: str) -> Answer:
                key = next(asked.key for asked in reversed(world.asked) if asked.generation_id == one)
                return (401, {}, b"") if key != world.key else reply(one)

            # One is refused at once, while the others are still being asked for with the old key.
            world = World(answer, latency=5, latencies={"sd-0": 0.02})
            waiting = [world.waits(one) for one in world_ids(4)]
            await asyncio.sleep(0.9)
            world.key = "sk-new"
            await asyncio.sleep(60)
            assert len(world.look_ups) == 2
            for one in world_ids(4):
                assert len([at for at in world.times_of(one) if at > 5]) >= 9
            await leave(waiting)
            assert world.is_empty

        play(story())

    def test_leaves_nothing_behind_where_all_go_before_the_next_look_up(self) -> None:
        async def story() -> None:
            world = World(lambda one: (401, {}, b""))
            waiting = [world.waits(one) for one in world_ids(3)]
            await asyncio.sleep(1.5)
            assert world.asked
            await leave(waiting)
            assert len(world.look_ups) == 1
            assert world.is_empty

        play(story())

    def test_is_renewed_once_for_all(self) -> None:
        async def story() -> None:
            count = after(8)
            world = World(lambda one: (401, {}, b"") if world.asked[-1].key != world.key else count(one), latency=0)
            waiting = [world.waits(one, tell=lambda note: notes.append(note)) for one in world_ids(500)]
            notes: list[Note] = []
            await asyncio.sleep(3.02)
            world.key = "sk-rotated"
            ends = await asyncio.gather(*waiting)
            assert all(isinstance(end, Settled) for end in ends)
            assert len(world.look_ups) == 2
            assert world.opened == world.closed == 2
            refused = [note for note in notes if note.level == logging.WARNING]
            # Only what was under way with the old key hears of it.
            assert 1 <= len(refused) <= 10
            assert world.is_empty

        play(story())

    def test_that_stays_refused_is_read_anew_from_time_to_time_only(self) -> None:
        async def story() -> None:
            world = World(lambda one: (401, {}, b""), rate=100)
            waiting = [world.waits(one, timeout=60) for one in world_ids(300)]
            ends = await asyncio.gather(*waiting)
            assert all(isinstance(end, GaveUp) for end in ends)
            assert all(later - sooner >= 2 - 1e-6 for sooner, later in pairwise(world.look_ups))
            assert len(world.look_ups) <= 55
            assert world.is_empty

        play(story())

    def test_that_is_mended_is_taken_up(self) -> None:
        async def story() -> None:
            world = World(lambda one: (401, {}, b"") if world.asked[-1].key != KEY else reply(one, "completed"))
            world.key = "sk-bad"
            waiting = [world.waits(one) for one in world_ids(50)]
            await asyncio.sleep(200)
            world.key = KEY
            ends = await asyncio.gather(*waiting)
            assert all(isinstance(end, Settled) for end in ends)
            assert seconds() < 400

        play(story())


class TestTheEnd:
    def test_comes_by_the_deadline_even_where_the_vendor_wants_no_call_until_later(self) -> None:
        async def story() -> None:
            world = World(lambda one: (429, {"retry-after": "3000"}, b""))
            end = await world.waits("sd-1", timeout=100)
            assert isinstance(end, GaveUp)
            assert isinstance(end.error, SparkDanceTimeoutError)
            assert seconds() <= 160
            assert len(world.asked) == 1
            assert world.is_empty

        play(story())

    @pytest.mark.parametrize("late", [1, 60, 190])
    def test_comes_for_no_one_who_is_late_before_a_look(self, late: float) -> None:
        async def story() -> None:
            world = World(lambda one: reply(one, "completed"), rate=50)
            waiting = [world.waits(f"sd-{one}", timeout=100, age=100 + late, pace=Pace()) for one in range(1000)]
            ends = await asyncio.gather(*waiting)
            assert all(isinstance(end, Settled) for end in ends)
            assert seconds() < 30

        play(story())

    @pytest.mark.parametrize("arrives", [0.0, 3.7, 14.95, 29.9])
    def test_waits_for_an_answer_that_is_under_way(self, arrives: float) -> None:
        async def story() -> None:
            world = World(lambda one: reply(one, "completed" if one == "sd-late" else "in_progress"))
            world.latencies["sd-late"] = 80
            other = world.waits("sd-other", timeout=10_000)
            await asyncio.sleep(arrives)
            assert isinstance(await world.waits("sd-late", timeout=100, age=150), Settled)
            await leave([other])

        play(story())

    def test_comes_not_at_the_first_fault_of_the_connection_for_who_is_late(self) -> None:
        async def story() -> None:
            world = World(lambda one: reply(one, "completed"))

            async def look_up(conn_id: str) -> Access:
                if seconds() < 20:
                    raise ConnectionResetError
                return await world.look_up(conn_id)

            assert isinstance(await world.waits("sd-1", timeout=100, age=150, look_up=look_up), Settled)
            assert seconds() < 25

        play(story())

    def test_comes_within_a_minute_where_the_connection_stays_unreadable(self) -> None:
        async def story() -> None:
            world = World(lambda one: reply(one, "completed"))

            async def look_up(conn_id: str) -> Access:
                raise ConnectionResetError

            end = await world.waits("sd-1", timeout=100, look_up=look_up)
            assert isinstance(end, GaveUp)
            assert isinstance(end.error, SparkDanceTimeoutError)
            assert 100 <= seconds() <= 160
            assert world.is_empty

        play(story())

    def test_of_the_last_one_closes_everything(self) -> None:
        async def story() -> None:
            world = World(after(3))
            await asyncio.gather(*(world.waits(one) for one in world_ids(10)))
            assert world.is_empty
            assert len(asyncio.all_tasks()) == 1
            await world.waits("one-more")
            assert len(world.look_ups) == 2
            assert world.opened == world.closed == 2

        play(story())

    def test_by_a_cancel_closes_everything_too_and_cuts_what_is_under_way(self) -> None:
        async def story() -> None:
            world = World(lambda one: reply(one), latency=1000)
            waiting = [world.waits(one) for one in world_ids(3)]
            await asyncio.sleep(10)
            assert world.under_way == 3
            await leave(waiting)
            assert world.under_way == 0
            assert world.is_empty
            assert len(asyncio.all_tasks()) == 1

        play(story())

    def test_by_a_second_cancel_closes_everything_all_the_same(self) -> None:
        async def story() -> None:
            world = World(lambda one: reply(one), closing=5)
            waiting = world.waits("sd-1")
            await asyncio.sleep(10)
            waiting.cancel()
            await asyncio.sleep(1)
            waiting.cancel()
            await asyncio.sleep(1)
            assert waiting.cancelled()
            await asyncio.sleep(5)
            assert world.is_empty

        play(story())

    def test_leaves_nothing_behind(self) -> None:
        async def story() -> None:
            world = World(after(2))
            hubs: list[weakref.ref[Any]] = []
            for _ in range(3):
                waiting = [world.waits(one) for one in world_ids(5)]
                await asyncio.sleep(0.5)
                hubs += map(weakref.ref, world.lines.hubs.values())
                await asyncio.gather(*waiting)
                del waiting
            await asyncio.sleep(3600)
            import gc

            gc.collect()
            assert [hub for hub in hubs if hub() is not None] == []

        play(story())


class TestTheLog:
    def test_of_each_task_has_the_lines_of_its_own_generation_only(self) -> None:
        async def story() -> None:
            task_of: contextvars.ContextVar[str] = contextvars.ContextVar("task_of")
            lines: dict[str, list[str]] = {}

            def tell(note: Note) -> None:
                lines.setdefault(task_of.get(), []).append(note.text)

            async def trigger(one: str) -> None:
                task_of.set(one)
                await world.waits(one, tell=tell)

            good = after(4)
            faults = {f"sd-{at}" for at in range(0, 20, 3)}

            def answer(one: str) -> Answer:
                if one in faults:
                    faults.discard(one)
                    return 502, {}, b""
                return good(one)

            world = World(answer)
            await asyncio.gather(*(asyncio.create_task(trigger(one)) for one in world_ids(20)))
            assert set(lines) == set(world_ids(20))
            for at, one in enumerate(world_ids(20)):
                own = lines[one]
                assert {told for line in own for told in re.findall(r"sd-\d+", line)} == {one}
                assert len(own) == (3 if at % 3 == 0 else 2)
                assert own[-1] == f"Generation {one} is completed."

        play(story())


def running(name: str) -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if name in repr(task.get_coro())]


async def leave(waiting: list[asyncio.Task[Any]]) -> None:
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def gaps(moments: list[float]) -> list[float]:
    return [later - sooner for sooner, later in pairwise(moments)]
