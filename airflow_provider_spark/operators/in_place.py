"""Repeating on the spot what is safe to repeat, before Airflow's retries have their turn."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import tenacity

from airflow_provider_spark.api.errors import SparkDanceError, SparkDanceRateLimitError
from airflow_provider_spark.ledger.record import SparkDanceOvertakenError
from airflow_provider_spark.operators.interruption import InterruptedTaskError

if TYPE_CHECKING:
    from airflow_provider_spark.ledger.ledger import Log

# Seconds from the first try after which none is begun.
PATIENCE = 180.0
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 30.0


def in_place(log: Log, sleep: Callable[[float], None]) -> tenacity.Retrying:
    """Return what repeats a call for up to three minutes, as long as it can't have ordered anything.

    Pauses are random and grow up to 30 seconds; one that the vendor asks for (``Retry-After``) is kept where it
    ends within the three minutes. After them the last error is raised as it is.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_repeat),
        wait=_pause,
        stop=tenacity.stop_before_delay(PATIENCE),
        sleep=sleep,
        before_sleep=lambda state: log.warning("%s Trying again in %.0f s.", _error(state), state.upcoming_sleep),
        reraise=True,
    )


_backoff = tenacity.wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE, min=FIRST_PAUSE / 2)


def _may_repeat(error: BaseException) -> bool:
    # These two may be repeated by another attempt only.
    is_over = isinstance(error, (InterruptedTaskError, SparkDanceOvertakenError))
    return isinstance(error, SparkDanceError) and error.may_repeat and not is_over


def _pause(state: tenacity.RetryCallState) -> float:
    pause = _backoff(state)
    error = _error(state)
    if isinstance(error, SparkDanceRateLimitError) and error.retry_after is not None:
        # Not all on the second: every waiting task was told the same.
        pause = max(pause, error.retry_after + random.random() * FIRST_PAUSE)
    return pause


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
