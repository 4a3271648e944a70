"""The vendor's protocol without I/O: how a call is written, and what each answer or fault means.

The clients send what this builds and hand back what came. The table "Failures" of the design is here, once.
"""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from airflow_provider_spark import __version__
from airflow_provider_spark.api.endpoint import Endpoint
from airflow_provider_spark.api.errors import (
    GATEWAY_CODES,
    REQUEST_CODES,
    ErrorDetail,
    SparkDanceAccountError,
    SparkDanceAmbiguousSubmitError,
    SparkDanceAuthenticationError,
    SparkDanceContentRefusedError,
    SparkDanceError,
    SparkDanceHostError,
    SparkDanceNotFoundError,
    SparkDanceRateLimitError,
    SparkDanceRequestError,
    SparkDanceUnreachableError,
    SparkDanceVendorError,
    find_error,
)
from airflow_provider_spark.api.generation import Generation, read_id
from airflow_provider_spark.api.request import VideoRequest
from airflow_provider_spark.api.text import show, show_url

SUBMIT_PATH = "/model/v1/generation"
POLL_PATH = "/model/v1/generation/task/"
MAX_REPLY_BYTES = 4 * 1024 * 1024
"""A reply has about a kilobyte; what is longer than this isn't one, and isn't read to its end."""

# Raised before the first byte of a request is written, TLS and a proxy's tunnel included.
_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)

_AMBIGUOUS_ADVICE = (
    "The order may have been taken, and is billed if it was and renders. The vendor has no way to look it up by its"
    " content: look in the vendor's console before ordering again."
)


