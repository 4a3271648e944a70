"""What is said of an order whose outcome no one knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_spark.api.errors import SparkDanceAmbiguousSubmitError
from airflow_provider_spark.operators.result import to_the_second

if TYPE_CHECKING:
    from airflow_provider_spark.ledger.record import Record
    from airflow_provider_spark.operators.job import Terms

UNHEARD_OF = "An earlier try of this task has sent an order, and no one can tell whether the vendor took it."


def ambiguous(text: str, record: Record, terms: Terms) -> SparkDanceAmbiguousSubmitError:
    """Return the error that reports it: when it was sent, what it may cost, and what to do."""
    if terms.resubmit_ambiguous:
        advice = 'Airflow\'s next retry orders again, as on_ambiguous_submit="resubmit" asks.'
    else:
        advice = (
            "Look in the vendor's console for a generation of that second. Clearing this task orders again, "
            "and accepts that both may be charged."
        )
    return SparkDanceAmbiguousSubmitError(f"{sent(text, record)} {advice}")


def sent(text: str, record: Record) -> str:
    """Add to a text when the order was sent and what it may cost."""
    return (
        f"{text} It was sent at {to_the_second(record.submitting_at)}; "
        f"if it was taken and renders, it costs about {record.estimated_cost_usd:.4f} USD."
    )
