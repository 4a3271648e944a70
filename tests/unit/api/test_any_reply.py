"""Whatever the other side sends back, an order or a poll ends with a `Generation` or a `SparkDanceError`."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_spark.api.client import AsyncSparkDanceClient, SparkDanceClient
from airflow_provider_spark.api.endpoint import Endpoint
from airflow_provider_spark.api.errors import (
    SparkDanceAmbiguousSubmitError,
    SparkDanceError,
    SparkDanceUnreachableError,
)
from airflow_provider_spark.api.generation import Generation
from airflow_provider_spark.api.protocol import Protocol
from airflow_provider_spark.api.request import VideoRequest

KEY = "sk-very-secret"
ENDPOINT = Endpoint(KEY, base_url="https://api.example.com")
PROTOCOL = Protocol(ENDPOINT)
REQUEST = VideoRequest.compose(prompt="a cat")

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([3005097, "003005095", "gen-1", "completed", "failed", KEY, "https://cdn.example.com/v.mp4"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "status",
                    "error",
                    "code",
                    "message",
                    "error_code",
                    "error_message",
                    "output",
                    "content",
                    "url",
                    "type",
                    "usage",
                    "cost",
                    "progress",
                    "created_at",
                    "metadata",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=15,
)
json_bytes = json_values.map(lambda value: json.dumps(value).encode())
broken = st.tuples(json_bytes, st.integers(0, 80)).map(lambda cut: cut[0][: cut[1]])
recoded = st.tuples(json_values, st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "latin-1", "gb18030"])).map(
    lambda pair: json.dumps(pair[0], ensure_ascii=False).encode(pair[1], "replace")
)
huge = st.sampled_from(
    [
        b'{"id": ' + b"9" * 5000 + b"}",
        b'{"id": "gen-1", "usage": {"cost": 1' + b"0" * 5000 + b"}}",
        b'{"id": "gen-1", "usage": {"cost": "1e999999999"}}',
        b'{"id": "gen-1", "progress": 1e999999999, "created_at": -1e400}',
        b'{"metadata": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"id": "gen-1", "metadata": ' + b'{"a":' * 400 + b"1" + b"}" * 400 + b"}",
        b'{"id": "gen-1", "error": ' + b"[" * 900 + b"1" + b"]" * 900 + b"}",
        b"[" * 10_000,
        b'{"id": "gen-1", "status": "' + b"x" * 100_000 + b'"}',
        b'{"id": "gen-1", "output": [' + b'{"content": [{"type": "video", "url": 1}]},' * 2000 + b"{}]}",
        b'{"id": "\\ud800", "status": "\\udfff"}',
        b'{"id": "gen-1", "id": {"id": "gen-1"}}',
        b'{"id": NaN, "status": Infinity}',
    ]
)
echoes = st.sampled_from(
    [
        json.dumps({"id": "gen-1", "status": f"for {KEY}"}).encode(),
        json.dumps({"id": KEY, "status": "queued"}).encode(),
        json.dumps({"id": "gen-1", "metadata": {"authorization": f"Bearer {KEY}"}}).encode(),
        json.dumps({"error": {"code": KEY, "message": f"Bearer {KEY} is not valid"}}).encode(),
        json.dumps({"message": f"{KEY} is not valid"}).encode().replace(b"sk-", b"s\\u006b-"),
    ]
)
bodies = st.binary(max_size=60) | json_bytes | broken | recoded | huge | echoes
statuses = st.sampled_from([200, 200, 200, 201, 204, 301, 400, 401, 402, 404, 408, 418, 429, 500, 502, 504, 599, 999])
headers = st.dictionaries(
    st.sampled_from(["retry-after", "location", "content-encoding", "content-type", "content-length"]),
    st.sampled_from(
        ["", "-1", "1e309", "nan", "gzip", "br", "zstd, gzip", "Fri, 31 Dec 9999 23:59:59 -9999", "http://[", "\x00"]
    )
    | st.text(max_size=30),
)
faults = st.sampled_from(
    [
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.ReadError,
        httpx.ReadTimeout,
        httpx.WriteError,
        httpx.RemoteProtocolError,
        httpx.ProxyError,
        OSError,
        UnicodeError,
        RecursionError,
        MemoryError,
        ValueError,
        AssertionError,
    ]
)


def is_a_reading(generation: Generation) -> bool:
    """Whether it can travel on: an id to wait for, and an event that reads back to it."""
    event = json.dumps(generation.to_event(), allow_nan=False)
    return (
        generation.id is not None
        and Generation.model_validate_json(event) == generation
        and len(event) <= 4096
        and KEY not in event + repr(generation)
    )


def is_ours_to_show(error: SparkDanceError) -> bool:
    """Whether it can stand in a log: no key, no end in itself, nothing behind it that holds the request's headers."""
    shown = f"{error} {error!r} {vars(error)}"
    return KEY not in shown and "\n" not in str(error) and error.__cause__ is None and error.__context__ is None


