"""The operator for a generation from elsewhere, against the emulator over a real socket."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_spark.api.errors import SparkDanceError
from airflow_provider_spark.emulator import Clock, RunningEmulator, running_emulator
from airflow_provider_spark.media.errors import SparkDanceUrlExpiredError
from airflow_provider_spark.operators.download import SparkDanceDownloadOperator
from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator
from tests.unit.hooks.helpers import CONN_ID, store_connection
from tests.unit.operators.test_generate_video import NOON, TaskInstance, context_of
from tests.unit.operators.test_result import KEYS


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningEmulator]:
    with running_emulator(render_seconds=10, seed=7, clock=Clock(frozen_at=NOON)) as running:
        store_connection(monkeypatch, host=running.base_url, password=running.api_key, extra={"poll_floor": 0.01})
        yield running


def order(emulator: RunningEmulator) -> str:
    """Order a clip without any task of ours, and return its id."""
    params = {
        "content": [{"type": "text", "text": "A paper kite"}],
        "resolution": "480p",
        "frames": 29,
        "return_last_frame": True,
    }
    reply = httpx.post(
        f"{emulator.base_url}/model/v1/generation",
        json={"model": "spark_dance_v1_0_pro", "input": [{"params": params}]},
        headers={"Authorization": f"Bearer {emulator.api_key}"},
        trust_env=False,
    )
    generation_id: str = reply.json()["id"]
    return generation_id


def operator(generation_id: Any, **parameters: Any) -> SparkDanceDownloadOperator:
    return SparkDanceDownloadOperator(
        task_id="keep", generation_id=generation_id, spark_dance_conn_id=CONN_ID, **parameters
    )


def test_keeps_what_has_ended_and_orders_nothing(emulator: RunningEmulator, tmp_path: Path) -> None:
    generation_id = order(emulator)
    emulator.clock.advance(60)
    result = operator(generation_id, save_to=str(tmp_path), name="kite").execute(
        context_of(TaskInstance(task_id="keep"))
    )
    assert list(result) == KEYS
    assert result["video_path"] == f"{tmp_path}/kite-{generation_id}.mp4"
    assert (result["width"], result["height"], result["estimated_cost_usd"]) == (864, 480, None)
    assert result["cost_usd"] is not None
    assert (result["submitted_at"], result["elapsed_seconds"]) == ("2027-01-15T08:00:00.000+00:00", 10.0)
    with av.open(io.BytesIO(Path(str(result["video_path"])).read_bytes()), "r") as film:
        assert len(list(film.decode(film.streams.video[0]))) == 29
    assert Path(str(result["last_frame_path"])).exists()
    manifest = json.loads(Path(str(result["manifest_path"])).read_text())
    assert (manifest["request"], manifest["fingerprint"], manifest["task"]["task_id"]) == (None, None, "keep")
    assert emulator.stats()["submits_received"] == 1


def test_waits_on_the_triggerer_for_what_still_renders(emulator: RunningEmulator, tmp_path: Path) -> None:
    generation_id = order(emulator)
    with pytest.raises(TaskDeferred) as deferral:
        operator(generation_id, save_to=str(tmp_path), poll_interval="0.01").execute(context_of())
    emulator.clock.advance(60)

    async def events() -> list[Any]:
        return [event.payload async for event in deferral.value.trigger.run()]

    (event,) = json.loads(json.dumps(asyncio.run(events())))
    kwargs = {**json.loads(json.dumps(deferral.value.kwargs)), "event": event}
    worker = operator(generation_id, save_to=str(tmp_path))
    result = worker.resume_execution(deferral.value.method_name, kwargs, context_of())
    assert Path(result["video_path"]).stat().st_size > 1000
    vendor = json.loads(Path(result["manifest_path"]).read_text())["vendor"]
    assert vendor["metadata"]["in_queue_at"] == NOON, "the manifest has the vendor's own words"
    assert emulator.stats()["submits_received"] == 1


def test_waits_on_the_worker_where_it_is_told_to(
    emulator: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation_id = order(emulator)

    def sleep(self: Any, seconds: float, *, outcome: str) -> None:
        emulator.clock.advance(5)

    monkeypatch.setattr("airflow_provider_spark.operators.interruption.Interruption.sleep", sleep)
    result = operator(generation_id, save_to=str(tmp_path), deferrable="False").execute(context_of())
    assert result["status"] == "completed"


def test_fails_for_good_with_a_generation_that_failed(emulator: RunningEmulator, tmp_path: Path) -> None:
    emulator.arm("render", "fail", code="003005095", message="The render broke")
    generation_id = order(emulator)
    emulator.clock.advance(60)
    with pytest.raises(AirflowFailException, match="The render broke"):
        operator(generation_id, save_to=str(tmp_path)).execute(context_of())


def test_gives_an_unknown_generation_a_moment_to_appear(emulator: RunningEmulator, tmp_path: Path) -> None:
    with pytest.raises(TaskDeferred) as deferral:
        operator("sd-unknown", save_to=str(tmp_path)).execute(context_of())
    _, arguments = deferral.value.trigger.serialize()
    assert arguments["generation_id"] == "sd-unknown"


@pytest.mark.parametrize("generation_id", ["", "None", None, "two words", "../x" * 100])
def test_needs_an_id(emulator: RunningEmulator, tmp_path: Path, generation_id: Any) -> None:
    with pytest.raises(AirflowFailException, match="generation_id"):
        operator(generation_id, save_to=str(tmp_path)).execute(context_of())


def test_needs_a_folder(emulator: RunningEmulator) -> None:
    with pytest.raises(AirflowFailException, match="save_to"):
        operator("sd-1").execute(context_of())
    assert emulator.stats()["polls"] == 0


def test_says_where_a_refused_key_stands_in_the_way(
    emulator: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_connection(monkeypatch, host=emulator.base_url, password="wrong")
    with pytest.raises(AirflowFailException, match="401"):
        operator(order(emulator), save_to=str(tmp_path)).execute(context_of())


class TestTheEmulatorsFaults:
    def test_a_url_that_has_expired_is_asked_for_anew_once(self, emulator: RunningEmulator, tmp_path: Path) -> None:
        generation_id = order(emulator)
        emulator.clock.advance(60)
        emulator.arm("download", "expire")
        assert operator(generation_id, save_to=str(tmp_path)).execute(context_of())["video_path"]
        assert emulator.stats()["polls"] == 3
        emulator.arm("download", "expire", count=2)
        with pytest.raises(SparkDanceUrlExpiredError, match="retry or a clear asks again"):
            operator(generation_id, save_to=f"{tmp_path}/again").execute(context_of())

    @pytest.mark.parametrize("kind", ["drop_reply", "truncate", "page", "refuse", "server_error", "rate_limit"])
    def test_a_download_that_goes_wrong_is_repeated(
        self, emulator: RunningEmulator, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pauses: list[float] = []

        def sleep(self: Any, seconds: float, *, outcome: str) -> None:
            pauses.append(seconds)

        monkeypatch.setattr("airflow_provider_spark.operators.interruption.Interruption.sleep", sleep)
        generation_id = order(emulator)
        emulator.clock.advance(60)
        emulator.arm("download", kind)
        result = operator(generation_id, save_to=str(tmp_path)).execute(context_of())
        assert Path(str(result["video_path"])).stat().st_size > 1000
        assert len(pauses) == 1
        assert not list(tmp_path.glob("*.part"))

    def test_a_redirect_is_followed_without_the_key(self, emulator: RunningEmulator, tmp_path: Path) -> None:
        generation_id = order(emulator)
        emulator.clock.advance(60)
        url = httpx.get(
            f"{emulator.base_url}/model/v1/generation/task/{generation_id}",
            headers={"Authorization": f"Bearer {emulator.api_key}"},
            trust_env=False,
        ).json()["output"][0]["content"][0]["url"]
        emulator.arm("download", "redirect", location=url)
        assert operator(generation_id, save_to=str(tmp_path)).execute(context_of())["video_path"]


def test_takes_up_what_a_task_did_not_wait_for(emulator: RunningEmulator, tmp_path: Path) -> None:
    ordered = SparkDanceGenerateVideoOperator(
        task_id="render", prompt="tea", resolution="480p", wait_for_completion=False, spark_dance_conn_id=CONN_ID
    ).execute(context_of())
    emulator.clock.advance(60)
    result = operator(ordered["generation_id"], save_to=str(tmp_path)).execute(context_of())
    assert (result["generation_id"], result["status"]) == (ordered["generation_id"], "completed")


def test_a_lost_trigger_is_reported_with_its_generation(emulator: RunningEmulator, tmp_path: Path) -> None:
    worker = operator("sd-9", save_to=str(tmp_path))
    with pytest.raises(SparkDanceError, match=r"sd-9.*retry or a clear asks again"):
        worker.resume_execution("__fail__", {"error": "Trigger timeout"}, context_of())
