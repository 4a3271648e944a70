from __future__ import annotations

import asyncio
import inspect
import json
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, TaskDeferred
from airflow.sdk import BaseOperator
from airflow.serialization import serialized_objects
from structlog.testing import capture_logs

from airflow_provider_spark.emulator import Clock, RunningEmulator, running_emulator
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator
from tests.unit.hooks.helpers import CONN_ID, KEY, store_connection
from tests.unit.operators.test_result import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = 1_800_000_000.0
DATA_URI = "data:image/png;base64," + "QUJD" * 200


@dataclass
class TaskInstance:
    """What an operator gets to know of its own run, and what it leaves there."""

    dag_id: str = "campaign"
    run_id: str = "today"
    task_id: str = "render"
    map_index: int | None = -1
    try_number: int = 1
    max_tries: int = 0
    task: Any = None
    pushed: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def context_of(ti: TaskInstance | None = None, **values: Any) -> Any:
    return {"ti": ti or TaskInstance(), "task_instance": ti, "ds": "2027-01-15", "params": {}, **values}


def operator(**parameters: Any) -> SparkDanceGenerateVideoOperator:
    parameters = {"prompt": "A paper kite", "spark_dance_conn_id": CONN_ID, **parameters}
    return SparkDanceGenerateVideoOperator(task_id="render", **parameters)


def dag(**params: Any) -> DAG:
    return DAG("campaign", schedule=None, start_date=datetime(2027, 1, 1, tzinfo=UTC), params=params)


def run_mapped(mapped: Any, written: DAG, at: int) -> Any:
    """Render and run one task of a mapped operator, as a worker does."""
    ti = TaskInstance(map_index=at, task=mapped)
    context = context_of(ti, dag=written, dag_run=SimpleNamespace(conf={}))
    mapped.render_template_fields(context)
    return ti.task.execute(context)


@pytest.fixture(scope="module")
def never_called() -> Iterator[RunningEmulator]:
    """An emulator that no test calls, which each of them can tell."""
    with running_emulator(seed=7) as running:
        yield running


@pytest.fixture
def untouched(never_called: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> RunningEmulator:
    """The same, with the connection to it."""
    store_connection(monkeypatch, host=never_called.base_url, password=never_called.api_key)
    return never_called


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningEmulator]:
    """An emulator whose clock stands still, with the connection to it."""
    with running_emulator(render_seconds=10, seed=7, clock=Clock(frozen_at=NOON)) as running:
        store_connection(monkeypatch, host=running.base_url, password=running.api_key)
        yield running


def request_of(emulator: RunningEmulator) -> dict[str, Any]:
    """What the only order asked for, as it came over the wire."""
    (generation,) = emulator.stats()["generations"].values()
    request = generation["request"]
    assert isinstance(request, dict)
    return request


def calls(emulator: RunningEmulator) -> int:
    stats = emulator.stats()
    return int(stats["submits_received"] + stats["polls"])


class TestWritingIt:
    def test_takes_a_prompt_and_nothing_else(self) -> None:
        task = SparkDanceGenerateVideoOperator(task_id="render", prompt="A paper kite")
        assert task.spark_dance_conn_id == "spark_dance_default"
        assert (task.deferrable, task.wait_for_completion, task.timeout, task.poll_interval) == (True, True, None, None)

    def test_needs_neither_a_connection_nor_good_values_before_it_runs(self) -> None:
        operator(duration="{{ params.seconds }}", ratio="{{ params.ratio }}", spark_dance_conn_id="not_there_yet")

    @pytest.mark.filterwarnings("ignore:Task 'render' was never mapped")
    @pytest.mark.parametrize("name", ["fps", "content", "model", "image", "end_frame"])
    def test_refuses_a_parameter_that_is_none(self, name: str) -> None:
        with pytest.raises(TypeError, match=name):
            operator(**{name: 24})
        with dag(), pytest.raises(TypeError, match=name):
            SparkDanceGenerateVideoOperator.partial(task_id="render", **{name: 24}).expand(prompt=["a"])
        with dag(), pytest.raises(TypeError, match=name):
            SparkDanceGenerateVideoOperator.partial(task_id="render").expand(**{name: [24]})

    def test_may_have_a_template_in_every_field_of_its_own(self) -> None:
        own = set(inspect.signature(SparkDanceGenerateVideoOperator).parameters)
        own -= {"kwargs", *inspect.signature(BaseOperator).parameters}
        assert set(SparkDanceGenerateVideoOperator.template_fields) == own

    def test_keeps_each_field_under_its_own_name(self) -> None:
        fields = SparkDanceGenerateVideoOperator.template_fields
        task = SparkDanceGenerateVideoOperator(task_id="render", **{name: f"<{name}>" for name in fields})
        assert {name: getattr(task, name) for name in fields} == {name: f"<{name}>" for name in fields}

    def test_is_serialized_with_its_dag_plain_and_mapped(self) -> None:
        with dag() as written:
            operator(resolution="480p")
            SparkDanceGenerateVideoOperator.partial(task_id="mapped", resolution="480p").expand(prompt=["a", "b"])
        found = vars(serialized_objects)
        serialization = found.get("DagSerialization") or found["SerializedDAG"]
        stored = json.loads(json.dumps(serialization.to_dict(written)))
        again = serialization.from_dict(stored)
        for name in ("render", "mapped"):
            assert again.get_task(name).template_fields == list(SparkDanceGenerateVideoOperator.template_fields)
            assert [link.name for link in again.get_task(name).operator_extra_links] == ["Video"]


