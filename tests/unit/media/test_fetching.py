from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from airflow_provider_spark.api.errors import SparkDancePictureUnavailableError, SparkDanceRequestError
from airflow_provider_spark.api.picture import MAX_BYTES
from airflow_provider_spark.media.fetched import MAX_REDIRECTS, fetch
from airflow_provider_spark.media.frames import read_frame
from tests.unit.api.frame_files import data_uri, picture
from tests.unit.hooks.helpers import deaf_port, every_text_of, stranger

SIGNED = "?X-Amz-Signature=5ecret"


def refusal_of(url: str) -> str:
    with pytest.raises(SparkDanceRequestError) as refusal:
        read_frame(url + SIGNED, name="first_frame")
    assert "5ecret" not in every_text_of(refusal.value)
    return str(refusal.value)


def outage_of(url: str) -> str:
    with pytest.raises(SparkDancePictureUnavailableError) as outage:
        read_frame(url + SIGNED, name="first_frame")
    assert "5ecret" not in every_text_of(outage.value)
    assert outage.value.may_repeat
    return str(outage.value)


@contextmanager
def endless(headers: bytes = b"") -> Iterator[tuple[str, list[int]]]:
    """A server that sends until it is cut off, and counts what it has sent."""
    sent, ended = [0], Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(b"HTTP/1.0 200 OK\r\n" + headers + b"\r\n")
            try:
                while not ended.is_set():
                    self.wfile.write(bytes(1 << 16))
                    sent[0] += 1 << 16
            except OSError:
                ended.set()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/frame.png", sent
        finally:
            ended.set()
            server.shutdown()
            thread.join()


def test_a_picture_is_fetched_without_any_key() -> None:
    data = picture("webp")
    with stranger(body=data, content_type="image/jpeg") as host:
        frame = read_frame(f"{host.url}/a.jpg{SIGNED}")
    assert frame.data_uri == data_uri(data, "webp")
    ((path, headers),) = host.asked
    assert path == f"/a.jpg{SIGNED}"
    assert not {"authorization", "cookie"} & {name.lower() for name in headers}


def test_redirects_are_followed_without_what_the_address_has_for_a_password() -> None:
    data = picture()
    with stranger(body=data) as end, stranger(302, location=f"{end.url}/b.png") as begin:
        url = begin.url.replace("://", "://user:word@")
        assert read_frame(url).data_uri == data_uri(data)
    assert "authorization" in {name.lower() for name in begin.asked[0][1]}
    assert "authorization" not in {name.lower() for name in end.asked[0][1]}


def test_redirects_end_somewhere() -> None:
    with stranger(302, location="/again") as host:
        assert f"redirects more than {MAX_REDIRECTS} times" in refusal_of(host.url)
    assert len(host.asked) == MAX_REDIRECTS + 1


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[bad"])
def test_a_redirect_leads_to_another_web_address_or_nowhere(location: str) -> None:
    with (
        stranger(302, location=location) as host,
        pytest.raises((SparkDanceRequestError, SparkDancePictureUnavailableError)),
    ):
        read_frame(host.url)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 304])
def test_a_server_that_will_not_give_it_is_a_matter_for_the_author(status: int) -> None:
    with stranger(status) as host:
        assert f"its server says HTTP {status}" in refusal_of(f"{host.url}/a.png")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_a_matter_of_time(status: int) -> None:
    with stranger(status) as host:
        assert f"its server says HTTP {status}" in outage_of(f"{host.url}/a.png")


def test_a_server_that_is_not_there_is_a_matter_of_time() -> None:
    with deaf_port() as port:
        assert "ConnectError" in outage_of(f"http://127.0.0.1:{port}/a.png")


def test_a_log_in_page_is_called_so() -> None:
    with stranger(body=b"<!doctype html><title>Log in</title>", content_type="image/png") as host:
        assert "web page" in refusal_of(f"{host.url}/a.png")


def test_a_size_above_the_limit_is_enough_to_end_it() -> None:
    with endless(b"Content-Length: 9000000000\r\n") as (url, sent):
        assert "9,000,000,000 bytes and must have less than 30 MB" in refusal_of(url)
    assert sent[0] < MAX_BYTES


def test_no_more_than_the_limit_is_taken_of_what_tells_no_size() -> None:
    with endless() as (url, sent):
        assert "30,000,000 bytes or more" in refusal_of(url)
    assert sent[0] < MAX_BYTES + 20_000_000  # what lies between the two, in buffers


def test_no_more_time_is_taken_than_allowed() -> None:
    begun = time.monotonic()
    with endless() as (url, _), pytest.raises(SparkDancePictureUnavailableError, match="ReadTimeout"):
        fetch(url, called="first_frame", limit=10**12, seconds=0.2, verify=True)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("url", ["https://", "http:// a.png", "http://host:99999/a.png", "HTTP://"])
def test_an_address_that_is_none_is_refused_before_any_call(url: str) -> None:
    assert "must be an absolute http or https URL" in refusal_of(url)
