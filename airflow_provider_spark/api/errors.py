"""The vendor's error codes and answers, sorted into exceptions that say what may be done next."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

from airflow_provider_spark.api.text import clean

ERROR_CODES: Mapping[str, str] = MappingProxyType(
    {
        "003005001": "the order has neither a prompt nor a picture",
        "003005002": "the prompt and pictures are not in the expected form",
        "003005003": "a picture is of a kind, size or shape that the model does not take",
        "003005004": "the model takes one picture, or a first and a last one",
        "003005005": "the resolution is not one that the model renders",
        "003005006": "the aspect ratio is not one that the model renders",
        "003005007": "the length in seconds is out of range",
        "003005008": "the number of frames, or the frame rate, is not one that the model renders",
        "003005009": "the seed is out of range",
        "003005010": "a switch is neither true nor false",
        "003005011": "an item of the content does not say whether it is text or a picture",
        "003005012": "a text item has no text",
        "003005013": "a picture item has no URL",
        "003005014": "a picture item's URL is not in the expected form",
        "003005095": "the render broke on the vendor's side",
        "003005096": "the vendor's gateway could not read the renderer's answer",
        "003005097": "the vendor's gateway got an HTTP error from the renderer",
        "003005098": "the vendor's gateway could not look up the state of the render",
        "003005099": "the model is not available at the moment",
    }
)
"""Every documented code, nine digits, and what it means in our words."""

REQUEST_CODES = frozenset(code for code in ERROR_CODES if code <= "003005014")
"""Codes that speak of the order itself: the same order will be refused again."""

GATEWAY_CODES = frozenset({"003005096", "003005097", "003005098"})
"""Codes that speak of the gateway's look at the renderer: what became of the render they don't say."""

BALANCE_CODES = range(40201, 40209)
"""The account system's `error_code`s for an empty or blocked balance, under whatever HTTP status."""

_MODERATION = re.compile(r"sensitive[\W_]*(content|information)", re.IGNORECASE)


def normalise_code(value: object) -> str | None:
    """Read a code as text, numbers padded to nine digits: 3005095 and "3005095" are "003005095"; 0 is no code."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**9:
        value = int(value)
    if isinstance(value, int):
        return f"{value:09}" if 0 < value < 10**12 else None
    if isinstance(value, str):
        text = clean(value, 80)
        if text.isascii() and text.isdigit():
            text = text.zfill(9)
        return text if text.strip("0") else None
    return None


def is_moderation(code: str | None, message: str | None) -> bool:
    """Whether an error comes from the vendor's moderation, which names SensitiveContent in some form."""
    return any(text is not None and _MODERATION.search(text) is not None for text in (code, message))


@dataclass(frozen=True)
class ErrorDetail:
    """What the vendor says went wrong: a code (nine digits where it is a number), a message, or both."""

    code: str | None = None
    message: str | None = None
    is_balance: bool = False
    """The account system says that the balance doesn't allow it."""

    @property
    def meaning(self) -> str | None:
        """The code in our words, where it is a documented one."""
        return ERROR_CODES.get(self.code or "")

    @property
    def is_moderation(self) -> bool:
        """The vendor's moderation refused a prompt, a picture or the finished video."""
        return is_moderation(self.code, self.message)

    def __str__(self) -> str:
        known = f" ({self.meaning})" if self.meaning else ""
        parts = (f"code {self.code}{known}" if self.code else "", f"“{self.message}”" if self.message else "")
        return ": ".join(part for part in parts if part)


def read_error(value: object) -> ErrorDetail | None:
    """Read the `error` of a reply: an object, a plain text or a bare code.

    None for what is no error: null, {}, "", a code 0 without a message (or with one that says "ok").
    """
    if isinstance(value, list):
        # Lists in lists aren't followed: a hostile reply could nest them deeper than Python's stack.
        items = (item for item in value[:10] if not isinstance(item, list))
        return next((detail for detail in map(read_error, items) if detail), None)
    if isinstance(value, str):
        value = {"message": value}
    if not isinstance(value, Mapping):
        code = normalise_code(value)
        return ErrorDetail(code) if code else None
    codes = [value.get(key) for key in ("code", "error_code")]
    named = [code for code in map(normalise_code, codes) if code]
    texts = (value.get(key) for key in ("error_message", "message", "msg"))
    message = next((cleaned for text in texts if isinstance(text, str) and (cleaned := clean(text))), None) or ""
    if not named and message.lower() in ("", "ok", "success"):
        return None
    balance = any(code.isascii() and code.isdigit() and int(code) in BALANCE_CODES for code in named)
    return ErrorDetail(named[0] if named else None, message or None, balance)


