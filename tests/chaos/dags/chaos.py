"""The task that things happen to: one clip or many, everything about it from the run's conf."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import dag, get_current_context, task

from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.ledger.ledger import Ledger
from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

PARAMS = {
    "connection": "spark_dance_default",
    "prompt": "a lighthouse",
    "varies": "",
    "deferrable": "True",
    "wait": "True",
    "timeout": "",
    "max_cost_usd": "",
    "on_ambiguous_submit": "fail",
    "on_moderation": "fail",
    "first_frame": "",
    "dies": "",
    "clips": 1,
}


def die() -> None:
    """Be killed, as a worker is that runs out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def dying(place: str, when: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that kills the process before or after it has done its work."""

    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            die()
        result = method(*args, **kwargs)
        die()
        return result

    return wrapper


# Where a process may be told to die: the name, the public method, and on which side of it.
PLACES: dict[str, tuple[type, str, str]] = {
    "before the intent": (Ledger, "intend", "before"),
    "before the submit": (Ledger, "intend", "after"),
    "before the record": (SparkDanceHook, "submit", "after"),
    "before deferring": (Ledger, "submitted", "after"),
    "while waiting on the worker": (SparkDanceHook, "get_generation", "after"),
    "before delivered": (Ledger, "delivered", "before"),
    "after delivered": (Ledger, "delivered", "after"),
}


class ChaosOperator(SparkDanceGenerateVideoOperator):
    """The operator, whose first try may be killed at a named place.

    :param dies: the place; empty for none.
    """

    template_fields = (*SparkDanceGenerateVideoOperator.template_fields, "dies")

    def __init__(self, *, dies: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dies = dies

    def execute(self, context: Context) -> Any:
        self.prepare_to_die(context)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any], order: dict[str, Any]) -> Any:
        self.prepare_to_die(context)
        if self.dies == "on resuming" and context["ti"].try_number == 1:
            die()
        result = super().execute_complete(context, event, order)
        if self.dies == "before success" and context["ti"].try_number == 1:
            die()
        return result

    def prepare_to_die(self, context: Context) -> None:
        if context["ti"].try_number > 1:
            return
        if self.dies == "at once":
            die()
        if self.dies in PLACES:
            owner, name, when = PLACES[self.dies]
            # Nothing is put back: this process ends here.
            setattr(owner, name, dying(self.dies, when, getattr(owner, name)))


OPERATOR_ARGUMENTS: dict[str, Any] = {
    "task_id": "render",
    "first_frame": "{{ params.first_frame }}",
    "resolution": "480p",
    "duration": 2,
    "deferrable": "{{ params.deferrable }}",
    "wait_for_completion": "{{ params.wait }}",
    "timeout": "{{ params.timeout }}",
    "max_cost_usd": "{{ params.max_cost_usd }}",
    "on_ambiguous_submit": "{{ params.on_ambiguous_submit }}",
    "on_moderation": "{{ params.on_moderation }}",
    "spark_dance_conn_id": "{{ params.connection }}",
    "dies": "{{ params.dies }}",
    "retries": 2,
    "retry_delay": timedelta(seconds=1),
}
DAG_ARGUMENTS: dict[str, Any] = {
    "schedule": None,
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "params": PARAMS,
    "max_active_runs": 1000,
    "max_active_tasks": 1000,
}


@dag(dag_id="chaos_one", **DAG_ARGUMENTS)
def chaos_one() -> None:
    ChaosOperator(
        prompt="{{ params.prompt }}{% if params.varies %}, take {{ ti.try_number }}{% endif %}", **OPERATOR_ARGUMENTS
    )


@dag(dag_id="chaos_many", **DAG_ARGUMENTS)
def chaos_many() -> None:
    @task
    def prompts() -> list[str]:
        params = get_current_context()["params"]
        return [f"clip {number:03}" for number in range(params["clips"])]

    @task(trigger_rule="all_done")
    def collect(clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return list(clips)

    clips = ChaosOperator.partial(**OPERATOR_ARGUMENTS).expand(prompt=prompts())
    collect(clips.output)  # type: ignore[arg-type]


chaos_one()
chaos_many()
