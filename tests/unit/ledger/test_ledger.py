from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from airflow_provider_spark.api.errors import SparkDanceGenerationFailedError
from airflow_provider_spark.ledger.decision import Attempt
from airflow_provider_spark.ledger.ledger import Ledger
from airflow_provider_spark.ledger.record import Record, SparkDanceLedgerError, SparkDanceOvertakenError, State
from airflow_provider_spark.ledger.stores import Store
from tests.unit.ledger.helpers import FINGERPRINT, a_record, an_attempt, an_order


class Shelf:
    """A place for a record that fails on demand: for the next ``faults`` calls, or ``write_faults`` writes."""

    place = "a shelf"

    def __init__(self, record: Record | None = None) -> None:
        self.record = record
        self.claims: dict[int, Record] = {}
        self.faults = 0
        self.write_faults = 0

    def read(self) -> Record | None:
        self._fail()
        return self.record

    def write(self, record: Record) -> None:
        self.faults, self.write_faults = self.faults + (self.write_faults > 0), max(0, self.write_faults - 1)
        self._fail()
        self.record = record

    def intend(self, record: Record) -> bool:
        if self.claims.setdefault(record.revision, record) != record:
            return False
        self.write(record)
        return True

    def read_claim(self, revision: int) -> Record | None:
        self._fail()
        return self.claims.get(revision)

    def _fail(self) -> None:
        if self.faults:
            self.faults -= 1
            raise SparkDanceLedgerError("the shelf is out of reach")


def ledger_of(*shelves: Shelf, attempt: Attempt | None = None) -> Ledger:
    stores: Sequence[Store] = shelves
    return Ledger(stores, attempt or an_attempt(), logging.getLogger("test"), sleep=lambda _: None)


def intend(ledger: Ledger) -> Record:
    return ledger.intend(fingerprint=FINGERPRINT, estimated_cost_usd=0.1, now=5.0)


def test_the_life_of_an_order_is_written_in_every_place() -> None:
    shelves = Shelf(), Shelf()
    ledger = ledger_of(*shelves)
    told = []
    intend(ledger)
    told.append(shelves[0].record)
    ledger.submitted(an_order())
    told.append(shelves[0].record)
    ledger.delivered(an_order())
    told.append(shelves[0].record)
    assert [record.state for record in told if record] == ["intent", "submitted", "delivered"]
    assert [record.revision for record in told if record] == [1, 2, 3]
    assert shelves[1].record == shelves[0].record


def test_each_word_carries_the_try_and_max_tries_of_who_wrote_it() -> None:
    shelf = Shelf(a_record("submitted", try_number=1, max_tries=3))
    ledger_of(shelf, attempt=an_attempt(try_number=4, max_tries=7)).taken_up()
    assert shelf.record is not None
    assert (shelf.record.try_number, shelf.record.max_tries) == (4, 7)
    assert shelf.record.order == an_order()


def test_of_two_places_the_later_word_counts_and_is_carried_to_both() -> None:
    stale, fresh = Shelf(a_record("intent", revision=1)), Shelf(a_record("submitted", revision=2))
    ledger = ledger_of(stale, fresh)
    assert ledger.record == fresh.record
    ledger.delivered(an_order())
    assert stale.record == fresh.record
    assert stale.record is not None
    assert (stale.record.state, stale.record.revision) == ("delivered", 3)


def test_a_place_that_cannot_be_read_is_an_error_even_if_another_can() -> None:
    broken = Shelf()
    broken.faults = 1
    ledger = ledger_of(Shelf(a_record("refused")), broken)
    with pytest.raises(SparkDanceLedgerError):
        _ = ledger.record
    assert ledger.record == a_record("refused"), "it is asked again, not remembered as empty"


def test_an_intent_must_be_written_everywhere_and_is_taken_back_where_it_was() -> None:
    good, broken = Shelf(), Shelf()
    ledger = ledger_of(good, broken)
    assert ledger.record is None
    broken.write_faults = 1
    with pytest.raises(SparkDanceLedgerError):
        intend(ledger)
    assert good.record is not None
    assert good.record.state == "refused"


def test_a_word_of_an_order_that_is_out_is_written_again_until_it_sticks() -> None:
    shelf = Shelf()
    ledger = ledger_of(shelf)
    intend(ledger)
    shelf.faults = 3
    ledger.submitted(an_order())
    assert shelf.record is not None
    assert shelf.record.state == "submitted"


