"""Parts of Airflow that die or can't be reached."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.chaos.scenarios.scenario import Scenario
from tests.chaos.stage import Stage, locked_database


def part_killed(part: str, when: str, **conf: Any) -> Callable[[Stage], None]:
    """Kill a part of Airflow, and everything that it started, while the clip is in a state; start it again."""

    def play(stage: Stage) -> None:
        stage.start(**conf)
        stage.wait_for_orders(1)
        stage.wait_for(when)
        stage.airflow.servers[part].kill()
        time.sleep(3)
        stage.airflow.start(part)
        stage.wait_for_end()

    return play


def database_locked_while_waiting(stage: Stage) -> None:
    stage.start()
    stage.wait_for("deferred")
    with locked_database(stage.airflow):
        time.sleep(8)
    stage.wait_for_end()


def database_locked_at_the_record(stage: Stage) -> None:
    stage.emulator.arm("submit", "slow", seconds=2)
    stage.start()
    stage.wait(lambda: stage.emulator.stats()["submits_received"], "the submit")
    # The reply comes while no one can write it down.
    with locked_database(stage.airflow):
        time.sleep(8)
    stage.wait_for_end()


CRASHES = [
    Scenario(
        "kill -9 of the triggerer while it waits",
        "killed with everything it started, started again three seconds later",
        part_killed("triggerer", "deferred"),
        alone=True,
    ),
    Scenario(
        "kill -9 of the scheduler while a trigger waits",
        "killed with its workers, started again three seconds later",
        part_killed("scheduler", "deferred"),
        alone=True,
    ),
    Scenario(
        "kill -9 of the scheduler and its worker",
        "killed with the worker that waits for the clip, started again three seconds later",
        part_killed("scheduler", "running", deferrable="False"),
        tries=2,
        alone=True,
        long=True,
        options={"render_seconds": 25.0},
    ),
    Scenario(
        "the metadata database is locked while it waits",
        "BEGIN EXCLUSIVE for eight seconds",
        database_locked_while_waiting,
        tries=None,
        alone=True,
        long=True,
    ),
    Scenario(
        "the metadata database is locked between submit and record",
        "BEGIN EXCLUSIVE for eight seconds, from before the reply on",
        database_locked_at_the_record,
        tries=None,
        alone=True,
    ),
]
