"""SparkDanceDownloadOperator: wait for a generation that was ordered elsewhere, and keep its files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_spark.api.errors import SparkDanceError, SparkDanceNotFoundError, SparkDanceRequestError
from airflow_provider_spark.api.generation import read_id
from airflow_provider_spark.api.pricing import PIXELS
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.ledger.decision import Attempt
from airflow_provider_spark.links.spark_dance import SparkDanceVideoLink
from airflow_provider_spark.operators.base import SparkDanceWaitingOperator
from airflow_provider_spark.operators.failures import failing_for_good, reworded
from airflow_provider_spark.operators.in_place import in_place
from airflow_provider_spark.operators.keeping import Asked
from airflow_provider_spark.operators.retry_policy import delay_after_rate_limit
from airflow_provider_spark.polling.schedule import Shape
from airflow_provider_spark.polling.wait import NOT_FOUND_PATIENCE, GaveUp, Settled
from airflow_provider_spark.triggers.events import from_event

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_spark.operators.result import VideoResult
    from airflow_provider_spark.operators.shelf import Shelf

NOTHING_ORDERED = "Nothing was ordered by this task, and nothing of the render is lost: a retry or a clear asks again."


@dataclass(frozen=True)
class Elsewhere:
    """A generation that this task hasn't ordered. What isn't known of it is taken as the vendor's default."""

    generation_id: str
    connection_id: str
    submitted_at: float
    expires_after: float = 172_800.0
    estimated_cost_usd: float | None = None

    @property
    def shape(self) -> Shape:
        """What decides how long the render takes: five seconds in 1080p, the vendor's default."""
        width, height = PIXELS["1080p"]["16:9"]
        return Shape(pixels=width * height, frames=120, tier="default")


class SparkDanceDownloadOperator(SparkDanceWaitingOperator):
    """Keep the files of a generation that was ordered elsewhere: by another task, a script, the vendor's console.

    Where it still renders, it is waited for, on the triggerer unless told otherwise. Nothing is ever ordered.
    The result is that of the operator that renders; what only the order could tell (the estimate) is ``None``.

    All parameters are templates; text is converted, and empty text and ``"None"`` mean not set.

    :param generation_id: the vendor's id; its account must be the connection's.
    :param save_to: folder for the files, see the operator for rendering; by default the connection's ``save_to``.
        One of the two is needed.
    :param name: what the names of the files begin with; by default dag, run, task and map index.
    :param deferrable: ``False`` waits on the worker, which keeps its slot busy all the while.
    :param timeout: seconds to wait, counted from the submit as far as the vendor tells it; by default until the
        vendor's own default expiry (48 hours) and ten minutes. A time that has passed already counts from now.
    :param poll_interval: seconds between two polls; by default a schedule decides.
    :param spark_dance_conn_id: the connection with the key.

    :raises AirflowFailException: the generation failed, or a parameter can't be right.
    :raises SparkDanceError: anything else, which Airflow's retries may repeat.
    """

    template_fields: Sequence[str] = (
        "generation_id",
        "save_to",
        "name",
        "deferrable",
        "timeout",
        "poll_interval",
        "spark_dance_conn_id",
    )
    operator_extra_links = (SparkDanceVideoLink(),)
    ui_color = "#f6e2ff"

    def __init__(
        self,
        *,
        generation_id: str,
        save_to: str | None = None,
        name: str | None = None,
        deferrable: bool | str = True,
        timeout: float | str | None = None,
        poll_interval: float | str | None = None,
        spark_dance_conn_id: str = SparkDanceHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.generation_id = generation_id
        self.save_to = save_to
        self.name = name
        self.deferrable = deferrable
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.spark_dance_conn_id = spark_dance_conn_id
        delay_after_rate_limit(self)

    def execute(self, context: Context) -> VideoResult:
        """Ask for the generation, wait for its end, keep its files."""
        with failing_for_good(ordered=False):
            generation_id, waiting, shelf = self._checked_id(), self._checked_waiting(), self._open_shelf(context)
            shelf.check()
            sought = self._look_up(generation_id)
        with failing_for_good(ordered=True):
            end = self._wait(sought, waiting, hook=self.hook, is_taken_up=True, outcome=NOTHING_ORDERED, kwargs={})
        return self._deliver(shelf, end)

    def execute_complete(self, context: Context, event: dict[str, Any], **_: Any) -> VideoResult:
        """Keep the files, once the trigger has fired."""
        with failing_for_good(ordered=True):
            shelf, end = self._open_shelf(context), from_event(event)
            if isinstance(end, Settled) and end.generation.is_completed:
                end = Settled(self._told_in_full(end.generation, self._checked_id(), hook=self.hook, log=self.log))
        return self._deliver(shelf, end)

    def on_kill(self) -> None:
        """Stop a wait or a download that is under way."""
        self._interruption.request()

    def _left_waiting(self, context: Context, kwargs: dict[str, Any]) -> tuple[str | None, str]:
        return self._checked_id(), NOTHING_ORDERED

    def _checked_id(self) -> str:
        generation_id = read_id(self.generation_id)
        if generation_id is None or generation_id == "None":
            raise SparkDanceRequestError("generation_id must be the id of a generation, as the vendor gave it.")
        return generation_id

    def _open_shelf(self, context: Context) -> Shelf:
        # No DAG file needs what stores files, so none pays for its import.
        from airflow_provider_spark.operators.shelf import Shelf

        shelf = Shelf(self._checked_keeping(), Attempt.of(context["ti"]), self._interruption, self.log)
        if not shelf.keeps:
            raise SparkDanceRequestError(
                "There is nowhere to keep the files: neither the task nor its connection has save_to."
            )
        return shelf

    def _look_up(self, generation_id: str) -> Elsewhere:
        """Ask when it was ordered."""
        sleep = partial(self._interruption.sleep, outcome=NOTHING_ORDERED)
        try:
            ordered_at = in_place(self.log, sleep)(self.hook.get_generation, generation_id).created_at
        except SparkDanceNotFoundError as error:
            self.log.warning("%s It may have been ordered just now; asking again.", error)
            # So the wait gives it minutes to appear, and not as long as after an order of our own.
            ordered_at = time.time() - NOT_FOUND_PATIENCE
        return Elsewhere(generation_id, self.hook.spark_dance_conn_id, ordered_at or time.time())

    def _deliver(self, shelf: Shelf, end: Settled | GaveUp) -> VideoResult:
        with failing_for_good(ordered=True):
            if isinstance(end, GaveUp):
                raise reworded(end.error, f"{end.error} {NOTHING_ORDERED}")
            generation = end.generation
            result = None
            if generation.video_url is not None:
                result = shelf.keep(generation, None, Asked(), hook=self.hook, advice=NOTHING_ORDERED)
            if generation.is_failed:
                kept = f" Its files are kept: {result['video_path']}." if result is not None else ""
                raise AirflowFailException(f"{generation.failure()}{kept}") from generation.failure()
            if result is None:
                text = f"Generation {generation.id} is completed but the reply has no video. {NOTHING_ORDERED}"
                raise SparkDanceError(text, generation_id=generation.id)
            return result
