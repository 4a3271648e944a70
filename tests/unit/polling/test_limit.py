from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.polling.limit import RateLimit


def calls(limit: RateLimit, moments: list[float]) -> list[float]:
    """When calls go that are wanted at these moments."""
    gone: list[float] = []
    for moment in moments:
        at = max(moment, limit.next_call_at(), gone[-1] if gone else 0)
        limit.take(at)
        gone.append(at)
    return gone


@given(
    per_second=st.floats(0.02, 2000),
    pauses=st.lists(st.floats(0, 3) | st.just(0.0), min_size=1, max_size=300),
)
def test_no_second_has_more_calls_than_the_limit(per_second: float, pauses: list[float]) -> None:
    now, wanted = 0.0, []
    for pause in pauses:
        now += pause
        wanted.append(now)
    gone = calls(RateLimit(per_second), wanted)
    for start in range(len(gone)):
        within = sum(gone[start] <= at < gone[start] + 1 - 1e-9 for at in gone)
        assert within <= math.ceil(per_second)


@pytest.mark.parametrize("per_second", [0.5, 1, 7, 50, 1000])
def test_the_limit_is_used(per_second: float) -> None:
    gone = calls(RateLimit(per_second), [0.0] * 500)
    assert 499 / gone[-1] >= 0.9 * per_second


@pytest.mark.parametrize("late", [0.001, 0.02, 0.04])
def test_a_timer_that_fires_late_costs_no_calls(late: float) -> None:
    limit = RateLimit(20)
    now = 0.0
    for _ in range(200):
        now = max(now, limit.next_call_at()) + (late if _ % 2 else 0)
        limit.take(now)
    assert 200 / now >= 0.88 * 20


def test_no_call_goes_before_the_vendor_wants_it() -> None:
    limit = RateLimit(100)
    limit.take(10)
    limit.slow_down(10.1, asked_at=10, retry_after=30)
    assert limit.next_call_at() == pytest.approx(40.1)
    limit.slow_down(10.2, asked_at=10.05, retry_after=5)
    assert limit.next_call_at() == pytest.approx(40.1)


def test_answers_to_calls_that_were_under_way_cut_the_rate_once() -> None:
    limit = RateLimit(100)
    for answer in range(30):
        limit.slow_down(5 + answer / 100, asked_at=4.9, retry_after=None)
    assert limit.share(5.3) == pytest.approx(0.5, abs=0.01)
    limit.slow_down(6, asked_at=5.5, retry_after=None)
    assert limit.share(6) == pytest.approx(0.25, abs=0.01)


def test_no_series_of_cuts_stops_all_calls() -> None:
    limit = RateLimit(64)
    for moment in range(100):
        limit.slow_down(moment, asked_at=moment, retry_after=None)
    assert limit.share(99) >= 1 / 64
    assert limit.next_call_at() < 99 + 2.2


@given(st.lists(st.floats(0, 400), min_size=2))
def test_recovery_is_gradual_and_complete(moments: list[float]) -> None:
    limit = RateLimit(10)
    limit.slow_down(0, asked_at=0, retry_after=20)
    shares = [limit.share(moment) for moment in sorted(moments)]
    assert shares == sorted(shares)
    assert limit.share(500) == 1
