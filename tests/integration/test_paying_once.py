"""How often a task pays, on a real Airflow: retries, clears, lost replies, moderation.

All runs but the ones that arm a fault for any submit are started together, since most of their time is waiting.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_spark.emulator import RunningEmulator, running_emulator
from demo.local_airflow import LocalAirflow
from tests.integration.conftest import KEY, RENDER_SECONDS

DAG_ID = "paying_once"
COST = 0.0486

CASES: dict[str, dict[str, Any]] = {
    "fails once": {},
    "runs out of time": {"timeout": str(RENDER_SECONDS - 3), "deferrable": "false"},
    "is cleared after its success": {"connection": "with_a_folder"},
    "is cleared while deferred": {"connection": "slow"},
    "is moderated and ordered again": {"on_moderation": "resubmit"},
    "is moderated on the worker": {"on_moderation": "resubmit", "deferrable": "false"},
    "is moderated and skipped": {"on_moderation": "skip"},
    "is too dear": {"max_cost_usd": "0.04"},
}


class Campaign:
    """The runs of the DAG, by the prompt of their clip."""

    def __init__(self, airflow: LocalAirflow, *vendors: RunningEmulator) -> None:
        self.airflow = airflow
        self.vendors = vendors
        self.runs: dict[str, str] = {}
        self.first: dict[str, tuple[dict[str, Any], tuple[int, Any]]] = {}
        """Of the tasks that are cleared: how they ended before, and what they had paid by then."""

    def start(self, prompt: str, **conf: Any) -> None:
        self.runs[prompt] = self.airflow.trigger(DAG_ID, {"prompt": prompt} | conf)

    def end(self, prompt: str) -> str:
        return self.airflow.wait_for_run(DAG_ID, self.runs[prompt])

    def task(self, prompt: str) -> dict[str, Any]:
        (task,) = self.airflow.task_instances(DAG_ID, self.runs[prompt])
        return task

    def wait_for_order(self, prompt: str, *, polls: int = 0) -> None:
        """Wait until the vendor took an order for the prompt, and was asked for it so many times."""
        deadline = time.monotonic() + 60
        while not any(one["polls"] >= polls for one in self.generations(prompt)):
            assert time.monotonic() < deadline, f"{prompt!r} has {self.generations(prompt)}"
            time.sleep(0.1)

    def clear(self, prompt: str) -> None:
        self.airflow.clear(DAG_ID, self.runs[prompt], "render")

    def result(self, prompt: str) -> Any:
        return self.airflow.xcom(DAG_ID, self.runs[prompt], "render")

    def log(self, prompt: str, try_number: int) -> str:
        return self.airflow.log(DAG_ID, self.runs[prompt], "render", try_number)

    def paid(self, prompt: str) -> tuple[int, Any]:
        """Return how many orders the vendor took for the prompt, and what it billed for them."""
        mine = self.generations(prompt)
        return len(mine), pytest.approx(sum(one["billed_usd"] for one in mine))

    def generations(self, prompt: str) -> list[dict[str, Any]]:
        generations = [one for vendor in self.vendors for one in vendor.stats()["generations"].values()]
        return [one for one in generations if one["request"]["content"][0].get("text") == prompt]

    def connect(self, connection_id: str, vendor: RunningEmulator, **extra: Any) -> None:
        fields = {"connection_id": connection_id, "conn_type": "spark_dance", "host": vendor.base_url}
        extra |= {"poll_floor": 0.5, "poll_ceiling": 1}
        secret = {"password": vendor.api_key, "extra": json.dumps(extra)}
        self.airflow.call("POST", "connections", json=fields | secret)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledger")


@pytest.fixture(scope="module")
def slow_vendor() -> Iterator[RunningEmulator]:
    """Yield a vendor slow enough for a trigger to be sure to wait for it, on a busy machine too."""
    with running_emulator(api_key=KEY, render_seconds=4 * RENDER_SECONDS, seed=2) as vendor:
        yield vendor


@pytest.fixture(scope="module")
def campaign(airflow: LocalAirflow, emulator: RunningEmulator, slow_vendor: RunningEmulator, folder: Path) -> Campaign:
    campaign = Campaign(airflow, emulator, slow_vendor)
    campaign.connect("with_a_folder", emulator, ledger_path=f"file://{folder}")
    campaign.connect("slow", slow_vendor)
    airflow.unpause(DAG_ID)
    for prompt, conf in {"is lost": {}, "is lost and repeated": {"on_ambiguous_submit": "resubmit"}}.items():
        emulator.arm("submit", "drop_reply")
        campaign.start(prompt, **conf)
        campaign.wait_for_order(prompt)
    emulator.arm("submit", "slow", seconds=7)
    campaign.start("is cleared while it is ordered", connection="with_a_folder")
    campaign.wait_for_order("is cleared while it is ordered")
    campaign.clear("is cleared while it is ordered")
    emulator.arm("render", "fail", code="003005095", prompt="fails once")
    for prompt in CASES:
        if "moderated" in prompt:
            emulator.arm("render", "moderate", prompt=prompt)
    for prompt, conf in CASES.items():
        campaign.start(prompt, **conf)
    campaign.wait_for_order("is cleared while deferred", polls=1)
    campaign.clear("is cleared while deferred")
    for prompt in ("is lost", "is cleared after its success"):
        campaign.end(prompt)
        campaign.first[prompt] = campaign.task(prompt), campaign.paid(prompt)
        campaign.clear(prompt)
    return campaign


def test_a_failed_render_is_ordered_anew_by_the_retry(campaign: Campaign) -> None:
    assert campaign.end("fails once") == "success"
    assert campaign.paid("fails once") == (2, COST)
    assert "003005095" in campaign.log("fails once", 1)


def test_a_wait_that_ran_out_is_taken_up_by_the_retry(campaign: Campaign) -> None:
    assert campaign.end("runs out of time") == "success"
    assert campaign.paid("runs out of time") == (1, COST)
    assert "The next retry takes the paid render up again" in campaign.log("runs out of time", 1)
    assert "is taken up; nothing is ordered" in campaign.log("runs out of time", 2)


def test_clearing_a_deferred_task_takes_the_render_up_and_says_that_it_went_on(campaign: Campaign) -> None:
    assert campaign.end("is cleared while deferred") == "success"
    assert campaign.paid("is cleared while deferred") == (1, COST)
    assert campaign.task("is cleared while deferred")["try_number"] == 2
    assert "The vendor has no cancel" in campaign.log("is cleared while deferred", 1)


def test_clearing_a_finished_task_orders_anew(campaign: Campaign, folder: Path) -> None:
    prompt = "is cleared after its success"
    before, paid_before = campaign.first[prompt]
    assert (before["state"], paid_before) == ("success", (1, COST))
    assert campaign.end(prompt) == "success"
    assert campaign.paid(prompt) == (2, 2 * COST)
    assert {json.loads(record.read_text())["state"] for record in folder.glob("*.json")} == {"delivered"}
    receipts = [json.loads(path.read_text()) for path in sorted(folder.glob("orders/*/*.json"))]
    receipts = [receipt for receipt in receipts if receipt["run_id"] == campaign.runs[prompt]]
    assert [(receipt["try_number"], receipt["billed_usd"]) for receipt in receipts] == [(1, COST), (2, COST)]
    assert receipts[1]["generation_id"] == campaign.result(prompt)["generation_id"]


def test_a_submit_under_way_is_finished_and_recorded_before_a_cleared_task_goes(campaign: Campaign) -> None:
    prompt = "is cleared while it is ordered"
    assert campaign.end(prompt) == "success"
    assert campaign.paid(prompt) == (1, COST)
    assert "is taken up; nothing is ordered" in campaign.log(prompt, 2)


def test_a_lost_reply_is_reported_and_only_a_clear_orders_again(campaign: Campaign) -> None:
    before, paid_before = campaign.first["is lost"]
    assert (before["state"], before["try_number"], paid_before[0]) == ("failed", 1, 1)
    assert "if it was taken and renders, it costs about 0.0486 USD" in campaign.log("is lost", 1)
    assert campaign.end("is lost") == "success"
    assert campaign.paid("is lost") == (2, 2 * COST)


def test_a_lost_reply_is_repeated_by_the_retry_where_the_user_asks_for_it(campaign: Campaign) -> None:
    assert campaign.end("is lost and repeated") == "success"
    assert campaign.paid("is lost and repeated") == (2, 2 * COST)


@pytest.mark.parametrize("prompt", ["is moderated and ordered again", "is moderated on the worker"])
def test_a_moderated_video_is_ordered_again_with_another_seed(campaign: Campaign, prompt: str) -> None:
    assert campaign.end(prompt) == "success"
    assert campaign.paid(prompt) == (2, COST)
    assert campaign.task(prompt)["try_number"] == 1
    assert campaign.result(prompt)["seed"] is not None


def test_a_moderated_video_can_skip_its_task(campaign: Campaign) -> None:
    campaign.end("is moderated and skipped")
    assert campaign.task("is moderated and skipped")["state"] == "skipped"
    assert campaign.paid("is moderated and skipped") == (1, 0)


def test_what_is_too_dear_is_not_ordered(campaign: Campaign) -> None:
    assert campaign.end("is too dear") == "failed"
    assert campaign.paid("is too dear") == (0, 0)
    assert "about 0.0486 USD, more than max_cost_usd = 0.04" in campaign.log("is too dear", 1)
