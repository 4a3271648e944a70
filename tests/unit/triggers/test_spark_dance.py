from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_spark.api.errors import SparkDanceHostError, SparkDanceTimeoutError
from airflow_provider_spark.api.request import VideoRequest
from airflow_provider_spark.emulator import Clock, RunningEmulator, running_emulator
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.polling.schedule import Shape
from airflow_provider_spark.polling.wait import GaveUp, Settled
from airflow_provider_spark.triggers.events import from_event
from airflow_provider_spark.triggers.spark_dance import SparkDanceGenerationTrigger
from tests.unit.hooks.helpers import CONN_ID, KEY, store_connection, stranger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

CLIP = VideoRequest.compose(prompt="A paper kite", resolution="480p", duration=2)
NOON = 1_800_000_000.0

# What a trigger of release 0.1.0 left in the database. Never edit this: it must inflate for ever.
RELEASE_0_1_0 = {
    "generation_id": "sd-1",
    "spark_dance_conn_id": CONN_ID,
    "submitted_at": 1800000000.25,
    "deadline": 1800003600.25,
    "shape": {"pixels": 414720, "frames": 48, "tier": "default"},
    "poll": {"floor": 2.0, "ceiling": 60.0},
}


def trigger_for(
    generation_id: str, *, timeout: float = 60, age: float = 0, **poll: float
) -> SparkDanceGenerationTrigger:
    """A trigger for an order made `age` seconds ago, that polls as fast as it can unless told otherwise."""
    submitted_at = time.time() - age
    return SparkDanceGenerationTrigger(
        generation_id=generation_id,
        spark_dance_conn_id=CONN_ID,
        submitted_at=submitted_at,
        deadline=submitted_at + timeout,
        shape=Shape(pixels=864 * 480, frames=48, tier="default"),
        poll=poll or {"interval": 0.01},
    )


async def events_of(trigger: SparkDanceGenerationTrigger) -> list[dict[str, Any]]:
    return [event.payload async for event in trigger.run()]


async def end_of(trigger: SparkDanceGenerationTrigger) -> Settled | GaveUp:
    async with asyncio.timeout(30):
        (event,) = await events_of(trigger)
    return from_event(event)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in the emulator's thread
            await asyncio.sleep(0.002)


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningEmulator]:
    """An emulator whose clock stands still, with the connection to it."""
    with running_emulator(render_seconds=10, seed=7, clock=Clock(frozen_at=NOON)) as running:
        store_connection(monkeypatch, host=running.base_url, password=running.api_key)
        yield running


def order() -> str:
    generation_id = SparkDanceHook(CONN_ID).submit(CLIP).id
    assert generation_id is not None
    return generation_id


@pytest.fixture
def ordered(emulator: RunningEmulator) -> str:
    """A generation that is still being rendered."""
    return order()


class TestItsArguments:
    def test_come_back_from_the_database_as_they_were(self) -> None:
        path, arguments = trigger_for("sd-1").serialize()
        module, _, name = path.rpartition(".")
        again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
        assert again.serialize() == (path, arguments)

    def test_of_release_0_1_0_inflate(self) -> None:
        trigger = SparkDanceGenerationTrigger(**json.loads(json.dumps(RELEASE_0_1_0)))
        path, arguments = trigger.serialize()
        assert path == "airflow_provider_spark.triggers.spark_dance.SparkDanceGenerationTrigger"
        assert arguments.items() >= RELEASE_0_1_0.items()

    def test_hold_no_secret(self, emulator: RunningEmulator) -> None:
        assert emulator.api_key not in repr(trigger_for("sd-1").serialize())

    async def test_that_another_version_added_to_the_pace_do_no_harm(
        self, emulator: RunningEmulator, ordered: str
    ) -> None:
        emulator.clock.advance(60)
        end = await end_of(trigger_for(ordered, interval=0.01, jitter=0.5))
        assert isinstance(end, Settled)