def is_alright(outcome: Generation | SparkDanceError) -> bool:
    return is_ours_to_show(outcome) if isinstance(outcome, SparkDanceError) else is_a_reading(outcome)


@given(statuses, headers, bodies)
def test_any_reply_is_read_as_a_generation_or_as_one_of_our_errors(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    for read in (PROTOCOL.read_submit, lambda *answer: PROTOCOL.read_poll("gen-1", *answer)):
        outcome: Generation | SparkDanceError
        try:
            outcome = read(status, headers, body)
        except SparkDanceError as error:
            outcome = error
        assert is_alright(outcome)


class Answering(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport that answers every call the same, or breaks."""

    def __init__(self, answer: tuple[int, dict[str, str], bytes] | type[Exception]) -> None:
        self.answer = answer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if isinstance(self.answer, type):
            raise self.answer(f"it broke with {KEY} in its words")
        status, headers, body = self.answer
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


def call_all(
    endpoint: Endpoint, transport: httpx.BaseTransport | None = None, async_transport: Any = None
) -> list[Generation | SparkDanceError]:
    """Submit and poll with both clients, and return what comes of each."""
    outcomes: list[Generation | SparkDanceError] = []

    async def with_the_async_client() -> None:
        async with AsyncSparkDanceClient(endpoint, transport=async_transport) as client:
            for call in (client.submit(REQUEST), client.get("gen-1")):
                try:
                    outcomes.append(await call)
                except SparkDanceError as error:
                    outcomes.append(error)

    with SparkDanceClient(endpoint, transport=transport) as client:
        for call in (partial(client.submit, REQUEST), partial(client.get, "gen-1")):
            try:
                outcomes.append(call())
            except SparkDanceError as error:
                outcomes.append(error)
    asyncio.run(with_the_async_client())
    return outcomes


@given(st.tuples(statuses, headers, bodies) | faults)
def test_both_clients_end_the_same_way_with_a_generation_or_one_of_our_errors(
    answer: tuple[int, dict[str, str], bytes] | type[Exception],
) -> None:
    transport = Answering(answer)
    outcomes = call_all(ENDPOINT, transport, transport)
    assert all(map(is_alright, outcomes)), outcomes
    assert [type(outcome) for outcome in outcomes[:2]] == [type(outcome) for outcome in outcomes[2:]]


class Speaker:
    """A server that says the same bytes to everyone, HTTP or not, and hangs up."""

    def __init__(self) -> None:
        self.says = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint(KEY, base_url=f"http://127.0.0.1:{self._socket.getsockname()[1]}", request_timeout=2)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if not (asked := connection.recv(65536)):
                    return
                while asked.startswith(b"POST") and not asked.endswith(b"}"):
                    asked += connection.recv(65536)
                connection.sendall(self.says)

    def close(self) -> None:
        socket.create_connection(self._socket.getsockname()).close()
        self._thread.join()
        self._socket.close()


@pytest.fixture(scope="module")
def speaker() -> Iterator[Speaker]:
    speaker = Speaker()
    yield speaker
    speaker.close()


heads = st.sampled_from(
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b",
        b"HTTP/1.1 200 OK\r\nLocation: \xff\xfe\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 1000 Odd\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ]
)


@settings(max_examples=60)
@given(heads, json_bytes | broken | st.binary(max_size=60))
def test_any_bytes_on_the_wire_end_with_a_generation_or_one_of_our_errors(
    speaker: Speaker, head: bytes, body: bytes
) -> None:
    speaker.says = head + body
    outcomes = call_all(speaker.endpoint)
    assert all(map(is_alright, outcomes)), outcomes
    # The order was read by someone: that nothing was sent can't be said.
    assert not any(isinstance(outcome, SparkDanceUnreachableError) for outcome in outcomes)


def test_a_reply_that_is_cut_off_leaves_the_order_ambiguous(speaker: Speaker) -> None:
    speaker.says = b'HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{"id": "gen-1"}'
    outcomes = call_all(speaker.endpoint)
    assert isinstance(outcomes[0], SparkDanceAmbiguousSubmitError)
    assert isinstance(outcomes[2], SparkDanceAmbiguousSubmitError)
