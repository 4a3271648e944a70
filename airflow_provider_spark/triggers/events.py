"""How the end of a wait travels from the trigger to the worker: JSON, at most 4 KB, one line."""

from __future__ import annotations

from typing import Any

from airflow_provider_spark.api import errors
from airflow_provider_spark.api.errors import SparkDanceError
from airflow_provider_spark.api.generation import Generation
from airflow_provider_spark.polling.wait import GaveUp, Settled

MESSAGE_LIMIT = 1_000


def to_event(end: Settled | GaveUp) -> dict[str, Any]:
    """Return the event for the end of a wait: ``{"generation": ...}`` or ``{"error": ...}``."""
    if isinstance(end, Settled):
        return {"generation": end.generation.to_event()}
    error = end.error
    return {
        "error": {
            "kind": type(error).__name__,
            "message": str(error)[:MESSAGE_LIMIT],
            "http_status": error.http_status,
            "code": error.code,
            "vendor_message": error.vendor_message and error.vendor_message[:MESSAGE_LIMIT],
            "generation_id": error.generation_id,
        }
    }


def from_event(event: dict[str, Any]) -> Settled | GaveUp:
    """Return the end of a wait that an event tells of; an event of a newer version is read as far as possible."""
    if event.get("generation") is not None:
        return Settled(Generation.model_validate(event["generation"]))
    told = event.get("error") or {}
    kind = getattr(errors, str(told.get("kind")), SparkDanceError)
    if not (isinstance(kind, type) and issubclass(kind, SparkDanceError)):
        kind = SparkDanceError
    return GaveUp(
        kind(
            told.get("message") or "The wait ended without a reason.",
            http_status=told.get("http_status"),
            code=told.get("code"),
            vendor_message=told.get("vendor_message"),
            generation_id=told.get("generation_id"),
        )
    )
