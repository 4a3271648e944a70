from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetXCom, XComResult

from airflow_provider_spark.links.spark_dance import SparkDanceVideoLink
from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator

URL = "https://results.example.com/1.mp4?sign=abc"


@dataclass
class TaskInstance:
    """What names one run of a task, as the worker hands it to a link."""

    dag_id: str = "campaign"
    run_id: str = "today"
    task_id: str = "render"
    map_index: int = -1
    try_number: int = 1


class Supervisor:
    """The worker's supervisor, with the results that the mapped tasks have left in XCom."""

    def __init__(self, results: dict[int, Any]) -> None:
        self.results = results

    def send(self, message: GetXCom) -> XComResult:
        assert (message.dag_id, message.run_id, message.task_id) == ("campaign", "today", "render")
        value = None
        if message.key == "return_value" and message.map_index is not None:
            value = self.results.get(message.map_index)
        return XComResult(key=message.key, value=value)


def link(monkeypatch: pytest.MonkeyPatch, results: dict[int, Any], map_index: int = -1) -> str:
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(results), raising=False)
    operator = SparkDanceGenerateVideoOperator(task_id="render", prompt="A paper kite")
    (video,) = operator.operator_extra_links
    return video.get_link(operator, ti_key=TaskInstance(map_index=map_index))  # type: ignore[arg-type]


def test_it_opens_the_video_of_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    assert link(monkeypatch, {-1: {"generation_id": "sd-1", "video_url": URL}}) == URL


def test_it_opens_the_video_of_its_own_mapped_task(monkeypatch: pytest.MonkeyPatch) -> None:
    results = {0: {"video_url": URL + "0"}, 1: {"video_url": URL + "1"}}
    assert [link(monkeypatch, results, at) for at in (0, 1)] == [URL + "0", URL + "1"]


@pytest.mark.parametrize("result", [None, {}, {"video_url": None}, {"video_url": ""}, "text", [], 5])
def test_it_is_empty_where_there_is_no_video(monkeypatch: pytest.MonkeyPatch, result: Any) -> None:
    assert link(monkeypatch, {-1: result}) == ""


def test_it_has_the_name_of_its_button() -> None:
    assert SparkDanceVideoLink().name == "Video"
