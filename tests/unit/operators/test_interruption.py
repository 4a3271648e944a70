from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from airflow_provider_spark.api.errors import SparkDanceError, SparkDanceUnreachableError, SparkDanceVendorError
from airflow_provider_spark.operators.interruption import InterruptedTaskError, Interruption, finishing_first
from tests.unit.operators.paying import RENDERING, Task, Vendor, completed, revive, watch

Handler = Callable[[int, FrameType | None], None]


class TimeIsUp(BaseException):
    """As Airflow's own exception for ``execution_timeout``."""


@contextmanager
def on_signal(number: signal.Signals, handler: Handler) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def told_to_end(task: Task, at: str) -> list[str]:
    """Run an attempt that gets SIGTERM at a step outside of itself; return the steps.

    The handler is as Airflow's: it calls ``on_kill`` and returns.
    """
    steps: list[str] = []
    operator = task.operator()

    def handle(number: int, frame: FrameType | None) -> None:
        steps.append("on_kill")
        operator.on_kill()

    def on_step(name: str) -> None:
        steps.append(name)
        if name == at and "on_kill" not in steps:
            signal.raise_signal(signal.SIGTERM)

    watch(task, on_step)
    with on_signal(signal.SIGTERM, handle), pytest.raises(InterruptedTaskError, match="told to end"):
        task.run(operator)
    revive(task)
    return steps


class TestFinishingFirst:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGALRM, signal.SIGINT])
    def test_a_signal_waits_until_the_block_is_done(self, number: signal.Signals) -> None:
        seen: list[str] = []
        with on_signal(number, lambda *_: seen.append("handled")):
            with finishing_first():
                signal.raise_signal(number)
                signal.raise_signal(number)
                seen.append("done")
            seen.append("after")
        assert seen == ["done", "handled", "after"]

    def test_an_exception_of_the_handler_comes_after_the_block(self) -> None:
        def time_is_up(number: int, frame: FrameType | None) -> None:
            raise TimeIsUp

        done = []

        def work() -> None:
            with finishing_first():
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                time.sleep(0.1)
                done.append("work")

        with on_signal(signal.SIGALRM, time_is_up):
            with pytest.raises(TimeIsUp):
                work()
            assert done
            assert signal.getsignal(signal.SIGALRM) is time_is_up

    def test_an_exception_of_the_block_is_raised_where_no_signal_came(self) -> None:
        with pytest.raises(ValueError, match="mine"), finishing_first():
            raise ValueError("mine")

    def test_outside_of_the_main_thread_it_does_nothing(self) -> None:
        seen: list[str] = []

        def work() -> None:
            with finishing_first():
                seen.append("done")

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == ["done"]


class TestSleep:
    def test_it_sleeps_as_long_as_asked(self) -> None:
        start = time.monotonic()
        Interruption().sleep(0.05, outcome="")
        assert time.monotonic() - start >= 0.05

    def test_it_ends_soon_after_the_task_is_told_to(self) -> None:
        interruption = Interruption()
        with on_signal(signal.SIGALRM, lambda *_: interruption.request()):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            start = time.monotonic()
            with pytest.raises(InterruptedTaskError, match=r"told to end\. Nothing was ordered\."):
                interruption.sleep(60, outcome="Nothing was ordered.")
        assert time.monotonic() - start < 2


class TestSigterm:
    @pytest.mark.parametrize(
        "at",
        [
            "after intent was written",
            "before the vendor takes the order",
            "after the vendor took the order",
            "before submitted is written",
        ],
    )
    def test_a_submit_under_way_is_finished_and_recorded_first(
        self, at: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        task = Task(Vendor(fates=[RENDERING]))
        steps = told_to_end(task, at)
        assert steps.index("on_kill") > steps.index("after submitted was written")
        assert "no cancel: generation sd-1 goes on" in capsys.readouterr().out
        assert task.orders == 1
        task.vendor.renders["sd-1"] = completed()
        assert task.retry().attempt()["generation_id"] == "sd-1"
        assert task.orders == 1

    def test_before_the_submit_nothing_is_ordered(self) -> None:
        task = Task()
        told_to_end(task, "before the ledger is read")
        assert task.orders == 0
        assert task.retry().attempt()["generation_id"] == "sd-1"

    def test_between_two_tries_in_place_nothing_is_ordered_and_nothing_left_to_report(self) -> None:
        task = Task(Vendor(submit_faults=[SparkDanceUnreachableError("no route")]))
        told_to_end(task, "after refused was written")
        assert task.orders == 0
        assert task.retry().attempt()["generation_id"] == "sd-1"

    def test_a_wait_on_the_worker_ends_and_says_what_goes_on(self, capsys: pytest.CaptureFixture[str]) -> None:
        task = Task(Vendor(fates=[RENDERING]))
        told_to_end(task, "before the vendor is asked")
        assert "no cancel: generation sd-1 goes on, and about 0.1215 USD" in capsys.readouterr().out

    def test_a_render_that_has_ended_is_not_said_to_go_on(self, capsys: pytest.CaptureFixture[str]) -> None:
        task = Task()
        operator = task.operator()
        watch(task, lambda step: operator.on_kill() if step == "before delivered is written" else None)
        assert task.run(operator)["status"] == "completed"
        assert "goes on" not in capsys.readouterr().out

    def test_it_is_worth_a_retry(self) -> None:
        operator = Task(Vendor(fates=[RENDERING])).operator()
        operator.on_kill()
        with pytest.raises(SparkDanceError, match="told to end"):
            operator.execute(Task().context)

    def test_what_ends_the_patience_in_place_is_the_word_and_not_the_fault(self) -> None:
        task = Task(Vendor(submit_faults=[SparkDanceVendorError("busy")] * 9))
        told_to_end(task, "after refused was written")
        assert len(task.vendor.submit_faults) == 8
