"""A try that Airflow has given up for lost wakes up, after the next one has done its work."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.chaos.scenarios.scenario import LOST, Scenario
from tests.chaos.stage import Stage

# For so long the one that was woken may do what it was about to do, in seconds.
AFTERWARDS = 15.0


def woken(place: str, **conf: Any) -> Callable[[Stage], None]:
    """Stop the first try and its supervisor at a place; wake them once the second has come to its end."""

    def play(stage: Stage) -> None:
        stage.start(sleeps=place, **conf)
        note = stage.airflow.home / f"asleep-{stage.run_id}"
        stage.wait(lambda: note.is_file() and note.read_text(), "the first try to fall asleep")
        pids = [int(pid) for pid in note.read_text().split()]
        try:
            stage.wait(lambda: stage.instance()["try_number"] > 1, "Airflow to give the first try up for lost")
            stage.wait_for_end()
            before = stage.log(1)
        finally:
            for pid in reversed(pids):
                os.kill(pid, signal.SIGCONT)
        time.sleep(AFTERWARDS)
        stage.check(stage.log(1) != before, "the first try didn't wake up")

    return play


SLEEPERS = [
    Scenario(
        "a first try sleeps before its order, the second orders",
        "Airflow hears nothing for a minute and starts the second try; the first wakes up when that has delivered",
        woken("before the intent"),
        failures=None,
        long=True,
    ),
    Scenario(
        "a first try sleeps before its order, with a ledger_path alone",
        "the same, as before Airflow 3.3",
        woken("before the intent", state_store="False"),
        failures=None,
        ledger_path=True,
        long=True,
    ),
    Scenario(
        "a first try sleeps between its intent and its submit",
        "the second try reports it and ends; the first wakes up, sees that, and orders nothing",
        woken("before the submit"),
        **{**LOST, "failures": None, "orders": 0, "billed": 0},
        ledger_path=True,
        long=True,
    ),
    Scenario(
        "a first try sleeps between its submit and the record",
        "the second try reports it and ends; the first wakes up and writes down what it has ordered",
        woken("before the record"),
        **{**LOST, "failures": None},
        ledger_path=True,
        long=True,
    ),
]
