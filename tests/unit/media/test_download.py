from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest

from airflow_provider_spark.api.endpoint import Endpoint
from airflow_provider_spark.media.download import PIECE, download
from airflow_provider_spark.media.errors import SparkDanceDownloadError, SparkDanceUrlExpiredError
from tests.results import Answer, Results, closed_port, running_results

KEY = "sk-never-to-a-result"
FILE = os.urandom(3 * PIECE + 123)


@pytest.fixture(scope="module")
def server() -> Iterator[Results]:
    with running_results() as results:
        yield results


@pytest.fixture
def results(server: Results) -> Results:
    server.answers.clear()
    server.asked.clear()
    return server


def endpoint(**options: object) -> Endpoint:
    return Endpoint(api_key=KEY, **options)  # type: ignore[arg-type]


def fetch(url: str, to: Endpoint | None = None) -> bytes:
    with download(url, to or endpoint()) as pieces:
        return b"".join(bytes(piece) for piece in pieces)


def test_a_file_comes_whole_in_pieces_of_a_bounded_size(results: Results) -> None:
    with download(results.put("/a.mp4", FILE), endpoint()) as pieces:
        sizes = []
        whole = bytearray()
        for piece in pieces:
            sizes.append(len(piece))
            whole += piece
    assert whole == FILE
    assert max(sizes) <= PIECE


def test_no_more_than_a_piece_is_read_ahead_of_who_stores_it(results: Results) -> None:
    # The sockets' own buffers hold a few megabytes; this file is far beyond them.
    url = results.put("/large.mp4", bytes(200 * PIECE))
    with download(url, endpoint()) as pieces:
        first = next(pieces)
        assert len(first) <= PIECE
        again = next(pieces)
        # The same memory, over and over.
        assert first.obj is again.obj  # type: ignore[union-attr]


def test_a_piece_at_a_time_goes_through_a_proxy_too(results: Results) -> None:
    # Any server that takes an absolute URL in its request line will do for a proxy.
    results.put("http://results.example/a.mp4", FILE)
    assert fetch("http://results.example/a.mp4?s=1", endpoint(proxy=results.base_url)) == FILE


def test_the_key_goes_to_no_result(results: Results) -> None:
    there = results.put("/there.mp4", FILE)
    url = results.put("/here.mp4", Answer(status=302, headers={"Location": there}))
    assert fetch(url) == FILE
    assert [path for path, _ in results.asked] == ["/here.mp4", "/there.mp4"]
    assert KEY not in repr(results.asked)
    assert not any("authorization" in {name.lower() for name in headers} for _, headers in results.asked)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_url_that_is_good_no_more_is_told_apart(results: Results, status: int) -> None:
    with pytest.raises(SparkDanceUrlExpiredError, match=f"HTTP {status}") as failure:
        fetch(results.put("/a.mp4", Answer(status=status)) + "?signature=secret")
    assert "secret" not in str(failure.value)
    assert not failure.value.may_repeat


@pytest.mark.parametrize("status", [204, 206, 304, 418, 429, 500, 503])
def test_any_other_answer_is_no_file(results: Results, status: int) -> None:
    with pytest.raises(SparkDanceDownloadError, match=f"HTTP {status}") as failure:
        fetch(results.put("/a.mp4", Answer(status=status)))
    assert failure.value.may_repeat


@pytest.mark.parametrize(
    "answer",
    [
        Answer(FILE, cut_after=PIECE),
        Answer(FILE, cut_after=0),
        Answer(FILE, length=len(FILE) + 1),
        Answer(b"5\r\nabc", headers={"Transfer-Encoding": "chunked"}),
    ],
)
def test_a_file_that_does_not_come_whole_is_none(results: Results, answer: Answer) -> None:
    with pytest.raises(SparkDanceDownloadError, match=r"cut off|can't be read"):
        fetch(results.put("/a.mp4", answer))


def test_a_file_that_does_not_come_whole_through_a_proxy_is_none(results: Results) -> None:
    results.put("http://results.example/a.mp4", Answer(FILE, cut_after=PIECE))
    with pytest.raises(SparkDanceDownloadError):
        fetch("http://results.example/a.mp4", endpoint(proxy=results.base_url))


def test_a_file_that_no_clip_can_be_is_not_begun(results: Results) -> None:
    with pytest.raises(SparkDanceDownloadError, match="which no clip has"):
        fetch(results.put("/a.mp4", Answer(b"", length=1 << 50)))


def test_an_answer_that_does_not_come_is_given_up() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as deaf,
        pytest.raises(SparkDanceDownloadError, match="TimeoutError"),
    ):
        fetch(f"http://127.0.0.1:{deaf.getsockname()[1]}/a.mp4", endpoint(request_timeout=0.1))


def test_a_file_that_comes_drop_by_drop_is_given_up(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 1_000_000, 60))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    url = results.put("/a.mp4", Answer(b"".join(b"1\r\na\r\n" for _ in range(9)) + b"0\r\n\r\n", headers=CHUNKED))
    with pytest.raises(SparkDanceDownloadError, match="too slowly"):
        fetch(url)


CHUNKED = {"Transfer-Encoding": "chunked"}


class TestARedirect:
    def test_in_a_circle_is_left(self, results: Results) -> None:
        url = results.put("/a.mp4", Answer(status=307, headers={"Location": "/a.mp4"}))
        with pytest.raises(SparkDanceDownloadError, match="redirects"):
            fetch(url)
        assert len(results.asked) == 6

    @pytest.mark.parametrize("target", ["ftp://results.example/a.mp4", "file:///etc/passwd", "http://:80/"])
    def test_to_no_web_page_is_not_followed(self, results: Results, target: str) -> None:
        with pytest.raises(SparkDanceDownloadError, match="isn't followed"):
            fetch(results.put("/a.mp4", Answer(status=302, headers={"Location": target})))


def test_a_host_that_is_not_there_is_told_without_the_signature() -> None:
    with pytest.raises(SparkDanceDownloadError, match="refused") as failure:
        fetch(f"http://127.0.0.1:{closed_port()}/a.mp4?signature=secret")
    assert "secret" not in str(failure.value)
    assert failure.value.__cause__ is None


def test_a_proxys_password_is_in_no_error() -> None:
    proxied = endpoint(proxy=f"http://user:hunter2@127.0.0.1:{closed_port()}")
    with pytest.raises(SparkDanceDownloadError) as failure:
        fetch("http://results.example/a.mp4", proxied)
    assert "hunter2" not in repr(failure.value) + str(failure.value)


def test_a_fault_of_who_stores_the_pieces_is_not_taken_for_one_of_the_network(results: Results) -> None:
    def store(url: str) -> None:
        with download(url, endpoint()) as pieces:
            next(pieces)
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store(results.put("/a.mp4", FILE))
