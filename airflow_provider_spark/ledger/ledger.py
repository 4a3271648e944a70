"""One task instance's record, kept in step in every place that it lies in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import tenacity

from airflow_provider_spark.ledger.record import (
    Failure,
    Record,
    SparkDanceLedgerError,
    SparkDanceOvertakenError,
    State,
    newest,
)

if TYPE_CHECKING:
    from airflow_provider_spark.api.errors import SparkDanceGenerationFailedError
    from airflow_provider_spark.ledger.decision import Attempt
    from airflow_provider_spark.ledger.order import Order
    from airflow_provider_spark.ledger.stores import Store

# How often a word of an order that can't be unmade is tried to be written, and seconds between.
WRITE_ATTEMPTS = 4
WRITE_PAUSE = 0.5


class Log(Protocol):
    """A task's log: structlog's in Airflow, the standard library's elsewhere."""

    def info(self, text: str, /, *args: Any) -> Any:
        """Log what goes as it should."""

    def warning(self, text: str, /, *args: Any) -> Any:
        """Log what a user should know."""

    def error(self, text: str, /, *args: Any) -> Any:
        """Log what went wrong."""


class Ledger:
    """The record of one task instance.

    What is written before an order must be written everywhere, or nothing is ordered. What is
    written after it must be written in one place: that is tried a few times and then left, with a word
    in the log, since an order that is out is waited for all the same. Where another try has written
    meanwhile, its word is left as it is.

    :param stores: the places; with none, the record lasts as long as this object.
    :param attempt: the try of the task that writes.
    :param log: the task's log.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        attempt: Attempt,
        log: Log,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._stores = tuple(stores)
        self._attempt = attempt
        self._log = log
        self._sleep = sleep
        self._latest: Record | None = None
        self._has_looked = False
        # All that this try has read or written: whatever else lies there is another try's.
        self._known: list[Record] = []

    @property
    def is_kept(self) -> bool:
        """Whether a later attempt will find the record."""
        return bool(self._stores)

    @property
    def record(self) -> Record | None:
        """The record as it was written last, ``None`` where nothing was ever ordered.

        :raises SparkDanceLedgerError: a place can't be read; what lies there may be newer than elsewhere.
        """
        if not self._has_looked:
            self._remember(*self._look())
            self._has_looked = True
        return self._latest

    def _remember(self, *records: Record) -> None:
        self._known += records
        self._latest = newest(list(records)) or self._latest

    def _is_anothers(self, found: Record | None) -> bool:
        return found is not None and found not in self._known

    def _look(self) -> list[Record]:
        found = [record for store in self._stores if (record := store.read()) is not None]
        # Who has claimed an order may have died, or sleep, before the record said more.
        while claims := [claim for store in self._stores if (claim := store.read_claim(_after(newest(found))))]:
            found += claims
        return found

    def intend(self, *, fingerprint: dict[str, str], estimated_cost_usd: float, now: float) -> Record:
        """Write, and return, that an order is about to go out. To be called right before each submit.

        The places are read once more: a process that Airflow has given up for lost, or a machine that slept, may
        come here after another try has ordered. Of two that come at the same moment one gets the revision.

        :raises SparkDanceOvertakenError: another try has written since this one read; don't order.
        :raises SparkDanceLedgerError: it couldn't be written everywhere; don't order.
        """
        _ = self.record  # what the decision to order was made on
        found = newest(self._look())
        if found is not None and self._is_anothers(found):
            raise self._overtaken(f"Try {found.try_number} of this task has written {found.state!r} to the ledger")
        record = Record(
            revision=_after(found),  # without a gap, or two could claim different ones
            state="intent",
            max_tries=self._attempt.max_tries,
            try_number=self._attempt.try_number,
            fingerprint=fingerprint,
            submitting_at=now,
            estimated_cost_usd=estimated_cost_usd,
        )
        try:
            for store in self._stores:
                if not store.intend(record):
                    raise self._overtaken(f"Another try of this task has claimed its next order in {store.place}")
        except SparkDanceOvertakenError:
            raise
        except SparkDanceLedgerError:
            # Where it did get written it must not look like an order that was lost.
            self._remember(record)
            self.refused()
            raise
        self._remember(record)
        return record

    def _overtaken(self, how: str) -> SparkDanceOvertakenError:
        return SparkDanceOvertakenError(
            f"{how} since this try, {self._attempt.try_number}, has read it. An attempt that begins now goes by what "
            "is there."
        )

    def refused(self) -> None:
        """Write that nothing was ordered after all."""
        self._note("refused")

    def ambiguous(self) -> None:
        """Write that the user is being told of an ambiguous submit."""
        self._note("ambiguous")

    def submitted(self, order: Order) -> None:
        """Write that the vendor took the order."""
        self._note("submitted", order=order)

    def taken_up(self) -> None:
        """Write that this attempt goes on with the order of an earlier one: a later retry is a retry of this one."""
        if record := self.record:
            self._note(record.state)

    def failed(self, order: Order, error: SparkDanceGenerationFailedError) -> None:
        """Write that the render failed."""
        self._settle(order, "failed", failure=Failure.of(error))

    def delivered(self, order: Order) -> bool:
        """Write that the task is about to end with the order's outcome; return whether that is news."""
        return self._settle(order, "delivered")

    def _settle(self, order: Order, state: State, **outcome: Any) -> bool:
        try:
            # Anew: this try may have waited for hours.
            self._remember(*self._look(), *([self._latest] if self._latest else []))
            record = self.record
        except SparkDanceLedgerError as error:
            record = self._latest
            if record is None:
                # Without the record no later one can be written; the outcome is paid for and goes on.
                self._log.error("The outcome of generation %s isn't in the ledger: %s", order.generation_id, error)
                return True
        if record is None or record.order is None or record.order.generation_id != order.generation_id:
            # The record speaks of another order: a clear has overtaken this try, or it had no ledger then.
            return True
        was = record.state
        self._note(state, **outcome)
        return was != state

    def _note(self, state: State, **changed: Any) -> None:
        if (record := self.record) is None:
            return
        word = record.model_copy(
            update={
                "revision": _after(record),
                "state": state,
                "max_tries": self._attempt.max_tries,
                "try_number": self._attempt.try_number,
                **changed,
            }
        )
        self._remember(word)
        self._write_patiently(word)

    def _write_patiently(self, record: Record) -> None:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(SparkDanceLedgerError),
            wait=tenacity.wait_random_exponential(multiplier=WRITE_PAUSE, max=4 * WRITE_PAUSE),
            stop=tenacity.stop_after_attempt(WRITE_ATTEMPTS),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            behind = retrying(self._write_anywhere, record)
        except SparkDanceLedgerError as error:
            about = f" of generation {record.order.generation_id}" if record.order else ""
            self._log.error(
                "The ledger couldn't be brought to %r%s. The task goes on; should it fail, a later attempt may report "
                "an ambiguous submit for it. %s",
                record.state,
                about,
                error,
            )
        else:
            for failure in behind:
                self._log.warning("%s Another place has it.", failure)

    def _write_anywhere(self, record: Record) -> list[SparkDanceLedgerError]:
        """Write to each place; return why some are behind, which a later reader sees by the revision.

        :raises SparkDanceLedgerError: no place has it.
        """
        failures: list[SparkDanceLedgerError] = []
        for store in self._stores:
            try:
                if self._is_overtaken(store, record.revision):
                    self._log.warning("%s holds a later word of another try, which is left as it is.", store.place)
                else:
                    store.write(record)
            except SparkDanceLedgerError as error:
                failures.append(error)
        if failures and len(failures) == len(self._stores):
            raise failures[-1]
        return failures

    def _is_overtaken(self, store: Store, revision: int) -> bool:
        """Tell whether a word of this revision would be written over another try's, or stand before its claim.

        A process that slept comes here late, and one whose claim had no answer may have lost it to another.
        """
        claims = (store.read_claim(claimed) for claimed in (revision - 1, revision))
        return any(self._is_anothers(found) for found in (store.read(), *claims))


def _after(record: Record | None) -> int:
    return record.revision + 1 if record else 1
