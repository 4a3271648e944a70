"""What becomes of a clip that the vendor's moderation refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_spark.api.errors import SparkDanceContentRefusedError, SparkDanceGenerationFailedError


class Moderated(Exception):  # noqa: N818 - it never leaves the operator, which decides what it means
    """The vendor's moderation refused an order, or what became of it.

    :param resubmits: how many orders before it were refused too.
    """

    def __init__(
        self, error: SparkDanceContentRefusedError | SparkDanceGenerationFailedError, *, resubmits: int
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.resubmits = resubmits


@contextmanager
def noticing_moderation(*, resubmits: int) -> Iterator[None]:
    """Raise what comes from the vendor's moderation as :class:`Moderated`."""
    try:
        yield
    except SparkDanceContentRefusedError as error:
        raise Moderated(error, resubmits=resubmits) from error
    except SparkDanceGenerationFailedError as error:
        if not error.is_moderation:
            raise
        raise Moderated(error, resubmits=resubmits) from error
