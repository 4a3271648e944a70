"""SparkDanceGenerateVideoOperator: check, order once, wait without a worker, return a small result."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_spark.api.errors import SparkDanceError, SparkDanceTimeoutError
from airflow_provider_spark.api.request import VideoRequest
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.links.spark_dance import SparkDanceVideoLink
from airflow_provider_spark.operators import values
from airflow_provider_spark.operators.failures import failing_for_good
from airflow_provider_spark.operators.order import Order, place
from airflow_provider_spark.operators.result import VideoResult, result_of
from airflow_provider_spark.polling.schedule import Pace
from airflow_provider_spark.polling.wait import Ask, GaveUp, Settled, Wait
from airflow_provider_spark.triggers.events import from_event
from airflow_provider_spark.triggers.spark_dance import SparkDanceGenerationTrigger

try:
    from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout
except ImportError:  # Airflow 3.1
    from airflow.exceptions import TaskDeferralError, TaskDeferralTimeout  # type: ignore[no-redef]

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_spark.api.generation import Generation

# The vendor ends a generation by itself when it expires; this much later its word must be there.
EXPIRY_GRACE = 600.0
# How long after the trigger's own deadline Airflow may take the trigger for dead.
DEAD_TRIGGER_GRACE = 60.0
GENERATION_ID_KEY = "generation_id"


@dataclass(frozen=True)
class Waiting:
    """How the end of a generation is waited for; ``timeout`` in seconds from the submit."""

    for_completion: bool
    deferrable: bool
    timeout: float | None
    pace: Pace


class SparkDanceGenerateVideoOperator(BaseOperator):
    """Render a video from a prompt, a first frame, or a first and a last frame.

    The request is checked before any call, ordered once, and waited for on the triggerer.
    The result is a small dict in XCom, see :class:`~airflow_provider_spark.operators.result.VideoResult`;
    the generation's id is there as ``generation_id`` as soon as the order is accepted.

    Values may be templates or text (``"5"``, ``"true"``), as they come from ``params`` or a CSV
    row; empty text and ``"None"`` mean not set.

    *What to render*, in the vendor's terms; limits are those of the vendor's parameter page:

    :param prompt: what the video shows, in Chinese or English; best at most 500 characters.
        Needed unless there is a first frame.
    :param first_frame: http(s) URL of the picture that the video starts with.
    :param last_frame: http(s) URL of the picture that it ends with; needs a first frame.
    :param resolution: ``480p``, ``720p`` or ``1080p`` (the vendor's default).
    :param ratio: ``16:9`` (default for text), ``4:3``, ``1:1``, ``3:4``, ``9:16``, ``21:9`` or
        ``adaptive`` (default with a picture: the nearest to the first frame).
    :param duration: whole seconds, 2 to 12; the vendor's default is 5.
    :param frames: frames at 24 a second: 25 + 4n within 29 to 289. Wins over ``duration``.
        :func:`~airflow_provider_spark.api.request.nearest_frames` finds it for fractional seconds.
    :param seed: -1 (random, the default) to 4,294,967,295. The same seed gives a similar video.
    :param camera_fixed: keep the camera still.
    :param watermark: put the vendor's watermark into the video.
    :param return_last_frame: also give the last frame as a PNG, to start a next video with.
    :param service_tier: ``default``, or ``flex`` for half the price and up to hours of waiting.
    :param execution_expires_after: seconds, 3,600 to 259,200, after which the vendor gives the
        generation up; its default is 172,800.
    :param callback_url: http(s) URL that the vendor posts each change of status to.

    *Waiting*:

    :param wait_for_completion: ``False`` returns as soon as the order is accepted.
    :param deferrable: ``False`` waits on the worker, which keeps its slot busy all the while.
    :param timeout: seconds to wait, counted from the submit; by default until the vendor's own
        expiry and ten minutes. ``execution_timeout``, where it is shorter, counts instead.
    :param poll_interval: seconds between two polls; by default a schedule decides.

    :param spark_dance_conn_id: the connection with the key.

    :raises AirflowFailException: the failure can't be mended by a retry: the request breaks a
        limit, the key, balance or content is refused, or no one can tell whether the order was taken.
    :raises SparkDanceError: anything else, which Airflow's retries may repeat.
    """

    template_fields: Sequence[str] = (
        "prompt",
        "first_frame",
        "last_frame",
        "resolution",
        "ratio",
        "duration",
        "frames",
        "seed",
        "camera_fixed",
        "watermark",
        "return_last_frame",
        "service_tier",
        "execution_expires_after",
        "callback_url",
        "wait_for_completion",
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
        prompt: str | None = None,
        first_frame: str | None = None,
        last_frame: str | None = None,
        resolution: str | None = None,
        ratio: str | None = None,
        duration: int | str | None = None,
        frames: int | str | None = None,
        seed: int | str | None = None,
        camera_fixed: bool | str | None = None,
        watermark: bool | str | None = None,
        return_last_frame: bool | str | None = None,
        service_tier: str | None = None,
        execution_expires_after: int | str | None = None,
        callback_url: str | None = None,
        wait_for_completion: bool | str = True,
        deferrable: bool | str = True,
        timeout: float | str | None = None,
        poll_interval: float | str | None = None,
        spark_dance_conn_id: str = SparkDanceHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.first_frame = first_frame
        self.last_frame = last_frame
        self.resolution = resolution
        self.ratio = ratio
        self.duration = duration
        self.frames = frames
        self.seed = seed
        self.camera_fixed = camera_fixed
        self.watermark = watermark
        self.return_last_frame = return_last_frame
        self.service_tier = service_tier
        self.execution_expires_after = execution_expires_after
        self.callback_url = callback_url
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.spark_dance_conn_id = spark_dance_conn_id

    @cached_property
    def hook(self) -> SparkDanceHook:
        """The hook of the task's connection."""
        return SparkDanceHook(self.spark_dance_conn_id)

    def execute(self, context: Context) -> VideoResult:
        """Check the request, order it once, and wait for it as asked."""
        with failing_for_good(ordered=False):
            request = self._checked_request()
            waiting = self._checked_waiting()
            generation, order = self._order_once(context, request, waiting)
        if not waiting.for_completion:
            return self._result(context, generation, order)
        if waiting.deferrable:
            self._defer(order, waiting)
        with failing_for_good(ordered=True):
            return self._deliver(context, self._wait_here(order, waiting), order)

    def execute_complete(self, context: Context, event: dict[str, Any], order: Order) -> VideoResult:
        """Return the result, once the trigger has fired."""
        with failing_for_good(ordered=True):
            return self._deliver(context, from_event(event), order)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral; a trigger that died or was never run is reported with its generation."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralError, TaskDeferralTimeout) as error:
            ti = context["ti"]
            generation_id = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index, key=GENERATION_ID_KEY)
            kind = SparkDanceTimeoutError if isinstance(error, TaskDeferralTimeout) else SparkDanceError
            raise kind(
                f"Airflow lost the trigger that waited for generation {generation_id} ({error}). "
                "The render goes on at the vendor and is billed if it succeeds.",
                generation_id=generation_id,
            ) from error

    def _checked_request(self) -> VideoRequest:
        request = VideoRequest.compose(
            prompt=values.text("prompt", self.prompt),
            first_frame=values.picture_url("first_frame", self.first_frame),
            last_frame=values.picture_url("last_frame", self.last_frame),
            resolution=values.text("resolution", self.resolution),
            ratio=values.text("ratio", self.ratio),
            duration=values.integer("duration", self.duration),
            frames=values.integer("frames", self.frames),
            seed=values.integer("seed", self.seed),
            camera_fixed=values.boolean("camera_fixed", self.camera_fixed),
            watermark=values.boolean("watermark", self.watermark),
            return_last_frame=values.boolean("return_last_frame", self.return_last_frame),
            service_tier=values.text("service_tier", self.service_tier),
            execution_expires_after=values.integer("execution_expires_after", self.execution_expires_after),
            callback_url=values.text("callback_url", self.callback_url),
        )
        for warning in request.warnings:
            self.log.warning(warning)
        return request

    def _checked_waiting(self) -> Waiting:
        interval = values.seconds("poll_interval", self.poll_interval)
        return Waiting(
            for_completion=values.boolean("wait_for_completion", self.wait_for_completion) is not False,
            deferrable=values.boolean("deferrable", self.deferrable) is not False,
            timeout=values.seconds("timeout", self.timeout),
            pace=self.hook.settings.pace if interval is None else Pace(interval=interval),
        )

    def _order_once(self, context: Context, request: VideoRequest, waiting: Waiting) -> tuple[Generation, Order]:
        estimate = self.hook.estimate(request)
        self.log.info(
            "Ordering %s%dx%d, %d frames (%g s), %s tier: about %.4f USD.",
            "" if estimate.exact else "at most ",
            estimate.width,
            estimate.height,
            estimate.frames,
            estimate.seconds,
            estimate.tier,
            estimate.usd,
        )
        submitted_at = time.time()
        generation = self.hook.submit(request)
        if generation.id is None:  # the client has made sure of it
            raise SparkDanceError("The submit was accepted without an id.")
        timeout = waiting.timeout or request.execution_expires_after + EXPIRY_GRACE
        if self.execution_timeout is not None:
            timeout = min(timeout, self.execution_timeout.total_seconds())
        order = place(
            request, estimate, generation_id=generation.id, submitted_at=submitted_at, deadline=submitted_at + timeout
        )
        self.log.info("The order is generation %s.", generation.id)
        context["ti"].xcom_push(key=GENERATION_ID_KEY, value=generation.id)
        return generation, order

    def _defer(self, order: Order, waiting: Waiting) -> NoReturn:
        pace = waiting.pace
        poll = {"floor": pace.floor, "ceiling": pace.ceiling}
        if pace.interval is not None:
            poll["interval"] = pace.interval
        remaining = max(0.0, order["deadline"] - time.time())
        longest_step = pace.interval if pace.interval is not None else pace.ceiling
        self.defer(
            trigger=SparkDanceGenerationTrigger(
                generation_id=order["generation_id"],
                spark_dance_conn_id=self.spark_dance_conn_id,
                submitted_at=order["submitted_at"],
                deadline=order["deadline"],
                shape=order["shape"],
                poll=poll,
            ),
            method_name=self.execute_complete.__name__,
            kwargs={"order": order},
            timeout=timedelta(seconds=remaining + longest_step + DEAD_TRIGGER_GRACE),
        )

    def _wait_here(self, order: Order, waiting: Waiting) -> Settled | GaveUp:
        wait = Wait(order["generation_id"], order["submitted_at"], order["deadline"], order["shape"], waiting.pace)
        client = self.hook.get_conn()
        decision: Ask | Settled | GaveUp = Ask(wait.first_ask(time.time(), random.random()))
        try:
            while isinstance(decision, Ask):
                time.sleep(decision.after)
                try:
                    if decision.reload_connection:
                        self.hook.reload()
                        client.close()
                        client = self.hook.get_conn()
                    generation = client.get(order["generation_id"])
                except SparkDanceError as error:
                    wait, decision = wait.after_fault(error, time.time(), random.random())
                else:
                    wait, decision = wait.after_reply(generation, time.time(), random.random())
                if not isinstance(decision, GaveUp) and decision.note is not None:
                    self.log.log(decision.note.level, decision.note.text)
        finally:
            client.close()
        return decision

    def _deliver(self, context: Context, end: Settled | GaveUp, order: Order) -> VideoResult:
        if isinstance(end, GaveUp):
            raise end.error
        generation = end.generation
        if generation.is_failed:
            raise generation.failure()
        if generation.video_url is None:
            raise SparkDanceError(
                f"Generation {order['generation_id']} is completed but the reply has no video.",
                generation_id=order["generation_id"],
            )
        result = self._result(context, generation, order)
        self.log.info(
            "Generation %s is done after %.0f s; billed %s USD, estimated %.4f USD.",
            order["generation_id"],
            result["elapsed_seconds"],
            generation.cost if generation.cost is not None else "an unknown number of",
            order["estimated_cost_usd"],
        )
        return result

    def _result(self, context: Context, generation: Generation, order: Order) -> VideoResult:
        map_index = context["ti"].map_index
        return result_of(generation, order, map_index=-1 if map_index is None else map_index, now=time.time())