class TestRendering:
    def test_fills_every_field(self) -> None:
        fields = SparkDanceGenerateVideoOperator.template_fields
        values = {name: f"value of {name}" for name in fields}
        task = SparkDanceGenerateVideoOperator(
            task_id="render", **{name: f"{{{{ params.{name} }}}}" for name in fields}
        )
        task.render_template_fields(context_of(params=values))
        assert {name: getattr(task, name) for name in fields} == values

    @pytest.mark.parametrize("at", [0, 1, 2])
    def test_of_mapped_rows_is_that_of_one_row_each(self, emulator: RunningEmulator, at: int) -> None:
        # A CSV file has text in every column, and an empty one where there is no value.
        rows = [
            {"prompt": "Tea on {{ ds }}", "duration": "2", "seed": "7", "camera_fixed": "True", "ratio": "1:1"},
            {"prompt": "Kites", "duration": "", "seed": "", "camera_fixed": "false", "ratio": ""},
            {"prompt": "Rain", "duration": "None", "seed": "0", "camera_fixed": "", "ratio": "{{ params.ratio }}"},
        ]
        with dag(ratio="9:16") as written:
            mapped = SparkDanceGenerateVideoOperator.partial(
                task_id="render", resolution="480p", wait_for_completion="false", spark_dance_conn_id=CONN_ID
            ).expand_kwargs(rows)
        result = run_mapped(mapped, written, at)
        assert result["map_index"] == at
        request = request_of(emulator)
        assert request["content"] == [{"type": "text", "text": ["Tea on 2027-01-15", "Kites", "Rain"][at]}]
        del request["content"]
        assert (
            request
            == [
                {"resolution": "480p", "duration": 2, "seed": 7, "camera_fixed": True, "ratio": "1:1"},
                {"resolution": "480p", "camera_fixed": False},
                {"resolution": "480p", "seed": 0, "ratio": "9:16"},
            ][at]
        )

    def test_of_mapped_prompts_is_that_of_one_prompt_each(self, emulator: RunningEmulator) -> None:
        with dag() as written:
            mapped = SparkDanceGenerateVideoOperator.partial(
                task_id="render", wait_for_completion=False, spark_dance_conn_id=CONN_ID
            ).expand(prompt=["Tea", "绿茶 {{ ds }}"])
        run_mapped(mapped, written, 1)
        assert request_of(emulator) == {"content": [{"type": "text", "text": "绿茶 2027-01-15"}]}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"prompt": None}, "content"),
    ({"prompt": " "}, "content"),
    ({"prompt": 5}, "prompt"),
    ({"resolution": "4k"}, "resolution"),
    ({"resolution": 720}, "resolution"),
    ({"ratio": "2:1"}, "ratio"),
    ({"duration": 1}, "duration"),
    ({"duration": "13"}, "duration"),
    ({"duration": 5.5}, "duration"),
    ({"duration": "five"}, "duration"),
    ({"frames": 58}, "frames"),
    ({"frames": "25"}, "frames"),
    ({"seed": -2}, "seed"),
    ({"seed": 2**32}, "seed"),
    ({"camera_fixed": "yes"}, "camera_fixed"),
    ({"watermark": 1}, "watermark"),
    ({"return_last_frame": "perhaps"}, "return_last_frame"),
    ({"service_tier": "fast"}, "service_tier"),
    ({"execution_expires_after": "60"}, "execution_expires_after"),
    ({"callback_url": "example.com"}, "callback_url"),
    ({"first_frame": "/home/me/a.png"}, "first_frame"),
    ({"first_frame": DATA_URI}, "first_frame"),
    ({"first_frame": "https://a.example.com/1.png", "last_frame": DATA_URI}, "last_frame"),
    ({"last_frame": "https://a.example.com/1.png"}, "first frame"),
    ({"wait_for_completion": "maybe"}, "wait_for_completion"),
    ({"deferrable": 2}, "deferrable"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": "soon"}, "timeout"),
    ({"timeout": 1e300}, "timeout"),
    ({"poll_interval": -1}, "poll_interval"),
    ({"poll_interval": "inf"}, "poll_interval"),
]