class TestItsEvent:
    async def test_is_one_and_has_the_finished_generation(self, emulator: RunningEmulator, ordered: str) -> None:
        waiting = asyncio.create_task(events_of(trigger_for(ordered)))
        await until(lambda: emulator.stats()["polls"] >= 3)
        assert not waiting.done()
        emulator.clock.advance(60)
        (event,) = await waiting
        end = from_event(json.loads(json.dumps(event)))
        assert isinstance(end, Settled)
        assert end.generation.id == ordered
        assert end.generation.is_completed
        assert end.generation.video_url is not None
        assert emulator.stats()["submits_received"] == 1

    async def test_has_the_failed_generation(self, emulator: RunningEmulator) -> None:
        emulator.arm("render", "fail", code="003005095", message="lights out")
        ordered = await asyncio.to_thread(order)
        emulator.clock.advance(60)
        end = await end_of(trigger_for(ordered))
        assert isinstance(end, Settled)
        assert end.generation.is_failed
        assert end.generation.error_code == "003005095"

    async def test_has_the_deadline_that_ran_out(self, ordered: str) -> None:
        end = await end_of(trigger_for(ordered, timeout=0.1))
        assert isinstance(end, GaveUp)
        assert isinstance(end.error, SparkDanceTimeoutError)
        assert end.error.generation_id == ordered
        assert ordered in str(end.error)

    async def test_comes_after_one_poll_where_the_deadline_has_passed_already(
        self, emulator: RunningEmulator, ordered: str
    ) -> None:
        end = await end_of(trigger_for(ordered, timeout=60, age=3600, interval=3600))
        assert isinstance(end, GaveUp)
        assert emulator.stats()["polls"] == 1

    async def test_is_good_where_the_render_was_done_before_a_late_start(
        self, emulator: RunningEmulator, ordered: str
    ) -> None:
        emulator.clock.advance(60)
        assert isinstance(await end_of(trigger_for(ordered, timeout=60, age=3600)), Settled)

    async def test_has_a_redirect_at_once_and_the_key_goes_nowhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with stranger(200, b"{}") as target, stranger(307, location=target.url) as host:
            store_connection(monkeypatch, host=host.url, password=KEY)
            end = await end_of(trigger_for("sd-1"))
        assert isinstance(end, GaveUp)
        assert isinstance(end.error, SparkDanceHostError)
        assert target.asked == []
        assert KEY not in repr(end.error)


