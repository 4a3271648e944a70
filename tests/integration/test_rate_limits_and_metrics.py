"""What Airflow's scheduler and its metrics make of a rate limit and of an order."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_spark.emulator import RunningEmulator, running_emulator
from demo.local_airflow import LocalAirflow
from tests.integration.conftest import KEY, RENDER_SECONDS, Metrics

pytest.importorskip("airflow.sdk.definitions.retry_policy")

ASKED, OTHERS = "rate_limited", "rate_limited_with_a_policy"
PROMPTS = ["a lighthouse", "a red kite", "a blue kite"]
# Longer than any retry in place, so that it is Airflow's to wait.
RETRY_AFTER = 3600
COST = 0.0486


@pytest.fixture(scope="module")
def vendor() -> Iterator[RunningEmulator]:
    with running_emulator(api_key=KEY, render_seconds=RENDER_SECONDS, seed=3) as vendor:
        yield vendor


@pytest.fixture(scope="module")
def runs(airflow: LocalAirflow, vendor: RunningEmulator) -> dict[str, str]:
    """Start a run of each DAG; return their ids once all first tries have met the rate limit."""
    extra = json.dumps({"poll_floor": 0.5, "poll_ceiling": 1})
    fields = {"connection_id": "rate_limiting", "conn_type": "spark_dance", "host": vendor.base_url}
    airflow.call("POST", "connections", json=fields | {"password": KEY, "extra": extra})
    runs = {}
    for dag_id, prompts in ((ASKED, [*PROMPTS, "a harbour"]), (OTHERS, PROMPTS)):
        airflow.unpause(dag_id)
        for prompt in prompts:
            vendor.arm("submit", "rate_limit", retry_after=RETRY_AFTER, prompt=prompt)
        runs[dag_id] = airflow.trigger(dag_id)
        wait(lambda: not vendor.armed(), "the rate limit")
    return runs


def wait(until: Callable[[], bool], what: str, timeout: float = 120) -> None:
    deadline = time.monotonic() + timeout
    while not until():
        assert time.monotonic() < deadline, f"{what} didn't come"
        time.sleep(0.3)


def tries(airflow: LocalAirflow, dag_id: str, run_id: str) -> dict[tuple[str, int], tuple[str, int]]:
    found = airflow.task_instances(dag_id, run_id)
    return {(one["task_id"], one["map_index"]): (one["state"], one["try_number"]) for one in found}


def in_the_database(airflow: LocalAirflow, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with sqlite3.connect(airflow.home / "airflow.db", timeout=60) as database:
        rows = database.execute(statement, values).fetchall()
    database.close()
    return rows


def test_the_scheduler_waits_as_long_as_the_vendor_asks_and_no_longer(
    airflow: LocalAirflow, runs: dict[str, str]
) -> None:
    asked, others = runs[ASKED], runs[OTHERS]
    # A user's own policy decides alone, on the task or in default_args: the second tries come and end.
    assert airflow.wait_for_run(OTHERS, others) == "success"
    assert set(tries(airflow, OTHERS, others).values()) == {("success", 2)}
    wait(lambda: tries(airflow, ASKED, asked)["own_policy", -1] == ("success", 2), "the retry by the user's policy")
    # By now retry_delay, a second, has long passed for the others.
    waiting = {name: tries(airflow, ASKED, asked)[name] for name in (("plain", -1), ("mapped", 0), ("mapped", 1))}
    assert set(waiting.values()) == {("up_for_retry", 1)}
    delays = in_the_database(
        airflow,
        "SELECT task_id, retry_delay_override FROM task_instance WHERE run_id = ? AND state = 'up_for_retry'",
        asked,
    )
    assert sorted(delays) == [("mapped", RETRY_AFTER), ("mapped", RETRY_AFTER), ("plain", RETRY_AFTER)]
    # The hour passes.
    an_hour_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=RETRY_AFTER)
    in_the_database(
        airflow,
        "UPDATE task_instance SET end_date = ? WHERE run_id = ? AND state = 'up_for_retry'",
        str(an_hour_ago),
        asked,
    )
    assert airflow.wait_for_run(ASKED, asked) == "success"
    assert set(tries(airflow, ASKED, asked).values()) == {("success", 2)}


@pytest.mark.parametrize(("dag_id", "clips"), [(ASKED, 4), (OTHERS, 3)])
def test_each_order_counts_once_among_airflows_metrics(
    airflow: LocalAirflow, vendor: RunningEmulator, runs: dict[str, str], metrics: Metrics, dag_id: str, clips: int
) -> None:
    assert airflow.wait_for_run(dag_id, runs[dag_id]) == "success"
    for name in ("estimated_usd", "billed_usd"):
        counted = metrics.counted(f"spark_dance.{name}", dag_id=dag_id)
        assert counted == pytest.approx([COST] * clips)
        assert metrics.counted(f"spark_dance.{name}", dag_id=dag_id, task_id="mapped") == pytest.approx([COST] * 2)
    billed = sum(one["billed_usd"] for one in vendor.stats()["generations"].values())
    assert billed == pytest.approx(7 * COST)
