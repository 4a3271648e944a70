"""Airflow 3.3 lets an operator say how long to wait before a retry; earlier versions don't."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_spark.api.errors import SparkDanceRateLimitError, SparkDanceVendorError
from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator

airflow_sdk = pytest.importorskip("airflow.sdk.definitions.retry_policy")
RetryAction, RetryDecision, RetryPolicy = (
    airflow_sdk.RetryAction,
    airflow_sdk.RetryDecision,
    airflow_sdk.RetryPolicy,
)


class NoRetries(RetryPolicy):  # type: ignore[misc, valid-type]
    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> Any:
        return RetryDecision.fail()


def rate_limit(retry_after: float | None) -> SparkDanceRateLimitError:
    error = SparkDanceRateLimitError("429")
    error.retry_after = retry_after
    return error


def decision(error: Exception, retry_delay: float = 300) -> Any:
    policy: Any = SparkDanceGenerateVideoOperator(task_id="render", prompt="tea").retry_policy
    task = SimpleNamespace(retry_delay=timedelta(seconds=retry_delay))
    return policy.evaluate(error, 1, 3, {"task": task})


def test_after_a_rate_limit_the_retry_waits_as_long_as_the_vendor_asks() -> None:
    assert decision(rate_limit(600)).action is RetryAction.RETRY
    assert decision(rate_limit(600)).retry_delay == timedelta(seconds=600)


@pytest.mark.parametrize("error", [rate_limit(None), rate_limit(300), rate_limit(5), SparkDanceVendorError("busy")])
def test_everything_else_is_left_as_the_user_has_set_it(error: Exception) -> None:
    assert decision(error) == RetryDecision.default()


def unmapped(**partial: Any) -> Any:
    with DAG("campaign", start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args=partial.pop("default_args", {})):
        mapped = SparkDanceGenerateVideoOperator.partial(task_id="render", **partial).expand(prompt=["tea", "coffee"])
    return mapped.unmap({"prompt": "tea"})


def test_a_mapped_task_has_it_too() -> None:
    assert unmapped().retry_policy.evaluate(rate_limit(600), 1, 3).retry_delay == timedelta(seconds=600)


def test_a_users_own_policy_stays() -> None:
    own = NoRetries()
    assert SparkDanceGenerateVideoOperator(task_id="render", prompt="tea", retry_policy=own).retry_policy is own
    assert unmapped(retry_policy=own).retry_policy is own
    assert unmapped(default_args={"retry_policy": own}).retry_policy is own
    with DAG("campaign", start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args={"retry_policy": own}):
        assert SparkDanceGenerateVideoOperator(task_id="render", prompt="tea").retry_policy is own
