from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, TriggerRule
from airflow.sdk import task

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.operators.batch import (
    SparkDanceBatch,
    SparkDanceBatchSummaryOperator,
    SparkDancePlanBatchOperator,
)
from tests.unit.hooks.helpers import CONN_ID, store_connection
from tests.unit.operators.test_generate_video import context_of

CSV = """sku,prompt,resolution,seconds,seed
T-1,a red kettle,480p,2,
T-2,a blue kettle,4k,3,7
T-3,a green kettle,,2.4,None
T-4,,480p,2,
"""


@dataclass
class Run:
    """A DAG run's XComs, and the states of its tasks."""

    dag_id: str = "shop"
    run_id: str = "today"
    task_id: str = "plan"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    xcoms: dict[tuple[str, str], dict[int, Any]] = field(default_factory=dict)
    states: dict[str, str | None] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms.setdefault((self.task_id, key), {})[-1] = json.loads(json.dumps(value))

    def xcom_pull(self, task_ids: Any, key: str = "return_value", map_indexes: int | None = None) -> Any:
        if isinstance(task_ids, str):
            return self.xcoms.get((task_ids, key), {}).get(map_indexes or -1)
        found = [value for name in task_ids for value in self.xcoms.get((name, key), {}).values()]
        return found or [None]

    def get_task_states(self, dag_id: str, run_ids: list[str], task_ids: list[str]) -> dict[str, Any]:
        assert (dag_id, run_ids, task_ids) == (self.dag_id, [self.run_id], ["render"])
        return {self.run_id: self.states}

    def ended(self, index: int, key: str = "return_value", **value: Any) -> None:
        """Let a render end with this in XCom."""
        self.xcoms.setdefault(("render", key), {})[index] = {"map_index": index, **value}
        self.states[f"render_{index}"] = "success" if key == "return_value" else "failed"


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch) -> None:
    store_connection(monkeypatch, password="key", extra={"price_per_million_tokens": 2.5})


@pytest.fixture
def dag() -> Iterator[DAG]:
    with DAG("shop", schedule=None, start_date=datetime(2027, 1, 1, tzinfo=UTC)) as written:
        yield written


def plan(rows: Any, run: Run | None = None, **parameters: Any) -> list[dict[str, Any]]:
    operator = SparkDancePlanBatchOperator(task_id="plan", rows=rows, spark_dance_conn_id=CONN_ID, **parameters)
    return operator.execute(context_of(run or Run()))  # type: ignore[arg-type]


def refusals(rows: Any, **parameters: Any) -> list[str | None]:
    run = Run()
    plan([*rows, {"prompt": "a good row", "resolution": "480p"}], run, **parameters)
    return [entry["refused"] for entry in run.xcom_pull("plan", "plan")[:-1]]


def summary(run: Run, **parameters: Any) -> Any:
    run.task_id = "summary"
    operator = SparkDanceBatchSummaryOperator(
        task_id="summary", plan_task_id="plan", render_task_id="render", **parameters
    )
    return operator.execute(context_of(run))  # type: ignore[arg-type]


def usd(pixels: int, frames: int) -> Any:
    return pytest.approx(pixels * frames / 1024 * 2.5 / 1_000_000)


