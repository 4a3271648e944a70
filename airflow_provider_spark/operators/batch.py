"""SparkDanceBatch: a clip for each row of a table, with a price tag before and a summary after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, TaskGroup, conf

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.api.text import clean
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.operators import plan, values
from airflow_provider_spark.operators.batch_report import BatchSummary, ClipRow, Known, PlannedRow, summarise
from airflow_provider_spark.operators.failures import failing_for_good
from airflow_provider_spark.operators.groups import sorted_out
from airflow_provider_spark.operators.last_word import FAILURE_KEY
from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_spark.api.pricing import Estimate

PLAN_KEY = "plan"
SUMMARY_KEY = "summary"
ON_MISSING = ("succeed", "fail")
# Characters of what is told of a refused row.
LONGEST_REFUSAL = 600
LONGEST_LABEL = 100
_ENDED = {"refused": "was refused", "skipped": "was skipped", "failed": "has failed"}


class SparkDanceBatch(TaskGroup):
    """A task group that renders a clip for each row of a table.

    ::

        SparkDanceBatch("clips", rows=products(), label_column="sku", resolution="480p", max_total_cost_usd=20)

    Its tasks: ``plan`` checks every row and adds the estimates up before anything is ordered; ``render`` is mapped
    over the rows that can be right; ``summary`` runs whatever became of them, and returns a row for every row.

    :param group_id: of the task group.
    :param rows: a list of dicts, or a task that returns one. See :class:`SparkDancePlanBatchOperator`.
    :param label_column: the column that names a row in the summary, such as an article number; it isn't rendered.
    :param max_total_cost_usd: the most that all rows together may cost, in USD, by the estimate. Above it nothing is
        ordered.
    :param on_missing: ``"succeed"`` leaves it to the summary's readers that some rows have no video; ``"fail"`` ends
        the summary, and so the run, as failed. Where not one row has a video, it fails in any case.
    :param spark_dance_conn_id: the connection with the key.
    :param parameters: for every row: any parameter of the render operator; a row's own value goes before. Those of a
        task group (``default_args``, ``tooltip``) go to the group, and those of any Airflow task (``retries``,
        ``max_active_tis_per_dagrun``) to its tasks.
    """

    def __init__(
        self,
        group_id: str = "batch",
        *,
        rows: Any,
        label_column: str | None = None,
        max_total_cost_usd: Decimal | float | str | None = None,
        on_missing: str = ON_MISSING[0],
        spark_dance_conn_id: str = SparkDanceHook.default_conn_name,
        **parameters: Any,
    ) -> None:
        group, defaults = sorted_out(parameters)
        super().__init__(group_id, **group)
        with self:
            self.plan = SparkDancePlanBatchOperator(
                task_id="plan",
                rows=rows,
                label_column=label_column,
                defaults=defaults,
                max_total_cost_usd=max_total_cost_usd,
                spark_dance_conn_id=spark_dance_conn_id,
                dag=self.dag,
            )
            self.render = SparkDanceGenerateVideoOperator.partial(
                task_id="render", spark_dance_conn_id=spark_dance_conn_id, dag=self.dag
            ).expand_kwargs(self.plan.output)
            self.summary = SparkDanceBatchSummaryOperator(
                task_id="summary",
                plan_task_id=self.plan.task_id,
                render_task_id=self.render.task_id,
                on_missing=on_missing,
                dag=self.dag,
            )
            self.plan >> self.render >> self.summary


class SparkDancePlanBatchOperator(BaseOperator):
    """Checks the rows of a table, prices them, and returns those to map renders over.

    Its result goes into ``SparkDanceGenerateVideoOperator.partial(...).expand_kwargs(...)``: for each row that can be
    right, the defaults and the row's own values in the vendor's terms. A row that can't be right costs nothing and
    stops no other: it is left out, with a warning here and a row in the summary. What the plan knows of every row is
    in XCom under ``plan``.

    :param rows: a list of dicts, as a CSV reader or a query gives them: the render operator's parameters by name, or
        ``seconds`` for a length of any fraction. Text is read as the operator reads it; empty cells mean not set.
    :param label_column: the column that names a row; it isn't rendered.
    :param defaults: the render operator's parameters for every row; a row's own value goes before.
    :param max_total_cost_usd: the most that all rows together may cost, in USD, by the estimate; a row whose price
        depends on a picture that isn't opened yet counts as the most that it can cost.
    :param spark_dance_conn_id: the connection with the price.

    :raises AirflowFailException: they cost too much together, are more than Airflow maps over, none of them can be
        right, or they are no rows. Nothing was ordered.
    """

    template_fields: Sequence[str] = ("rows", "label_column", "defaults", "max_total_cost_usd", "spark_dance_conn_id")
    ui_color = "#f6e2ff"

    def __init__(
        self,
        *,
        rows: Any,
        label_column: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        max_total_cost_usd: Decimal | float | str | None = None,
        spark_dance_conn_id: str = SparkDanceHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rows = rows
        self.label_column = label_column
        self.defaults = dict(defaults or {})
        self.max_total_cost_usd = max_total_cost_usd
        self.spark_dance_conn_id = spark_dance_conn_id
        if wrong := plan.unknown(self.defaults, plan.own_parameters() | {"seconds"}):
            raise SparkDanceRequestError("; ".join(wrong))

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Check and price all rows; return the parameters of those to render."""
        with failing_for_good(ordered=False):
            cap = values.usd("max_total_cost_usd", self.max_total_cost_usd)
            rows = _rows(self.rows)
            label = values.text("label_column", self.label_column)
            hooks: dict[str, SparkDanceHook] = {}
            seen: list[PlannedRow] = []
            renders: list[dict[str, Any]] = []
            estimates: list[Estimate] = []
            for number, row in enumerate(rows, 1):
                entry = PlannedRow(
                    row=number,
                    label=_label(row, label),
                    map_index=None,
                    estimated_cost_usd=None,
                    exact=True,
                    refused=None,
                )
                seen.append(entry)
                try:
                    parameters = self._parameters(row, label)
                    estimate = self._estimate(parameters, hooks)
                except SparkDanceRequestError as error:
                    entry["refused"] = clean("; ".join(plan.problems_of(error)), LONGEST_REFUSAL)
                    self.log.warning("Row %d%s is left out: %s", number, _named(entry), entry["refused"])
                    continue
                entry["map_index"] = len(renders)
                entry["estimated_cost_usd"] = float(estimate.usd)
                entry["exact"] = estimate.exact
                renders.append(parameters)
                estimates.append(estimate)
            context["ti"].xcom_push(key=PLAN_KEY, value=seen)
            total = plan.Total.of(estimates)
            count = f"{len(renders)} of {len(rows)} rows"
            self.log.info("%s can be rendered, %g s of video: %s together.", count, total.seconds, total)
            if rows and not renders:
                raise SparkDanceRequestError(f"No row can be rendered; row 1: {seen[0]['refused']}")
            total.check(count, cap)
            _check_length(len(renders))
        return renders

    def _parameters(self, row: Any, label: str | None) -> dict[str, Any]:
        if not isinstance(row, Mapping):
            raise SparkDanceRequestError(f"is no dict but {type(row).__name__}")
        if None in row:  # how a CSV reader says it
            raise SparkDanceRequestError("has more cells than the table has columns")
        own = {name: value for name, value in row.items() if name != label}
        if wrong := plan.unknown(own, plan.own_parameters() | {"seconds"}):
            raise SparkDanceRequestError("; ".join(wrong))
        return plan.in_vendors_terms(plan.over(self.defaults, own))

    def _estimate(self, parameters: Mapping[str, Any], hooks: dict[str, SparkDanceHook]) -> Estimate:
        request = plan.request_of(parameters)
        conn_id = values.text("spark_dance_conn_id", parameters.get("spark_dance_conn_id")) or self.spark_dance_conn_id
        hook = hooks.setdefault(conn_id, SparkDanceHook(conn_id))
        estimate = hook.estimate(request)
        limit = values.usd("max_cost_usd", parameters.get("max_cost_usd"))
        if limit is not None and estimate.usd > limit:
            raise SparkDanceRequestError(f"would cost {plan.Total.of([estimate])}, more than max_cost_usd = {limit}")
        return estimate


