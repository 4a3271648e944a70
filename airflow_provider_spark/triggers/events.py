"""How the end of a wait travels from the trigger to the worker: JSON, at most 4 KB, one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_spark.api import errors
from airflow_provider_spark.api.errors import SparkDanceError
from airflow_provider_spark.api.generation import Generation
from airflow_provider_spark.polling.wait import GaveUp, Settled

# Bytes of JSON in plain ASCII, where a Chinese character takes six.
EVENT_LIMIT = 4096
MESSAGE_LIMIT = 2000
VENDOR_MESSAGE_LIMIT = 1000


def to_event(end: Settled | GaveUp) -> dict[str, Any]:
    """Return the event for the end of a wait: ``{"generation": ...}`` or ``{"error": ...}``.

    Of what is too long the least needed goes first: metadata, then URLs, which the worker can ask for anew.
    """
    if isinstance(end, Settled):
        generation = end.generation
        event = {"generation": generation.to_event()}
        for spare in ("metadata", "last_frame_url", "video_url", "error_message"):
            if _size(event) <= EVENT_LIMIT:
                break
            generation = generation.model_copy(update={spare: None})
            event = {"generation": generation.to_event()}
        return event
    error = end.error
    return {
        "error": {
            "kind": type(error).__name__,
            "message": _cut(str(error), MESSAGE_LIMIT),
            "http_status": error.http_status,
            "code": error.code,
            "vendor_message": error.vendor_message and _cut(error.vendor_message, VENDOR_MESSAGE_LIMIT),
            "generation_id": error.generation_id,
        }
    }


def from_event(event: Mapping[str, Any] | None) -> Settled | GaveUp:
    """Return the end of a wait that an event tells of; an event of a newer version is read as far as possible."""
    event = event if isinstance(event, Mapping) else {}
    if isinstance(event.get("generation"), Mapping):
        return Settled(Generation.model_validate(event["generation"]))
    told = event.get("error")
    told = told if isinstance(told, Mapping) else {}
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


def _size(value: object) -> int:
    return len(json.dumps(value))


def _cut(text: str, limit: int) -> str:
    while (size := _size(text)) > limit:
        text = text[: min(len(text) - 1, len(text) * limit // size)]
    return text
