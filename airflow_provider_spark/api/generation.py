"""What the vendor answers about a generation, read leniently: no odd value in any field is an error."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from airflow_provider_spark.api.errors import (
    GATEWAY_CODES,
    REQUEST_CODES,
    ErrorDetail,
    SparkDanceGenerationFailedError,
    read_error,
)
from airflow_provider_spark.api.text import clean, is_web_url, show_url

Status = Literal["queued", "in_progress", "completed", "failed", "cancelled", "expired", "unknown"]

_STATUSES: Mapping[str, Status] = {
    "pending": "queued",
    "queued": "queued",
    "in_queue": "queued",
    "processing": "in_progress",
    "running": "in_progress",
    "in_progress": "in_progress",
    "done": "completed",
    "succeeded": "completed",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "expired": "expired",
}

MAX_EVENT_BYTES = 4096
MAX_METADATA_BYTES = 1024
YEAR_10000 = 253_402_300_800
"""Unix seconds that no date reaches; a greater number is no moment, whatever the vendor means by it."""

_ID = re.compile(r"[\x21-\x7e]{1,256}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,2})?")
_VIDEO_FILE = re.compile(r"\.(mp4|m4v|mov|webm|mkv)$", re.IGNORECASE)
_IMAGE_FILE = re.compile(r"\.(png|jpe?g|webp|bmp|tiff?|gif)$", re.IGNORECASE)


class Generation(BaseModel):
    """One job at the vendor, as its last reply showed it. None is "not told, or not readable".

    `model_validate` takes a reply as a dict, `model_validate_json` as bytes; both take what `to_event` gives.
    Two generations are equal where these fields are, whatever else their replies said.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)

    id: str | None = None
    status: Status = "unknown"
    vendor_status: str | None = None
    """The vendor's own word for the status."""
    model: str | None = None
    progress: float | None = None
    """From 0 to 1."""
    created_at: float | None = None
    """Unix seconds."""
    completed_at: float | None = None
    """Unix seconds, from the metadata."""
    video_url: str | None = None
    last_frame_url: str | None = None
    job_id: str | None = None
    """The renderer's own id, behind the vendor's gateway."""
    duration: float | None = None
    """Seconds: the video item's number, else the output's."""
    resolution: str | None = None
    ratio: str | None = None
    fps: float | None = None
    format: str | None = None
    seed: int | None = None
    cost: Decimal | None = None
    """What was billed, in USD."""
    discount: float | None = None
    error_code: str | None = None
    error_message: str | None = None
    metadata: dict[str, Any] | None = None
    """The vendor's metadata, cut at 1 KB of JSON."""

    _raw: Mapping[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, reply: Any, handler: "ModelWrapValidatorHandler[Generation]") -> "Generation":
        if not isinstance(reply, Mapping):
            return handler(reply)
        generation = handler(_fields(reply))
        generation._raw = reply
        return generation

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if isinstance(other, Generation) else NotImplemented

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in self.__dict__.items():
            if value is not None and name != "metadata":
                yield name, show_url(value) if name.endswith("_url") else value

    @property
    def raw(self) -> Mapping[str, Any]:
        """The reply that this was read from, unknown keys included."""
        return self._raw

    @property
    def error(self) -> ErrorDetail | None:
        """What the vendor says went wrong; None where it gave no error, or an empty one."""
        if self.error_code is None and self.error_message is None:
            return None
        return ErrorDetail(self.error_code, self.error_message)

    @property
    def is_terminal(self) -> bool:
        """Nothing more will happen to it. A status word that nobody knows is not the end."""
        return self.status in ("completed", "failed", "cancelled", "expired")

    @property
    def is_completed(self) -> bool:
        """It ended well."""
        return self.status == "completed" and self.error is None

    @property
    def is_failed(self) -> bool:
        """It ended otherwise: failed, cancelled, expired, or "completed" with an error."""
        return self.is_terminal and not self.is_completed

    @property
    def is_failure_in_doubt(self) -> bool:
        """`failed`, but by the gateway's look at the renderer (003005096 to 003005098), which may clear up."""
        return self.status == "failed" and self.error_code in GATEWAY_CODES

    def failure(self) -> SparkDanceGenerationFailedError:
        """Give the exception for a generation that `is_failed`."""
        word = "ended with an error" if self.status == "completed" else self.status
        error = self.error or ErrorDetail()
        if error.is_moderation:
            advice = "The vendor's moderation refused it. Change the prompt or the picture."
        elif error.code in REQUEST_CODES:
            advice = "The same order would fail again. Change its parameters."
        else:
            advice = "The order itself is not at fault: a new one, at its own cost, can succeed."
        video = f" The reply names a video all the same: {self.video_url}" if self.video_url else ""
        return SparkDanceGenerationFailedError(
            f"Generation {self.id} {word}: {self.error or 'no reason given'}."
            f" Only renders that succeed are billed. {advice}{video}",
            code=error.code,
            vendor_message=error.message,
            generation_id=self.id,
            in_vendor_form=True,
        )

    def to_event(self) -> dict[str, Any]:
        """Give a form of JSON types and at most 4 KB that `model_validate` reads back to an equal generation.

        It is shaped like a reply. Where that would be longer than 4 KB, metadata go first, then the error's message,
        then the URLs: a completed event without a URL is a reason to ask the vendor once more.
        """
        items: list[dict[str, Any]] = [
            {"type": "video", "url": self.video_url, "duration": self.duration, "jobId": self.job_id},
            {"type": "image", "url": self.last_frame_url},
        ]
        names = ("resolution", "ratio", "fps", "format", "seed")
        event: dict[str, Any] = {
            "id": self.id,
            "status": self.vendor_status,
            "model": self.model,
            "progress": self.progress,
            "created_at": self.created_at,
            "output": [{"content": items} | {name: getattr(self, name) for name in names}],
            "usage": {"cost": None if self.cost is None else str(self.cost), "discount": self.discount},
            "error": {"code": self.error_code, "message": self.error_message} if self.error else None,
            "metadata": self.metadata,
        }
        cuts: list[tuple[dict[str, Any], str]] = [
            (event, "metadata"),
            (event["error"] or {}, "message"),
            (items[1], "url"),
            (items[0], "url"),
        ]
        for holder, key in cuts:
            if len(json.dumps(event)) <= MAX_EVENT_BYTES:
                break
            holder[key] = None
        return event


