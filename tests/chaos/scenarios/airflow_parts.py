"""Parts of Airflow that die or can't be reached."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.chaos.scenarios.scenario import Scenario
from tests.chaos.stage import Stage, locked_database


def part_killed(part: str, when: str, **conf: Any) -> Callable[[Stage], None]:
    """Kill a part of Airflow, and everything that it started, while the clip is in a state; it is started again."""

    def play(stage: Stage) -> None:
        stage.start(**conf)
        stage.wait_for_orders(1)
        stage.wait_for(when)
        stage.airflow.servers[part].kill()
        stage.wait_for_end()

    return play


def database_locked_while_waiting(seconds: float) -> Callable[[Stage], None]:
    """Lock Airflow's database while the trigger waits."""

    def play(stage: Stage) -> None:
        stage.start()
        stage.wait_for("deferred")
        with locked_database(stage.airflow):
            time.sleep(seconds)
        stage.wait_for_end()

    return play


def database_locked_at_the_record(seconds: float) -> Callable[[Stage], None]:
    """Lock Airflow's database after the submit was sent and before its reply can be written down."""

    def play(stage: Stage) -> None:
        stage.emulator.arm("submit", "slow", seconds=2)
        stage.start()
        stage.wait(lambda: stage.emulator.stats()["submits_received"], "the submit")
        with locked_database(stage.airflow):
            time.sleep(seconds)
        stage.wait_for_end()

    return play


def paid_once_or_reported(seconds: float) -> Callable[[Stage], None]:
    """Lock the database, the only place of the ledger, and check that nothing is ordered twice."""
    lock = database_locked_at_the_record(seconds)

    def play(stage: Stage) -> None:
        lock(stage)
        delivered, reported = stage.instance()["state"] == "success", "AmbiguousSubmit" in stage.log()
        stage.check(delivered != reported, f"delivered: {delivered}, reported: {reported}")

    return play


CRASHES = [
    Scenario(
        "kill -9 of the triggerer while it waits",
        "killed with everything it started, started again seconds later",
        part_killed("triggerer", "deferred"),
        alone=True,
    ),
    Scenario(
        "kill -9 of the scheduler while a trigger waits",
        "killed with its workers, started again seconds later",
        part_killed("scheduler", "deferred"),
        alone=True,
    ),
    Scenario(
        "kill -9 of the scheduler and its worker",
        "killed with the worker that waits for the clip, started again seconds later",
        part_killed("scheduler", "running", deferrable="False"),
        failures=None,
        alone=True,
        long=True,
        options={"render_seconds": 25.0},
    ),
    Scenario(
        "the metadata database is locked while it waits",
        "BEGIN EXCLUSIVE for eight seconds",
        database_locked_while_waiting(8),
        failures=None,
        alone=True,
        long=True,
    ),
    Scenario(
        "the metadata database is locked between submit and record",
        "BEGIN EXCLUSIVE for eight seconds, from before the reply on",
        database_locked_at_the_record(8),
        failures=None,
        alone=True,
    ),
    Scenario(
        "the metadata database is locked for half a minute between submit and record",
        "BEGIN EXCLUSIVE for longer than anything waits for it; the ledger_path has the record",
        database_locked_at_the_record(30),
        failures=None,
        ledger_path=True,
        alone=True,
        long=True,
    ),
    Scenario(
        "the metadata database is locked for half a minute, with the task state store alone",
        "the order's record can't be written where it belongs: delivered if the write outlasts the lock, or reported",
        paid_once_or_reported(30),
        arrived=None,
        ambiguous=None,
        state=None,
        failures=None,
        alone=True,
        long=True,
    ),
]
