from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.api.pricing import estimate
from airflow_provider_spark.operators import plan

LEGAL_SECONDS = st.floats(29 / 24, 289 / 24)
LENGTH = st.sampled_from([{}, {"seconds": 4}, {"duration": "3"}, {"frames": 57}, {"duration": "", "frames": None}])


@given(LEGAL_SECONDS)
def test_a_length_in_seconds_becomes_one_that_the_vendor_takes_and_at_most_two_frames_off(seconds: float) -> None:
    request = plan.request_of(plan.in_vendors_terms({"prompt": "tea", "seconds": seconds}))
    assert abs(request.frame_count - seconds * 24) <= 2 + 1e-6


@given(st.integers(2, 12), st.sampled_from([int, float, str]))
def test_whole_seconds_become_a_duration(seconds: int, kind: Any) -> None:
    assert plan.in_vendors_terms({"seconds": kind(seconds)}) == {"duration": seconds}


@given(LENGTH, LENGTH)
def test_a_row_has_its_own_length_or_the_one_for_all_and_never_both(defaults: Any, own: Any) -> None:
    merged = plan.over({"prompt": "tea"} | defaults, own)
    given_lengths = {name: value for name, value in own.items() if value not in ("", None)}
    kept = given_lengths or {name: value for name, value in defaults.items() if value not in ("", None)}
    assert {name: value for name, value in merged.items() if name in plan.LENGTHS} == kept
    assert merged["prompt"] == "tea"


@given(st.lists(st.tuples(st.integers(2, 12), st.booleans()), max_size=20))
def test_the_total_is_the_sum_of_the_estimates_and_exact_only_where_all_are(clips: list[tuple[int, bool]]) -> None:
    estimates = [
        estimate(plan.request_of({"prompt": "tea", "duration": seconds, "first_frame": "a.png" if pictured else None}))
        for seconds, pictured in clips
    ]
    total = plan.Total.of(estimates)
    assert total.usd == sum((one.usd for one in estimates), Decimal(0))
    assert total.exact is not any(pictured for _, pictured in clips)
    assert total.seconds == sum(seconds for seconds, _ in clips)
    total.check("all", total.usd)
    if clips:
        with pytest.raises(SparkDanceRequestError, match="Nothing was ordered"):
            total.check("all", total.usd - Decimal("0.0001"))


def test_the_picture_of_a_row_may_lie_anywhere_but_in_the_row_itself() -> None:
    for place in ("https://example.com/a.png", "/srv/a.png", "s3://aws_default@shop/a.png"):
        assert plan.request_of({"first_frame": place}).mode == "first_frame"
    with pytest.raises(SparkDanceRequestError, match="is a data URI"):
        plan.request_of({"first_frame": "data:image/png;base64,QUJD"})
