from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.operators.waiting import EXPIRY_GRACE, Waiting
from airflow_provider_spark.polling.schedule import Pace
from tests.unit.ledger.helpers import an_order

SUBMITTED_AT = 1_800_000_000.0
ORDER = an_order(submitted_at=SUBMITTED_AT, expires_after=3600)


def waiting(timeout: float | None = None, execution_timeout: float | None = None) -> Waiting:
    limit = None if execution_timeout is None else timedelta(seconds=execution_timeout)
    return Waiting(for_completion=True, deferrable=True, pace=Pace(), timeout=timeout, execution_timeout=limit)


def deadline(waiting: Waiting, *, after: float = 0.0, taken_up: bool = False) -> float:
    """Return the deadline, in seconds from the submit, of a wait that begins so many seconds after it."""
    return waiting.begin(ORDER, taken_up=taken_up, now=SUBMITTED_AT + after).deadline - SUBMITTED_AT


@pytest.mark.parametrize(
    ("timeout", "execution_timeout", "expected"),
    [(None, None, 3600 + EXPIRY_GRACE), (60, None, 60), (None, 90, 90), (60, 90, 60), (120, 90, 90)],
)
def test_the_earliest_limit_counts_from_the_submit(
    timeout: float | None, execution_timeout: float | None, expected: float
) -> None:
    assert deadline(waiting(timeout, execution_timeout)) == expected
    assert deadline(waiting(timeout, execution_timeout), after=30, taken_up=True) == expected


def test_one_that_is_taken_up_after_its_time_has_it_once_more() -> None:
    assert deadline(waiting(60), after=500, taken_up=True) == 560


@given(timeout=st.floats(1, 1e6), after=st.floats(0, 1e6), taken_up=st.booleans())
def test_taking_up_early_gains_no_time_and_late_never_more_than_one_timeout(
    timeout: float, after: float, taken_up: bool
) -> None:
    found = deadline(waiting(timeout), after=after, taken_up=taken_up)
    if taken_up and after >= timeout:
        assert found == pytest.approx(after + timeout)
    else:
        assert found == pytest.approx(timeout)
