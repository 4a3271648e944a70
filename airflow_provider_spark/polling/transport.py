"""How a hub's calls go out: the fast way where it can serve, httpx where a proxy stands between.

``aiohttp`` costs less than any way with ``httpx`` does (see ``benchmarks/RESULTS.md``), which is why it is used here
and nowhere else. What is sent and what an answer means is the same protocol in both.
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar
from typing import Protocol as Interface

import aiohttp
import httpx
import yarl

from airflow_provider_spark.api.errors import SparkDanceConfigurationError
from airflow_provider_spark.api.protocol import MAX_REPLY_BYTES, Call
from airflow_provider_spark.polling.lean_tls import LeanConnector
from airflow_provider_spark.polling.resolver import SharedResolver
from airflow_provider_spark.polling.timeout import SharedTimeout

if TYPE_CHECKING:
    from airflow_provider_spark.api.endpoint import Endpoint

# Servers and balancers close what has been idle for a minute or more.
KEEP_ALIVE = 55.0

Reply = tuple[int, Mapping[str, str], bytes]
Client = TypeVar("Client")


class Transport(Interface):
    """Sends calls as they are: no redirect followed, no reply read beyond its bound."""

    async def send(self, call: Call) -> Reply:
        """Return status, headers (looked up in lower case) and body; raise whatever went wrong."""

    async def aclose(self) -> None:
        """Close all connections."""


def open_transport(endpoint: Endpoint) -> Transport:
    """Open the transport that fits an endpoint. Must be called on the event loop that will use it.

    :raises SparkDanceConfigurationError: the endpoint's proxy or certificates can't be used.
    """
    return ProxiedTransport(endpoint) if _may_use_a_proxy(endpoint) else DirectTransport(endpoint)


def _may_use_a_proxy(endpoint: Endpoint) -> bool:
    if endpoint.proxy_url is not None:
        return True
    # Which hosts a proxy of the environment is for is httpx's to decide.
    return not endpoint.is_loopback and bool({"http", "https", "all"} & set(urllib.request.getproxies()))


class Clients(Generic[Client]):
    """Clients with one connection each, as many as there are calls under way.

    The one that was used last is used next, so that connections that nobody needs any more grow old, and aiohttp closes
    them. With one client for all, aiohttp would use the oldest first, and httpx look at each of them on every call.
    """

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._free = [make()]
        self.all = list(self._free)

    def lend(self) -> Client:
        """Lend a client for one call."""
        if self._free:
            return self._free.pop()
        client = self._make()
        self.all.append(client)
        return client

    def take_back(self, client: Client) -> None:
        """Have it ready for the next call."""
        self._free.append(client)

    def give_up(self, client: Client) -> None:
        """Lend a client no more."""
        self.all.remove(client)


class DirectTransport:
    """Calls to the vendor's own host, with aiohttp."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._resolver = SharedResolver()
        self._timeout = SharedTimeout(endpoint.request_timeout)
        self._sessions = Clients(self._open)

    def _open(self) -> aiohttp.ClientSession:
        endpoint = self._endpoint
        return aiohttp.ClientSession(
            connector=LeanConnector(limit=1, ssl=endpoint.tls(), keepalive_timeout=KEEP_ALIVE, resolver=self._resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),  # none of its own: SharedTimeout costs less
            # Nothing of the environment: a netrc would put another key in place of the connection's.
            trust_env=False,
        )

    async def send(self, call: Call) -> Reply:
        """Send a call and read its bounded reply."""
        session = self._sessions.lend()
        try:
            with self._timeout:
                async with session.request(
                    call.method,
                    yarl.URL(call.url, encoded=True),
                    headers=call.headers,
                    data=call.body,
                    allow_redirects=False,
                ) as response:
                    return response.status, response.headers, await self._read(response)
        except aiohttp.ClientConnectionError as error:
            if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
                raise httpx.ConnectError(str(error)) from None
            raise
        finally:
            self._sessions.take_back(session)

    @staticmethod
    async def _read(response: aiohttp.ClientResponse) -> bytes:
        length = response.content_length
        if length is not None and length <= MAX_REPLY_BYTES and "Content-Encoding" not in response.headers:
            return await response.read()
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_REPLY_BYTES:
                # What is left of it must not reach the next reader of this connection.
                response.close()
                break
        return bytes(body)

    async def aclose(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(session.close() for session in self._sessions.all), return_exceptions=True)
        await self._resolver.close()


class ProxiedTransport:
    """Calls through a proxy, with httpx, which knows more kinds of proxies and the environment's rules for them."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._timeout = SharedTimeout(endpoint.request_timeout)
        self._clients = Clients(self._open)

    def _open(self) -> httpx.AsyncClient:
        endpoint = self._endpoint
        try:
            return httpx.AsyncClient(
                verify=endpoint.tls(),
                proxy=endpoint.proxy_url,
                trust_env=not endpoint.is_loopback,
                timeout=endpoint.request_timeout,
                follow_redirects=False,
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE),
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise SparkDanceConfigurationError(f"The proxy can't be used: {endpoint.scrub(str(error))}") from None

    async def send(self, call: Call) -> Reply:
        """Send a call and read its bounded reply."""
        client = self._clients.lend()
        # A cookie of one answer is none of the next one's business.
        client.cookies.clear()
        try:
            # httpx's own timeout is for each step, and starts anew with every byte.
            with self._timeout:
                async with client.stream(call.method, call.url, headers=call.headers, content=call.body) as response:
                    body = bytearray()
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > MAX_REPLY_BYTES:
                            break
                    reply = response.status_code, response.headers, bytes(body)
        except BaseException:
            # httpx may count a call that was ended from outside as under way for ever: its client would serve no other.
            self._clients.give_up(client)
            await self._close(client)
            raise
        self._clients.take_back(client)
        return reply

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients.all:
            await self._close(client)

    @staticmethod
    async def _close(client: httpx.AsyncClient) -> None:
        with suppress(httpx.HTTPError, OSError):
            await client.aclose()
