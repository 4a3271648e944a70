import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from airflow_provider_spark.api.client import AsyncSparkDanceClient, SparkDanceClient
from airflow_provider_spark.api.endpoint import Endpoint
from airflow_provider_spark.api.errors import (
    SparkDanceAmbiguousSubmitError,
    SparkDanceAuthenticationError,
    SparkDanceConfigurationError,
    SparkDanceHostError,
    SparkDanceRequestError,
    SparkDanceUnreachableError,
    SparkDanceVendorError,
)
from airflow_provider_spark.api.generation import Generation
from airflow_provider_spark.api.protocol import MAX_REPLY_BYTES
from airflow_provider_spark.api.request import VideoRequest

KEY = "sk-very-secret"
REQUEST = VideoRequest.compose(prompt="a cat")

Do = Callable[[Any], Any]
Run = Callable[[Endpoint, Do], Generation]


def run_sync(endpoint: Endpoint, do: Do) -> Generation:
    with SparkDanceClient(endpoint) as client:
        generation: Generation = do(client)
        return generation


def run_async(endpoint: Endpoint, do: Do) -> Generation:
    async def main() -> Generation:
        async with AsyncSparkDanceClient(endpoint) as client:
            generation: Generation = await do(client)
            return generation

    return asyncio.run(main())


both = pytest.mark.parametrize("run", [run_sync, run_async])


def submit(client: Any) -> Any:
    return client.submit(REQUEST)


def get(client: Any) -> Any:
    return client.get("gen-1")


def reply(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Server:
    """Answers each connection with the next of some bytes, after it has read the request, and then cuts it."""

    def __init__(self, *answers: bytes) -> None:
        self.requests: list[bytes] = []
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        for answer in self._answers:
            connection, _ = self._socket.accept()
            with connection:
                request = b""
                while b"\r\n\r\n" not in request or (request.startswith(b"POST") and not request.endswith(b"}")):
                    request += connection.recv(65536)
                self.requests.append(request)
                try:
                    connection.sendall(answer)
                    if answer.endswith(b"..."):
                        connection.recv(1)  # until the client gives up
                except OSError:
                    pass

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._socket.close()


@contextmanager
def unused_port() -> Iterator[str]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound and not listening: a connect is refused
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"


@both
def test_an_order_and_a_poll_go_over_the_wire_on_a_connection_of_their_own(run: Run) -> None:
    with Server(reply(b'{"id": "gen-1", "status": "queued"}'), reply(b'{"id": "gen-1", "status": "done"}')) as server:
        endpoint = Endpoint(KEY, server.url)
        assert run(endpoint, submit).status == "queued"
        assert run(endpoint, get).status == "completed"
    order, poll = server.requests
    assert order.startswith(b"POST /model/v1/generation HTTP/1.1\r\n")
    assert poll.startswith(b"GET /model/v1/generation/task/gen-1 HTTP/1.1\r\n")
    for request in (order, poll):
        assert f"authorization: Bearer {KEY}".lower().encode() in request.lower()
        assert request.lower().count(b"\r\nuser-agent: airflow-provider-spark/") == 1


@both
@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\n", b"\x00\xff garbage\r\n\r\n", reply(b'{"id": "gen-1"}')[:-4]],
    ids=["nothing", "half a head", "garbage", "half a body"],
)
def test_a_connection_cut_after_the_order_is_ambiguous_and_never_repeated(run: Run, answer: bytes) -> None:
    with Server(answer) as server, pytest.raises(SparkDanceAmbiguousSubmitError):
        run(Endpoint(KEY, server.url), submit)
    assert len(server.requests) == 1


@both
def test_a_connection_cut_in_a_poll_is_a_passing_fault(run: Run) -> None:
    with Server(b"") as server, pytest.raises(SparkDanceVendorError):
        run(Endpoint(KEY, server.url), get)


@both
def test_an_answer_that_does_not_come_in_time_is_ambiguous(run: Run) -> None:
    late = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n..."
    with Server(late) as server, pytest.raises(SparkDanceAmbiguousSubmitError, match="ReadTimeout"):
        run(Endpoint(KEY, server.url, request_timeout=0.05), submit)


@both
def test_where_nobody_listens_nothing_was_sent(run: Run) -> None:
    with unused_port() as url:
        for do in (submit, get):
            with pytest.raises(SparkDanceUnreachableError):
                run(Endpoint(KEY, url), do)


@both
def test_a_host_that_speaks_no_tls_got_nothing(run: Run) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(SparkDanceUnreachableError):
        run(Endpoint(KEY, f"https://127.0.0.1:{listener.getsockname()[1]}"), submit)
    thread.join()
    listener.close()


@both
def test_a_redirect_is_not_followed(run: Run) -> None:
    elsewhere = Server()
    moved = reply(b"", "307 Temporary Redirect", f"Location: {elsewhere.url}/model")
    with elsewhere, Server(moved) as server, pytest.raises(SparkDanceHostError):
        run(Endpoint(KEY, server.url), submit)
    assert elsewhere.requests == []


@both
def test_a_reply_without_an_end_is_read_no_further_than_its_bound(run: Run) -> None:
    endless = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9999999999\r\n\r\n" + b"x" * (MAX_REPLY_BYTES + 65536)
    with Server(endless + b"...") as server, pytest.raises(SparkDanceAuthenticationError):
        run(Endpoint(KEY, server.url), submit)


@both
def test_a_proxy_of_the_environment_is_not_used_for_a_loopback_host(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with unused_port() as dead, Server(reply(b'{"id": "gen-1"}')) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, dead)
        assert run(Endpoint(KEY, server.url), get).id == "gen-1"


@both
def test_a_given_proxy_is_used_and_its_failure_means_nothing_was_sent(run: Run) -> None:
    with unused_port() as dead, pytest.raises(SparkDanceUnreachableError) as caught:
        run(Endpoint(KEY, "https://cloud.vtrix.ai", proxy=dead.replace("//", "//me:hush@")), submit)
    assert "hush" not in str(caught.value)


@both
def test_a_proxy_that_refuses_the_tunnel_means_nothing_was_sent(run: Run) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    with Server(refusal) as proxy, pytest.raises(SparkDanceUnreachableError):
        run(Endpoint(KEY, "https://cloud.vtrix.ai", proxy=proxy.url), submit)
    assert KEY.encode() not in proxy.requests[0]


@both
def test_a_proxy_that_cannot_be_used_is_a_configuration_error(run: Run) -> None:
    # httpx needs another package for socks, which this project doesn't install.
    with pytest.raises(SparkDanceConfigurationError, match="socks"):
        run(Endpoint(KEY, "https://cloud.vtrix.ai", proxy="socks5://me:hush@proxy.example.com"), get)


def test_a_transport_can_be_given() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"id": request.url.path.split("/")[-1]}))
    with SparkDanceClient(Endpoint(KEY), transport=transport) as client:
        assert client.get("gen-1").id == "gen-1"


async def test_a_transport_can_be_given_to_the_async_client() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"id": request.url.path.split("/")[-1]}))
    async with AsyncSparkDanceClient(Endpoint(KEY), transport=transport) as client:
        assert (await client.get("gen-1")).id == "gen-1"


@both
def test_what_cannot_be_an_id_is_never_sent(run: Run) -> None:
    with pytest.raises(SparkDanceRequestError):
        run(Endpoint(KEY, "http://127.0.0.1:1"), lambda client: client.get("a b"))


@both
def test_no_error_drags_the_transports_exception_along(run: Run) -> None:
    with unused_port() as url, pytest.raises(SparkDanceUnreachableError) as caught:
        run(Endpoint(KEY, url), submit)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
