"""TLS connections for aiohttp that take a fifth of the usual memory.

Python's asyncio reads what comes over TLS into a buffer of 256 KB that each connection has for itself, most of it
never used: the reply to a poll has a few hundred bytes. The size is a constant of asyncio's class for a connection,
``SSLProtocol``, which only a class of one's own can change for some connections and not for all of the process.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import sslproto
from typing import Any

import aiohttp

# Several times what a poll's reply has; a longer one is read in more turns.
READ_BUFFER = 4 * 1024
# Seconds that a closed connection waits for the other side's goodbye.
SHUTDOWN_TIMEOUT = 2.0


class LeanTLS(sslproto.SSLProtocol):
    """asyncio's TLS with a small buffer."""

    max_size = READ_BUFFER


class LeanConnector(aiohttp.TCPConnector):
    """aiohttp's connector, but for what it has asyncio make of a socket and a TLS context.

    The method has no promise to stay. Where aiohttp no longer calls it, or calls it otherwise, connections are made as
    always and take the memory that they always take.
    """

    async def _wrap_create_connection(self, *args: Any, **kwargs: Any) -> tuple[asyncio.Transport, Any]:
        context, request = kwargs.get("ssl"), kwargs.get("req")
        if not (isinstance(context, ssl.SSLContext) and request is not None and len(args) == 1):
            return await super()._wrap_create_connection(*args, **kwargs)
        del kwargs["ssl"]
        http = args[0]()
        shaken = asyncio.get_running_loop().create_future()
        tls = LeanTLS(
            asyncio.get_running_loop(),
            http,
            context,
            shaken,
            server_hostname=kwargs.pop("server_hostname", None),
            ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
        )
        raw, _ = await super()._wrap_create_connection(lambda: tls, **kwargs)
        try:
            await shaken
        except ssl.CertificateError as error:
            raise aiohttp.ClientConnectorCertificateError(request.connection_key, error) from None
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(request.connection_key, error) from None
        except OSError as error:
            raise aiohttp.ClientConnectorError(request.connection_key, error) from None
        except asyncio.CancelledError:
            raw.abort()
            raise
        return http.transport, http
