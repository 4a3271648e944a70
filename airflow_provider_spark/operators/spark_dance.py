"""SparkDanceGenerateVideoOperator: check, order once, wait without a worker, return a small result."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, BaseOperator

from airflow_provider_spark.api.errors import SparkDanceError, SparkDanceRequestError, SparkDanceTimeoutError
from airflow_provider_spark.api.request import VideoRequest
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.ledger.order import Order, left_behind
from airflow_provider_spark.links.spark_dance import SparkDanceVideoLink
from airflow_provider_spark.operators import values
from airflow_provider_spark.operators.failures import failing_for_good, is_final, reworded
from airflow_provider_spark.operators.interruption import Interruption
from airflow_provider_spark.operators.job import ON_AMBIGUOUS_SUBMIT, ON_MODERATION, RESUBMITS, Job, Terms
from airflow_provider_spark.operators.moderation import Moderated, noticing_moderation
from airflow_provider_spark.operators.pictures import Pictures
from airflow_provider_spark.operators.result import VideoResult, result_of
from airflow_provider_spark.operators.retry_policy import delay_after_rate_limit
from airflow_provider_spark.operators.waiting import Waiting
from airflow_provider_spark.polling.schedule import Pace
from airflow_provider_spark.polling.wait import Ask, GaveUp, Settled, Wait
from airflow_provider_spark.triggers.events import from_event

try:
    from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout
except ImportError:  # Airflow 3.1
    from airflow.exceptions import TaskDeferralError, TaskDeferralTimeout  # type: ignore[no-redef]

if TYPE_CHECKING:
    from pathlib import PurePath

    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_spark.api.generation import Generation
    from airflow_provider_spark.operators.desk import Desk, Placed

# How long after the trigger's own deadline Airflow may take the trigger for dead, in seconds.
DEAD_TRIGGER_GRACE = 60.0
GENERATION_ID_KEY = "generation_id"


class SparkDanceGenerateVideoOperator(BaseOperator):
    """Render a video from a prompt, a first frame, or a first and a last frame.

    The request is checked before any call, ordered once, and waited for on the triggerer. What
    was ordered is kept in a ledger, so that a retry takes a paid render up instead of ordering another.
    The result is a small dict in XCom, see :class:`~airflow_provider_spark.operators.result.VideoResult`;
    the generation's id is there as ``generation_id`` as soon as the order is accepted.

    Values may be templates or text (``"5"``, ``"true"``), as they come from ``params`` or a CSV
    row; empty text and ``"None"`` mean not set.

    *What to render*, in the vendor's terms; limits are those of the vendor's parameter page:

    :param prompt: what the video shows, in Chinese or English; best at most 500 characters.
        Needed unless there is a first frame.
    :param first_frame: the picture that the video starts with: an http(s) URL, a path on the worker, a URI that
        Airflow's ``ObjectStoragePath`` takes (``s3://aws_default@bucket/key``), or the result of another render
        (``other_task.output``), whose last frame it is then. A URL is read by the vendor; all else is read and
        checked by the task, and sent along. See the documentation's page on pictures.
    :param last_frame: the picture that it ends with, as ``first_frame``; needs a first frame.
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
    :param fit_frames: turn a frame upright whose EXIF data says that it lies on its side, and scale down one that is
        too large; without it, both are refused.
    :param embed_frames: read http(s) URLs of frames here, without the key, and send the pictures along: for URLs that
        the vendor can't reach.

    *Waiting*:

    :param wait_for_completion: ``False`` returns as soon as the order is accepted.
    :param deferrable: ``False`` waits on the worker, which keeps its slot busy all the while.
    :param timeout: seconds to wait, counted from the submit; by default until the vendor's own
        expiry and ten minutes. ``execution_timeout``, where it is shorter, counts instead.
    :param poll_interval: seconds between two polls; by default a schedule decides.

    *Money*:

    :param max_cost_usd: the most that the order may cost, in USD, by the estimate. Above it nothing is ordered.
    :param on_ambiguous_submit: what follows where no one can tell whether the vendor took an order (its reply was
        lost): ``"fail"`` ends the task for good, and clearing it orders again; ``"resubmit"`` lets Airflow's retries
        order again, so ``retries`` must be set, and both orders may be charged.
    :param on_moderation: what follows where the vendor's moderation refuses the order or the finished
        video, which isn't billed then: ``"fail"`` ends the task for good; ``"resubmit"`` orders up to two more
        times, each with another seed; ``"skip"`` skips the task. A task that collects the clips of mapped tasks
        needs ``trigger_rule="none_failed"`` then, or it is skipped as well; it gets the other clips' results, each
        with its ``map_index``.

    :param spark_dance_conn_id: the connection with the key.

    :raises AirflowFailException: the failure can't be mended by a retry: the request breaks a limit or costs
        too much, the key, balance or content is refused, or no one can tell whether the order was taken.
    :raises AirflowSkipException: moderation refused it, and that is to skip the task.
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
        "fit_frames",
        "embed_frames",
        "wait_for_completion",
        "deferrable",
        "timeout",
        "poll_interval",
        "max_cost_usd",
        "on_ambiguous_submit",
        "on_moderation",
        "spark_dance_conn_id",
    )
    operator_extra_links = (SparkDanceVideoLink(),)
    ui_color = "#f6e2ff"

    def __init__(
        self,
        *,
        prompt: str | None = None,
        first_frame: str | Mapping[str, Any] | PurePath | XComArg | None = None,
        last_frame: str | Mapping[str, Any] | PurePath | XComArg | None = None,
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
        fit_frames: bool | str = False,
        embed_frames: bool | str = False,
        wait_for_completion: bool | str = True,
        deferrable: bool | str = True,
        timeout: float | str | None = None,
        poll_interval: float | str | None = None,
        max_cost_usd: Decimal | float | str | None = None,
        on_ambiguous_submit: str = ON_AMBIGUOUS_SUBMIT[0],
        on_moderation: str = ON_MODERATION[0],
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
        self.fit_frames = fit_frames
        self.embed_frames = embed_frames
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.max_cost_usd = max_cost_usd
        self.on_ambiguous_submit = on_ambiguous_submit
        self.on_moderation = on_moderation
        self.spark_dance_conn_id = spark_dance_conn_id
        self._interruption = Interruption()
        self._desk: Desk | None = None
        delay_after_rate_limit(self)

    @cached_property
    def hook(self) -> SparkDanceHook:
        """The hook of the task's connection."""
        conn_id = values.text("spark_dance_conn_id", self.spark_dance_conn_id)
        return SparkDanceHook(conn_id or SparkDanceHook.default_conn_name)

    def execute(self, context: Context) -> VideoResult:
        """Check the job, order it once or take up what was ordered before, wait, deliver."""
        with failing_for_good(ordered=False):
            job, desk = self._checked_job(), self._open_desk(context)
        return self._past_moderation(desk, partial(self._order_and_deliver, desk, job))

    def execute_complete(
        self, context: Context, event: dict[str, Any], order: dict[str, Any] | None = None
    ) -> VideoResult:
        """Deliver the result, once the trigger has fired.

        :param order: what was deferred with; ``dag.test()`` loses it.
        """
        desk, end = self._open_desk(context), from_event(event)
        placed = self._recalled(desk, end) if order is None else Order.model_validate(order)
        return self._past_moderation(desk, partial(self._deliver, desk, end, placed))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral; a trigger that died or was never run is reported with its generation."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralError, TaskDeferralTimeout) as error:
            desk = self._open_desk(context)
            generation_id = desk.generation_id
            kind = SparkDanceTimeoutError if isinstance(error, TaskDeferralTimeout) else SparkDanceError
            raise kind(
                f"Airflow lost the trigger that waited for generation {generation_id} ({error}). "
                f"The render goes on at the vendor and is billed if it succeeds. {desk.what_next(is_final=False)}",
                generation_id=generation_id,
            ) from error

    def on_kill(self) -> None:
        """Say what becomes of the render. A submit that is under way is finished and recorded first."""
        self._interruption.request()
        if self._desk is not None and (order := self._desk.order) is not None:
            self.log.warning(left_behind(order.generation_id, order.estimated_cost_usd))

    def _order_and_deliver(self, desk: Desk, job: Job) -> VideoResult:
        with failing_for_good(ordered=False, retry_ambiguous=job.terms.resubmit_ambiguous):
            placed = desk.order_once(job)
        with failing_for_good(ordered=True):
            if job.waiting.for_completion:
                end = self._wait(desk, placed, job.waiting)
                return self._deliver(desk, end, placed.order)
            generation = placed.generation or desk.hook_of(placed.order).get_generation(placed.order.generation_id)
            desk.handed_over(placed.order)
            return self._result(desk, generation, placed.order)

    def _past_moderation(self, desk: Desk, render: Callable[[], VideoResult]) -> VideoResult:
        while True:
            try:
                return render()
            except Moderated as refusal:
                render = partial(self._order_and_deliver, desk, self._job_after(refusal))

    def _job_after(self, refusal: Moderated) -> Job:
        with failing_for_good(ordered=False):
            terms = self._checked_terms()
        if terms.on_moderation == "skip":
            raise AirflowSkipException(str(refusal)) from refusal.error
        if terms.on_moderation == "fail" or refusal.resubmits >= RESUBMITS:
            raise AirflowFailException(str(refusal)) from refusal.error
        self.log.warning(
            "%s It is ordered again with another seed (%d of at most %d times).",
            refusal,
            refusal.resubmits + 1,
            RESUBMITS,
        )
        with failing_for_good(ordered=False):
            return self._checked_job().reseeded(resubmits=refusal.resubmits + 1)

    def _open_desk(self, context: Context) -> Desk:
        # No DAG file needs the ledger behind it, so none pays for its import.
        from airflow_provider_spark.operators.desk import Desk

        self._desk = Desk(context, self.hook, self._interruption, self.log)
        return self._desk

    def _checked_job(self) -> Job:
        checked: VideoRequest | SparkDanceRequestError
        pictures = Pictures()
        try:
            pictures = self._named_pictures()
            checked = self._checked_request(pictures)
        except SparkDanceRequestError as error:
            checked = error
        return Job(checked, self._checked_terms(), self._checked_waiting(), pictures)

    def _named_pictures(self) -> Pictures:
        return Pictures.named(
            {"first_frame": self.first_frame, "last_frame": self.last_frame},
            fit=values.boolean("fit_frames", self.fit_frames) is True,
            embed=values.boolean("embed_frames", self.embed_frames) is True,
        )

    def _checked_terms(self) -> Terms:
        return Terms(
            max_cost_usd=values.usd("max_cost_usd", self.max_cost_usd),
            on_ambiguous_submit=values.choice("on_ambiguous_submit", self.on_ambiguous_submit, ON_AMBIGUOUS_SUBMIT),
            on_moderation=values.choice("on_moderation", self.on_moderation, ON_MODERATION),
        )

    def _checked_request(self, pictures: Pictures) -> VideoRequest:
        request = VideoRequest.compose(
            prompt=values.text("prompt", self.prompt),
            first_frame=pictures.urls.get("first_frame"),
            last_frame=pictures.urls.get("last_frame"),
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
            pace=self.hook.settings.pace if interval is None else Pace(interval=interval),
            timeout=values.seconds("timeout", self.timeout),
            execution_timeout=self.execution_timeout,
        )

    def _wait(self, desk: Desk, placed: Placed, waiting: Waiting) -> Settled | GaveUp:
        order = placed.order
        hook = desk.hook_of(order)
        wait = waiting.begin(order, taken_up=placed.is_taken_up, now=time.time())
        decision: Ask | Settled | GaveUp = Ask(wait.first_ask(time.time(), random.random()))
        if placed.is_taken_up:  # it may have ended long ago
            wait, decision = self._ask(hook, wait)
            if isinstance(decision, Ask) and wait.deadline > order.submitted_at + waiting.patience(order):
                self.log.warning(
                    "The time to wait for generation %s has passed and it still renders: waiting up to %.0f s more.",
                    order.generation_id,
                    wait.deadline - time.time(),
                )
        if isinstance(decision, Ask) and waiting.deferrable:
            self._defer(order, wait)
        while isinstance(decision, Ask):
            outcome = left_behind(order.generation_id, order.estimated_cost_usd)
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

    def _defer(self, order: Order, wait: Wait) -> NoReturn:
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
                generation_id=order.generation_id,
                spark_dance_conn_id=order.connection_id,
                submitted_at=order.submitted_at,
                deadline=wait.deadline,
                shape=order.shape,
                poll=poll,
                estimated_cost_usd=order.estimated_cost_usd,
            ),
            method_name=self.execute_complete.__name__,
            kwargs={"order": order.model_dump(mode="json")},
            timeout=timedelta(seconds=remaining + longest_step + last_poll + DEAD_TRIGGER_GRACE),
        )

    def _recalled(self, desk: Desk, end: Settled | GaveUp) -> Order:
        if order := desk.order_on_record:
            return order
        if isinstance(end, GaveUp):
            raise end.error
        return desk.reconstructed(self._checked_request(self._named_pictures()), end.generation)

    def _deliver(self, desk: Desk, end: Settled | GaveUp, order: Order) -> VideoResult:
        with failing_for_good(ordered=True), noticing_moderation(resubmits=order.resubmits):
            if isinstance(end, GaveUp):
                raise self._waited_in_vain(end.error, desk)
            generation = end.generation
            if generation.is_completed and generation.video_url is None:  # it may have been too long for an event
                generation = desk.hook_of(order).get_generation(order.generation_id)
            if generation.is_failed:
                failure = generation.failure()
                desk.failed(order, generation, failure)
                raise failure
            if generation.video_url is None:
                text = f"Generation {order.generation_id} is completed but the reply has no video."
                raise self._waited_in_vain(SparkDanceError(text, generation_id=order.generation_id), desk)
            desk.delivered(order, generation)
            return self._result(desk, generation, order)

    def _waited_in_vain(self, error: SparkDanceError, desk: Desk) -> SparkDanceError:
        return reworded(error, f"{error} {desk.what_next(is_final=is_final(error, ordered=True))}")

    def _result(self, desk: Desk, generation: Generation, order: Order) -> VideoResult:
        return result_of(generation, order, map_index=desk.attempt.map_index, now=time.time())
