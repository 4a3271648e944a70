"""What the operators share that wait for a generation: a connection, a wait in either mode, a folder for files."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_spark.api.errors import SparkDanceError, SparkDanceTimeoutError
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.operators import values
from airflow_provider_spark.operators.interruption import Interruption
from airflow_provider_spark.operators.keeping import ON_EXISTING, Keeping
from airflow_provider_spark.operators.waiting import Awaited, Waiting
from airflow_provider_spark.polling.schedule import Pace
from airflow_provider_spark.polling.wait import Ask, GaveUp, Settled, Wait

try:
    from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout
except ImportError:  # Airflow 3.1
    from airflow.exceptions import TaskDeferralError, TaskDeferralTimeout  # type: ignore[no-redef]

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_spark.api.generation import Generation
    from airflow_provider_spark.ledger.ledger import Log

# How long after the trigger's own deadline Airflow may take the trigger for dead, in seconds.
DEAD_TRIGGER_GRACE = 60.0


class SparkDanceWaitingOperator(BaseOperator):
    """Waits for a generation, on the triggerer or on the worker. What it waits for is its subclasses' to say."""

    wait_for_completion: bool | str = True
    deferrable: bool | str
    timeout: float | str | None
    poll_interval: float | str | None
    save_to: str | None
    name: str | None
    on_existing: str = ON_EXISTING[0]
    spark_dance_conn_id: str

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._interruption = Interruption()

    @cached_property
    def hook(self) -> SparkDanceHook:
        """The hook of the task's connection."""
        conn_id = values.text("spark_dance_conn_id", self.spark_dance_conn_id)
        return SparkDanceHook(conn_id or SparkDanceHook.default_conn_name)

    def execute_complete(self, context: Context, event: dict[str, Any], **kwargs: Any) -> Any:
        """Go on, once the trigger has fired."""
        raise NotImplementedError

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral; a trigger that died or was never run is reported with its generation."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralError, TaskDeferralTimeout) as error:
            generation_id, advice = self._left_waiting(context, next_kwargs or {})
            kind = SparkDanceTimeoutError if isinstance(error, TaskDeferralTimeout) else SparkDanceError
            raise kind(
                f"Airflow lost the trigger that waited for generation {generation_id} ({error}). "
                f"The render goes on at the vendor and is billed if it succeeds. {advice}",
                generation_id=generation_id,
            ) from error

    def _left_waiting(self, context: Context, kwargs: dict[str, Any]) -> tuple[str | None, str]:
        """Return which generation was waited for, and what to do now that its trigger is lost."""
        raise NotImplementedError

    def _checked_waiting(self) -> Waiting:
        interval = values.seconds("poll_interval", self.poll_interval)
        return Waiting(
            for_completion=values.boolean("wait_for_completion", self.wait_for_completion) is not False,
            deferrable=values.boolean("deferrable", self.deferrable) is not False,
            pace=self.hook.settings.pace if interval is None else Pace(interval=interval),
            timeout=values.seconds("timeout", self.timeout),
            execution_timeout=self.execution_timeout,
        )

    def _checked_keeping(self) -> Keeping:
        return Keeping(
            folder=values.folder("save_to", self.save_to) or self.hook.settings.save_to,
            name=values.text("name", self.name),
            on_existing=values.choice("on_existing", self.on_existing, ON_EXISTING),
        )

    def _wait(
        self,
        awaited: Awaited,
        waiting: Waiting,
        *,
        hook: SparkDanceHook,
        is_taken_up: bool,
        outcome: str,
        kwargs: dict[str, Any],
    ) -> Settled | GaveUp:
        """Wait for the end, or defer.

        :param is_taken_up: it was ordered by an earlier attempt, or elsewhere, so it may have ended long ago.
        :param outcome: what becomes of it where the task is told to end.
        :param kwargs: what ``execute_complete`` is to get beside the event.
        """
        wait = waiting.begin(awaited, taken_up=is_taken_up, now=time.time())
        decision: Ask | Settled | GaveUp = Ask(wait.first_ask(time.time(), random.random()))
        if is_taken_up:
            wait, decision = self._ask(hook, wait)
            if isinstance(decision, Ask) and wait.deadline > awaited.submitted_at + waiting.patience(awaited):
                self.log.warning(
                    "The time to wait for generation %s has passed and it still renders: waiting up to %.0f s more.",
                    awaited.generation_id,
                    wait.deadline - time.time(),
                )
        if isinstance(decision, Ask) and waiting.deferrable:
            self._defer(awaited, wait, kwargs)
        while isinstance(decision, Ask):
            self._interruption.sleep(decision.after, outcome=outcome)
            wait, decision = self._ask(hook, wait, reload_connection=decision.reload_connection)
        return decision

    def _ask(
        self, hook: SparkDanceHook, wait: Wait, *, reload_connection: bool = False
    ) -> tuple[Wait, Ask | Settled | GaveUp]:
        decision: Ask | Settled | GaveUp
        try:
            if reload_connection:
                hook.reload()
            generation = hook.get_generation(wait.generation_id)
        except SparkDanceError as error:
            wait, decision = wait.after_fault(error, time.time(), random.random())
        else:
            wait, decision = wait.after_reply(generation, time.time(), random.random())
        if not isinstance(decision, GaveUp) and decision.note is not None:
            self.log.log(decision.note.level, decision.note.text)
        return wait, decision

    def _defer(self, awaited: Awaited, wait: Wait, kwargs: dict[str, Any]) -> NoReturn:
        # Not above: Airflow's triggers would be a fifth of what importing this module costs each DAG file.
        from airflow_provider_spark.triggers.spark_dance import SparkDanceGenerationTrigger

        pace = wait.pace
        poll = {"floor": pace.floor, "ceiling": pace.ceiling}
        if pace.interval is not None:
            poll["interval"] = pace.interval
        remaining = max(0.0, wait.deadline - time.time())
        # A poll that begins at the deadline may use the time of each of its steps: connect, write, read.
        last_poll = 3 * self.hook.settings.endpoint.request_timeout
        longest_step = pace.interval if pace.interval is not None else pace.ceiling
        self.defer(
            trigger=SparkDanceGenerationTrigger(
                generation_id=awaited.generation_id,
                spark_dance_conn_id=awaited.connection_id,
                submitted_at=awaited.submitted_at,
                deadline=wait.deadline,
                shape=awaited.shape,
                poll=poll,
                estimated_cost_usd=awaited.estimated_cost_usd,
            ),
            method_name=self.execute_complete.__name__,
            kwargs=kwargs,
            timeout=timedelta(seconds=remaining + longest_step + last_poll + DEAD_TRIGGER_GRACE),
        )

    @staticmethod
    def _told_in_full(generation: Generation, generation_id: str, *, hook: SparkDanceHook, log: Log) -> Generation:
        """Ask the vendor once more before files are kept: an event brings neither its own words nor young URLs."""
        try:
            fresh = hook.get_generation(generation_id)
        except SparkDanceError as error:
            log.warning("The manifest has the vendor's reply only in part: %s", error)
            return generation
        return fresh if fresh.is_completed and fresh.video_url else generation
