"""Two thin clients over the one protocol: they send a call, read a bounded reply, and know nothing more."""

import time
from collections.abc import Callable
from typing import Self, TypeVar

import httpx

from airflow_provider_spark.api.endpoint import Endpoint
from airflow_provider_spark.api.errors import SparkDanceConfigurationError
from airflow_provider_spark.api.generation import Generation
from airflow_provider_spark.api.protocol import MAX_REPLY_BYTES, Call, Protocol
from airflow_provider_spark.api.request import VideoRequest


class SparkDanceClient:
    """The vendor's two calls, one after the other. A context manager; one thread at a time.

    Raises SparkDanceConfigurationError where the endpoint's proxy or certificates can't be used.
    """

    def __init__(self, endpoint: Endpoint, *, transport: httpx.BaseTransport | None = None) -> None:
        self._protocol = Protocol(endpoint)
        self._http = _open(httpx.Client, endpoint, transport)

    def submit(self, request: VideoRequest) -> Generation:
        """Order a video. Costs money. Never repeated here.

        Raises the SparkDanceError that says what may be done next.
        """
        call = self._protocol.submit_call(request)
        try:
            status, headers, body = self._send(call)
        except Exception as fault:  # Whatever it was, an order may be out: it must come back as one of ours.
            error = self._protocol.submit_fault(fault)
        else:
            return self._protocol.read_submit(status, headers, body)
        # Raised outside the handler: a transport's exception may carry headers, and the key is in one.
        raise error

    def get(self, generation_id: str) -> Generation:
        """Ask for a generation.

        Raises the SparkDanceError that says what may be done next.
        """
        call = self._protocol.poll_call(generation_id)
        try:
            status, headers, body = self._send(call)
        except Exception as fault:
            error = self._protocol.poll_fault(generation_id, fault)
        else:
            return self._protocol.read_poll(generation_id, status, headers, body)
        raise error

    def _send(self, call: Call) -> tuple[int, httpx.Headers, bytes]:
        with self._http.stream(call.method, call.url, headers=call.headers, content=call.body) as response:
            reply = _Reply(self._http.timeout.read)
            for chunk in response.iter_bytes():
                if reply.is_full_with(chunk):
                    break
            return response.status_code, response.headers, bytes(reply.body)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncSparkDanceClient:
    """The vendor's two calls for an event loop; as SparkDanceClient."""

    def __init__(self, endpoint: Endpoint, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._protocol = Protocol(endpoint)
        self._http = _open(httpx.AsyncClient, endpoint, transport)

    async def submit(self, request: VideoRequest) -> Generation:
        """Order a video; as SparkDanceClient.submit."""
        call = self._protocol.submit_call(request)
        try:
            status, headers, body = await self._send(call)
        except Exception as fault:
            error = self._protocol.submit_fault(fault)
        else:
            return self._protocol.read_submit(status, headers, body)
        raise error

    async def get(self, generation_id: str) -> Generation:
        """Ask for a generation; as SparkDanceClient.get."""
        call = self._protocol.poll_call(generation_id)
        try:
            status, headers, body = await self._send(call)
        except Exception as fault:
            error = self._protocol.poll_fault(generation_id, fault)
        else:
            return self._protocol.read_poll(generation_id, status, headers, body)
        raise error

    async def _send(self, call: Call) -> tuple[int, httpx.Headers, bytes]:
        async with self._http.stream(call.method, call.url, headers=call.headers, content=call.body) as response:
            reply = _Reply(self._http.timeout.read)
            async for chunk in response.aiter_bytes():
                if reply.is_full_with(chunk):
                    break
            return response.status_code, response.headers, bytes(reply.body)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _Reply:
    """The bytes of a reply, bounded in size and in time: httpx's own timeout starts anew with every byte."""

    def __init__(self, timeout: float | None) -> None:
        self.body = bytearray()
        self._timeout = timeout
        self._deadline = time.monotonic() + (timeout or 0)

    def is_full_with(self, chunk: bytes) -> bool:
        """Take a chunk in, and say whether that is enough: of what is too long to be a reply, the start will do."""
        self.body += chunk
        if self._timeout is not None and time.monotonic() > self._deadline:
            raise httpx.ReadTimeout(f"the reply took longer than {self._timeout:g} s")
        return len(self.body) > MAX_REPLY_BYTES


_Http = TypeVar("_Http")


def _open(kind: Callable[..., _Http], endpoint: Endpoint, transport: object) -> _Http:
    try:
        return kind(
            transport=transport,
            verify=endpoint.tls(),
            proxy=endpoint.proxy_url,
            trust_env=not endpoint.is_loopback,
            timeout=endpoint.request_timeout,
            follow_redirects=False,
            # A kept connection can be cut by the other side just as an order goes out, which is then ambiguous.
            limits=httpx.Limits(max_keepalive_connections=0),
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        raise SparkDanceConfigurationError(f"The proxy can't be used: {endpoint.scrub(str(error))}") from None
