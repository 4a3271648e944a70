"""The emulator's time."""

from __future__ import annotations

import asyncio
import time

import pytest

from airflow_provider_spark.emulator import Clock


def test_a_clock_runs_with_the_machine_and_jumps_when_told() -> None:
    clock = Clock()
    assert abs(clock.now() - time.time()) < 1
    clock.advance(3600)
    assert abs(clock.now() - time.time() - 3600) < 1


def test_a_frozen_clock_moves_by_hand_only() -> None:
    clock = Clock(frozen_at=100)
    assert clock.now() == clock.now() == 100
    assert clock.advance(1.5) == 101.5


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_clock_never_runs_backwards(seconds: float) -> None:
    with pytest.raises(ValueError, match="forward"):
        Clock().advance(seconds)


async def test_a_wait_ends_when_another_thread_moves_the_clock() -> None:
    clock = Clock(frozen_at=0)
    waits = [asyncio.create_task(clock.wait_until(moment)) for moment in (0, 10, 20)]
    await asyncio.sleep(0)
    await asyncio.to_thread(clock.advance, 10)
    await asyncio.wait(waits, return_when=asyncio.ALL_COMPLETED, timeout=0.05)
    assert [wait.done() for wait in waits] == [True, True, False]
    clock.advance(10)
    await asyncio.gather(*waits)


async def test_a_wait_on_a_running_clock_ends_by_itself() -> None:
    clock = Clock()
    await asyncio.wait_for(clock.wait_until(clock.now() + 0.02), timeout=5)
