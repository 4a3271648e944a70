"""One look-up of a host's name for all connections to it.

aiohttp keeps what it has found for each connector, and each connection of a hub has one. A look-up takes a thread, of
which an event loop has few: a slow name server must not take them all from other tasks of the triggerer.
"""

from __future__ import annotations

import asyncio
import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

# Seconds that what was found is good for; aiohttp's own figure.
GOOD_FOR = 10.0

Name = tuple[str, int, socket.AddressFamily]


class SharedResolver(AbstractResolver):
    """aiohttp's resolver, asked once by all who want the same at the same time, and not again for a few seconds."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or aiohttp.DefaultResolver()
        self._asked: dict[Name, tuple[float, asyncio.Task[list[ResolveResult]]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host; raise what its name server, or the lack of one, has raised."""
        name = (host, port, family)
        now = asyncio.get_running_loop().time()
        at, asking = self._asked.get(name, (0.0, None))
        if asking is None or now - at > GOOD_FOR or _has_failed(asking):
            asking = asyncio.create_task(self._resolver.resolve(host, port, family))
            asking.add_done_callback(_has_failed)
            self._asked[name] = (now, asking)
        # Who came first may be cancelled; the others still want to know.
        return await asyncio.shield(asking)

    async def close(self) -> None:
        """End what is still being asked."""
        for _, asking in self._asked.values():
            asking.cancel()
        await self._resolver.close()


def _has_failed(asking: asyncio.Task[list[ResolveResult]]) -> bool:
    return asking.done() and (asking.cancelled() or asking.exception() is not None)
