"""kill -9 of the task's process, at each step of an order."""

from __future__ import annotations

from typing import Any

from tests.chaos.scenarios.scenario import HAS_TASK_STATE_STORE, LOST, Scenario, plays

KILLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("before the intent", "before anything is written or sent", {}),
    ("before the submit", "between the intent and the submit", {**LOST, "orders": 0, "billed": 0}),
    ("before the record", "between the submit and its record", LOST),
    ("before deferring", "between the record and the deferral", {}),
    ("while waiting on the worker", "while it waits on the worker", {}),
    ("on resuming", "as the resumed method begins", {}),
    ("before delivered", "in the resumed method", {}),
    ("after delivered", "right after 'delivered' is written", {}),
    ("before success", "between 'delivered' and Airflow's success", {}),
)
PLACES_IN_S3 = {"before the record", "before deferring", "after delivered"}


def kills() -> list[Scenario]:
    """Return a scenario for each place and ledger."""
    found = []
    for place, does, expected in KILLS:
        conf = {"dies": place} | ({"deferrable": "False"} if "worker" in place else {})
        for ledger_path in (False, True) if HAS_TASK_STATE_STORE else (True,):
            where = "with ledger_path" if ledger_path else "with the task state store"
            found.append(
                Scenario(
                    name=f"kill -9 {place}, {where}",
                    does=f"the task's process is killed {does}",
                    play=plays(**conf),
                    ledger_path=ledger_path,
                    # In short, each place once.
                    long=HAS_TASK_STATE_STORE and ledger_path is (KILLS.index((place, does, expected)) % 2 == 0),
                    # A try whose process died is now and then failed by Airflow itself, which costs nothing.
                    **{"failures": None, **expected},
                )
            )
        if place in PLACES_IN_S3:
            found.append(
                Scenario(
                    name=f"kill -9 {place}, with a ledger_path in S3 alone",
                    does=f"the task's process is killed {does}; the record lies on an S3 server and nowhere else",
                    play=plays(**conf, state_store="False"),
                    in_s3=True,
                    long=place == "after delivered",
                    **{"failures": None, **expected},
                )
            )
    return found
