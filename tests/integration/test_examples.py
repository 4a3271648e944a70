"""The examples as they are, each run to its end, and a film that doesn't go well at once.

All are started together, since most of their time is waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from airflow_provider_spark.emulator import RunningEmulator
from demo.local_airflow import LocalAirflow

PRODUCTS = """sku,name,picture,seconds
T-1,A red kettle,red.png,
T-2,A kettle that moderation refuses,blue.png,2
T-3,A kettle for half a minute,red.png,30
"""
# What an unpaused DAG with a schedule gets from the scheduler.
SCHEDULED = ("overnight_flex", "clip_of_the_day")
TRIGGERED = ("product_catalogue", "storyboard", "short_film")
STARTED_BY_AN_ASSET = "publish_when_ready"
LONGEST_RUN = 600.0


@dataclass
class Run:
    """A run of an example that has ended."""

    airflow: LocalAirflow
    dag_id: str
    run_id: str
    state: str

    def xcom(self, task_id: str, map_index: int = -1, key: str = "return_value") -> Any:
        return self.airflow.xcom(self.dag_id, self.run_id, task_id, key, map_index)

    def states(self) -> dict[str, str]:
        """The state of each task instance; mapped ones as ``task[index]``."""
        return {
            ti["task_id"] if ti["map_index"] < 0 else f"{ti['task_id']}[{ti['map_index']}]": ti["state"]
            for ti in self.airflow.task_instances(self.dag_id, self.run_id)
        }

    def log(self, task_id: str) -> str:
        return self.airflow.log(self.dag_id, self.run_id, task_id)


@pytest.fixture(scope="module")
def run_of(airflow: LocalAirflow, emulator: RunningEmulator, storage: Path) -> Callable[[str], Run]:
    catalogue = storage / "catalogue_folder"
    catalogue.mkdir()
    (catalogue / "products.csv").write_text(PRODUCTS)
    for name, colour in (("red", "firebrick"), ("blue", "navy")):
        Image.new("RGB", (640, 480), colour).save(catalogue / f"{name}.png")
    emulator.arm("render", "moderate", prompt="moderation refuses")
    emulator.arm("render", "fail", code="003005095", prompt="a shot that fails at first")
    for dag_id in (*TRIGGERED, STARTED_BY_AN_ASSET, *SCHEDULED):
        airflow.unpause(dag_id)
    triggered = {dag_id: airflow.trigger(dag_id) for dag_id in TRIGGERED}

    def run_of(dag_id: str) -> Run:
        run_id = triggered.get(dag_id) or first_run(airflow, dag_id)
        run = Run(airflow, dag_id, run_id, "running")
        try:
            run.state = airflow.wait_for_run(dag_id, run_id, timeout=LONGEST_RUN)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {run.states()}") from error
        return run

    return run_of


def first_run(airflow: LocalAirflow, dag_id: str) -> str:
    """Wait until the scheduler has made a run."""
    deadline = time.monotonic() + LONGEST_RUN
    while time.monotonic() < deadline:
        for run in airflow.call("GET", f"dags/{dag_id}/dagRuns")["dag_runs"]:
            run_id: str = run["dag_run_id"]
            return run_id
        time.sleep(0.3)
    raise TimeoutError(f"{dag_id} has no run after {LONGEST_RUN:g} s")


def frames_of(path: str) -> int:
    with av.open(path.removeprefix("file://")) as film:
        return sum(1 for _ in film.decode(video=0))


def orders(emulator: RunningEmulator, prompt: str) -> list[dict[str, Any]]:
    requests = [generation["request"] for generation in emulator.stats()["generations"].values()]
    return [request for request in requests if prompt in request["content"][0].get("text", "")]


def test_the_film_of_the_storyboard_has_the_frames_and_the_costs_of_all_its_shots(
    run_of: Callable[[str], Run], emulator: RunningEmulator, storage: Path
) -> None:
    run = run_of("storyboard")
    assert run.state == "success", run.states()
    shots = [run.xcom(f"spot.shot_0{number}") for number in (1, 2, 3)]
    film = run.xcom("spot.film")
    assert film["generation_ids"] == [shot["generation_id"] for shot in shots]
    assert [frames_of(shot["video_path"]) for shot in shots] == [72, 57, 48]
    assert frames_of(film["film_path"]) == film["frames"] == 72 + 57 + 48
    assert film["encoded"] is False
    assert film["cost_usd"] == pytest.approx(sum(shot["cost_usd"] for shot in shots))
    # A bill has six decimals.
    assert film["cost_usd"] == pytest.approx(run.xcom("spot.check")["estimated_cost_usd"], abs=5e-6)
    assert storage / "film_folder" in Path(film["film_path"].removeprefix("file://")).parents


def test_a_shot_starts_with_the_picture_that_the_one_before_has_ended_with(
    run_of: Callable[[str], Run], emulator: RunningEmulator
) -> None:
    run_of("storyboard")
    (garden,) = orders(emulator, "A tea garden at dawn")
    (picker,) = orders(emulator, "The camera sinks down")
    (table,) = orders(emulator, "A cup of green tea on a wooden table")
    assert [len(request["content"]) for request in (garden, picker, table)] == [1, 2, 1]
    assert picker["frames"] == 57


def test_a_failed_shot_is_tried_again_by_itself_and_nothing_before_it(
    run_of: Callable[[str], Run], emulator: RunningEmulator
) -> None:
    run = run_of("short_film")
    assert run.state == "success", run.states()
    assert len(orders(emulator, "a shot that renders at once")) == 1
    assert len(orders(emulator, "a shot that fails at first")) == 2
    assert frames_of(run.xcom("film.film")["film_path"]) == 96


def test_joining_again_orders_nothing_and_writes_the_same_film(
    run_of: Callable[[str], Run], emulator: RunningEmulator, airflow: LocalAirflow
) -> None:
    run = run_of("short_film")
    before, film = emulator.stats()["submits_received"], run.xcom("film.film")
    airflow.clear(run.dag_id, run.run_id, "film.film")
    assert airflow.wait_for_run(run.dag_id, run.run_id) == "success"
    assert run.xcom("film.film") == film
    assert emulator.stats()["submits_received"] == before


def test_the_storyboards_check_tells_what_each_shot_and_all_of_them_cost(run_of: Callable[[str], Run]) -> None:
    log = run_of("storyboard").log("spot.check")
    assert "Shot 2, scene garden, after shot 1: 864x480, 57 frames (2.375 s), about 0.0577 USD." in log
    assert "3 shots, 7.375 s: about 0.1792 USD together." in log


def test_the_catalogue_has_a_clip_for_each_good_row_and_a_reason_for_each_other(
    run_of: Callable[[str], Run], emulator: RunningEmulator, storage: Path
) -> None:
    run = run_of("product_catalogue")
    assert run.state == "success", run.states()
    states = run.states()
    assert (states["clips.render[0]"], states["clips.render[1]"]) == ("success", "skipped")
    assert "clips.render[2]" not in states
    summary = run.xcom("clips.summary")
    assert [(row["label"], row["outcome"]) for row in summary["rows"]] == [
        ("T-1", "completed"),
        ("T-2", "skipped"),
        ("T-3", "refused"),
    ]
    assert "SensitiveContent" in summary["rows"][1]["reason"]
    done = run.xcom("clips.render", 0)
    assert summary["total_cost_usd"] == pytest.approx(done["cost_usd"])
    assert run.xcom("shop_window") == [done["video_path"]]
    assert frames_of(done["video_path"]) == 48
    assert storage / "catalogue_folder" / "clips" in Path(done["video_path"].removeprefix("file://")).parents
    (order,) = orders(emulator, "A red kettle turns slowly")
    assert [item["type"] for item in order["content"]] == ["text", "image_url"]


def test_the_night_costs_half_and_is_summed_up_in_the_morning(
    run_of: Callable[[str], Run], emulator: RunningEmulator
) -> None:
    run = run_of("overnight_flex")
    assert run.state == "success", run.states()
    clips = [run.xcom("render", index) for index in range(2)]
    assert [frames_of(clip["video_path"]) for clip in clips] == [48, 48]
    assert run.xcom("bill") == pytest.approx(sum(clip["cost_usd"] for clip in clips))
    assert clips[0]["cost_usd"] == pytest.approx(864 * 480 * 48 / 1024 * 1.25 / 1_000_000)
    (order,) = orders(emulator, "A lighthouse turns")
    assert (order["service_tier"], order["execution_expires_after"]) == ("flex", 28_800)


def test_the_dag_that_waits_for_the_asset_gets_the_result_in_its_event(run_of: Callable[[str], Run]) -> None:
    rendered, published = run_of("clip_of_the_day"), run_of("publish_when_ready")
    assert (rendered.state, published.state) == ("success", "success")
    assert published.xcom("publish") == rendered.xcom("render")
    assert rendered.xcom("render")["video_path"] in published.log("publish")
    assert frames_of(published.xcom("publish")["video_path"]) == 48