class SparkDanceBatchSummaryOperator(BaseOperator):
    """Tells what became of a batch: a row for every row of the table, refused ones too, and what was paid.

    It runs whatever became of the renders (``trigger_rule="all_done"``), and reads their results and reasons from
    XCom. The summary is its result, and is in XCom under ``summary`` also where this task fails.

    :param plan_task_id: the task with :class:`SparkDancePlanBatchOperator`, of the same run.
    :param render_task_id: the mapped task with the renders.
    :param on_missing: ``"succeed"``, or ``"fail"`` to end the task as failed where a row has no video.

    :raises AirflowFailException: no row has a video, or one has none and that is to fail; or there was no plan.
    """

    template_fields: Sequence[str] = ("plan_task_id", "render_task_id", "on_missing")
    ui_color = "#f6e2ff"

    def __init__(
        self,
        *,
        plan_task_id: str,
        render_task_id: str,
        on_missing: str = ON_MISSING[0],
        trigger_rule: str = "all_done",
        **kwargs: Any,
    ) -> None:
        super().__init__(trigger_rule=trigger_rule, **kwargs)
        self.plan_task_id = plan_task_id
        self.render_task_id = render_task_id
        self.on_missing = on_missing

    def execute(self, context: Context) -> BatchSummary:
        """Gather, sum up, tell."""
        with failing_for_good(ordered=False):
            on_missing = values.choice("on_missing", self.on_missing, ON_MISSING)
        ti = context["ti"]
        planned = ti.xcom_pull(task_ids=self.plan_task_id, key=PLAN_KEY, map_indexes=-1)
        if planned is None:
            raise AirflowFailException(f"{self.plan_task_id} has left no plan: nothing was ordered. See its log.")
        summary = summarise(planned, self._known(ti))
        for row in summary["rows"]:
            self._tell(row)
        missing = len(summary["rows"]) - summary["completed"]
        self.log.info(
            "%d of %d rows have a video (%d refused, %d skipped, %d failed). Billed: %.4f USD; may still be billed: "
            "%.4f USD.",
            summary["completed"],
            len(summary["rows"]),
            summary["refused"],
            summary["skipped"],
            summary["failed"],
            summary["total_cost_usd"],
            summary["may_be_billed_usd"],
        )
        ti.xcom_push(key=SUMMARY_KEY, value=summary)
        if summary["rows"] and not summary["completed"]:
            raise AirflowFailException("No row has a video; the reasons are above, and in XCom under 'summary'.")
        if missing and on_missing == "fail":
            raise AirflowFailException(
                f"{missing} of {len(summary['rows'])} rows have no video; the reasons are above, and in XCom under "
                "'summary'."
            )
        return summary

    def _known(self, ti: Any) -> Known:
        # One call for all map indexes; those without a value are left out, so each value names its own.
        results = ti.xcom_pull(task_ids=[self.render_task_id])
        failures = ti.xcom_pull(task_ids=[self.render_task_id], key=FAILURE_KEY)
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id], task_ids=[self.render_task_id])
        of_tasks = states.get(ti.run_id, {})
        by_index = {
            int(index): state
            for task, state in of_tasks.items()
            if (index := task.removeprefix(f"{self.render_task_id}_")).isdecimal()
        }
        return Known.of(results, failures, by_index, unmapped=of_tasks.get(self.render_task_id))

    def _tell(self, row: ClipRow) -> None:
        if row["outcome"] == "completed":
            cost = "no bill yet" if row["cost_usd"] is None else f"{row['cost_usd']:.4f} USD"
            where = row["video_path"] or row["video_url"]
            self.log.info("Row %d%s: generation %s, %s, %s", row["row"], _named(row), row["generation_id"], cost, where)
        else:
            self.log.warning("Row %d%s %s: %s", row["row"], _named(row), _ENDED[row["outcome"]], row["reason"])


def _rows(rows: Any) -> list[Any]:
    if isinstance(rows, str | Mapping) or not isinstance(rows, Iterable):
        raise SparkDanceRequestError(f"rows must be a list of dicts, not {type(rows).__name__}.")
    return list(rows)


def _check_length(count: int) -> None:
    most = conf.getint("core", "max_map_length", fallback=1024)
    if count > most:
        raise SparkDanceRequestError(
            f"{count} rows are more than Airflow maps over: [core] max_map_length is {most}. Nothing was ordered."
        )


def _label(row: Any, column: str | None) -> str | None:
    if column is None or not isinstance(row, Mapping) or values.is_unset(row.get(column)):
        return None
    return clean(str(row[column]), LONGEST_LABEL)


def _named(row: Mapping[str, Any]) -> str:
    return f" ({row['label']})" if row["label"] is not None else ""
