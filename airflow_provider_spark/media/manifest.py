"""The manifest beside a video: what was asked, what came of it and what it cost, to be read in years.

``format`` counts changes of meaning. Names of files are relative to the manifest, so that a folder can be moved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_spark import __version__
from airflow_provider_spark.api.text import is_data_uri, show_url
from airflow_provider_spark.media.artifacts import KeptFile
from airflow_provider_spark.media.errors import SparkDanceManifestError

if TYPE_CHECKING:
    from airflow_provider_spark.api.request import VideoRequest

FORMAT: Final = 1
# Of what the vendor says; a reply is well below it, and what is beyond is no reply.
LONGEST_WORDS: Final = 200_000
DEEPEST: Final = 50

_URL = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)
_DATA_URI = re.compile(r"data:[^\s,]{0,100},[^\s\"'<>]*", re.IGNORECASE)


@dataclass(frozen=True)
class Manifest:
    """A manifest as it was read."""

    generation_id: str
    is_completed: bool
    result: dict[str, Any]
    files: dict[str, KeptFile]
    fingerprint: dict[str, str]
    billed_usd: str | None
    written_at: str

    @classmethod
    def read(cls, content: bytes, place: str) -> Manifest:
        """Read a manifest.

        :param place: where it lies, for the message.
        :raises SparkDanceManifestError: it can't be understood.
        """
        try:
            value = json.loads(content)
            found = value["format"]
            if not isinstance(found, int) or found > FORMAT:
                reason = f"it has format {found}, this version of airflow-provider-spark reads formats up to {FORMAT}"
            else:
                return cls(
                    generation_id=str(value["generation"]["id"]),
                    is_completed=value["generation"]["status"] == "completed" and not value["generation"]["error"],
                    result=dict(value["result"]),
                    files={label: KeptFile.of(file) for label, file in value["files"].items() if file},
                    fingerprint=dict(value["fingerprint"] or {}),
                    billed_usd=value["cost"]["billed_usd"],
                    written_at=str(value["written_at"]),
                )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
        raise SparkDanceManifestError(f"The manifest {place} can't be read ({reason[:300]}).")


def manifest_of(
    *,
    task: Mapping[str, Any],
    generation: Mapping[str, Any],
    request: Mapping[str, Any] | None,
    fingerprint: Mapping[str, str] | None,
    result: Mapping[str, Any],
    cost: Mapping[str, Any],
    files: Mapping[str, KeptFile | None],
    vendor: Mapping[str, Any],
    secrets: tuple[str, ...],
    now: float,
) -> dict[str, Any]:
    """Return a manifest: JSON, no key, no data URI, no URL with its query but those of the results themselves.

    :param vendor: the vendor's last reply, in its own words.
    :param secrets: what must not be in it wherever it comes from.
    :param now: Unix seconds.
    """
    urls = frozenset(url for name in ("video_url", "last_frame_url") if (url := result.get(name)))
    manifest = {
        "format": FORMAT,
        "what": "A video rendered by Spark Dance 1.0 Pro; see docs/files.md of airflow-provider-spark.",
        "written_by": f"airflow-provider-spark {__version__}",
        "written_at": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "task": dict(task),
        "generation": dict(generation),
        "request": request,
        "fingerprint": fingerprint,
        "result": dict(result),
        "cost": dict(cost),
        "files": {label: file and file.to_json() for label, file in files.items()},
    }
    told = _Public(secrets, urls)
    words = told(vendor)
    size = len(json.dumps(words))
    shown: dict[str, Any] = told(manifest)
    return shown | {"vendor": words if size <= LONGEST_WORDS else f"<{size} characters of JSON, left out>"}


def shown_request(request: VideoRequest) -> dict[str, Any]:
    """Return a request for the reader of a manifest: pictures as a URL without its query, or as a checksum."""
    shown = {name: value for name, value in request.params().items() if name != "content"}
    named = {"prompt": request.prompt, "first_frame": request.first_frame, "last_frame": request.last_frame}
    pictures = {name: value for name, value in named.items() if value is not None}
    told: dict[str, Any] = _Public((), frozenset())({**pictures, **shown})
    return told


class _Public:
    """Makes a value fit for a file that is kept: JSON types, without what is secret or only good for a day."""

    def __init__(self, secrets: tuple[str, ...], urls: frozenset[str]) -> None:
        self._secrets = secrets
        self._urls = urls

    def __call__(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if value == value and abs(value) != float("inf") else None
        if depth > DEEPEST:
            return "<nested too deeply, left out>"
        if isinstance(value, Mapping):
            return {self._text(str(name)): self(item, depth + 1) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self(item, depth + 1) for item in value]
        return str(value)

    def _text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        if text in self._urls:
            return text
        if is_data_uri(text):
            return show_url(text)
        text = _DATA_URI.sub(lambda found: show_url(found[0]), text)
        return _URL.sub(lambda found: found[0].partition("#")[0].partition("?")[0], text)
