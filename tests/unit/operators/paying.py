"""A task's world without Airflow and without HTTP: attempts of one task instance against a vendor that counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_spark.api.endpoint import Endpoint
from airflow_provider_spark.api.errors import SparkDanceAmbiguousSubmitError
from airflow_provider_spark.api.generation import Generation
from airflow_provider_spark.api.request import VideoRequest
from airflow_provider_spark.hooks.settings import Settings
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.operators import interruption
from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator
from airflow_provider_spark.polling.schedule import Pace
from airflow_provider_spark.polling.wait import Settled
from airflow_provider_spark.triggers.events import to_event

COST = "0.1215"


class Killed(BaseException):
    """``kill -9``: nothing of the task runs after it."""


@dataclass
class Vendor:
    """The vendor: each render is completed at once, unless ``fates`` says what becomes of the next ones."""

    fates: list[dict[str, Any]] = field(default_factory=list)
    submit_faults: list[Exception] = field(default_factory=list)
    poll_faults: list[Exception] = field(default_factory=list)
    orders: dict[str, VideoRequest] = field(default_factory=dict)
    renders: dict[str, dict[str, Any]] = field(default_factory=dict)
    polls: list[str] = field(default_factory=list)
    on_step: Callable[[str], None] = lambda step: None
    """Called before and after whatever happens outside of the task."""

    def submit(self, request: VideoRequest) -> Generation:
        self.on_step("before the vendor takes the order")
        if self.submit_faults:
            fault = self.submit_faults.pop(0)
            if not isinstance(fault, SparkDanceAmbiguousSubmitError):
                raise fault
            self._take(request)
            raise fault
        generation_id = self._take(request)
        self.on_step("after the vendor took the order")
        return Generation.model_validate({"id": generation_id, "status": "queued"})

    def get(self, generation_id: str) -> Generation:
        self.on_step("before the vendor is asked")
        self.polls.append(generation_id)
        if self.poll_faults:
            raise self.poll_faults.pop(0)
        return Generation.model_validate({"id": generation_id} | self.renders[generation_id])

    def _take(self, request: VideoRequest) -> str:
        generation_id = f"sd-{len(self.orders) + 1}"
        self.orders[generation_id] = request
        self.renders[generation_id] = self.fates.pop(0) if self.fates else completed(generation_id)
        return generation_id


def completed(generation_id: str = "sd-1") -> dict[str, Any]:
    content = {"type": "video", "url": f"https://results.example/{generation_id}.mp4?signature=1", "duration": 5}
    return {"status": "completed", "output": [{"content": [content]}], "usage": {"cost": COST}}


def failed(code: str = "003005095", message: str = "The render failed") -> dict[str, Any]:
    return {"status": "failed", "error": {"code": code, "error_message": message}}


MODERATED = failed(message="OutputVideoSensitiveContentDetected: the video may contain sensitive content")
RENDERING = {"status": "in_progress"}


class Hook(SparkDanceHook):
    """A hook whose connection needs no Airflow, and whose client is the vendor itself."""

    def __init__(
        self,
        vendor: Vendor,
        *,
        ledger_path: str | None = None,
        save_to: str | None = None,
        conn_id: str = "spark_dance_default",
    ) -> None:
        super().__init__(conn_id)
        self.vendor = vendor
        self.fixed = Settings(
            endpoint=Endpoint(api_key="key"),
            price_per_million_tokens=Decimal("2.50"),
            pace=Pace(floor=0.01, ceiling=0.02),
            ledger_path=ledger_path,
            save_to=save_to,
        )

    @property
    def settings(self) -> Settings:
        return self.fixed

    def reload(self) -> Settings:
        return self.fixed

    def submit(self, request: VideoRequest) -> Generation:
        return self.vendor.submit(request)

    def get_generation(self, generation_id: str) -> Generation:
        return self.vendor.get(generation_id)


@dataclass
class TaskInstance:
    """What the operator uses of Airflow's."""

    try_number: int = 1
    max_tries: int = 3
    map_index: int | None = None
    dag_id: str = "campaign"
    run_id: str = "manual__1"
    task_id: str = "render"
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, *, task_ids: str, map_indexes: int | None, key: str) -> Any:
        return self.xcoms.get(key)