def test_an_order_that_is_out_goes_on_even_if_it_cannot_be_written_down(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    ledger = ledger_of(shelf)
    intend(ledger)
    shelf.faults = 99
    ledger.submitted(an_order("sd-7"))
    assert "'submitted' of generation sd-7" in caplog.text
    assert ledger.record is not None
    assert ledger.record.state == "submitted"


def test_one_place_is_enough_for_an_order_that_is_out_and_is_not_held_up_by_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken, good = Shelf(), Shelf()
    sleeps: list[float] = []
    ledger = Ledger([broken, good], an_attempt(), logging.getLogger("test"), sleep=sleeps.append)
    intend(ledger)
    broken.faults = 1
    ledger.submitted(an_order())
    assert not sleeps
    assert "out of reach Another place has it." in caplog.text
    assert newest_of(broken, good) == good.record == ledger.record


def newest_of(*shelves: Shelf) -> Record | None:
    return ledger_of(*shelves).record


def test_the_outcome_of_another_order_is_not_written_over_the_record() -> None:
    shelf = Shelf(a_record("submitted", order=an_order("sd-new")))
    before = shelf.record
    ledger_of(shelf).delivered(an_order("sd-old"))
    ledger_of(shelf).failed(an_order("sd-old"), SparkDanceGenerationFailedError("it broke"))
    assert shelf.record == before


def test_an_outcome_is_not_lost_where_the_ledger_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf(a_record("submitted"))
    shelf.faults = 99
    assert ledger_of(shelf).delivered(an_order("sd-7"))
    assert "generation sd-7 isn't in the ledger" in caplog.text


@pytest.mark.parametrize("written", ["intent", "ambiguous", "submitted", "failed", "delivered"])
def test_no_order_follows_where_another_try_has_written_since(written: State) -> None:
    shelf = Shelf()
    sleeper = ledger_of(shelf, attempt=an_attempt(try_number=1))
    assert sleeper.record is None
    shelf.record = a_record(written, try_number=2)
    with pytest.raises(SparkDanceOvertakenError, match=f"Try 2 of this task has written '{written}'.*this try, 1,"):
        intend(sleeper)
    assert shelf.record == a_record(written, try_number=2)


def test_who_cannot_claim_an_order_takes_nothing_back_from_another_try() -> None:
    class Unreachable(Shelf):
        def intend(self, record: Record) -> bool:
            self.claims = {1: a_record("intent", try_number=2)}
            self.record = a_record("submitted", try_number=2, revision=2)
            raise SparkDanceLedgerError("the shelf is out of reach")

    shelf = Unreachable()
    ledger = ledger_of(shelf, attempt=an_attempt(try_number=1))
    with pytest.raises(SparkDanceLedgerError, match="out of reach"):
        intend(ledger)
    assert shelf.record == a_record("submitted", try_number=2, revision=2)
    with pytest.raises(SparkDanceOvertakenError):
        intend(ledger)


def test_an_intent_that_came_through_in_one_place_is_taken_back_there_while_the_other_is_away() -> None:
    class Away(Shelf):
        def intend(self, record: Record) -> bool:
            self.faults = 99
            raise SparkDanceLedgerError("the shelf is out of reach")

    here, away = Shelf(), Away()
    with pytest.raises(SparkDanceLedgerError, match="out of reach"):
        intend(ledger_of(here, away))
    assert newest_of(here) == here.record
    assert here.record is not None
    assert here.record.state == "refused"


def test_who_lost_a_claim_without_hearing_of_it_takes_nothing_back() -> None:
    theirs = a_record("intent", try_number=2)

    class Lost(Shelf):
        def intend(self, record: Record) -> bool:
            self.claims[1] = theirs
            raise SparkDanceLedgerError("no answer")

    lost = Lost()
    with pytest.raises(SparkDanceLedgerError, match="no answer"):
        intend(ledger_of(lost, attempt=an_attempt(try_number=1)))
    assert newest_of(lost) == theirs


def test_who_can_write_nothing_claims_the_same_order_again() -> None:
    class Away(Shelf):
        was_away = False

        def intend(self, record: Record) -> bool:
            if not self.was_away:
                self.was_away, self.faults = True, 4
                raise SparkDanceLedgerError("the shelf is out of reach")
            return super().intend(record)

    shelf = Away()
    ledger = ledger_of(shelf)
    with pytest.raises(SparkDanceLedgerError):
        intend(ledger)
    assert shelf.record is None
    assert intend(ledger).revision == 1, "a gap would let two tries claim different ones"


@pytest.mark.parametrize("word", ["ambiguous", "submitted", "refused"])
def test_who_wakes_up_after_its_order_writes_over_no_later_word(word: str, caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    sleeper = ledger_of(shelf, attempt=an_attempt(try_number=1))
    intend(sleeper)
    reporter = ledger_of(shelf, attempt=an_attempt(try_number=2))
    assert reporter.record is not None
    reporter.ambiguous()
    after_a_clear = ledger_of(shelf, attempt=an_attempt(try_number=3))
    intend(after_a_clear)
    after_a_clear.submitted(an_order("sd-new"))
    getattr(sleeper, word)(*([an_order("sd-old")] if word == "submitted" else []))
    assert newest_of(shelf) == after_a_clear.record
    assert "a later word of another try" in caplog.text


def test_no_order_follows_where_another_try_has_claimed_it_at_the_same_moment() -> None:
    theirs = a_record("intent", try_number=2)

    class Claimed(Shelf):
        def intend(self, record: Record) -> bool:
            self.claims[1] = theirs  # between this try's look and its claim
            return super().intend(record)

    claimed = Claimed()
    with pytest.raises(SparkDanceOvertakenError, match=r"Another try.*has claimed its next order.*this try, 1,"):
        intend(ledger_of(claimed, attempt=an_attempt(try_number=1)))
    assert claimed.record is None
    assert newest_of(claimed) == theirs


def test_who_died_between_the_claim_and_the_record_is_heard_of() -> None:
    shelf = Shelf(a_record("refused", revision=4))
    shelf.claims = {5: a_record("intent", revision=5), 6: a_record("intent", revision=6, try_number=2)}
    assert newest_of(shelf) == shelf.claims[6]


def test_a_claim_of_which_no_one_knows_whether_it_was_taken_is_taken_back() -> None:
    class Lost(Shelf):
        def intend(self, record: Record) -> bool:
            super().intend(record)
            raise SparkDanceLedgerError("no answer")

    lost = Lost()
    with pytest.raises(SparkDanceLedgerError, match="no answer"):
        intend(ledger_of(lost))
    assert newest_of(lost) == lost.record
    assert lost.record is not None
    assert lost.record.state == "refused"


def test_a_place_that_is_behind_is_no_other_try() -> None:
    behind, ahead = Shelf(), Shelf()
    ledger = ledger_of(behind, ahead)
    intend(ledger)
    behind.write_faults = 1
    ledger.refused()
    intend(ledger)
    assert behind.record == ahead.record == ledger.record


def test_an_old_outcome_is_not_written_over_an_order_made_while_it_was_waited_for() -> None:
    shelf = Shelf()
    sleeper = ledger_of(shelf, attempt=an_attempt(try_number=1))
    intend(sleeper)
    sleeper.submitted(an_order("sd-old"))
    after_a_clear = ledger_of(shelf, attempt=an_attempt(try_number=2, max_tries=5))
    intend(after_a_clear)
    after_a_clear.submitted(an_order("sd-new"))
    sleeper.delivered(an_order("sd-old"))
    assert shelf.record == after_a_clear.record


def test_a_second_delivery_is_no_news() -> None:
    ledger = ledger_of(Shelf(a_record("submitted")))
    assert ledger.delivered(an_order())
    assert not ledger.delivered(an_order())


def test_a_failure_keeps_what_decides_about_a_new_order() -> None:
    shelf = Shelf(a_record("submitted"))
    error = SparkDanceGenerationFailedError("it broke", code="003005095", vendor_message="sorry")
    ledger_of(shelf).failed(an_order(), error)
    assert shelf.record is not None
    assert shelf.record.error is not None
    assert (str(shelf.record.error), shelf.record.error.code, shelf.record.error.vendor_message) == (
        "it broke",
        "003005095",
        "sorry",
    )
    assert shelf.record.may_reorder


def test_without_a_place_the_record_lasts_for_the_attempt() -> None:
    ledger = ledger_of()
    assert not ledger.is_kept
    assert ledger.record is None
    intend(ledger)
    ledger.submitted(an_order())
    assert ledger.record is not None
    assert ledger.record.state == "submitted"
