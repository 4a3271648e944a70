"""Connections, and hosts that aren't the vendor."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import traceback
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from airflow_provider_spark.hooks.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

KEY = "sk-0123456789abcdef"
CONN_ID = "render_farm"


@dataclass
class Fields:
    """The fields of a connection, as its form gives them."""

    host: str | None = None
    schema: str | None = None
    password: str | None = KEY
    port: int | None = None
    conn_id: str = CONN_ID


def settings(extra: Any = None, **fields: Any) -> Settings:
    """The settings that a connection with these fields gives."""
    return Settings.from_connection(Fields(**fields), {} if extra is None else extra)


def store_connection(monkeypatch: pytest.MonkeyPatch, *, conn_id: str = CONN_ID, **fields: Any) -> None:
    """Put a connection where Airflow finds it."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": "spark_dance", **fields}))


def every_text_of(error: BaseException) -> str:
    """What can reach a log of an exception: its text, its repr, its arguments, its attributes, its traceback."""
    told = [str(error), repr(error), repr(error.args), repr(vars(error))]
    return "\n".join([*told, *traceback.format_exception(error)])


@dataclass
class Stranger:
    """A server that answers every request alike, and remembers what it was asked."""

    url: str
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextlib.contextmanager
def stranger(status: int = 200, body: bytes = b"", **headers: str) -> Iterator[Stranger]:
    """Run a server that answers so; `content_type="text/html"` is the header Content-Type."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            met.asked.append((self.path, dict(self.headers)))
            self.send_response(status)
            for name, value in {"content_length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        met = Stranger(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield met
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port of this machine that is taken, and where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def vendor_error(code: str, message: str) -> bytes:
    """An error in the vendor's form."""
    return json.dumps({"error": {"code": code, "error_message": message}}).encode()