@dataclass
class StateStore:
    """Airflow's task state store: it outlives attempts, and speaks JSON."""

    values: dict[str, str] = field(default_factory=dict)
    on_step: Callable[[str], None] = lambda step: None

    def get(self, key: str, default: Any = None) -> Any:
        self.on_step("before the ledger is read")
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.on_step(f"before {value['state']} is written")
        self.values[key] = json.dumps(value)
        self.on_step(f"after {value['state']} was written")


@dataclass
class Task:
    """One task instance through its attempts."""

    vendor: Vendor = field(default_factory=Vendor)
    store: StateStore | None = field(default_factory=StateStore)
    ledger_path: str | None = None
    save_to: str | None = None
    """The connection's."""
    ti: TaskInstance = field(default_factory=TaskInstance)
    loses_kwargs: bool = False
    """Resume without what was deferred with, as ``dag.test()`` does."""

    def attempt(self, **parameters: Any) -> Any:
        """Run the attempt, through the deferral where it defers; return its result or raise its failure."""
        return self.run(self.operator(**parameters))

    def operator(self, **parameters: Any) -> SparkDanceGenerateVideoOperator:
        facts: dict[str, Any] = {"task_id": "render", "prompt": "tea", "resolution": "480p", "deferrable": False}
        operator = SparkDanceGenerateVideoOperator(**facts | parameters)
        operator.hook = Hook(self.vendor, ledger_path=self.ledger_path, save_to=self.save_to)
        return operator

    def run(self, operator: SparkDanceGenerateVideoOperator) -> Any:
        step: Callable[[], Any] = lambda: operator.execute(self.context)  # noqa: E731
        while True:
            try:
                return step()
            except TaskDeferred as deferral:
                step = self._resume(operator, deferral)

    def retry(self) -> Task:
        """Let Airflow retry by itself."""
        self.ti.try_number += 1
        return self

    def clear(self, retries: int = 3) -> Task:
        """Clear the task."""
        self.ti.max_tries = self.ti.try_number + retries
        self.ti.try_number += 1
        return self

    @property
    def context(self) -> Any:
        return {"ti": self.ti, "task": None} | ({"task_state_store": self.store} if self.store is not None else {})

    @property
    def orders(self) -> int:
        return len(self.vendor.orders)

    def _resume(self, operator: SparkDanceGenerateVideoOperator, deferral: TaskDeferred) -> Callable[[], Any]:
        kwargs = {} if self.loses_kwargs else json.loads(json.dumps(deferral.kwargs))
        reply = self.vendor.get(deferral.trigger.generation_id)
        event = json.loads(json.dumps(to_event(Settled(reply))))
        method = getattr(operator, deferral.method_name)
        return lambda: method(self.context, event=event, **kwargs)


def kill_at(task: Task, step: int) -> list[str]:
    """Let the task die when it comes to the given step outside of itself; return the names of the steps so far."""
    steps: list[str] = []

    def on_step(name: str) -> None:
        steps.append(name)
        if len(steps) == step + 1:
            raise Killed(name)

    watch(task, on_step)
    return steps


def killed(task: Task, step: str, *, times: int = 1, **parameters: Any) -> Task:
    """Run an attempt that dies when it comes to the step of that name, or comes to it so many times."""
    left = times

    def on_step(name: str) -> None:
        nonlocal left
        left -= name == step
        if not left:
            raise Killed(name)

    watch(task, on_step)
    with pytest.raises(Killed):
        task.attempt(**parameters)
    revive(task)
    return task


def revive(task: Task) -> None:
    """Let nothing die any more."""
    watch(task, lambda step: None)


def watch(task: Task, on_step: Callable[[str], None]) -> None:
    """Call ``on_step`` at each step outside of the task."""
    task.vendor.on_step = on_step
    if task.store is not None:
        task.store.on_step = on_step


@pytest.fixture(autouse=True)
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Sleep through nothing, and remember for how long it would have been; for the modules that import it."""
    slept: list[float] = []

    def sleep(self: Any, seconds: float, *, outcome: str) -> None:
        self.check(outcome)
        slept.append(seconds)

    monkeypatch.setattr(interruption.Interruption, "sleep", sleep)
    return slept
