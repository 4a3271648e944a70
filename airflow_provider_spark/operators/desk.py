"""Ordering once: the ledger is asked first and written around each submit, so that no attempt pays twice."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_spark.api.errors import SparkDanceAmbiguousSubmitError, SparkDanceError, SparkDanceRequestError
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.ledger.decision import Attempt, Decision, Step, decide, was_cleared
from airflow_provider_spark.ledger.fingerprint import changes, fingerprint
from airflow_provider_spark.ledger.ledger import Ledger, Log
from airflow_provider_spark.ledger.order import Order, goes_on
from airflow_provider_spark.ledger.record import Record, SparkDanceLedgerError
from airflow_provider_spark.ledger.stores import Folder, FolderStore, Store, TaskStateStore
from airflow_provider_spark.media.manifest import shown_request
from airflow_provider_spark.operators.ambiguity import UNHEARD_OF, ambiguous, sent
from airflow_provider_spark.operators.failures import reworded
from airflow_provider_spark.operators.in_place import in_place
from airflow_provider_spark.operators.interruption import InterruptedTaskError, Interruption, finishing_first
from airflow_provider_spark.operators.keeping import Asked, Keeping
from airflow_provider_spark.operators.moderation import noticing_moderation
from airflow_provider_spark.operators.placed import Placed, Reused
from airflow_provider_spark.operators.receipts import Receipts
from airflow_provider_spark.operators.result import to_the_second
from airflow_provider_spark.operators.shelf import Shelf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_spark.api.errors import SparkDanceGenerationFailedError
    from airflow_provider_spark.api.generation import Generation
    from airflow_provider_spark.api.pricing import Estimate
    from airflow_provider_spark.api.request import VideoRequest
    from airflow_provider_spark.ledger.record import Record
    from airflow_provider_spark.operators.job import Job, Terms
    from airflow_provider_spark.operators.result import VideoResult

GENERATION_ID_KEY = "generation_id"
# Seconds after which an intent whose order isn't out belongs to a process that was asleep.
OLD_INTENT = 20.0

_NOTHING_ORDERED = "Nothing was ordered."


class Desk:
    """Where one attempt orders, and where the outcome is written down."""

    def __init__(
        self, context: Context, hook: SparkDanceHook, keeping: Keeping, interruption: Interruption, log: Log
    ) -> None:
        self.attempt = Attempt.of(context["ti"])
        self._ti = context["ti"]
        self._hook = hook
        self._interruption = interruption
        self._log = log
        stores: list[Store] = []
        if (accessor := context.get("task_state_store")) is not None:
            stores.append(TaskStateStore(accessor))
        path = hook.settings.ledger_path
        folder = Folder(path) if path else None
        if folder is not None:
            stores.append(FolderStore(folder, self.attempt))
        self.order: Order | None = None
        """The order that this attempt has made or taken up."""
        self.has_ended = False
        """Whether that render has: what is left to do is to keep its files."""
        self._ledger = Ledger(stores, self.attempt, log)
        if folder is None and keeping.folder:
            folder = Folder(keeping.folder)
        self._receipts = Receipts(folder, self.attempt, log)
        self.shelf = Shelf(keeping, self.attempt, interruption, log)
        """Where the files go."""

    @property
    def order_on_record(self) -> Order | None:
        """The order that the ledger tells of, as far as it can be read."""
        with suppress(SparkDanceLedgerError):
            if record := self._ledger.record:
                return record.order
        return None

    @property
    def generation_id(self) -> str | None:
        """The generation that was ordered last, as far as it can be told."""
        if order := self.order_on_record:
            return order.generation_id
        ti = self._ti
        found: str | None = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index, key=GENERATION_ID_KEY)
        return found

    def what_next(self, *, is_final: bool) -> str:
        """Say what to do after a wait that failed, for the person who reads the log.

        :param is_final: no retry follows, whatever the task's ``retries`` are.
        """
        if not self._ledger.is_kept:
            return "It isn't in any ledger: a retry or a clear orders, and pays, anew."
        if is_final or self.attempt.is_last:
            return "No retry follows; clear the task, and it takes the paid render up again."
        return "The next retry takes the paid render up again."

    def hook_of(self, order: Order) -> SparkDanceHook:
        """Return the hook of the connection that an order went out with."""
        same = order.connection_id == self._hook.spark_dance_conn_id
        return self._hook if same else SparkDanceHook(order.connection_id)

    def order_once(self, job: Job) -> Placed | Reused:
        """Order, take up what an earlier attempt has ordered, or return what one has kept, where that is to be reused.

        A job that follows a refusal by moderation is ordered in any case: what was ordered before is known.

        :raises SparkDanceRequestError: it may cost more than the terms allow, or a frame isn't one that the vendor
            takes; no call was made.
        :raises SparkDancePictureUnavailableError: a frame can't be read at the moment; no call was made.
        :raises SparkDanceAmbiguousSubmitError: no one can tell whether this attempt, or an earlier one, has ordered.
        :raises SparkDanceGenerationFailedError: an earlier order failed, and a new one would too.
        :raises Moderated: moderation refused it.
        :raises SparkDanceLedgerError: the ledger can't be read, or not be written before the order.
        :raises SparkDanceError: the vendor didn't take it.
        """
        try:
            with noticing_moderation(resubmits=job.resubmits):
                placed = self._order(job, self._completed(job)) if job.resubmits else self._order_or_take_up(job)
        except SparkDanceLedgerError as error:
            # What is written after an order never raises.
            raise reworded(error, f"{error} {_NOTHING_ORDERED}") from error
        found = placed.result["generation_id"] if isinstance(placed, Reused) else placed.order.generation_id
        self._ti.xcom_push(key=GENERATION_ID_KEY, value=found)
        return placed

    def placed_on_record(self, job: Job) -> Placed | None:
        """Return the order that the ledger tells of, where a deferral has lost it."""
        with suppress(SparkDanceLedgerError):
            if (record := self._ledger.record) and record.order:
                return Placed(record.order, self._asked(job, record.order, record.fingerprint))
        return None

    def reconstructed(self, job: Job, generation: Generation) -> Placed:
        """Return the order that must have led to a generation, where neither a deferral nor a ledger tells of it."""
        request = job.asked
        order = Order.placed(
            request,
            self._hook.estimate(request),
            generation_id=generation.id,
            connection_id=self._hook.spark_dance_conn_id,
            try_number=self.attempt.try_number,
            submitted_at=generation.created_at or time.time(),
        )
        return Placed(order, self._asked(job, order, self._fingerprint(job.checked)))

    def failed(self, placed: Placed, generation: Generation) -> SparkDanceGenerationFailedError:
        """Write down that the render failed, and return the failure; a video that came all the same is kept."""
        self.has_ended = True
        order, failure = placed.order, generation.failure()
        if generation.video_url is not None and (paths := self._kept_all_the_same(order, generation, placed.asked)):
            failure = reworded(failure, f"{failure} Its files are kept: {paths}.")
        self._ledger.failed(order, failure)
        self._receipts.ended(order, generation)
        return failure

    def delivered(self, placed: Placed, generation: Generation) -> VideoResult:
        """Keep the files, then write down that the task is about to end with the outcome, and return its result."""
        self.has_ended = True
        order, hook = placed.order, self.hook_of(placed.order)
        advice = self.what_next(is_final=False)
        result = self.shelf.keep(generation, order, placed.asked, hook=hook, advice=advice)
        is_news = self._ledger.delivered(order)
        self._receipts.ended(order, generation, count=is_news)
        return result

    def handed_over(self, order: Order) -> None:
        """Write down that the task is about to end with the order itself."""
        self._ledger.delivered(order)

    def _order_or_take_up(self, job: Job) -> Placed | Reused:
        record = self._ledger.record
        decision = self._decide(record, job)
        if record is None:
            return self._reuse_or_order(job)
        if decision.step is Step.REPORT_AMBIGUOUS:
            self._ledger.ambiguous()
            raise ambiguous(UNHEARD_OF, record, job.terms)
        if record.order is None:
            if record.state != "refused":
                self._log.warning("%s It is ordered again; both may be charged.", sent(UNHEARD_OF, record))
            return self._reuse_or_order(job)
        if decision.step is Step.FAIL and record.error is not None:
            with noticing_moderation(resubmits=record.order.resubmits):
                raise record.error
        if decision.step is Step.TAKE_UP:
            return self._take_up(job, record.order, record.fingerprint, decision.changed)
        if decision.step is Step.LOOK_THEN_ORDER:
            self._look(record.order, record.fingerprint, decision.changed)
        return self._reuse_or_order(job)

    def _reuse_or_order(self, job: Job) -> Placed | Reused:
        complete = self._completed(job)
        if kept := self.shelf.find(self._fingerprint(complete)):
            cost = f"{kept['cost_usd']:.4f} USD" if kept["cost_usd"] is not None else "an unknown sum"
            told = f"Generation {kept['generation_id']} of the same request, billed with {cost}, is kept already at"
            if self.shelf.reuses:
                self._log.info("%s %s; it is reused and nothing is ordered.", told, kept["video_path"])
                return Reused(kept)
            self._log.warning('%s %s; on_existing="render" orders another.', told, kept["video_path"])
        return self._order(job, complete)

    def _decide(self, record: Record | None, job: Job) -> Decision:
        repeat = job.terms.resubmit_ambiguous
        known = self._fingerprint(job.checked)
        if record is None:
            return decide(record, self.attempt, known, resubmit_ambiguous=repeat)
        if known is not None:
            # What isn't read counts as unchanged: a retry takes the paid order up in any case.
            known |= {name: record.fingerprint[name] for name in job.pictures.unread if name in record.fingerprint}
        decision = decide(record, self.attempt, known, resubmit_ambiguous=repeat)
        if decision.step is Step.TAKE_UP and job.pictures.unread and was_cleared(record, self.attempt):
            # After a clear another picture is another order.
            try:
                read = self._fingerprint(self._complete(job))
            except Exception as error:  # whatever it is, it mustn't stand before what is paid for
                told = error if isinstance(error, SparkDanceError) else f"{type(error).__name__}."
                self._log.warning(
                    "Whether the task's pictures have changed can't be told: %s The paid order counts.", told
                )
            else:
                return decide(record, self.attempt, read, resubmit_ambiguous=repeat)
        return decision

    def _complete(self, job: Job) -> VideoRequest:
        asked, pictures = job.asked, job.pictures  # what breaks another limit needn't have its pictures read
        if not pictures.urls:
            return asked
        read = pictures.read(tls=self._hook.settings.endpoint.tls, log=self._log)
        return asked.with_pictures(read) if read else asked

    def _completed(self, job: Job) -> VideoRequest:
        sleep = partial(self._interruption.sleep, outcome=_NOTHING_ORDERED)
        return in_place(self._log, sleep)(self._complete, job)

    def _order(self, job: Job, complete: VideoRequest) -> Placed:
        sleep = partial(self._interruption.sleep, outcome=_NOTHING_ORDERED)
        request = job.outgoing(complete)
        estimate = self._hook.estimate(request)
        self._check_price(estimate, job.terms)
        if job.waiting.for_completion:
            self._check_shelf()
        if not self._ledger.is_kept:
            self._log.warning(
                "There is no ledger: this Airflow has no task state store (it comes with 3.3), and the connection's "
                "extra has no ledger_path. Should this try fail after the order, a retry orders, and pays, again."
            )
        asked = self._fingerprint(complete) or {}
        return in_place(self._log, sleep)(self._submit, job, request, estimate, asked)

    def _submit(self, job: Job, request: VideoRequest, estimate: Estimate, asked: dict[str, str]) -> Placed:
        self._interruption.check(_NOTHING_ORDERED)
        with finishing_first():
            intent = self._intend(asked, estimate)
            if time.time() - intent.submitting_at > OLD_INTENT:
                # Another try may have read it and told the user of it: that is looked for as the intent is renewed.
                intent = self._intend(asked, estimate)
            try:
                generation = self._hook.submit(request)
            except SparkDanceAmbiguousSubmitError as error:
                self._ledger.ambiguous()
                raise ambiguous(str(error), intent, job.terms) from error
            except SparkDanceError:
                self._ledger.refused()
                raise
            order = Order.placed(
                request,
                estimate,
                generation_id=generation.id,  # the client has made sure that there is one
                connection_id=self._hook.spark_dance_conn_id,
                try_number=self.attempt.try_number,
                submitted_at=intent.submitting_at,
                resubmits=job.resubmits,
            )
            self.order = order
            self._ledger.submitted(order)
            self._receipts.accepted(order, generation)
        return Placed(order, self._asked(job, order, intent.fingerprint), generation)

    def _intend(self, asked: dict[str, str], estimate: Estimate) -> Record:
        return self._ledger.intend(fingerprint=asked, estimated_cost_usd=float(estimate.usd), now=time.time())

    def _take_up(self, job: Job, order: Order, fingerprint: dict[str, str], changed: tuple[str, ...]) -> Placed:
        self._log.info(
            "Generation %s, ordered by try %d at %s, is taken up; nothing is ordered.",
            order.generation_id,
            order.try_number,
            to_the_second(order.submitted_at),
        )
        if changed:
            self._log.warning(
                "The task's request has changed since then: %s. The paid order counts; to order anew, clear the task.",
                ", ".join(changed),
            )
        self.order = order
        self._ledger.taken_up()
        return Placed(order, self._asked(job, order, fingerprint))

    def _look(self, order: Order, fingerprint: dict[str, str], changed: tuple[str, ...]) -> None:
        self._log.warning(
            "The task was cleared and its request has changed (%s): a new order takes the place of generation %s.",
            ", ".join(changed),
            order.generation_id,
        )
        try:
            generation = self.hook_of(order).get_generation(order.generation_id)
        except SparkDanceError as error:
            self._log.warning("What became of the earlier one can't be told: %s", error)
            return
        video = f" Its video is at {generation.video_url}" if generation.video_url else ""
        self._log.warning("Generation %s is %s.%s", order.generation_id, generation.vendor_status, video)
        if generation.is_terminal:
            if generation.video_url is not None:
                self._kept_all_the_same(order, generation, Asked(fingerprint=fingerprint))
            self._receipts.ended(order, generation)
        else:
            self._log.warning(goes_on(order.generation_id, order.estimated_cost_usd))

    def _kept_all_the_same(self, order: Order, generation: Generation, asked: Asked) -> str | None:
        """Keep what isn't the task's outcome; return where. That it can't be kept changes nothing."""
        if not self.shelf.keeps:
            return None
        try:
            result = self.shelf.keep(generation, order, asked, hook=self.hook_of(order), advice="It isn't tried again.")
        except InterruptedTaskError:
            raise
        except SparkDanceError as error:
            self._log.warning("%s", error)
            return None
        paths = (result["video_path"], result["last_frame_path"], result["manifest_path"])
        return ", ".join(path for path in paths if path)

    def _check_shelf(self) -> None:
        try:
            self.shelf.check()
        except SparkDanceError as error:
            raise reworded(error, f"{error} {_NOTHING_ORDERED}") from error

    def _asked(self, job: Job, order: Order, fingerprint: dict[str, str] | None) -> Asked:
        """Return the request behind an order, as far as the one that the task makes now still tells of it."""
        if isinstance(job.checked, SparkDanceRequestError):
            return Asked(fingerprint=fingerprint)
        unknown = changes(fingerprint or {}, self._fingerprint(job.checked) or {})
        request = shown_request(job.checked)
        if order.seed is not None:
            request["seed"] = order.seed
        return Asked({name: value for name, value in request.items() if name not in unknown}, unknown, fingerprint)

    def _check_price(self, estimate: Estimate, terms: Terms) -> None:
        at_most = "" if estimate.exact else "at most "
        self._log.info(
            "Ordering %s%dx%d, %d frames (%g s), %s tier: about %.4f USD.",
            at_most,
            estimate.width,
            estimate.height,
            estimate.frames,
            estimate.seconds,
            estimate.tier,
            estimate.usd,
        )
        if terms.max_cost_usd is not None and estimate.usd > terms.max_cost_usd:
            raise SparkDanceRequestError(
                f"The order would cost {at_most}about {estimate.usd:.4f} USD, more than "
                f"max_cost_usd = {terms.max_cost_usd}. Nothing was ordered."
            )

    def _fingerprint(self, checked: VideoRequest | SparkDanceRequestError) -> dict[str, str] | None:
        if isinstance(checked, SparkDanceRequestError):
            return None
        base_url = self._hook.settings.endpoint.base_url
        return fingerprint(checked, connection_id=self._hook.spark_dance_conn_id, base_url=base_url)
