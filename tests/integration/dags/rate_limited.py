"""Clips that meet a rate limit at their first try, each retried a second later unless a policy says otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag

from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator

try:
    from airflow.sdk import RetryDecision, RetryPolicy
except ImportError:  # Airflow before 3.3
    pass
else:
    RETRIED: dict[str, Any] = {"retries": 1, "retry_delay": timedelta(seconds=1)}
    CLIP: dict[str, Any] = {"resolution": "480p", "duration": 2, "spark_dance_conn_id": "rate_limiting"}

    class Soon(RetryPolicy):
        """A user's own policy: two seconds, whatever happened."""

        def evaluate(
            self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
        ) -> RetryDecision:
            return RetryDecision.retry(timedelta(seconds=2))

    def clips() -> None:
        SparkDanceGenerateVideoOperator(task_id="plain", prompt="a lighthouse", **CLIP)
        SparkDanceGenerateVideoOperator.partial(task_id="mapped", **CLIP).expand(prompt=["a red kite", "a blue kite"])

    @dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args=RETRIED)
    def rate_limited() -> None:
        clips()
        SparkDanceGenerateVideoOperator(task_id="own_policy", prompt="a harbour", retry_policy=Soon(), **CLIP)

    @dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args=RETRIED | {"retry_policy": Soon()})
    def rate_limited_with_a_policy() -> None:
        clips()

    rate_limited()
    rate_limited_with_a_policy()
