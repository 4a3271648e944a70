"""What a DAG author sees, on an Airflow whose configuration is as it comes.

All runs are started together, since most of their time is waiting; each test looks at its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
import httpx
import pytest

from airflow_provider_spark.emulator import RunningEmulator
from demo.local_airflow import LocalAirflow
from tests.integration.conftest import KEY
from tests.integration.redirecting_host import RedirectingHost

CASES: dict[str, dict[str, Any]] = {
    "success": {"prompt": "success", "watermark": "true"},
    "as_uri": {"prompt": "as_uri", "connection": "as_uri"},
    "vendor_failure": {"prompt": "vendor_failure"},
    "moderated": {"prompt": "moderated"},
    "bad_duration": {"prompt": "bad_duration", "duration": "99"},
    "bad_text": {"prompt": "bad_text", "duration": "two"},
    "data_uri": {"prompt": "data_uri", "first_frame": "data:image/png;base64," + "QUJD" * 100},
    "wrong_key": {"prompt": "wrong_key", "connection": "wrong_key"},
    "broken_key": {"prompt": "broken_key", "connection": "broken_key"},
    "redirecting": {"prompt": "redirecting", "connection": "redirecting"},
    "missing_connection": {"prompt": "missing_connection", "connection": "nowhere"},
    "on_the_worker": {"prompt": "on_the_worker", "deferrable": "false"},
    "without_waiting": {"prompt": "without_waiting", "wait": "False"},
}


@dataclass
class Outcome:
    """How the run of a case ended."""

    state: str
    instance: dict[str, Any]
    result: Any
    generation_id: Any
    log: str
    orders: int


@pytest.fixture(scope="module")
def catalogue_run(airflow: LocalAirflow) -> str:
    return airflow.trigger("catalogue")


@pytest.fixture(scope="module")
def outcome_of(airflow: LocalAirflow, emulator: RunningEmulator, catalogue_run: str) -> Callable[[str], Outcome]:
    emulator.arm("render", "fail", code="003005095", prompt="vendor_failure")
    emulator.arm("render", "moderate", prompt="moderated")
    runs = {name: airflow.trigger("one_clip", conf) for name, conf in CASES.items()}

    def outcome_of(name: str) -> Outcome:
        run_id = runs[name]
        state = airflow.wait_for_run("one_clip", run_id)
        (instance,) = airflow.task_instances("one_clip", run_id)
        return Outcome(
            state=state,
            instance=instance,
            result=airflow.xcom("one_clip", run_id, "render"),
            generation_id=airflow.xcom("one_clip", run_id, "render", key="generation_id"),
            log=airflow.log("one_clip", run_id, "render", instance["try_number"]),
            orders=orders_of(emulator, name),
        )

    return outcome_of


def orders_of(emulator: RunningEmulator, prompt: str) -> int:
    requests = [generation["request"] for generation in emulator.stats()["generations"].values()]
    return sum(request["content"][0].get("text") == prompt for request in requests)


def test_a_clip_is_ordered_once_and_its_result_is_small_and_complete(outcome_of: Callable[[str], Outcome]) -> None:
    outcome = outcome_of("success")
    assert outcome.state == "success"
    assert outcome.orders == 1
    assert outcome.result["generation_id"] == outcome.generation_id
    assert outcome.result["status"] == "completed"
    assert (outcome.result["width"], outcome.result["height"], outcome.result["duration"]) == (864, 480, 2)
    assert outcome.result["cost_usd"] == pytest.approx(outcome.result["estimated_cost_usd"])
    assert outcome.result["map_index"] == -1
    assert len(json.dumps(outcome.result)) < 4096
    assert KEY not in json.dumps(outcome.result)


def test_the_result_url_leads_to_the_video_that_was_asked_for(
    outcome_of: Callable[[str], Outcome], tmp_path: Any
) -> None:
    video = tmp_path / "clip.mp4"
    video.write_bytes(httpx.get(outcome_of("success").result["video_url"], timeout=60).raise_for_status().content)
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec.name, stream.width, stream.height) == ("h264", 864, 480)
        assert stream.frames == 48
        assert stream.average_rate == 24
        assert sum(1 for _ in container.decode(stream)) == 48


def test_the_log_tells_the_estimate_the_order_and_what_the_triggerer_saw(
    outcome_of: Callable[[str], Outcome],
) -> None:
    outcome = outcome_of("success")
    assert "864x480, 48 frames (2 s), default tier: about 0.0486 USD" in outcome.log
    assert "Spark Dance order: " in outcome.log
    assert f"Generation {outcome.generation_id} is completed" in outcome.log


def test_a_connection_given_as_a_uri_works_as_one_given_as_json(outcome_of: Callable[[str], Outcome]) -> None:
    outcome = outcome_of("as_uri")
    assert (outcome.state, outcome.orders) == ("success", 1)


def test_a_render_that_fails_at_the_vendor_fails_the_task_with_the_codes_meaning(
    outcome_of: Callable[[str], Outcome],
) -> None:
    outcome = outcome_of("vendor_failure")
    assert (outcome.state, outcome.orders) == ("failed", 1)
    assert outcome.result is None
    assert "003005095" in outcome.log
    assert str(outcome.generation_id) in outcome.log


def test_a_moderated_video_fails_the_task_for_good(outcome_of: Callable[[str], Outcome]) -> None:
    outcome = outcome_of("moderated")
    assert (outcome.state, outcome.orders) == ("failed", 1)
    assert "AirflowFailException" in outcome.log


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("bad_duration", "duration"),
        ("bad_text", "duration must be a whole number, not 'two'"),
        ("data_uri", "first_frame is a data URI"),
        ("broken_key", "outside printable ASCII"),
        ("missing_connection", "nowhere"),
    ],
)
def test_what_can_be_known_to_be_wrong_fails_before_any_call(
    outcome_of: Callable[[str], Outcome], case: str, told: str
) -> None:
    outcome = outcome_of(case)
    assert (outcome.state, outcome.orders) == ("failed", 0)
    assert told in outcome.log


def test_bad_parameters_cost_no_call(outcome_of: Callable[[str], Outcome], emulator: RunningEmulator) -> None:
    for case in CASES:
        outcome_of(case)
    stats = emulator.stats()
    # Each submit that arrived was accepted, but for the one with the wrong key.
    assert stats["submits_received"] - stats["submits_accepted"] == 1


def test_a_refused_key_fails_for_good_in_the_vendors_words_and_ours(outcome_of: Callable[[str], Outcome]) -> None:
    outcome = outcome_of("wrong_key")
    assert (outcome.state, outcome.orders) == ("failed", 0)
    assert "401" in outcome.log
    assert "AirflowFailException" in outcome.log


def test_a_host_that_redirects_gets_no_second_call_and_its_target_none(
    outcome_of: Callable[[str], Outcome], wrong_host: RedirectingHost
) -> None:
    outcome = outcome_of("redirecting")
    assert (outcome.state, outcome.orders) == ("failed", 0)
    assert wrong_host.calls == 1
    assert "AirflowFailException" in outcome.log


def test_a_clip_can_be_waited_for_on_the_worker(outcome_of: Callable[[str], Outcome]) -> None:
    outcome = outcome_of("on_the_worker")
    assert (outcome.state, outcome.orders) == ("success", 1)
    assert outcome.result["video_url"].endswith(".mp4")
    assert "deferr" not in outcome.log.lower()


def test_without_waiting_the_task_ends_with_the_id_of_a_render_that_goes_on(
    outcome_of: Callable[[str], Outcome],
) -> None:
    outcome = outcome_of("without_waiting")
    assert (outcome.state, outcome.orders) == ("success", 1)
    assert outcome.result["generation_id"] == outcome.generation_id
    assert outcome.result["video_url"] is None
    assert outcome.result["completed_at"] is None


def test_rows_of_a_csv_file_become_a_clip_each(
    airflow: LocalAirflow, emulator: RunningEmulator, catalogue_run: str
) -> None:
    assert airflow.wait_for_run("catalogue", catalogue_run) == "success"
    red, blue = airflow.xcom("catalogue", catalogue_run, "collect")
    assert [red["map_index"], blue["map_index"]] == [0, 1]
    assert red["duration"] == 2
    assert blue["duration"] == pytest.approx(29 / 24)
    generations = emulator.stats()["generations"]
    assert generations[red["generation_id"]]["request"] == {
        "content": [{"type": "text", "text": "a red kite"}],
        "resolution": "480p",
        "duration": 2,
        "watermark": True,
        "seed": 7,
    }
    assert generations[blue["generation_id"]]["request"] == {
        "content": [{"type": "text", "text": "a blue kite"}],
        "resolution": "480p",
        "frames": 29,
        "watermark": False,
    }


def test_the_finished_video_is_a_button_on_the_tasks_page(
    airflow: LocalAirflow, outcome_of: Callable[[str], Outcome]
) -> None:
    outcome = outcome_of("success")
    run_id = outcome.instance["dag_run_id"]
    links = airflow.call("GET", f"dags/one_clip/dagRuns/{run_id}/taskInstances/render/links")
    assert links["extra_links"] == {"Video": outcome.result["video_url"]}


def test_the_key_is_in_nothing_that_airflow_has_written(
    airflow: LocalAirflow, outcome_of: Callable[[str], Outcome]
) -> None:
    for case in CASES:
        outcome_of(case)
    written = [path for path in airflow.home.rglob("*") if path.is_file()]
    assert any("task_id=render" in str(path) for path in written)
    assert [path for path in written if KEY.encode() in path.read_bytes()] == []
