"""What a scenario is: a story whose end is known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from packaging.version import Version

from tests.chaos.stage import Outcome, Stage

# Airflow's own place for a ledger comes with 3.3; before, each scenario has a ledger_path.
HAS_TASK_STATE_STORE = Version(version("apache-airflow-core")) >= Version("3.3")
# Ends of several stories.
NO_ARRIVAL: dict[str, Any] = {"billed": 0, "arrived": 0, "state": "failed", "failures": 1}
LOST: dict[str, Any] = {"ambiguous": 1, "arrived": 0, "state": "failed", "failures": 1}
UNTAKEN: dict[str, Any] = {"orders": 0, **NO_ARRIVAL}


@dataclass(frozen=True)
class Scenario:
    """A story with an end that is known beforehand.

    :param does: what happens, for the table.
    :param play: makes it happen, and returns once Airflow is done with it.
    What is ``None`` doesn't matter, or is checked by the play itself.

    :param orders: how many orders the vendor accepts.
    :param billed: how many of them it bills.
    :param arrived: how many results Airflow gets.
    :param ambiguous: how many clips end with the report of an ambiguous submit.
    :param state: how the task ends.
    :param failures: how many tries end with an exception, of the clip that had the most.
    :param ledger_path: whether the connection has one, beside Airflow's own task state store.
    :param in_s3: whether that lies on an S3 server rather than in a folder of this machine.
    :param alone: whether it takes away a part of Airflow that others need.
    :param long: whether it is too slow for every ``make test``.
    :param options: of the vendor.
    :param password: of the connection; the vendor's key unless told.
    :param extra: of the connection, beside what each has.
    """

    name: str
    does: str
    play: Callable[[Stage], None]
    orders: int | None = 1
    billed: int | None = 1
    arrived: int | None = 1
    ambiguous: int | None = 0
    state: str | None = "success"
    failures: int | None = 0
    ledger_path: bool = False
    in_s3: bool = False
    alone: bool = False
    long: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    password: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def judge(self, outcome: Outcome) -> list[str]:
        """Return what differs from the known end."""
        return [
            f"{name}: {found!r}, not {wanted!r}"
            for name, found in vars(outcome).items()
            if (wanted := getattr(self, name)) is not None and found != wanted
        ]


def plays(**conf: Any) -> Callable[[Stage], None]:
    """Render one clip, come what may."""

    def play(stage: Stage) -> None:
        stage.start(**conf)
        stage.wait_for_end()
        if conf.get("dies"):
            stage.check(stage.instance()["try_number"] > 1, "nothing was killed")

    return play
