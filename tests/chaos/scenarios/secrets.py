"""Runs that fail with a secret at hand. Whether one got out is looked for when all have ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from demo.local_airflow import LocalAirflow
from tests.chaos.scenarios.scenario import NO_ARRIVAL, UNTAKEN, Scenario, plays
from tests.chaos.stage import TASK, Stage
from tests.s3 import SECRET as S3_SECRET

KEY = "sk-chaos-9d41b7"
PROXY_PASSWORD = "pw-chaos@5e2a"
ENCODED_PROXY_PASSWORD = "pw-chaos%405e2a"
PROXY = f"http://someone:{ENCODED_PROXY_PASSWORD}@127.0.0.1:9"
# What the base64 of a PNG of 320 by 320 pixels begins with.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAUAAAAFACAIA"
# What the base64 of a picture begins with that a user has typed into a run's conf.
TYPED = "VHlwZWQgYnkgYSB1c2Vy"
# Where Airflow itself keeps what a user has typed: nothing that an operator does comes before it.
KEEPS_WHAT_IS_TYPED = ("airflow/airflow.db", "the rendered fields", "the event log")


def echoing(on: str, **fault: Any) -> Callable[[Stage], None]:
    """Let the vendor repeat the key and the picture in its error message."""

    def play(stage: Stage) -> None:
        message = f"Bearer {KEY} may not send data:image/png;base64,{PICTURE * 20}"
        stage.emulator.arm(on, fault.pop("kind"), message=message, **fault)
        stage.start()
        stage.wait_for_end()

    return play


def hooked(stage: Stage) -> None:
    """Show every object that holds a secret from a task of one's own, and fail."""
    stage.emulator.arm("submit", "vendor_error", code="003005003", message=f"not {KEY} nor {PICTURE * 20}")
    stage.start("chaos_hook")
    stage.wait_for_end()
    log = stage.log()
    stage.check("refused the order" in log and "003005003" in log, "the hook's task fails otherwise")
    stage.check("AsyncSparkDanceClient" in log and "VideoRequest" in log, "the objects aren't shown")


def behind_a_proxy(stage: Stage) -> None:
    stage.start()
    stage.wait_for_line("Trying again in")
    stage.mark("failed")
    stage.wait_for("failed")


def made_over_rest(stage: Stage) -> None:
    """Use a connection that lies in Airflow's database and whose proxy wants a password."""
    connection_id = f"{stage.connection}_over_rest"
    fields = {"conn_type": "spark_dance", "host": stage.emulator.base_url, "password": KEY}
    body = {"connection_id": connection_id, **fields, "extra": json.dumps({"proxy": PROXY})}
    stage.airflow.call("POST", "connections", json=body)
    stage.start(connection=connection_id)
    stage.wait_for_line("Trying again in")
    stage.mark("failed")
    stage.wait_for("failed")


def with_a_typed_picture(stage: Stage) -> None:
    # The run's conf and the rendered field hold what the user has typed; what we write must not.
    stage.start(first_frame="data:image/png;base64," + TYPED * 20)
    stage.wait_for_end()
    stage.check("first_frame is a data URI" in stage.log(), "a data URI isn't refused")


SECRETS = [
    Scenario(
        "secrets: the vendor refuses and repeats them",
        "the message of a refused submit holds the key and a picture",
        echoing("submit", kind="vendor_error", code="003005007"),
        **UNTAKEN,
        password=f"Bearer {KEY}\n",
    ),
    Scenario(
        "secrets: the render fails and repeats them",
        "the message of a failed render holds the key and a picture",
        echoing("render", kind="fail", code="003005007"),
        **NO_ARRIVAL,
        password=f" {KEY}\r\n",
    ),
    Scenario(
        "secrets: a key with a control character",
        "refused before any call",
        plays(),
        **UNTAKEN,
        password=f"{KEY}\x07{KEY}",
    ),
    Scenario(
        "secrets: a proxy that doesn't listen",
        "the proxy's URL holds a password",
        behind_a_proxy,
        **{**UNTAKEN, "failures": None},
        extra={"proxy": PROXY},
    ),
    Scenario(
        "secrets: a connection made over REST",
        "it lies in Airflow's database, and its proxy's URL holds a password",
        made_over_rest,
        **{**UNTAKEN, "failures": None},
    ),
    Scenario("secrets: a typed data URI", "refused before any call", with_a_typed_picture, **UNTAKEN),
    Scenario(
        "secrets: shown by a task of one's own",
        "hook, settings, clients, request and errors are logged and pushed",
        hooked,
        **UNTAKEN,
        extra={"proxy": None},
    ),
]


def leaks(airflow: LocalAirflow, folders: tuple[Path, ...], objects: Mapping[str, bytes]) -> list[str]:
    """Return where a secret stands: in a file of these folders, in an object of S3, in what Airflow shows of a task.

    :raises AssertionError: there is nothing to look through.
    """
    secrets = [KEY, PROXY_PASSWORD, ENCODED_PROXY_PASSWORD, PICTURE, S3_SECRET]
    found = []
    seen = ""
    for place, content in (*_files(folders), *objects.items(), *_shown(airflow)):
        seen += place + "\n"
        typed = [] if place.startswith(KEEPS_WHAT_IS_TYPED) else [TYPED]
        found += [f"{place} holds {secret!r}" for secret in secrets + typed if secret.encode() in content]
    for kind in ("airflow.db", "attempt=1.log", "rendered fields", "XCom generation_id", "shown log"):
        assert kind in seen, f"there is no {kind} to look through"
    return found


def _files(folders: tuple[Path, ...]) -> Iterator[tuple[str, bytes]]:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                yield str(path.relative_to(folder.parent)), path.read_bytes()


def _shown(airflow: LocalAirflow) -> Iterator[tuple[str, bytes]]:
    instances = airflow.call("GET", "dags/~/dagRuns/~/taskInstances", params={"limit": 1000})["task_instances"]
    for one in instances:
        place = f"{one['dag_id']} {one['dag_run_id']} {one['task_id']} {one['map_index']}"
        fields = json.dumps(one["rendered_fields"])
        yield f"the rendered fields of {place}", fields.encode()
    dags = "dags/~/dagRuns/~/taskInstances"
    entries = airflow.call("GET", f"{dags}/{TASK}/xcomEntries", params={"limit": 1000})["xcom_entries"]
    for one in entries:
        run, key, map_index = (one[name] for name in ("run_id", "key", "map_index"))
        place = f"XCom {key} of {one['dag_id']} {run} {map_index}"
        value = airflow.xcom(one["dag_id"], run, TASK, key, map_index)
        yield place, json.dumps([one, value]).encode()
    yield "the event log", json.dumps(airflow.call("GET", "eventLogs", params={"limit": 1000})).encode()
    yield "the connections", json.dumps(airflow.call("GET", "connections")).encode()
    for one in instances:
        if one["task_id"] == TASK and one["state"] == "failed":
            log = airflow.log(one["dag_id"], one["dag_run_id"], TASK, one["try_number"], one["map_index"])
            yield f"the shown log of {one['dag_id']} {one['dag_run_id']} {one['map_index']}", log.encode()
