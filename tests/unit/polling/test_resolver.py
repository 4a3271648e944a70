from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from airflow_provider_spark.polling.resolver import SharedResolver


class NameServer(AbstractResolver):
    """A name server that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = asyncio.Event()
        self.fault: OSError | None = None
        self.is_closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        await self.answers.wait()
        if self.fault is not None:
            raise self.fault
        return [ResolveResult(hostname=host, host="192.0.2.1", port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        self.is_closed = True


async def test_all_who_want_the_same_at_once_ask_once_even_if_the_first_goes() -> None:
    server = NameServer()
    resolver = SharedResolver(server)
    waiting = [asyncio.create_task(resolver.resolve("api.example.com", 443)) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting[0].cancel()
    server.answers.set()
    found = await asyncio.gather(*waiting[1:])
    assert {addresses[0]["host"] for addresses in found} == {"192.0.2.1"}
    await resolver.resolve("api.example.com", 443)
    assert server.asked == 1
    await resolver.resolve("api.example.com", 8443)
    assert server.asked == 2
    await resolver.close()
    assert server.is_closed


async def test_a_failure_is_told_to_all_and_not_kept() -> None:
    server = NameServer()
    server.answers.set()
    server.fault = OSError("no such host")
    resolver = SharedResolver(server)
    for _ in range(2):
        told = await asyncio.gather(*(resolver.resolve("gone.example.com") for _ in range(3)), return_exceptions=True)
        assert [str(error) for error in told] == ["no such host"] * 3
    assert server.asked == 2
    server.fault = None
    assert await resolver.resolve("gone.example.com")
    await resolver.close()


async def test_what_was_found_is_asked_for_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_spark.polling.resolver.GOOD_FOR", -1.0)
    server = NameServer()
    server.answers.set()
    resolver = SharedResolver(server)
    for _ in range(3):
        await resolver.resolve("api.example.com")
    assert server.asked == 3
    await resolver.close()