class TestARequestThatCannotBeRight:
    @pytest.mark.parametrize(("parameters", "name"), WRONG)
    def test_fails_for_good_before_any_call(
        self, untouched: RunningEmulator, parameters: dict[str, Any], name: str
    ) -> None:
        with pytest.raises(AirflowFailException) as failure:
            operator(**parameters).execute(context_of())
        assert name in str(failure.value)
        assert "QUJD" not in str(failure.value)
        assert calls(untouched) == 0

    def test_names_all_that_is_wrong_at_once(self, untouched: RunningEmulator) -> None:
        with pytest.raises(AirflowFailException) as failure:
            operator(duration=60, ratio="2:1", frames=30).execute(context_of())
        for name in ("duration", "60", "ratio", "2:1", "frames", "30"):
            assert name in str(failure.value)
        assert calls(untouched) == 0

    def test_tells_the_way_to_go_with_a_data_uri(self, untouched: RunningEmulator) -> None:
        with pytest.raises(AirflowFailException, match="SparkDanceHook"):
            operator(first_frame=DATA_URI).execute(context_of())
        assert calls(untouched) == 0

    @pytest.mark.parametrize(
        "fields",
        [
            {"password": ""},
            {"password": f"{KEY}\x00{KEY}"},
            {"host": "http://api.example.com"},
            {"extra": {"poll_floor": "often"}},
        ],
    )
    def test_may_be_one_for_its_connection(
        self, untouched: RunningEmulator, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
    ) -> None:
        store_connection(monkeypatch, **{"host": untouched.base_url, "password": KEY, **fields})
        with pytest.raises(AirflowFailException, match=CONN_ID) as failure:
            operator().execute(context_of())
        assert KEY not in str(failure.value)
        assert calls(untouched) == 0


class TestWhatIsOrdered:
    def test_is_the_prompt_alone_where_nothing_else_is_set(self, emulator: RunningEmulator) -> None:
        operator(wait_for_completion=False).execute(context_of())
        assert request_of(emulator) == {"content": [{"type": "text", "text": "A paper kite"}]}

    def test_has_each_text_in_the_type_of_its_field(self, emulator: RunningEmulator) -> None:
        operator(
            resolution="480p",
            ratio="9:16",
            frames="57",
            seed=" 7 ",
            camera_fixed="True",
            watermark="FALSE",
            return_last_frame="true",
            service_tier="flex",
            execution_expires_after="7200",
            callback_url="http://127.0.0.1:9/done",
            wait_for_completion="False",
            deferrable="true",
            timeout="60",
            poll_interval="0.5",
        ).execute(context_of())
        request = request_of(emulator)
        del request["content"]
        assert request == {
            "resolution": "480p",
            "ratio": "9:16",
            "frames": 57,
            "seed": 7,
            "camera_fixed": True,
            "watermark": False,
            "return_last_frame": True,
            "service_tier": "flex",
            "execution_expires_after": 7200,
            "callback_url": "http://127.0.0.1:9/done",
        }

    def test_leaves_out_what_is_empty(self, emulator: RunningEmulator) -> None:
        fields = set(SparkDanceGenerateVideoOperator.template_fields) - {
            "prompt",
            "wait_for_completion",
            "spark_dance_conn_id",
        }
        for nothing in ("", "None", None):
            operator(wait_for_completion=False, **dict.fromkeys(fields, nothing)).execute(context_of())
        requests = [one["request"] for one in emulator.stats()["generations"].values()]
        assert requests == 3 * [{"content": [{"type": "text", "text": "A paper kite"}]}]

    def test_is_ordered_once(self, emulator: RunningEmulator) -> None:
        with pytest.raises(TaskDeferred):
            operator().execute(context_of())
        assert emulator.stats()["submits_received"] == 1

    def test_is_in_xcom_by_its_id_before_it_is_done(self, emulator: RunningEmulator) -> None:
        ti = TaskInstance()
        with pytest.raises(TaskDeferred):
            operator().execute(context_of(ti))
        assert ti.pushed["generation_id"] in emulator.stats()["generations"]

    def test_has_its_oddities_in_the_log(self, emulator: RunningEmulator) -> None:
        with capture_logs() as lines:
            operator(prompt="A kite --dur 12", ratio="adaptive", wait_for_completion=False).execute(context_of())
        warnings = "\n".join(line["event"] for line in lines if line["log_level"] == "warning")
        assert "--dur" in warnings
        assert "adaptive" in warnings


