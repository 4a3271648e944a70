"""Ledgers that an earlier version wrote, or that can't be read or written."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.chaos.scenarios.scenario import Scenario, plays
from tests.chaos.stage import TASK, Stage

# The file of the record of task render in run golden of DAG chaos_one, not mapped. It must never change.
GOLDEN_NAME = "48e644ee277da56cdc45e3b11de86d4839fbaadc.json"
GOLDEN_RECORD = """
{
 "format": 1,
 "revision": 2,
 "state": "submitted",
 "max_tries": 4,
 "try_number": 1,
 "fingerprint": {
  "connection": "0123456789abcdef",
  "base_url": "0123456789abcdef",
  "prompt": "0123456789abcdef",
  "duration": "0123456789abcdef",
  "resolution": "0123456789abcdef"
 },
 "submitting_at": SUBMITTED_AT,
 "estimated_cost_usd": 0.0486,
 "order": {
  "generation_id": "GENERATION_ID",
  "connection_id": "CONNECTION_ID",
  "try_number": 1,
  "submitted_at": SUBMITTED_AT,
  "expires_after": 172800.0,
  "estimated_cost_usd": 0.0486,
  "pixels": 414720,
  "frame_count": 48,
  "tier": "default",
  "resolution": "480p",
  "ratio": "16:9"
 },
 "failure": null
}
"""
GOLDEN_ORDER = """
{
 "model": "spark_dance_v1_0_pro",
 "input": [{"params": {"content": [{"type": "text", "text": "a lighthouse"}], "resolution": "480p", "duration": 2}}]
}
"""


def golden(stage: Stage) -> None:
    authorization = {"Authorization": f"Bearer {stage.emulator.api_key}"}
    url = f"{stage.emulator.base_url}/model/v1/generation"
    reply = httpx.post(url, content=GOLDEN_ORDER, headers=authorization, trust_env=False).raise_for_status().json()
    record = (
        GOLDEN_RECORD.replace("GENERATION_ID", reply["id"])
        .replace("CONNECTION_ID", stage.connection)
        .replace("SUBMITTED_AT", str(time.time()))
    )
    folder(stage).mkdir(parents=True)
    (folder(stage) / GOLDEN_NAME).write_text(record)
    stage.start(run_id="golden", dies="at once")
    stage.wait_for_end()
    stage.check(stage.result()["generation_id"] == reply["id"], "another generation was delivered")


def record_name(run_id: str) -> str:
    return hashlib.sha256(json.dumps(["chaos_one", run_id, TASK, -1]).encode()).hexdigest()[:40] + ".json"


def unreadable(run_id: str, content: str) -> Callable[[Stage], None]:
    """Put something into the record's place that can't be understood; remove it and clear once the task has failed."""

    def play(stage: Stage) -> None:
        folder(stage).mkdir(parents=True)
        record = folder(stage) / record_name(run_id)
        record.write_text(content)
        stage.start(run_id=run_id)
        stage.wait_for_end()
        stage.check(stage.instance()["state"] == "failed", "an unreadable record doesn't fail the task")
        stage.check(stage.failures() == 1, "an unreadable record is retried")
        stage.check(stage.orders() == 0, "an unreadable record was taken for none")
        stage.check(record.name in stage.log(), "the log doesn't say where the record lies")
        record.unlink()
        stage.clear()
        stage.wait_for_end()

    return play


def unreachable(stage: Stage) -> None:
    # A file where the folder should be: neither reading nor writing works.
    folder(stage).parent.mkdir(parents=True, exist_ok=True)
    folder(stage).write_text("")
    stage.start()
    stage.wait_for_end()
    stage.check(stage.instance()["state"] == "failed", "an unreachable ledger doesn't fail the task")
    stage.check(stage.orders() == 0, "an unreachable ledger was taken for an empty one")
    folder(stage).unlink()
    stage.clear()
    stage.wait_for_end()


def folder(stage: Stage) -> Path:
    assert isinstance(stage.ledger, Path)
    return stage.ledger


LEDGERS = [
    Scenario(
        "a record of an earlier format",
        "a record that format 1 of the ledger wrote lies in the ledger_path; a retry takes it up",
        golden,
        ledger_path=True,
    ),
    Scenario(
        "trigger arguments of an earlier version",
        "deferred with the arguments that the first version wrote",
        plays(defers="as the first version"),
    ),
    Scenario(
        "a record cut short",
        "half a record lies in the ledger_path; a person removes it and clears",
        unreadable("cut-short", GOLDEN_RECORD[:200]),
        failures=1,
        ledger_path=True,
        long=True,
    ),
    Scenario(
        "a record of a later format",
        "a record of format 99 lies in the ledger_path; a person removes it and clears",
        unreadable("later-format", GOLDEN_RECORD.replace('"format": 1', '"format": 99')),
        failures=1,
        ledger_path=True,
        long=True,
    ),
    Scenario(
        "an unreachable ledger",
        "the ledger_path can be neither read nor written until a person clears",
        unreachable,
        failures=5,
        ledger_path=True,
        long=True,
    ),
]
