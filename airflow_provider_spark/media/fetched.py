"""A picture's bytes from an http(s) URL, fetched without any key, bounded in size and time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx

from airflow_provider_spark.api.errors import SparkDancePictureUnavailableError, SparkDanceRequestError
from airflow_provider_spark.api.text import is_web_url
from airflow_provider_spark.media.stored import too_large

if TYPE_CHECKING:
    import ssl

MAX_REDIRECTS = 5
# Seconds for a connection to come about, and for a server to send the next bytes.
STEP_SECONDS = 15.0
# What a later try may be answered otherwise, besides the server's own faults.
PASSING = frozenset({408, 425, 429})


def fetch(url: str, *, called: str, limit: int, seconds: float, verify: ssl.SSLContext | bool) -> bytes:
    """Fetch less than so many bytes.

    Redirects are followed, five at most and never from https to http. A proxy is the environment's.

    :param called: what to call it in messages: the URL's query may hold a signature, and isn't shown.
    :param seconds: for all of it.
    :raises SparkDanceRequestError: the server won't give it, or it is too large.
    :raises SparkDancePictureUnavailableError: the server can't be reached or is at fault; a later try may do.
    """
    if not is_web_url(url):
        raise SparkDanceRequestError(f"{called} must be an absolute http or https URL.")
    deadline = time.monotonic() + seconds
    try:
        with httpx.Client(verify=verify, timeout=STEP_SECONDS, headers={"Accept-Encoding": "identity"}) as client:
            request = client.build_request("GET", url)
            for _ in range(MAX_REDIRECTS + 1):
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("it takes too long")
                reply = client.send(request, stream=True)
                try:
                    if reply.next_request is None:
                        return _body(reply, called, limit, deadline)
                    if request.url.scheme == "https" and reply.next_request.url.scheme != "https":
                        raise SparkDanceRequestError(f"{called} redirects from https to http, which isn't followed.")
                    request = reply.next_request
                finally:
                    reply.close()
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.DecodingError) as error:
        text = f"{called} can't be fetched ({type(error).__name__})."
    except (httpx.HTTPError, OSError) as error:
        # Not its text: that may quote the URL.
        fault = f"{called} can't be fetched at the moment ({type(error).__name__}). Nothing was ordered."
        raise SparkDancePictureUnavailableError(fault) from None
    else:
        text = f"{called} redirects more than {MAX_REDIRECTS} times."
    raise SparkDanceRequestError(text)


def _body(reply: httpx.Response, called: str, limit: int, deadline: float) -> bytes:
    status = reply.status_code
    if status >= 500 or status in PASSING:
        raise SparkDancePictureUnavailableError(
            f"{called} can't be fetched at the moment: its server says HTTP {status}. Nothing was ordered.",
            http_status=status,
        )
    if status != 200:
        why = " A signed URL may have run out." if status in (401, 403) else ""
        raise SparkDanceRequestError(f"{called} can't be fetched: its server says HTTP {status}.{why}")
    told = reply.headers.get("Content-Length", "")
    if told.isdecimal() and int(told) >= limit:
        raise too_large(called, f"{int(told):,} bytes", limit)
    data = bytearray()
    for part in reply.iter_bytes():
        data += part
        if len(data) >= limit:
            raise too_large(called, f"{limit:,} bytes or more", limit)
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("it takes too long")
    return bytes(data)
