"""Which failures end a task for good."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_spark.api.errors import (
    SparkDanceError,
    SparkDanceGenerationFailedError,
    SparkDanceHostError,
)


@contextmanager
def failing_for_good(*, ordered: bool) -> Iterator[None]:
    """Raise what a retry can't mend as ``AirflowFailException``, so that no user setting retries it.

    :param ordered: whether an order is known to be accepted. Before that, only what the
        vendor can't have taken as an order may be repeated; after it a retry costs nothing.
    """
    try:
        yield
    except SparkDanceError as error:
        if _is_final(error, ordered=ordered):
            raise AirflowFailException(str(error)) from error
        raise


def _is_final(error: SparkDanceError, *, ordered: bool) -> bool:
    if isinstance(error, SparkDanceGenerationFailedError):
        return not error.may_reorder
    if isinstance(error, SparkDanceHostError):
        return True
    return not ordered and not error.may_repeat
