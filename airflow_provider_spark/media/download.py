"""A finished file at its result URL, as a stream of pieces: never more of it in memory than one piece.

No key goes there: a result URL is another host's, and may redirect to yet another. ``http.client`` reads straight
into one buffer, which leaves time for a checksum where ``httpx`` alone would need longer
(``benchmarks/downloads.py``). Where a proxy stands between, ``httpx`` takes over, which knows SOCKS and the
environment's rules.
"""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx

from airflow_provider_spark.api.endpoint import is_loopback
from airflow_provider_spark.api.errors import SparkDanceConfigurationError
from airflow_provider_spark.api.text import is_web_url, show_url
from airflow_provider_spark.media.errors import SparkDanceDownloadError, SparkDanceUrlExpiredError

if TYPE_CHECKING:
    from airflow_provider_spark.api.endpoint import Endpoint

PIECE = 1 << 20
"""Bytes of a file that are in memory at a time."""
LONGEST = 16 << 30
"""Bytes of a file that is believed to be a clip of seconds."""
SLOWEST = 1024
"""Bytes a second that a download must bring, over any time as long as the connection's ``request_timeout``."""
MAX_REDIRECTS = 5

_REDIRECTS = (301, 302, 303, 307, 308)
# What different stores say to a signed URL whose time is over.
_GONE = (400, 401, 403, 404, 410)
# Compressed on the way, a length couldn't be checked, and a film is compressed already.
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "airflow-provider-spark"}


@dataclass(frozen=True)
class Reply:
    """An answer whose body is still to come. A piece is good until the next one is asked for."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes | memoryview]

    @property
    def length(self) -> int | None:
        """How many bytes the answer says it has."""
        value = self.headers.get("content-length", "")
        return int(value) if value.isascii() and value.isdecimal() else None


@contextmanager
def download(url: str, endpoint: Endpoint) -> Iterator[Iterator[bytes | memoryview]]:
    """Open a file for reading, in pieces of at most 1 MB. It has come whole once they have ended.

    :raises SparkDanceUrlExpiredError: there is nothing, or nothing any more, under this URL.
    :raises SparkDanceDownloadError: it can't be fetched, or not whole; the message names no more of the URL than host
        and path.
    """
    try:
        with _answer(url, endpoint) as reply:
            if reply.status in _GONE:
                raise SparkDanceUrlExpiredError(
                    f"{show_url(url)} isn't good, or no longer so (HTTP {reply.status}).", http_status=reply.status
                )
            if reply.status != 200:
                raise SparkDanceDownloadError(
                    f"{show_url(url)} answers with HTTP {reply.status}.", http_status=reply.status
                )
            yield _whole(reply, url, patience=endpoint.request_timeout)
    except (http.client.HTTPException, httpx.HTTPError, httpx.InvalidURL, _NetworkError) as error:
        cause = error.__cause__ if isinstance(error, _NetworkError) and error.__cause__ else error
        reason = endpoint.scrub(str(cause))
        text = f"{show_url(url)} can't be read ({type(cause).__name__}{': ' if reason else ''}{reason})."
    else:
        return
    # Outside of the handler: a transport's exception may carry the proxy's password.
    raise SparkDanceDownloadError(text)


class _NetworkError(Exception):
    """An ``OSError`` of the network, told apart from one of the disk that the pieces are written to."""


def _whole(reply: Reply, url: str, *, patience: float) -> Iterator[bytes | memoryview]:
    expected = reply.length
    if expected is not None and expected > LONGEST:
        raise SparkDanceDownloadError(f"{show_url(url)} has {expected:,} bytes, which no clip has.")
    received = measured = 0
    since = time.monotonic()
    for piece in reply.pieces:
        received += len(piece)
        if received > LONGEST:
            raise SparkDanceDownloadError(f"{show_url(url)} doesn't end: {received:,} bytes so far.")
        yield piece
        now = time.monotonic()
        if now - since > patience:
            if received - measured < SLOWEST * (now - since):
                raise SparkDanceDownloadError(
                    f"{show_url(url)} comes too slowly: {received - measured:,} bytes in {now - since:.0f} s."
                )
            since, measured = now, received
    if expected is not None and received != expected:
        raise SparkDanceDownloadError(f"{show_url(url)} was cut off: {received:,} of {expected:,} bytes have come.")


@contextmanager
def _answer(url: str, endpoint: Endpoint) -> Iterator[Reply]:
    for _ in range(MAX_REDIRECTS + 1):
        with _ask(url, endpoint) as reply:
            target = reply.headers.get("location") if reply.status in _REDIRECTS else None
            if target is None:
                yield reply
                return
        target = urljoin(url, target)
        if not is_web_url(target) or (url.startswith("https:") and not target.startswith("https:")):
            raise SparkDanceDownloadError(f"{show_url(url)} redirects to {show_url(target)}, which isn't followed.")
        url = target
    raise SparkDanceDownloadError(f"{show_url(url)} is the end of {MAX_REDIRECTS} redirects and redirects again.")


def _ask(url: str, endpoint: Endpoint) -> AbstractContextManager[Reply]:
    proxied = endpoint.proxy_url is not None or (
        not is_loopback(url) and bool({"http", "https", "all"} & set(urllib.request.getproxies()))
    )
    return _ask_through_a_proxy(url, endpoint) if proxied else _ask_directly(url, endpoint)


@contextmanager
def _ask_directly(url: str, endpoint: Endpoint) -> Iterator[Reply]:
    place = httpx.URL(url)
    host, timeout = place.raw_host.decode(), endpoint.request_timeout
    connection: http.client.HTTPConnection
    if place.scheme == "https":
        connection = http.client.HTTPSConnection(host, place.port, timeout=timeout, context=_tls(endpoint.verify))
    else:
        connection = http.client.HTTPConnection(host, place.port, timeout=timeout)
    try:
        with _on_the_network():
            connection.request("GET", place.raw_path.decode(), headers=_HEADERS)
            response = connection.getresponse()
        with response:  # where the server ends the connection, only the answer holds the socket
            headers = {name.lower(): value for name, value in response.getheaders()}
            yield Reply(response.status, headers, _pieces(response))
    finally:
        connection.close()


def _pieces(response: http.client.HTTPResponse) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(PIECE))
    while True:
        with _on_the_network():
            count = response.readinto(buffer)
        if not count:
            return
        yield buffer[:count]


@contextmanager
def _on_the_network() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _NetworkError from error


@contextmanager
def _ask_through_a_proxy(url: str, endpoint: Endpoint) -> Iterator[Reply]:
    try:
        client = httpx.Client(
            verify=_tls(endpoint.verify),
            proxy=endpoint.proxy_url,
            timeout=endpoint.request_timeout,
            follow_redirects=False,
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        raise SparkDanceConfigurationError(f"The proxy can't be used: {endpoint.scrub(str(error))}") from None
    with client, client.stream("GET", url, headers=_HEADERS) as response:
        yield Reply(response.status_code, response.headers, response.iter_raw())


@cache
def _tls(verify: bool | str) -> ssl.SSLContext:
    """Trust the public authorities, and those that the connection names: a result lies on a host of its own."""
    context = httpx.create_ssl_context(verify=verify is not False)
    if isinstance(verify, str):
        is_folder = Path(verify).is_dir()
        try:
            context.load_verify_locations(cafile=None if is_folder else verify, capath=verify if is_folder else None)
        except OSError as error:
            raise SparkDanceConfigurationError(f"The certificates in verify can't be read: {error}") from None
    return context
