"""Amounts and choices, as an operator gets them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.operators import values

CHOICES = ("fail", "resubmit", "skip")


@pytest.mark.parametrize("value", [None, "", "  ", "None"])
def test_what_is_not_set_is_no_limit_and_the_first_choice(value: Any) -> None:
    assert values.usd("max_cost_usd", value) is None
    assert values.choice("on_moderation", value, CHOICES) == "fail"


@given(st.decimals(0, 1000, places=4))
def test_an_amount_is_the_same_as_a_number_and_as_text(amount: Decimal) -> None:
    assert values.usd("max_cost_usd", amount) == values.usd("max_cost_usd", f" {amount} ") == amount
    assert values.usd("max_cost_usd", float(amount)) == Decimal(str(float(amount)))


@pytest.mark.parametrize("value", [True, -0.01, "-1", "1 USD", "1,5", "nan", "inf", [1], object()])
def test_what_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(SparkDanceRequestError, match="max_cost_usd must be an amount in USD of 0 or more"):
        values.usd("max_cost_usd", value)


@pytest.mark.parametrize("value", ["Skip", "retry", 1, True])
def test_what_is_no_choice_is_refused(value: Any) -> None:
    with pytest.raises(SparkDanceRequestError, match="on_moderation must be"):
        values.choice("on_moderation", value, CHOICES)
