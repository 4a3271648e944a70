"""How long Airflow waits before a retry, where it lets an operator say so (3.3 and later)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_spark.api.errors import SparkDanceRateLimitError
from airflow_provider_spark.polling.wait import LONGEST_RETRY_AFTER

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

try:
    from airflow.sdk import RetryDecision, RetryPolicy
except ImportError:  # Airflow before 3.3 knows only the fixed retry_delay

    def delay_after_rate_limit(operator: BaseOperator) -> None:
        """Do nothing: this Airflow has no retry policies."""

else:

    class RateLimitDelay(RetryPolicy):
        """After a rate limit, waits as long as the vendor asks where that is longer than ``retry_delay``.

        Whether there is a retry, and every other delay, stays the user's to set.
        """

        def evaluate(
            self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
        ) -> RetryDecision:
            """Return the delay for a rate limit, no opinion for anything else."""
            asked = exception.retry_after if isinstance(exception, SparkDanceRateLimitError) else None
            asked = None if asked is None else min(asked, LONGEST_RETRY_AFTER)
            usual = context["task"].retry_delay if context else timedelta(0)
            if asked is None or timedelta(seconds=asked) <= usual:
                return RetryDecision.default()
            return RetryDecision.retry(timedelta(seconds=asked), reason=f"the vendor asks to wait {asked:g} s")

    def delay_after_rate_limit(operator: BaseOperator) -> None:
        """Give the operator the delay, unless its author has set a policy."""
        # Set after __init__ since partial() passes retry_policy=None, which a default argument wouldn't replace.
        if operator.retry_policy is None:
            operator.retry_policy = RateLimitDelay()