class TestItsPatience:
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("drop_reply", {}),
            ("refuse", {}),
            ("rate_limit", {}),
            ("rate_limit", {"retry_after": 0.01}),
            ("rate_limit", {"retry_after": "soon"}),
            ("server_error", {}),
            ("server_error", {"http_status": 500}),
            ("server_error", {"http_status": 404}),
            ("server_error", {"http_status": 403}),
            ("vendor_error", {"code": "003005095", "http_status": 500}),
            ("vendor_error", {"code": "003005096"}),
            ("vendor_error", {"code": "003005097"}),
            ("vendor_error", {"code": "003005098"}),
            ("garbage", {}),
            ("slow", {"seconds": 5}),
        ],
    )
    async def test_survives_a_poll_that_goes_wrong(
        self,
        emulator: RunningEmulator,
        ordered: str,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
        options: dict[str, Any],
    ) -> None:
        # A reply that is slow comes after the call's own timeout.
        timeout = {"request_timeout": 0.2 if kind == "slow" else 20}
        store_connection(monkeypatch, host=emulator.base_url, password=emulator.api_key, extra=timeout)
        emulator.clock.advance(60)
        emulator.arm("poll", kind, count=1 if kind == "slow" else 2, **options)
        end = await end_of(trigger_for(ordered))
        assert isinstance(end, Settled)
        assert end.generation.is_completed
        assert emulator.stats()["polls"] > 1

    async def test_takes_a_key_that_is_mended_meanwhile(
        self, emulator: RunningEmulator, ordered: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        emulator.clock.advance(60)
        store_connection(monkeypatch, host=emulator.base_url, password="a-rotated-key")
        waiting = asyncio.create_task(end_of(trigger_for(ordered)))
        await until(lambda: emulator.stats()["polls"] >= 2)
        assert not waiting.done()
        store_connection(monkeypatch, host=emulator.base_url, password=emulator.api_key)
        assert isinstance(await waiting, Settled)

    async def test_takes_a_connection_that_is_missing_or_wrong_for_a_while(
        self,
        emulator: RunningEmulator,
        ordered: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        emulator.clock.advance(60)
        monkeypatch.delenv(f"AIRFLOW_CONN_{CONN_ID.upper()}")
        waiting = asyncio.create_task(end_of(trigger_for(ordered)))
        await until(lambda: "isn't defined" in caplog.text)
        store_connection(monkeypatch, host="http://api.example.com", password=KEY)
        await until(lambda: "plain http" in caplog.text)
        store_connection(monkeypatch, host=emulator.base_url, password=emulator.api_key)
        assert isinstance(await waiting, Settled)
        assert KEY not in caplog.text

    async def test_ends_with_a_refused_key_at_the_deadline(
        self,
        emulator: RunningEmulator,
        ordered: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        store_connection(monkeypatch, host=emulator.base_url, password=KEY)
        (event,) = await events_of(trigger_for(ordered, timeout=0.1))
        end = from_event(event)
        assert isinstance(end, GaveUp)
        assert isinstance(end.error, SparkDanceTimeoutError)
        assert ordered in str(end.error)
        assert "API key" in str(end.error)
        assert KEY not in repr(event) + caplog.text


class TestItsLog:
    async def test_has_each_status_once(
        self, emulator: RunningEmulator, ordered: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        waiting = asyncio.create_task(end_of(trigger_for(ordered)))
        for status, seconds in (("queued", 5), ("in_progress", 60)):
            await until(lambda status=status: any(status in line for line in caplog.messages))  # type: ignore[misc]
            emulator.clock.advance(seconds)
        await waiting
        told = [line for line in caplog.messages if line.startswith(f"Generation {ordered}")]
        assert len(told) == 3
        for line, status in zip(told, ["queued", "in_progress", "completed"], strict=True):
            assert status in line
        assert emulator.api_key not in caplog.text

    async def test_has_a_warning_for_a_fault(
        self, emulator: RunningEmulator, ordered: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        emulator.clock.advance(60)
        emulator.arm("poll", "server_error", http_status=503)
        await end_of(trigger_for(ordered))
        warnings = [line for line in caplog.records if line.levelname == "WARNING" and "503" in line.getMessage()]
        assert len(warnings) == 1

    async def test_has_no_key_however_loud_it_is(
        self, emulator: RunningEmulator, ordered: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        emulator.clock.advance(60)
        await end_of(trigger_for(ordered))
        assert caplog.text
        assert emulator.api_key not in caplog.text


class Vendor:
    """A vendor on the trigger's own event loop: whoever blocks this loop never gets an answer."""

    def __init__(self, polls: int) -> None:
        self.polls_until_done = polls
        self.asked: dict[str, int] = {}
        self.hangs = False
        self.hung_up = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        generation_id = head.split()[1].rpartition("/")[2]
        self.asked[generation_id] = self.asked.get(generation_id, 0) + 1
        if self.hangs:
            await reader.read()
            self.hung_up.set()
        else:
            done = self.asked[generation_id] >= self.polls_until_done
            reply: dict[str, Any] = {"id": generation_id, "status": "completed" if done else "in_progress"}
            if done:
                reply["output"] = [{"content": [{"type": "video", "url": "https://r.example.com/1.mp4"}]}]
            body = json.dumps(reply).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


class TestTheLoop:
    @pytest.fixture
    async def vendor(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Vendor]:
        vendor = Vendor(polls=3)
        async with await asyncio.start_server(vendor.answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            store_connection(monkeypatch, host=f"127.0.0.1:{port}", password=KEY, extra={"request_timeout": 20})
            yield vendor

    async def test_is_never_blocked_by_any_of_many_waits(self, vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
        threads = set()
        look_up = SparkDanceHook.get_connection

        def seen(conn_id: str) -> Any:
            threads.add(threading.get_ident())
            return look_up(conn_id)

        monkeypatch.setattr(SparkDanceHook, "get_connection", staticmethod(seen))
        ids = [f"sd-{at}" for at in range(30)]
        ends = await asyncio.gather(*(end_of(trigger_for(one)) for one in ids))
        assert all(isinstance(end, Settled) and end.generation.is_completed for end in ends)
        assert vendor.asked == dict.fromkeys(ids, 3)
        assert threading.get_ident() not in threads

    async def test_is_left_without_a_connection_when_a_wait_is_cancelled(self, vendor: Vendor) -> None:
        vendor.hangs = True
        waiting = asyncio.create_task(events_of(trigger_for("sd-1")))
        await until(lambda: bool(vendor.asked))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(30):
            await vendor.hung_up.wait()