class TestThePlan:
    def test_returns_the_rows_that_can_be_right_in_the_vendors_terms(self) -> None:
        rows = list(csv.DictReader(io.StringIO(CSV)))
        assert plan(rows, label_column="sku", defaults={"resolution": "720p", "duration": 9}) == [
            {"prompt": "a red kettle", "resolution": "480p", "duration": 2},
            {"prompt": "a green kettle", "resolution": "720p", "frames": 57},
        ]

    def test_keeps_what_it_knows_of_every_row_for_the_summary(self) -> None:
        run = Run()
        plan(list(csv.DictReader(io.StringIO(CSV))), run, label_column="sku", defaults={"resolution": "720p"})
        one, two, three, four = run.xcom_pull("plan", "plan")
        assert (one["row"], one["label"], one["map_index"], one["refused"], one["exact"]) == (1, "T-1", 0, None, True)
        assert one["estimated_cost_usd"] == usd(864 * 480, 48)
        assert (two["label"], two["map_index"], two["estimated_cost_usd"]) == ("T-2", None, None)
        assert two["refused"] == "resolution = '4k': must be 480p, 720p or 1080p"
        assert (three["map_index"], three["estimated_cost_usd"]) == (1, usd(1248 * 704, 57))
        assert four["refused"] == "prompt: is missing, and there is no first_frame either."

    @pytest.mark.parametrize(
        ("row", "told"),
        [
            ({"prompt": "tea", "resoluton": "480p"}, "resoluton: is not a parameter; is resolution meant?"),
            ({"prompt": "tea", None: ["one cell", "too many"]}, "has more cells than the table has columns"),
            ("a prompt", "is no dict but str"),
            ({"prompt": "tea", "seconds": "13"}, "seconds = 13.0: must be from 1.21 to 12.04"),
            ({"prompt": "tea", "duration": "two"}, "duration must be a whole number, not 'two'"),
            ({"prompt": "tea", "on_moderation": "hope"}, "on_moderation must be one of fail, resubmit, skip"),
            ({"prompt": "tea", "max_cost_usd": 0.01}, "would cost about 0.6120 USD, more than max_cost_usd = 0.01"),
            ({"prompt": "tea", "first_frame": "data:image/png;base64," + "QUJD" * 99}, "first_frame is a data URI of"),
        ],
    )
    def test_refuses_a_row_that_cant_be_right_and_no_other(self, row: Any, told: str) -> None:
        (refusal,) = refusals([row])
        assert refusal is not None
        assert refusal.startswith(told)
        assert "QUJD" not in refusal

    def test_counts_what_depends_on_a_picture_as_the_most_it_can_cost(self) -> None:
        run = Run()
        plan([{"first_frame": "s3://aws_default@shop/kettle.png", "resolution": "480p"}], run)
        (entry,) = run.xcom_pull("plan", "plan")
        assert entry["exact"] is False
        assert entry["estimated_cost_usd"] == usd(864 * 480, 120)

    def test_refuses_the_whole_batch_above_the_cap_and_names_both_sums(self) -> None:
        rows = [{"prompt": f"kettle {number}", "resolution": "480p"} for number in range(10)]
        price = 10 * 864 * 480 * 120 / 1024 * 2.5 / 1_000_000
        assert len(plan(rows, max_total_cost_usd=price)) == 10
        with pytest.raises(AirflowFailException, match=r"10 of 10 rows would cost about 1\.2150 USD together"):
            plan(rows, max_total_cost_usd="1.2149")

    def test_refuses_more_rows_than_airflow_maps_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "3")
        rows = [{"prompt": "kettle", "resolution": "480p"}] * 4
        assert len(plan(rows[:3])) == 3
        with pytest.raises(AirflowFailException, match=r"4 rows are more than Airflow maps over.*max_map_length is 3"):
            plan(rows)

    def test_fails_where_no_row_can_be_right_and_still_tells_of_each(self) -> None:
        run = Run()
        with pytest.raises(AirflowFailException, match="No row can be rendered; row 1: resoluton: is not a parameter"):
            plan([{"prompt": "tea", "resoluton": "480p"}] * 3, run)
        assert len(run.xcom_pull("plan", "plan")) == 3

    def test_of_an_empty_table_is_empty(self) -> None:
        assert plan([]) == []

    @pytest.mark.parametrize("rows", ["a,b", {"prompt": "tea"}, None, 7])
    def test_refuses_what_are_no_rows(self, rows: Any) -> None:
        with pytest.raises(AirflowFailException, match="rows must be a list of dicts"):
            plan(rows)

    def test_refuses_an_unknown_default_where_it_is_written(self) -> None:
        with pytest.raises(SparkDanceRequestError, match="is resolution meant"):
            SparkDancePlanBatchOperator(task_id="plan", rows=[], defaults={"resoluton": "480p"})


