"""What a task leaves for others when it ends: the reason of its failure in XCom, its result in its assets' events."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, Asset

from airflow_provider_spark.api.errors import (
    SparkDanceAmbiguousSubmitError,
    SparkDanceContentRefusedError,
    SparkDanceError,
    SparkDanceGenerationFailedError,
)
from airflow_provider_spark.api.text import clean

if TYPE_CHECKING:
    from airflow_provider_spark.ledger.order import Order
    from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator

FAILURE_KEY = "failure"
LONGEST_REASON = 600

Method = TypeVar("Method", bound=Callable[..., Any])


class Failure(TypedDict):
    """Why a task has no result. Airflow keeps nothing of a failed task but its log."""

    map_index: int
    outcome: str
    """``failed``, or ``skipped`` where moderation refused it and that was to skip it."""
    reason: str
    code: str | None
    """The vendor's error code."""
    generation_id: str | None
    may_be_billed: bool
    """Whether the vendor may still bill what was ordered: it renders on, or no one can tell whether it was taken."""


def failure_of(error: Exception, *, map_index: int, order: Order | None) -> Failure:
    """Return what to tell of a failure, without anything that mustn't be shown.

    :param order: what this attempt has ordered or taken up.
    """
    ours = next((cause for cause in _causes(error) if isinstance(cause, SparkDanceError)), None)
    spoken = ours is not None or isinstance(error, AirflowFailException | AirflowSkipException)
    generation_id = ours.generation_id if ours is not None else None
    if generation_id is None and order is not None:
        generation_id = order.generation_id
    settled = isinstance(ours, SparkDanceGenerationFailedError | SparkDanceContentRefusedError)
    return Failure(
        map_index=map_index,
        outcome="skipped" if isinstance(error, AirflowSkipException) else "failed",
        # What a stranger raises may quote anything.
        reason=clean(str(error), LONGEST_REASON) if spoken else f"{type(error).__name__}; see the task's log",
        code=ours.code if ours is not None else None,
        generation_id=generation_id,
        may_be_billed=isinstance(ours, SparkDanceAmbiguousSubmitError) or (generation_id is not None and not settled),
    )


def leaving_word(method: Method) -> Method:
    """Let what runs a task leave word: under ``failure`` in XCom, or in the events of its ``outlets``.

    A failure to leave word changes nothing about how the task ends.
    """

    @wraps(method)
    def run(self: SparkDanceGenerateVideoOperator, *args: Any, **kwargs: Any) -> Any:
        context = kwargs["context"] if "context" in kwargs else args[-1]
        try:
            result = method(self, *args, **kwargs)
        except Exception as error:
            _quietly(self, _push, self, context["ti"], error)
            raise
        _quietly(self, _announce, self, context, result)
        return result

    return cast("Method", run)


def _push(operator: SparkDanceGenerateVideoOperator, ti: Any, error: Exception) -> None:
    map_index = -1 if ti.map_index is None else ti.map_index
    ti.xcom_push(key=FAILURE_KEY, value=failure_of(error, map_index=map_index, order=operator.order))


def _announce(operator: SparkDanceGenerateVideoOperator, context: Any, result: Any) -> None:
    for outlet in operator.outlets:
        if isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra = dict(result)


def _quietly(operator: SparkDanceGenerateVideoOperator, say: Callable[..., None], *what: Any) -> None:
    try:
        say(*what)
    except Exception as error:
        operator.log.warning("The task's word for others couldn't be left (%s).", type(error).__name__)


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__
    return found