class TestTheResult:
    def test_comes_at_once_where_no_end_is_waited_for(self, emulator: RunningEmulator) -> None:
        ti = TaskInstance(map_index=2)
        result = operator(resolution="480p", wait_for_completion=False).execute(context_of(ti))
        assert list(result) == KEYS
        assert result == json.loads(json.dumps(result))
        assert result["generation_id"] == ti.pushed["generation_id"]
        assert (result["map_index"], result["status"]) == (2, "queued")
        assert (result["video_url"], result["completed_at"], result["cost_usd"]) == (None, None, None)
        assert emulator.stats()["polls"] == 0

    def test_of_a_task_that_is_not_mapped_says_so(self, emulator: RunningEmulator) -> None:
        result = operator(wait_for_completion=False).execute(context_of(TaskInstance(map_index=None)))
        assert result["map_index"] == -1

    def test_comes_after_a_wait_on_the_worker(self, emulator: RunningEmulator) -> None:
        ti = TaskInstance()

        class Rendering(SparkDanceHook):
            """Lets time pass for the emulator once the order is in."""

            def submit(self, request: Any) -> Any:
                ordered = super().submit(request)
                emulator.clock.advance(60)
                return ordered

        task = operator(resolution="480p", duration=2, deferrable=False, poll_interval=0.01, return_last_frame=True)
        task.hook = Rendering(CONN_ID)
        result = task.execute(context_of(ti))
        assert list(result) == KEYS
        assert (result["status"], result["duration"]) == ("completed", 2)
        assert (result["width"], result["height"]) == (864, 480)
        assert str(result["video_url"]).startswith(emulator.base_url)
        assert str(result["last_frame_url"]).startswith(emulator.base_url)
        assert result["cost_usd"] == pytest.approx(result["estimated_cost_usd"])
        assert result["generation_id"] == ti.pushed["generation_id"]
        assert emulator.stats()["submits_received"] == 1

    def test_comes_after_a_wait_on_the_triggerer(self, emulator: RunningEmulator) -> None:
        ti = TaskInstance()
        with pytest.raises(TaskDeferred) as deferral:
            operator(resolution="480p", duration="2", poll_interval="0.01").execute(context_of(ti))
        deferred = deferral.value
        emulator.clock.advance(60)

        async def events() -> list[Any]:
            return [event.payload async for event in deferred.trigger.run()]

        (event,) = json.loads(json.dumps(asyncio.run(events())))
        kwargs = json.loads(json.dumps(deferred.kwargs))
        # A worker of its own resumes: nothing of the first one is left but what was stored.
        result = operator().resume_execution(deferred.method_name, {**kwargs, "event": event}, context_of(ti))
        assert list(result) == KEYS
        assert (result["status"], result["resolution"], result["duration"]) == ("completed", "480p", 2)
        assert result["generation_id"] == ti.pushed["generation_id"]
        assert emulator.stats()["submits_received"] == 1

    def test_and_all_on_the_way_to_it_is_free_of_the_key(
        self, emulator: RunningEmulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        ti = TaskInstance()
        with capture_logs() as lines, pytest.raises(TaskDeferred) as deferral:
            operator().execute(context_of(ti))
        told = [lines, caplog.text, ti.pushed, deferral.value.kwargs, deferral.value.trigger.serialize()]
        assert emulator.api_key not in repr(told)


class TestTheDeadline:
    @pytest.mark.parametrize(
        ("parameters", "seconds"),
        [
            ({}, 172_800 + 600),
            ({"execution_expires_after": 3600}, 3600 + 600),
            ({"timeout": "90"}, 90),
            ({"timeout": 1.5, "execution_expires_after": 3600}, 1.5),
        ],
    )
    def test_counts_from_the_submit(
        self, emulator: RunningEmulator, parameters: dict[str, Any], seconds: float
    ) -> None:
        with pytest.raises(TaskDeferred) as deferral:
            operator(**parameters).execute(context_of())
        _, arguments = deferral.value.trigger.serialize()
        assert arguments["deadline"] - arguments["submitted_at"] == pytest.approx(seconds)

    def test_lies_before_the_moment_when_airflow_gives_the_trigger_up(self, emulator: RunningEmulator) -> None:
        with pytest.raises(TaskDeferred) as deferral:
            operator(timeout=90, poll_interval=7).execute(context_of())
        assert deferral.value.timeout is not None
        assert deferral.value.timeout.total_seconds() > 90 + 7