@dataclass(frozen=True)
class Call:
    """An HTTP request, ready to be sent as it is: no redirect followed, no header added but the transport's own."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None = None


class Protocol:
    """The protocol at one endpoint. Cheap to use for each of many polls: what can be is built once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._headers = (
            ("Authorization", f"Bearer {endpoint.key}"),
            ("Accept", "application/json"),
            # A reply has a kilobyte; uncompressed, none can be larger than it looks.
            ("Accept-Encoding", "identity"),
            ("User-Agent", f"airflow-provider-spark/{__version__}"),
        )
        self._submit_headers = (*self._headers, ("Content-Type", "application/json"))
        self._poll_url = endpoint.base_url + POLL_PATH
        self._key_bytes = endpoint.key.encode()

    def submit_call(self, request: VideoRequest) -> Call:
        """Write the call that orders."""
        body = json.dumps(request.body(), ensure_ascii=False, separators=(",", ":")).encode()
        return Call("POST", self.endpoint.base_url + SUBMIT_PATH, self._submit_headers, body)

    def poll_call(self, generation_id: str) -> Call:
        """Write the call that asks for a generation.

        Raises SparkDanceRequestError for what can't be an id.
        """
        if read_id(generation_id) != generation_id:
            raise SparkDanceRequestError(f"{show(generation_id)} can't be the id of a generation; nothing was sent.")
        return Call("GET", self._poll_url + quote(generation_id, safe=""), self._headers)

    def read_submit(self, status: int, headers: Mapping[str, str], body: bytes) -> Generation:
        """Read the answer to an order; `headers` are looked up in lower case.

        Returns the generation wherever the answer names one that may be rendering. Raises a SparkDanceError for a
        refusal, SparkDanceAmbiguousSubmitError where the answer doesn't tell.
        """
        reply = self._parse(body)
        generation = Generation.model_validate(reply or {})
        found = find_error(reply)
        detail, place = found or (None, None)
        code = detail.code if detail else None
        said = _said(status, detail)
        # Under a 4xx, an id is the request's own rather than a generation's.
        facts = self._facts(status, detail, None if 400 <= status < 500 else generation.id)
        if 300 <= status < 400:
            raise self._redirect(status, headers, "Nothing was ordered.")
        if generation.id and (status >= 500 or status == 408 or status < 300):
            refused = generation.status == "failed" and generation.error and code not in GATEWAY_CODES
            if not refused:
                return generation
        if detail and detail.is_balance:
            raise SparkDanceAccountError(_no_balance(said, "Nothing was ordered."), **facts)
        if status == 429:
            raise self._rate_limit(said, headers, facts, "Nothing was ordered; ordering again is safe.")
        if status == 401:
            raise SparkDanceAuthenticationError(_bad_key(said, "Nothing was ordered."), **facts)
        if detail and detail.is_moderation:
            raise SparkDanceContentRefusedError(
                f"The vendor's moderation refused the order ({said}). Nothing is billed."
                " Change the prompt or the picture; the same order will be refused again.",
                **facts,
            )
        if status in (402, 403):
            raise SparkDanceAccountError(_no_balance(said, "Nothing was ordered."), **facts)
        if code in REQUEST_CODES:
            raise SparkDanceRequestError(
                f"The vendor refused the order ({said}). Nothing was ordered. Change its parameters.", **facts
            )
        if status == 408 or (code in GATEWAY_CODES and not generation.id):
            raise SparkDanceAmbiguousSubmitError(
                f"The vendor's gateway lost track of the order ({said}). {_AMBIGUOUS_ADVICE}", **facts
            )
        if detail and (code in ("003005095", "003005099") or _refuses(status, detail, place)):
            raise SparkDanceVendorError(
                f"The vendor could not take the order ({said}). Nothing is billed; ordering again is safe.", **facts
            )
        if 400 <= status < 500:
            if status in (404, 405) and detail is None:
                raise SparkDanceHostError(
                    f"{self.endpoint.base_url} doesn't answer like the vendor ({said} to an order). Nothing was"
                    " ordered. Check the connection's host.",
                    **facts,
                )
            raise SparkDanceRequestError(f"The vendor refused the order ({said}). Nothing was ordered.", **facts)
        what = "neither an id nor an error" if status < 300 and reply is not None else f"no readable answer ({said})"
        raise SparkDanceAmbiguousSubmitError(
            f"The order was sent, and came back with {what}. {_AMBIGUOUS_ADVICE}", **facts
        )

    def read_poll(self, generation_id: str, status: int, headers: Mapping[str, str], body: bytes) -> Generation:
        """Read the answer about a generation; `headers` are looked up in lower case.

        Raises SparkDanceVendorError for every answer that says nothing about the render, one about another
        generation included: asking again is the thing to do.
        """
        if 200 <= status < 300 and (generation := self._generation(body)) is not None:
            if generation.id is None and generation.vendor_status is not None:
                return generation.model_copy(update={"id": generation_id})
            if generation.id == generation_id:
                return generation
            if generation.id is not None:
                raise SparkDanceVendorError(
                    f"Asked for generation {generation_id}, the vendor answered about {generation.id}."
                    " Asking again is safe.",
                    gist=f"Asked for one thing, the vendor answered about another, {generation.id}.",
                    **self._facts(status, None, generation_id),
                )
        found = find_error(self._parse(body))
        detail = found[0] if found else None
        said = _said(status, detail)
        facts = self._facts(status, detail, generation_id)
        about = f"Asked for generation {generation_id}"
        goes_on = "The render goes on and is billed if it succeeds."
        if 300 <= status < 400:
            raise self._redirect(status, headers, goes_on, generation_id)
        if detail and detail.is_balance:
            raise SparkDanceAccountError(f"{about}: {_no_balance(said, goes_on)}", gist=_no_balance(said), **facts)
        if status == 429:
            raise self._rate_limit(said, headers, facts, goes_on)
        if status == 401:
            raise SparkDanceAuthenticationError(f"{about}: {_bad_key(said, goes_on)}", gist=_bad_key(said), **facts)
        if status in (402, 403):
            raise SparkDanceAccountError(f"{about}: {_no_balance(said, goes_on)}", gist=_no_balance(said), **facts)
        if status == 404:
            raise SparkDanceNotFoundError(
                f"The vendor doesn't know generation {generation_id} ({said}): it is too new or too old, or belongs to"
                " another account.",
                **facts,
            )
        raise SparkDanceVendorError(
            f"{about}, the vendor gave no answer about it ({said}). {goes_on}",
            gist=f"The vendor gave no answer ({said}).",
            **facts,
        )

    def submit_fault(self, fault: Exception) -> SparkDanceError:
        """Sort what a transport raised during a submit: either nothing was sent, or nobody knows."""
        if isinstance(fault, SparkDanceError):
            return fault
        reason = self._reason(fault)
        if isinstance(fault, _NOTHING_SENT):
            return SparkDanceUnreachableError(
                f"Can't reach {self._host} ({reason}). Nothing was sent; ordering again is safe."
            )
        return SparkDanceAmbiguousSubmitError(
            f"The order was sent to {self._host}, and its answer was lost ({reason}). {_AMBIGUOUS_ADVICE}"
        )

    def poll_fault(self, generation_id: str, fault: Exception) -> SparkDanceError:
        """Sort what a transport raised during a poll; none of it says anything about the render."""
        if isinstance(fault, SparkDanceError):
            return fault
        kind = SparkDanceUnreachableError if isinstance(fault, _NOTHING_SENT) else SparkDanceVendorError
        gist = f"{self._host} gave no answer ({self._reason(fault)})."
        return kind(
            f"Asked for generation {generation_id}, and {gist} The render goes on.",
            generation_id=generation_id,
            gist=gist,
        )

    @property
    def _host(self) -> str:
        return urlsplit(self.endpoint.base_url).netloc

    def _reason(self, fault: Exception) -> str:
        text = self.endpoint.scrub(str(fault))
        return f"{type(fault).__name__}: {text}" if text else type(fault).__name__

    def _generation(self, body: bytes) -> Generation | None:
        # A key echoed by the vendor hides behind an escape or stands there plainly; else the fast way is safe.
        if b"\\" not in body and self._key_bytes not in body:
            try:
                return Generation.model_validate_json(body)
            except ValueError:
                pass
        reply = self._parse(body)
        return None if reply is None else Generation.model_validate(reply)

    def _parse(self, body: bytes) -> dict[str, Any] | None:
        """Read a JSON object; wrong encodings, a byte order mark or half a surrogate pair cost a character only."""
        try:
            reply = self._without_key(json.loads(body.decode(json.detect_encoding(body), "replace")))
        except (ValueError, RecursionError):
            return None
        return reply if isinstance(reply, dict) else None

    def _without_key(self, value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(self.endpoint.key, "***")
        if isinstance(value, list):
            return [self._without_key(item) for item in value]
        if isinstance(value, dict):
            return {key: self._without_key(item) for key, item in value.items()}
        return value

    def _facts(self, status: int, detail: ErrorDetail | None, generation_id: str | None) -> dict[str, Any]:
        return {
            "http_status": status,
            "code": detail.code if detail else None,
            "vendor_message": detail.message if detail else None,
            "generation_id": generation_id,
            "in_vendor_form": detail is not None,
        }

    def _redirect(
        self, status: int, headers: Mapping[str, str], outcome: str, generation_id: str | None = None
    ) -> SparkDanceHostError:
        target = show_url(self.endpoint.scrub(headers.get("location", ""), 2000)) or "a place that it doesn't name"
        happened = (
            f"{self.endpoint.base_url} redirects (HTTP {status}) to {target}. Redirects aren't followed, since the key"
            " belongs to the connection's own host."
        )
        advice = "Correct the connection's host."
        return SparkDanceHostError(
            f"{happened} {outcome} {advice}",
            http_status=status,
            generation_id=generation_id,
            gist=f"{happened} {advice}",
        )

    def _rate_limit(
        self, said: str, headers: Mapping[str, str], facts: dict[str, Any], outcome: str
    ) -> SparkDanceRateLimitError:
        wait = read_retry_after(headers.get("retry-after"))
        asked = "" if wait is None else f" It asks to wait {wait:g} s."
        gist = f"The vendor wants fewer calls ({said}).{asked}"
        error = SparkDanceRateLimitError(f"{gist} {outcome}", gist=gist, **facts)
        error.retry_after = wait
        return error


def read_retry_after(value: str | None, now: float | None = None) -> float | None:
    """Read a Retry-After header, seconds or an HTTP date, as seconds from `now` (Unix seconds; the clock's if None)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
        seconds = moment - (time.time() if now is None else now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _refuses(status: int, detail: ErrorDetail, place: str | None) -> bool:
    """Whether an error body is the vendor's own refusal rather than a gateway's word that it got no answer."""
    if 400 <= status < 500:
        return False
    if status < 300:
        # Beside a plain `message`, many a gateway says "ok".
        return place != "message" or detail.meaning is not None
    has_code = detail.code is not None and detail.code != f"{status:09}"
    return has_code or (place != "message" and status not in (502, 504))


def _said(status: int, detail: ErrorDetail | None) -> str:
    return f"HTTP {status}, {detail}" if detail else f"HTTP {status}"


def _bad_key(said: str, outcome: str = "") -> str:
    advice = "Put a valid key into the connection's password."
    return _sentences(f"The vendor doesn't take the API key ({said}).", outcome, advice)


def _no_balance(said: str, outcome: str = "") -> str:
    advice = "Look at the account in the vendor's console."
    return _sentences(f"The vendor's account has no balance or no permission for this ({said}).", outcome, advice)


def _sentences(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
