from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from airflow_provider_spark.api.endpoint import Endpoint
from airflow_provider_spark.api.protocol import Protocol
from airflow_provider_spark.polling import lean_tls
from airflow_provider_spark.polling.transport import DirectTransport
from tests.unit.hooks.helpers import KEY
from tests.unit.polling.host import host, plain

OURS = lean_tls.__file__


def endpoint(url: str, verify: Path | bool, request_timeout: float = 20) -> Endpoint:
    trusted = str(verify) if isinstance(verify, Path) else verify
    return Endpoint(api_key=KEY, base_url=url, verify=trusted, request_timeout=request_timeout)


async def ask(at: Endpoint) -> bytes:
    transport = DirectTransport(at)
    try:
        _, _, body = await transport.send(Protocol(at).poll_call("sd-1"))
        return body
    finally:
        await transport.aclose()


async def test_a_connection_takes_little_memory_and_is_kept(certificate: Path) -> None:
    async with host(lambda head: plain(), certificate=certificate) as vendor:
        at = endpoint(vendor.url, certificate)
        transport = DirectTransport(at)
        call = Protocol(at).poll_call("sd-1")
        tracemalloc.start(20)
        try:
            for _ in range(3):
                await asyncio.gather(*(transport.send(call) for _ in range(20)))
            traces = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, OURS, all_frames=True)])
        finally:
            tracemalloc.stop()
        await transport.aclose()
    assert vendor.connections == 20
    taken = sum(trace.size for trace in traces.traces)
    # asyncio's own would take more than 256 KB.
    assert 4 * 1024 <= taken / 20 < 32 * 1024


@pytest.mark.parametrize("length", [0, 1, 4095, 4096, 4097, 16_384, 100_000, 1_000_000])
async def test_a_reply_of_any_length_comes_whole(certificate: Path, length: int) -> None:
    content = bytes(at % 251 for at in range(length))
    async with host(lambda head: plain(content), certificate=certificate) as vendor:
        assert await ask(endpoint(vendor.url, certificate)) == content


async def test_a_host_that_nobody_vouches_for_is_sent_nothing(certificate: Path) -> None:
    async with host(lambda head: plain(), certificate=certificate) as vendor:
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await ask(endpoint(vendor.url, True))
    assert vendor.heads == []


async def test_a_certificate_of_another_host_is_refused(certificate: Path) -> None:
    async with host(lambda head: plain(), certificate=certificate) as vendor:
        elsewhere = vendor.url.replace("127.0.0.1", "localhost")
        with pytest.raises(httpx.ConnectError, match="certificate is not valid for 'localhost'"):
            await ask(endpoint(elsewhere, certificate))
    assert vendor.heads == []


@contextlib.asynccontextmanager
async def silent_host() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A host that takes connections and says nothing; the event is set when one has been given up."""
    given_up = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        given_up.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", given_up


async def test_a_host_that_answers_no_handshake_is_given_up_in_time() -> None:
    async with silent_host() as (url, given_up):
        with pytest.raises(TimeoutError):
            await ask(endpoint(url, True, request_timeout=0.2))
        await asyncio.wait_for(given_up.wait(), 20)


async def test_a_call_that_is_cancelled_in_the_handshake_leaves_no_connection() -> None:
    async with silent_host() as (url, given_up):
        asking = asyncio.create_task(ask(endpoint(url, True)))
        done, _ = await asyncio.wait([asking], timeout=0.2)
        assert not done
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.wait_for(given_up.wait(), 20)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"])
async def test_a_host_that_does_not_speak_tls_was_not_reached(says: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        with pytest.raises(httpx.ConnectError):
            await ask(endpoint(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", True))
