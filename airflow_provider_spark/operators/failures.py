"""Which failures end a task for good, and what to tell about the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_spark.api.errors import (
    SparkDanceAmbiguousSubmitError,
    SparkDanceError,
    SparkDanceGenerationFailedError,
    SparkDanceHostError,
)

Error = TypeVar("Error", bound=SparkDanceError)


@contextmanager
def failing_for_good(*, ordered: bool, retry_ambiguous: bool = False) -> Iterator[None]:
    """Raise what a retry can't mend as ``AirflowFailException``, so that no user setting retries it.

    :param ordered: whether an order is known to be accepted. Before that, only what the
        vendor can't have taken as an order may be repeated; after it a retry costs nothing.
    :param retry_ambiguous: the user lets a retry repeat a submit that may have been taken.
    """
    try:
        yield
    except SparkDanceError as error:
        if retry_ambiguous and isinstance(error, SparkDanceAmbiguousSubmitError):
            raise
        if is_final(error, ordered=ordered):
            raise AirflowFailException(str(error)) from error
        raise


def reworded(error: Error, text: str) -> Error:
    """Return the same error with another text."""
    return type(error)(
        text,
        http_status=error.http_status,
        code=error.code,
        vendor_message=error.vendor_message,
        generation_id=error.generation_id,
        in_vendor_form=error.in_vendor_form,
    )


def is_final(error: SparkDanceError, *, ordered: bool) -> bool:
    """Whether a retry can't mend it; ``ordered`` as for :func:`failing_for_good`."""
    if isinstance(error, SparkDanceGenerationFailedError):
        return not error.may_reorder
    if isinstance(error, SparkDanceHostError):
        return True
    return not ordered and not error.may_repeat
