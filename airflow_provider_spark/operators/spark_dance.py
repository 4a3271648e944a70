"""SparkDanceGenerateVideoOperator: check, order once, wait without a worker, return a small result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_spark.api.errors import SparkDanceError, SparkDanceRequestError
from airflow_provider_spark.api.request import VideoRequest
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.ledger.order import Order, left_behind
from airflow_provider_spark.links.spark_dance import SparkDanceVideoLink
from airflow_provider_spark.operators import values
from airflow_provider_spark.operators.base import SparkDanceWaitingOperator
from airflow_provider_spark.operators.failures import failing_for_good, is_final, reworded
from airflow_provider_spark.operators.job import ON_AMBIGUOUS_SUBMIT, ON_MODERATION, RESUBMITS, Job, Terms
from airflow_provider_spark.operators.keeping import ON_EXISTING
from airflow_provider_spark.operators.last_word import leaving_word
from airflow_provider_spark.operators.moderation import Moderated, noticing_moderation
from airflow_provider_spark.operators.pictures import Pictures
from airflow_provider_spark.operators.placed import Placed, Reused
from airflow_provider_spark.operators.result import VideoResult, result_of
from airflow_provider_spark.operators.retry_policy import delay_after_rate_limit
from airflow_provider_spark.polling.wait import GaveUp, Settled
from airflow_provider_spark.triggers.events import from_event

if TYPE_CHECKING:
    from pathlib import PurePath

    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_spark.operators.desk import Desk


class SparkDanceGenerateVideoOperator(SparkDanceWaitingOperator):
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

    *Files*:

    :param save_to: folder that the video, the last frame and a manifest are kept in once the render has ended: an
        absolute path or a URL that ``ObjectStoragePath`` takes, such as ``s3://aws_default@bucket/clips/{{ ds }}``.
        By default the connection's ``save_to``; without either no copy is kept, and the vendor's URLs end within a
        day. Nothing is kept where ``wait_for_completion`` is ``False``.
    :param name: what the names of the files begin with; the generation's id and the ending follow. By default dag,
        run, task and map index. What can't stand in a path is replaced.
    :param on_existing: what a video means that the same task instance has kept in ``save_to`` before, of the same
        request: ``"render"`` says so in the log and orders anew; ``"reuse"`` returns it and orders nothing. It counts
        where an order would go out: a render that was ordered already is taken up in any case.

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
        "save_to",
        "name",
        "on_existing",
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
        save_to: str | None = None,
        name: str | None = None,
        on_existing: str = ON_EXISTING[0],
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
        self.save_to = save_to
        self.name = name
        self.on_existing = on_existing
        self.spark_dance_conn_id = spark_dance_conn_id
        self._desk: Desk | None = None
        delay_after_rate_limit(self)

    @property
    def order(self) -> Order | None:
        """What this attempt has ordered or taken up."""
        return self._desk.order if self._desk is not None else None

    @leaving_word
    def execute(self, context: Context) -> VideoResult:
        """Check the job, order it once or take up what was ordered before, wait, deliver."""
        with failing_for_good(ordered=False):
            job, desk = self._checked_job(), self._open_desk(context)
            if not job.waiting.for_completion and desk.shelf.keeps:
                self.log.warning(
                    "Nothing is kept in save_to: with wait_for_completion=False the task ends before there is a video."
                )
        return self._past_moderation(desk, partial(self._order_and_deliver, desk, job))

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any],
        order: dict[str, Any] | None = None,
        asked: dict[str, Any] | None = None,
        **_: Any,
    ) -> VideoResult:
        """Keep the files and deliver the result, once the trigger has fired.

        :param order: what was deferred with; ``dag.test()`` loses it.
        :param asked: the request that it was made for; an earlier version didn't send it along.
        """
        with failing_for_good(ordered=True):
            desk, end = self._open_desk(context), from_event(event)
            placed = self._recalled(desk, end) if order is None else Placed.of(order, asked)
            if isinstance(end, Settled) and end.generation.is_completed and desk.shelf.keeps:
                hook, generation_id = desk.hook_of(placed.order), placed.order.generation_id
                end = Settled(self._told_in_full(end.generation, generation_id, hook=hook, log=self.log))
        return self._past_moderation(desk, partial(self._deliver, desk, end, placed))

    @leaving_word
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral."""
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Say what becomes of the render. A submit that is under way is finished and recorded first."""
        self._interruption.request()
        desk = self._desk
        if desk is not None and (order := desk.order) is not None and not desk.has_ended:
            self.log.warning(left_behind(order.generation_id, order.estimated_cost_usd))

    def _order_and_deliver(self, desk: Desk, job: Job) -> VideoResult:
        with failing_for_good(ordered=False, retry_ambiguous=job.terms.resubmit_ambiguous):
            placed = desk.order_once(job)
        if isinstance(placed, Reused):
            return placed.result
        with failing_for_good(ordered=True):
            if job.waiting.for_completion:
                end = self._wait(
                    placed.order,
                    job.waiting,
                    hook=desk.hook_of(placed.order),
                    is_taken_up=placed.is_taken_up,
                    outcome=left_behind(placed.order.generation_id, placed.order.estimated_cost_usd),
                    kwargs=placed.to_json(),
                )
                return self._deliver(desk, end, placed)
            generation = placed.generation or desk.hook_of(placed.order).get_generation(placed.order.generation_id)
            desk.handed_over(placed.order)
            return result_of(generation, placed.order, map_index=desk.attempt.map_index, now=time.time())

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

        self._desk = Desk(context, self.hook, self._checked_keeping(), self._interruption, self.log)
        return self._desk

    def _left_waiting(self, context: Context, kwargs: dict[str, Any]) -> tuple[str | None, str]:
        desk = self._open_desk(context)
        return desk.generation_id, desk.what_next(is_final=False)

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

    def _recalled(self, desk: Desk, end: Settled | GaveUp) -> Placed:
        job = self._checked_job()
        if placed := desk.placed_on_record(job):
            return placed
        if isinstance(end, GaveUp):
            raise end.error
        return desk.reconstructed(job, end.generation)

    def _deliver(self, desk: Desk, end: Settled | GaveUp, placed: Placed) -> VideoResult:
        order = placed.order
        with failing_for_good(ordered=True), noticing_moderation(resubmits=order.resubmits):
            if isinstance(end, GaveUp):
                raise self._waited_in_vain(end.error, desk)
            generation = end.generation
            if generation.is_completed and generation.video_url is None:  # it may have been too long for an event
                generation = desk.hook_of(order).get_generation(order.generation_id)
            if generation.is_failed:
                raise desk.failed(placed, generation)
            if generation.video_url is None:
                text = f"Generation {order.generation_id} is completed but the reply has no video."
                raise self._waited_in_vain(SparkDanceError(text, generation_id=order.generation_id), desk)
            return desk.delivered(placed, generation)

    def _waited_in_vain(self, error: SparkDanceError, desk: Desk) -> SparkDanceError:
        return reworded(error, f"{error} {desk.what_next(is_final=is_final(error, ordered=True))}")