def _fields(reply: Mapping[str, Any]) -> dict[str, Any]:
    word = reply.get("status")
    word = _text(word, 64) if isinstance(word, str) else None
    metadata = _metadata(reply.get("metadata"))
    usage = reply.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    fields: dict[str, Any] = {
        "id": read_id(reply.get("id")),
        "status": _STATUSES.get(re.sub(r"[\s-]+", "_", word.lower()), "unknown") if word else "unknown",
        "vendor_status": word,
        "model": _text(reply.get("model"), 64),
        "progress": _progress(reply.get("progress")),
        "created_at": _time(reply.get("created_at")),
        "completed_at": _time(metadata.get("completed_at")) if metadata else None,
        "cost": _decimal(usage.get("cost")),
        "discount": _number(usage.get("discount")),
        "metadata": metadata,
    }
    if output := reply.get("output"):
        fields |= _outputs(output, reply)
    if error := read_error(reply.get("error")):
        fields |= {"error_code": error.code, "error_message": error.message}
    return fields


def _outputs(value: object, reply: Mapping[str, Any]) -> dict[str, Any]:
    outputs = _objects(value)
    items = [item for output in outputs for item in (*_objects(output.get("content")), output)]
    found = [(_kind(item, url), url, item) for item in items if (url := _url(item))]
    video = next((entry for entry in found if entry[0] == "video"), None)
    if video is None:
        # A paid video must not be lost for want of a type: what is no picture is taken for it.
        video = next((entry for entry in found if entry[0] is None), None)
    frame = next((url for kind, url, _ in found if kind == "image"), None)
    places = [*([video[2]] if video else []), *outputs, *items, reply]

    def first(key: str, read: Any) -> Any:
        return next((value for place in places if (value := read(place.get(key))) is not None), None)

    return {
        "video_url": video[1] if video else None,
        "last_frame_url": frame,
        "job_id": first("jobId", lambda value: _text(value, 128)),
        "duration": first("duration", _positive),
        "resolution": first("resolution", lambda value: _text(value, 32)),
        "ratio": first("ratio", lambda value: _text(value, 32)),
        "fps": first("fps", _positive),
        "format": first("format", lambda value: _text(value, 32)),
        "seed": first("seed", _seed),
    }


