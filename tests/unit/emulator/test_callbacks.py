"""Callbacks, received by a server of the test's own."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.emulator.helpers import Vendor


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent, and answers with the next of `answers`, then with 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: Queue[dict[str, Any]] = Queue()
        self.answers: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.received.put({**json.loads(body), "authorization": self.headers.get("Authorization")})

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_each_change_of_status_is_posted_as_a_poll_would_answer(vendor: Vendor, receiver: Receiver) -> None:
    generation = vendor.order(callback_url=receiver.url)
    vendor.emulator.clock.advance(5)
    started = receiver.received.get(timeout=5)
    assert (started["id"], started["status"], started["progress"]) == (generation, "in_progress", 0)
    assert started["authorization"] is None
    vendor.emulator.clock.advance(5)
    done = receiver.received.get(timeout=5)
    assert done["status"] == "completed"
    assert done["usage"] == vendor.poll(generation)["usage"]


def test_a_failure_is_posted_too(vendor: Vendor, receiver: Receiver) -> None:
    vendor.arm(on="render", kind="moderate")
    vendor.order(callback_url=receiver.url)
    vendor.emulator.clock.advance(10)
    assert [receiver.received.get(timeout=5)["status"] for _ in range(2)] == ["in_progress", "failed"]


def test_a_callback_that_is_not_taken_is_tried_again(vendor: Vendor, receiver: Receiver) -> None:
    receiver.answers = [500]
    vendor.order(callback_url=receiver.url)
    vendor.emulator.clock.advance(1)
    assert [receiver.received.get(timeout=5)["status"] for _ in range(2)] == ["in_progress", "in_progress"]


def test_nobody_at_the_callback_url_harms_nothing(vendor: Vendor) -> None:
    generation = vendor.order(callback_url="http://127.0.0.1:1/hook")
    vendor.emulator.clock.advance(10)
    assert vendor.poll(generation)["status"] == "completed"