class TestTheSummary:
    @pytest.fixture
    def run(self) -> Run:
        run = Run()
        rows = [{"prompt": f"kettle {number}", "resolution": "480p", "sku": f"T-{number}"} for number in range(5)]
        plan([*rows, {"sku": "T-9", "duration": 2}], run, label_column="sku")
        return run

    def test_has_a_row_for_every_row_and_the_total_cost(self, run: Run) -> None:
        price = pytest.approx(0.1215)
        run.ended(1, generation_id="sd-1", duration=5, cost_usd=0.12, video_path="s3://shop/1.mp4", video_url="u")
        run.ended(0, generation_id="sd-0", duration=5, cost_usd=0.11, video_path=None, video_url="https://r/0.mp4")
        why = {"reason": "refused", "code": None, "generation_id": None, "may_be_billed": False}
        run.ended(2, "failure", outcome="skipped", **why)
        late = {"reason": "The wait ran out", "code": None, "generation_id": "sd-3", "may_be_billed": True}
        run.ended(3, "failure", outcome="failed", **late)
        run.states["render_4"] = "failed"  # killed: it could leave no word
        told = summary(run)
        assert [(row["row"], row["label"], row["outcome"], row["generation_id"]) for row in told["rows"]] == [
            (1, "T-0", "completed", "sd-0"),
            (2, "T-1", "completed", "sd-1"),
            (3, "T-2", "skipped", None),
            (4, "T-3", "failed", "sd-3"),
            (5, "T-4", "failed", None),
            (6, "T-9", "refused", None),
        ]
        assert [row["may_be_billed"] for row in told["rows"]] == [False, False, False, True, True, False]
        assert told["rows"][4]["reason"] == "its task is failed and has left no reason; see its log"
        assert told["rows"][5]["reason"].startswith("prompt: is missing")
        assert told["rows"][1]["video_path"] == "s3://shop/1.mp4"
        assert {name: told[name] for name in ("completed", "skipped", "failed", "refused")} == {
            "completed": 2,
            "skipped": 1,
            "failed": 2,
            "refused": 1,
        }
        assert told["total_cost_usd"] == 0.23
        assert told["may_be_billed_usd"] == pytest.approx(2 * 0.1215)
        assert told["rows"][0]["estimated_cost_usd"] == price
        assert run.xcom_pull("summary", "summary") == told

    def test_fails_where_rows_without_a_video_are_to_fail_it_and_is_still_there_to_read(self, run: Run) -> None:
        run.ended(0, generation_id="sd-0", cost_usd=0.11)
        with pytest.raises(AirflowFailException, match="5 of 6 rows have no video"):
            summary(run, on_missing="fail")
        assert run.xcom_pull("summary", "summary")["completed"] == 1

    def test_fails_where_no_row_has_a_video(self, run: Run) -> None:
        run.states["render"] = "upstream_failed"
        with pytest.raises(AirflowFailException, match="No row has a video"):
            summary(run)
        rows = run.xcom_pull("summary", "summary")["rows"]
        assert rows[0]["reason"] == "its task never ran, since something before it failed"
        assert not rows[0]["may_be_billed"]

    def test_fails_where_there_was_no_plan(self) -> None:
        with pytest.raises(AirflowFailException, match="plan has left no plan: nothing was ordered"):
            summary(Run())

    def test_of_an_empty_table_is_a_success(self) -> None:
        run = Run()
        plan([], run)
        assert summary(run)["rows"] == []

    def test_of_a_thousand_rows_stays_below_a_kilobyte_a_row(self) -> None:
        run = Run()
        plan([{"prompt": "kettle " * 60, "resolution": "480p", "seed": number} for number in range(1000)], run)
        for index in range(1000):
            why = {"reason": "x" * 600, "code": "003005095", "generation_id": f"sd-{index:024}", "may_be_billed": True}
            run.ended(index, "failure", outcome="failed", **why)
        run.ended(0, generation_id="sd-0", cost_usd=0.1)
        assert len(json.dumps(summary(run))) < 1000 * 1024


class TestTheGroup:
    def test_plans_renders_and_sums_up(self, dag: DAG) -> None:
        @task
        def products() -> list[dict[str, str]]:
            return []

        batch = SparkDanceBatch("clips", rows=products(), resolution="480p", label_column="sku", retries=3)
        assert dag.task_ids == ["products", "clips.plan", "clips.render", "clips.summary"]
        assert dag.get_task("clips.plan").upstream_task_ids == {"products"}
        assert dag.get_task("clips.render").upstream_task_ids == {"clips.plan"}
        assert dag.get_task("clips.summary").upstream_task_ids == {"clips.render"}
        assert batch.summary.trigger_rule == TriggerRule.ALL_DONE
        assert (batch.summary.plan_task_id, batch.summary.render_task_id) == ("clips.plan", "clips.render")
        assert batch.plan.defaults == {"resolution": "480p"}
        assert [dag.get_task(name).retries for name in dag.task_ids] == [0, 3, 3, 3]

    def test_refuses_a_parameter_that_is_none_where_it_is_written(self, dag: DAG) -> None:
        with pytest.raises(SparkDanceRequestError, match="is resolution meant"):
            SparkDanceBatch("clips", rows=[], resoluton="480p")
