"""A host that isn't the vendor: it sends every call elsewhere, and remembers none of it but the count."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class RedirectingHost:
    """Where it listens and how often it was called."""

    base_url: str
    calls: int = 0


@contextmanager
def redirecting_host(target: str) -> Iterator[RedirectingHost]:
    """Redirect each call to the same path of another host."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            host.calls += 1
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(307)
            self.send_header("Location", target + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - the base class's name

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        host = RedirectingHost(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()
