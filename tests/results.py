"""Where finished files lie in the tests: a server of our own on a real socket, which says whatever a test wants."""

from __future__ import annotations

import io
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import av.video.stream
from PIL import Image


@dataclass(frozen=True)
class Answer:
    """One answer. ``cut_after`` hangs up after so many bytes of the body."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    cut_after: int | None = None


@dataclass
class Results:
    """A server for files by path; of several answers for a path each is given once, the last one ever after."""

    base_url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def put(self, path: str, *answers: Answer | bytes) -> str:
        """Let a path have these answers; return its URL."""
        self.answers[path] = [Answer(one) if isinstance(one, bytes) else one for one in answers]
        return f"{self.base_url}{path}"

    def times(self, path: str) -> int:
        """Return how often a path was asked for, whatever its query."""
        return sum(asked.partition("?")[0] == path for asked, _ in self.asked)


@contextmanager
def running_results(certificate: Path | None = None) -> Iterator[Results]:
    """Run a server for the length of a block; with a certificate and its key in one file it talks https."""
    results = Results()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            results.asked.append((self.path, dict(self.headers)))
            answers = results.answers.get(self.path.partition("?")[0]) or [Answer(status=404)]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(answer.status)
            length = len(answer.body) if answer.length is None else answer.length
            for name, value in ({"Content-Length": str(length)} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: answer.cut_after])
            self.wfile.flush()
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass  # who hangs up on purpose

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    results.base_url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield results
    finally:
        server.shutdown()
        server.server_close()


def closed_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@cache
def mp4(frames: int = 4, options: str = "") -> bytes:
    """Return a real film of 64 x 48 pixels."""
    written = tempfile.NamedTemporaryFile(suffix=".mp4")  # noqa: SIM115 - a layout may need to open it by its name
    with written, av.open(written.name, "w", options={"movflags": options} if options else {}) as film:
        stream = film.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            picture = av.VideoFrame.from_image(Image.new("RGB", (64, 48), (number * 20, 90, 120)))  # type: ignore[no-untyped-call]
            film.mux(stream.encode(picture))
        film.mux(stream.encode())
        film.close()
        return Path(written.name).read_bytes()


@cache
def png() -> bytes:
    """Return a real picture of the same size."""
    written = io.BytesIO()
    Image.new("RGB", (64, 48), (80, 90, 120)).save(written, "PNG")
    return written.getvalue()
