"""What makes two orders the same, without keeping what they say."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from airflow_provider_spark.api.text import is_data_uri

if TYPE_CHECKING:
    from airflow_provider_spark.api.request import VideoRequest

DIGEST_LENGTH = 16


def fingerprint(request: VideoRequest, *, connection_id: str, base_url: str) -> dict[str, str]:
    """Return a checksum for each field of an order that isn't at its default.

    A URL counts without its query, since signed URLs differ each time they are made; a data
    URI by its bytes. Neither a prompt nor the key can be read out of it.
    """
    fields: dict[str, Any] = {
        "connection": connection_id,
        "base_url": base_url,
        "prompt": request.prompt,
        "first_frame": _bare(request.first_frame),
        "last_frame": _bare(request.last_frame),
        "callback_url": _bare(request.callback_url),
    }
    for name, field in type(request).model_fields.items():
        if name not in fields and name != "content" and (value := getattr(request, name)) != field.default:
            fields[name] = value
    return {name: _digest(value) for name, value in fields.items() if value is not None}


def changes(before: dict[str, str], after: dict[str, str]) -> tuple[str, ...]:
    """Return the names of the fields that differ, sorted."""
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


def _bare(url: str | None) -> str | None:
    if url is None or is_data_uri(url):
        return url
    return url.partition("#")[0].partition("?")[0]


def _digest(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGEST_LENGTH]
