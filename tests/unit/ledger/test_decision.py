from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.ledger.decision import Attempt, Decision, Step, decide
from airflow_provider_spark.ledger.record import STATES, Record, State
from tests.unit.ledger.helpers import FINGERPRINT, REFUSED_RENDER, a_record, an_attempt

OTHER = FINGERPRINT | {"prompt": "p1"}
RETRY = an_attempt(try_number=2, max_tries=3)
CLEAR = an_attempt(try_number=2, max_tries=4)

TABLE: list[tuple[Record, Step, Step, Step]] = [
    # record, automatic retry (same request or another), clear with the same request, clear with another
    (a_record("intent"), Step.REPORT_AMBIGUOUS, Step.REPORT_AMBIGUOUS, Step.REPORT_AMBIGUOUS),
    (a_record("ambiguous"), Step.REPORT_AMBIGUOUS, Step.ORDER, Step.ORDER),
    (a_record("submitted"), Step.TAKE_UP, Step.TAKE_UP, Step.LOOK_THEN_ORDER),
    (a_record("delivered"), Step.TAKE_UP, Step.ORDER, Step.ORDER),
    (a_record("failed"), Step.ORDER, Step.ORDER, Step.ORDER),
    (a_record("failed", failure=REFUSED_RENDER), Step.FAIL, Step.ORDER, Step.ORDER),
    (a_record("refused"), Step.ORDER, Step.ORDER, Step.ORDER),
]


@pytest.mark.parametrize(("record", "retried", "cleared", "cleared_and_changed"), TABLE)
def test_the_table_paying_once(record: Record, retried: Step, cleared: Step, cleared_and_changed: Step) -> None:
    def step(attempt: Attempt, fingerprint: dict[str, str]) -> Step:
        return decide(record, attempt, fingerprint, resubmit_ambiguous=False).step

    assert step(RETRY, FINGERPRINT) is retried
    assert step(RETRY, OTHER) is retried
    assert step(CLEAR, FINGERPRINT) is cleared
    assert step(CLEAR, OTHER) is cleared_and_changed


def test_without_a_record_the_first_step_is_an_order() -> None:
    assert decide(None, RETRY, FINGERPRINT, resubmit_ambiguous=False) == Decision(Step.ORDER)


@pytest.mark.parametrize("state", ["intent", "ambiguous"])
@pytest.mark.parametrize("attempt", [RETRY, CLEAR])
def test_an_ambiguous_submit_is_repeated_where_the_user_asks_for_it(state: State, attempt: Attempt) -> None:
    assert decide(a_record(state), attempt, FINGERPRINT, resubmit_ambiguous=True).step is Step.ORDER


def test_a_taken_up_order_names_the_fields_that_changed() -> None:
    now = {"connection": "c1", "base_url": "b0", "prompt": "p0", "seed": "s0"}
    decision = decide(a_record("submitted"), RETRY, now, resubmit_ambiguous=False)
    assert decision == Decision(Step.TAKE_UP, ("connection", "seed"))


def test_a_paid_render_is_taken_up_even_if_its_request_is_broken_by_now() -> None:
    decision = decide(a_record("submitted"), RETRY, None, resubmit_ambiguous=False)
    assert decision == Decision(Step.TAKE_UP, ("request",))


def test_a_clear_after_retries_were_lowered_is_still_a_clear() -> None:
    attempt = an_attempt(try_number=2, max_tries=1)
    assert decide(a_record("delivered"), attempt, FINGERPRINT, resubmit_ambiguous=False).step is Step.ORDER


def test_a_run_made_anew_under_the_same_id_does_not_get_the_old_runs_video() -> None:
    attempt = an_attempt(try_number=1, max_tries=3)
    assert decide(a_record("delivered"), attempt, FINGERPRINT, resubmit_ambiguous=False).step is Step.ORDER


@given(
    state=st.sampled_from(STATES),
    tries=st.integers(1, 5),
    later=st.integers(1, 5),
    max_tries=st.integers(0, 9),
    fingerprint=st.sampled_from([FINGERPRINT, OTHER, None]),
)
def test_an_automatic_retry_orders_only_where_nothing_is_out(
    state: State, tries: int, later: int, max_tries: int, fingerprint: dict[str, str] | None
) -> None:
    record = a_record(state, try_number=tries, max_tries=max_tries)
    attempt = an_attempt(try_number=tries + later, max_tries=max_tries)
    step = decide(record, attempt, fingerprint, resubmit_ambiguous=False).step
    assert (step is Step.ORDER) == (state in ("refused", "failed"))
    assert step is not Step.LOOK_THEN_ORDER


@given(
    state=st.sampled_from(STATES),
    try_number=st.integers(1, 9),
    max_tries=st.integers(0, 9),
    resubmit=st.booleans(),
    fingerprint=st.sampled_from([FINGERPRINT, OTHER]),
)
def test_what_is_out_and_unchanged_is_never_ordered_again(
    state: State, try_number: int, max_tries: int, resubmit: bool, fingerprint: dict[str, str]
) -> None:
    attempt = an_attempt(try_number=try_number, max_tries=max_tries)
    step = decide(a_record(state), attempt, fingerprint, resubmit_ambiguous=resubmit).step
    if state == "submitted" and fingerprint == FINGERPRINT:
        assert step is Step.TAKE_UP
    if state == "intent" and not resubmit:
        assert step is Step.REPORT_AMBIGUOUS
