"""The task that things happen to: one clip or many, everything about it from the run's conf."""

from __future__ import annotations

import base64
import functools
import io
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import dag, get_current_context, task
from airflow.triggers.base import BaseTrigger, TriggerEvent
from PIL import Image

from airflow_provider_spark.api.client import AsyncSparkDanceClient
from airflow_provider_spark.api.errors import SparkDanceError
from airflow_provider_spark.api.request import VideoRequest
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
    "sleeps": "",
    "state_store": "True",
    "defers": "",
    "clips": 1,
}


def die() -> None:
    """Be killed, as a worker is that runs out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def fall_asleep(run_id: str) -> None:
    """Stop, and the supervisor that tells Airflow of us too, as on a machine that is suspended."""
    pids = os.getppid(), os.getpid()
    (Path(os.environ["AIRFLOW_HOME"]) / f"asleep-{run_id}").write_text(" ".join(map(str, pids)))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def hit(happens: Callable[[], None], when: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method to which something happens once, before or after it has done its work."""
    happenings = [happens]

    def happen() -> None:
        if happenings:
            happenings.pop()()

    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            happen()
        result = method(*args, **kwargs)
        happen()
        return result

    return wrapper


# Where a process may be told to die or to sleep: the name, the public method, and on which side of it.
PLACES: dict[str, tuple[type, str, str]] = {
    "before the intent": (Ledger, "intend", "before"),
    "before the submit": (Ledger, "intend", "after"),
    "before the record": (SparkDanceHook, "submit", "after"),
    "before deferring": (Ledger, "submitted", "after"),
    "while waiting on the worker": (SparkDanceHook, "get_generation", "after"),
    "before delivered": (Ledger, "delivered", "before"),
    "after delivered": (Ledger, "delivered", "after"),
}


# What the first version kept in the database while a task was deferred. It must never change.
FIRST_TRIGGER_ARGUMENTS = ("generation_id", "spark_dance_conn_id", "submitted_at", "deadline", "shape", "poll")
FIRST_ORDER_FIELDS = (
    "generation_id",
    "connection_id",
    "try_number",
    "submitted_at",
    "expires_after",
    "estimated_cost_usd",
    "pixels",
    "frame_count",
    "tier",
    "resolution",
    "ratio",
)


class FirstTrigger(BaseTrigger):
    """A trigger as the first version would have written it down."""

    def __init__(self, trigger: BaseTrigger) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trigger = trigger

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path, arguments = self.trigger.serialize()
        assert path == "airflow_provider_spark.triggers.spark_dance.SparkDanceGenerationTrigger"
        return path, {name: arguments[name] for name in FIRST_TRIGGER_ARGUMENTS}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        raise AssertionError("only what it has written down is run")
        yield


class ChaosOperator(SparkDanceGenerateVideoOperator):
    """The operator, whose first try may be killed at a named place.

    :param dies: the place, or one for each mapped index in turn, with bars between; empty for none.
    :param sleeps: the place where the first try is stopped, until someone wakes it.
    :param state_store: ``"False"`` to leave Airflow's task state store alone, as before Airflow 3.3.
    :param defers: ``"as the first version"`` to defer with no more than that wrote down.
    """

    template_fields = (*SparkDanceGenerateVideoOperator.template_fields, "dies", "sleeps", "state_store", "defers")

    def __init__(
        self, *, dies: str = "", sleeps: str = "", state_store: str = "True", defers: str = "", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.dies = dies
        self.sleeps = sleeps
        self.state_store = state_store
        self.defers = defers

    def execute(self, context: Context) -> Any:
        self.prepare_to_die(context)
        return super().execute(context)

    def render_template_fields(self, context: Context, *rest: Any, **named: Any) -> None:
        super().render_template_fields(context, *rest, **named)
        if self.state_store == "False":
            context.pop("task_state_store", None)

    def execute_complete(self, context: Context, event: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        place = self.prepare_to_die(context)
        if place == "on resuming":
            die()
        result = super().execute_complete(context, event, *args, **kwargs)
        if place == "before success":
            die()
        return result

    def defer(self, *, trigger: BaseTrigger, kwargs: dict[str, Any] | None = None, **rest: Any) -> NoReturn:
        if self.defers and kwargs is not None:
            trigger = FirstTrigger(trigger)
            kwargs = {"order": {name: kwargs["order"][name] for name in FIRST_ORDER_FIELDS}}
        super().defer(trigger=trigger, kwargs=kwargs, **rest)

    def prepare_to_die(self, context: Context) -> str:
        """Return the place where this process is to die; most are seen to at once."""
        ti = context["ti"]
        if self.sleeps and ti.try_number == 1:
            set_up(self.sleeps, functools.partial(fall_asleep, ti.run_id))
        places = self.dies.split(" | ")
        place = places[max(ti.map_index or 0, 0) % len(places)]
        if not place or ti.try_number > 1:
            return ""
        if place == "at once":
            die()
        if place in PLACES:
            set_up(place, die)
        return place


def set_up(place: str, happens: Callable[[], None]) -> None:
    """Let something happen at a place. Nothing is put back: the process is this try's own."""
    owner, name, when = PLACES[place]
    setattr(owner, name, hit(happens, when, getattr(owner, name)))


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
    "sleeps": "{{ params.sleeps }}",
    "state_store": "{{ params.state_store }}",
    "defers": "{{ params.defers }}",
    # More than the scenarios need: on a busy machine Airflow itself loses a try now and then.
    "retries": 4,
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

    # More retries than ways to be killed that a clip may meet.
    clips = ChaosOperator.partial(**OPERATOR_ARGUMENTS | {"retries": 6}).expand(prompt=prompts())
    collect(clips.output)  # type: ignore[arg-type]


@dag(dag_id="chaos_hook", **DAG_ARGUMENTS)
def chaos_hook() -> None:
    @task(task_id="render")
    def show_and_order() -> None:
        """Show all that holds a secret, in every way that a task has, and fail."""
        context = get_current_context()
        picture = io.BytesIO()
        Image.new("RGB", (320, 320)).save(picture, "PNG")
        uri = f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
        hook = SparkDanceHook(context["params"]["connection"])
        request = VideoRequest.compose(prompt="a lighthouse", first_frame=uri)
        shown: list[object] = [hook, hook.settings, hook.settings.endpoint, request, asdict(hook.settings.endpoint)]
        shown += [hook.get_conn(), AsyncSparkDanceClient(hook.settings.endpoint)]
        for one in shown:
            print(one, repr(one))
            logging.getLogger(__name__).warning("%s, that is %r", one, one)
        context["ti"].xcom_push(key="shown", value=repr(shown))
        try:
            hook.submit(request)
        except SparkDanceError as error:
            context["ti"].xcom_push(key="error", value=f"{error} {error!r} {vars(error)}")
            logging.getLogger(__name__).exception("It failed")
            raise

    show_and_order()


chaos_one()
chaos_many()
chaos_hook()
