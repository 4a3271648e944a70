"""A server whose every byte a test decides."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path


class Host:
    def __init__(self) -> None:
        self.url = ""
        self.connections = 0
        self.heads: list[str] = []
        self.asked_over: list[int] = []
        """By which connection each head came."""


def plain(body: bytes = b"{}", headers: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


@contextlib.asynccontextmanager
async def host(
    answer: Callable[[str], bytes], *, pause: float = 0, certificate: Path | None = None
) -> AsyncIterator[Host]:
    """A server that keeps connections open and counts them; it answers a request's head with these bytes.

    :param pause: seconds after each line of an answer.
    :param certificate: a file with a key and its certificate, for a server that speaks TLS.
    """
    met = Host()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.connections += 1
        connection = met.connections
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    met.heads.append(head)
                    met.asked_over.append(connection)
                    for byte in answer(head).splitlines(keepends=True) if pause else [answer(head)]:
                        writer.write(byte)
                        await asyncio.sleep(pause)
        finally:
            writer.close()

    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    met.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield met
    finally:
        server.close()
