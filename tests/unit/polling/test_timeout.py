from __future__ import annotations

import asyncio

import pytest

from airflow_provider_spark.polling.timeout import SharedTimeout
from tests.unit.polling.virtual_time import play


async def call(bound: SharedTimeout, seconds: float) -> str:
    with bound:
        await asyncio.sleep(seconds)
    return "answered"


async def begun_after(pause: float, bound: SharedTimeout, seconds: float) -> tuple[str, float]:
    """How a call ends that begins after a pause, and how long it took."""
    await asyncio.sleep(pause)
    loop = asyncio.get_running_loop()
    begins = loop.time()
    try:
        end = await call(bound, seconds)
    except TimeoutError:
        end = "timed out"
    return end, round(loop.time() - begins, 6)


def timers() -> int:
    scheduled = vars(asyncio.get_running_loop())["_scheduled"]
    return sum(not timer.cancelled() for timer in scheduled)


def test_each_call_has_its_own_time() -> None:
    async def story() -> None:
        timeout = SharedTimeout(10)
        calls = [(0, 4), (0, 12), (3, 9.5), (3, 10.5), (3, 99), (11, 9), (50, 11)]
        ends = await asyncio.gather(*(begun_after(pause, timeout, seconds) for pause, seconds in calls))
        assert ends == [
            ("answered", 4),
            ("timed out", 10),
            ("answered", 9.5),
            ("timed out", 10),
            ("timed out", 10),
            ("answered", 9),
            ("timed out", 10),
        ]

    play(story())


def test_a_thousand_calls_share_one_timer_and_leave_none_behind() -> None:
    async def story() -> None:
        timeout = SharedTimeout(10)
        never = asyncio.get_running_loop().create_future()

        async def waits() -> None:
            with timeout:
                await never

        calls = [asyncio.create_task(waits()) for _ in range(1000)]
        await asyncio.sleep(0)
        assert timers() == 1
        never.set_result(None)
        await asyncio.gather(*calls)
        assert timers() == 0

    play(story())


def test_a_task_goes_on_after_a_call_that_timed_out() -> None:
    async def story() -> None:
        timeout = SharedTimeout(1)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await call(timeout, 5)
        assert await call(timeout, 0.5) == "answered"
        await asyncio.sleep(5)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    play(story())


def test_a_task_that_has_survived_a_cancel_is_told_of_a_timeout_as_any_other() -> None:
    async def survivor() -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            with pytest.raises(TimeoutError):
                await call(SharedTimeout(1), 5)

    async def story() -> None:
        task = asyncio.create_task(survivor())
        asyncio.get_running_loop().call_later(1, task.cancel)
        await task

    play(story())


def test_a_call_that_fails_by_itself_says_why() -> None:
    async def story() -> None:
        timeout = SharedTimeout(1)
        with pytest.raises(ConnectionResetError), timeout:
            raise ConnectionResetError
        await asyncio.sleep(5)

    play(story())


@pytest.mark.parametrize("cancelled_at", [0.5, 1.0])
def test_a_task_that_someone_else_cancels_ends(cancelled_at: float) -> None:
    async def story() -> None:
        task = asyncio.create_task(call(SharedTimeout(1), 5))
        asyncio.get_running_loop().call_later(cancelled_at, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    play(story())


def test_what_a_call_says_while_it_is_ended_is_kept() -> None:
    async def closes_late() -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            raise OSError("closed at last") from None

    async def story() -> None:
        with pytest.raises(OSError, match="closed at last"), SharedTimeout(1):
            await closes_late()

    play(story())