def find_error(body: object) -> tuple[ErrorDetail, Literal["error", "status", "message"]] | None:
    """Find the error in a whole reply, in any form of the vendor's, and say under which key it was.

    The forms: `{"error": {...}}`, `{"error": "text"}`, `{"status": {"code", "message", "error_code"}}` and
    `{"message": "text"}`, the last with or without a `code` beside it.
    """
    if not isinstance(body, Mapping):
        return None
    if detail := read_error(body.get("error")):
        return detail, "error"
    status = body.get("status")
    if isinstance(status, Mapping):
        # `code` repeats the HTTP status here; the `error_code` says more.
        code = normalise_code(status.get("error_code")) or normalise_code(status.get("code"))
        if code not in ("000000200", "000000201", "000000202") and (detail := read_error({**status, "code": code})):
            return detail, "status"
    if detail := read_error({key: value for key, value in body.items() if key not in ("error", "status")}):
        return detail, "message"
    return None


class SparkDanceError(Exception):
    """Anything that went wrong between this provider and the vendor; `str()` is written for the task's log."""

    may_repeat: ClassVar[bool] = False
    """The same call may be made again without asking anyone: it can't have ordered anything."""

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        code: str | None = None,
        vendor_message: str | None = None,
        generation_id: str | None = None,
        in_vendor_form: bool = False,
        gist: str | None = None,
    ) -> None:
        super().__init__(message)
        self.gist = message if gist is None else gist
        """What happened in itself: neither which generation was asked for, nor what becomes of it."""
        self.http_status = http_status
        self.code = code
        """The vendor's code; nine digits where it is a number."""
        self.vendor_message = vendor_message
        """The vendor's own words on one line, cut short, without the key."""
        self.generation_id = generation_id
        self.in_vendor_form = in_vendor_form
        """The answer was in one of the vendor's forms, so that it is the vendor who spoke."""


class SparkDanceConfigurationError(SparkDanceError):
    """The connection can't be right: the key can't go into a header, or the host or the proxy is no URL."""


class SparkDanceConnectionLookupError(SparkDanceConfigurationError):
    """Airflow can't say at the moment what the connection is: nothing was sent."""

    may_repeat = True


class SparkDanceRequestError(SparkDanceError, ValueError):
    """The order can't be right: it breaks a documented limit, or the vendor refused it as it stands."""

    problems: tuple[str, ...] = ()
    """Each broken limit on a line: the field, its value, the limit. Empty where the vendor found the fault."""


class SparkDancePictureUnavailableError(SparkDanceError):
    """A first or last frame can't be read at the moment, though it may be there: nothing was sent."""

    may_repeat = True


class SparkDanceAuthenticationError(SparkDanceError):
    """The vendor doesn't take the API key."""


class SparkDanceAccountError(SparkDanceError):
    """The account has no balance for this, or no permission."""


class SparkDanceContentRefusedError(SparkDanceError):
    """The vendor's moderation refused the prompt or a picture."""


class SparkDanceRateLimitError(SparkDanceError):
    """Too many calls for the moment."""

    may_repeat = True
    retry_after: float | None = None
    """Seconds from the answer after which the vendor wants the next call; None where it doesn't say."""


class SparkDanceVendorError(SparkDanceError):
    """The vendor is at fault. On a submit it has refused the order; on a poll it says nothing of the render."""

    may_repeat = True


class SparkDanceUnreachableError(SparkDanceError):
    """The vendor can't be reached (DNS, connect, TLS, proxy): nothing was sent."""

    may_repeat = True


class SparkDanceHostError(SparkDanceError):
    """The host is wrong: it redirects, or who answers there isn't the vendor."""


class SparkDanceAmbiguousSubmitError(SparkDanceError):
    """The order went out, and no one can tell from here whether the vendor took it: repeating it may pay twice."""


class SparkDanceNotFoundError(SparkDanceError):
    """The vendor doesn't know the generation (or not yet, or no longer)."""


class SparkDanceGenerationFailedError(SparkDanceError):
    """The vendor took the order and the render failed; failed renders aren't billed."""

    @property
    def is_moderation(self) -> bool:
        """The vendor's moderation refused the prompt, a picture or the finished video."""
        return is_moderation(self.code, self.vendor_message)

    @property
    def may_reorder(self) -> bool:
        """Whether the same order can end otherwise: not where the order itself or its content is the cause."""
        return self.code not in REQUEST_CODES and not self.is_moderation


class SparkDanceTimeoutError(SparkDanceError):
    """The wait ran out; the render may still go on, and is billed if it succeeds."""