def _objects(value: object) -> list[Mapping[str, Any]]:
    values = value[:20] if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, Mapping)]


def _url(item: Mapping[str, Any]) -> str | None:
    for key in ("url", "video_url", "image_url"):
        value = item.get(key)
        if isinstance(value, Mapping):
            value = value.get("url")
        if isinstance(value, str) and len(value := value.strip()) <= 8192 and is_web_url(value):
            return value
    return None


def _kind(item: Mapping[str, Any], url: str) -> Literal["video", "image"] | None:
    word = item.get("type")
    if isinstance(word, str):
        if "video" in word.lower():
            return "video"
        if "image" in word.lower() or "frame" in word.lower():
            return "image"
    path = urlsplit(url).path
    if _VIDEO_FILE.search(path):
        return "video"
    return "image" if _IMAGE_FILE.search(path) else None


def read_id(value: object) -> str | None:
    """Read a generation's id: text or a whole number; None for what can't be one."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**30:
        value = str(value)
    if isinstance(value, str) and _ID.fullmatch(value := value.strip()) and value.strip("."):
        return value
    return None


def _text(value: object, limit: int) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        value = str(value)
    return clean(value, limit) or None if isinstance(value, str) else None


def _decimal(value: object) -> Decimal | None:
    """Read a price: a plain number or its text, from 0 to a billion."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = value.strip() if isinstance(value, str) else repr(value) if abs(value) < 10**12 else ""
    text = text.removeprefix("$").removesuffix("USD").strip()
    if not _NUMBER.fullmatch(text):
        return None
    number = Decimal(text)
    return number if 0 <= number < 10**9 else None


def _number(value: object) -> float | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 10**15:
        return None
    return float(value)


def _positive(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and 0 < number < 10**6 else None


def _seed(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number.is_integer() and -1 <= number < 2**32 else None


def _progress(value: object) -> float | None:
    if isinstance(value, str) and value.rstrip().endswith("%"):
        percent = _number(value.rstrip()[:-1])
        value = None if percent is None else percent / 100
    number = _number(value)
    if number is None or not 0 <= number <= 100:
        return None
    # Documented is 0 to 1; what lies beyond can only be percent.
    return number if number <= 1 else number / 100


def _time(value: object) -> float | None:
    """Read a moment as Unix seconds: a number of seconds or milliseconds, or ISO 8601 (UTC unless told)."""
    seconds = _number(value)
    if seconds is None:
        if not isinstance(value, str) or len(value) > 64:
            return None
        try:
            moment = _datetimes().validate_python(value)
        except ValidationError:
            return None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if seconds >= 10**11:
        seconds /= 1000
    return seconds if 0 < seconds < YEAR_10000 else None


@cache
def _datetimes() -> TypeAdapter[datetime]:
    # datetime.fromisoformat doesn't read "Z" before Python 3.11.
    return TypeAdapter(datetime)


def _metadata(value: object) -> dict[str, Any] | None:
    """Cut metadata at 1 KB by leaving out what doesn't fit or can't be JSON; the documented times come first."""
    if not isinstance(value, Mapping) or not value:
        return None
    room = MAX_METADATA_BYTES - 2
    kept: dict[str, Any] = {}
    for key in sorted(value, key=lambda key: key not in ("completed_at", "in_queue_at", "upload_at")):
        if not isinstance(key, str) or len(kept) >= 100:
            continue
        try:
            text = json.dumps({key: value[key]}, allow_nan=False, ensure_ascii=False)
            size = len(text.encode())
        except (ValueError, TypeError, RecursionError):
            continue
        # Airflow's serialiser recurses several frames a level.
        if size <= room and text.count("[") + text.count("{") <= 50:
            kept[key] = value[key]
            room -= size
    return kept or None
