"""Renders that begin on Airflow 3.1 and end on the Airflow of this environment, over the same database."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.scenarios.scenario import Scenario
from tests.chaos.stage import Stage
from tests.chaos.theatre import Report, set_stages, theatre

# Long enough that Airflow 3.1 has ended before the renders have.
LONG = {"render_seconds": 40.0, "state_dir": True}


@dataclass(frozen=True)
class Upgrade:
    """A scenario in two acts: what happens before the upgrade, and its play after it."""

    before: Callable[[Stage], None]
    scenario: Scenario


def deferred(stage: Stage) -> None:
    stage.start()
    stage.wait_for("deferred")


def running(stage: Stage) -> None:
    stage.start(deferrable="False")
    stage.wait_for_orders(1)
    stage.wait_for("running")
    time.sleep(2)


def done(stage: Stage) -> None:
    stage.start()
    stage.wait_for_end()


def cleared(stage: Stage) -> None:
    stage.clear()
    stage.wait_for_end()


UPGRADES = (
    Upgrade(
        done,
        Scenario(
            "delivered on Airflow 3.1, cleared after the upgrade",
            "a clip that was delivered before the upgrade is cleared after it: a new order",
            cleared,
            orders=2,
            billed=2,
            ledger_path=True,
            options={"state_dir": True},
        ),
    ),
    Upgrade(
        deferred,
        Scenario(
            "deferred on Airflow 3.1, resumed after the upgrade",
            "Airflow is ended and upgraded while the trigger waits",
            Stage.wait_for_end,
            ledger_path=True,
            options=LONG,
        ),
    ),
    Upgrade(
        running,
        Scenario(
            "waiting on Airflow 3.1's worker, retried after the upgrade",
            "Airflow is ended and upgraded while the worker waits",
            Stage.wait_for_end,
            failures=None,
            ledger_path=True,
            options=LONG,
        ),
    ),
)


def play_upgrades(home: Path, old_python: str, *, told: Callable[[Report], None]) -> list[Report]:
    """Play the upgrades.

    :param home: an empty folder.
    :param old_python: the Python that Airflow 3.1 is installed for, with this provider.
    """
    scenarios = [upgrade.scenario for upgrade in UPGRADES]
    stages = set_stages(home, scenarios)
    with theatre(home, stages, python=old_python):
        for upgrade in UPGRADES:
            upgrade.before(stages[upgrade.scenario.name])
    with theatre(home, stages) as stage:
        return stage.play(scenarios, told=told)
