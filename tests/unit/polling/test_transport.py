from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from airflow_provider_spark.api.endpoint import Endpoint
from airflow_provider_spark.api.errors import SparkDanceConfigurationError, SparkDanceHostError
from airflow_provider_spark.api.protocol import MAX_REPLY_BYTES, Protocol
from airflow_provider_spark.polling.transport import DirectTransport, ProxiedTransport, Transport, open_transport
from tests.unit.hooks.helpers import KEY, deaf_port, stranger
from tests.unit.polling.host import host, plain

Open = Callable[[Endpoint], Transport]
EVERY_WAY = pytest.mark.parametrize("way", [DirectTransport, ProxiedTransport])


def endpoint(url: str, **options: Any) -> Endpoint:
    return Endpoint(api_key=KEY, base_url=url, request_timeout=options.pop("request_timeout", 20), **options)


async def ask(way: Open, at: Endpoint, generation_id: str = "sd-1") -> tuple[int, Any, bytes]:
    transport = way(at)
    try:
        return await transport.send(Protocol(at).poll_call(generation_id))
    finally:
        await transport.aclose()


@EVERY_WAY
class TestBothWays:
    async def test_send_the_call_as_the_protocol_writes_it(self, way: Open) -> None:
        async with host(lambda head: plain(b'{"id": "sd/1"}')) as vendor:
            status, _, body = await ask(way, endpoint(vendor.url), "sd/1")
        assert (status, body) == (200, b'{"id": "sd/1"}')
        (head,) = vendor.heads
        assert head.startswith("GET /model/v1/generation/task/sd%2F1 HTTP/1.1\r\n")
        assert f"authorization: bearer {KEY}\r\n" in head.lower()
        assert "accept-encoding: identity\r\n" in head.lower()
        assert "user-agent: airflow-provider-spark/" in head.lower()

    async def test_give_headers_by_their_names_in_lower_case(self, way: Open) -> None:
        with stranger(429, retry_after="7") as vendor:
            status, headers, _ = await ask(way, endpoint(vendor.url))
        assert status == 429
        assert headers.get("retry-after") == "7"

    async def test_follow_no_redirect(self, way: Open) -> None:
        with stranger(200) as target, stranger(302, location=target.url) as vendor:
            at = endpoint(vendor.url)
            status, headers, body = await ask(way, at)
            with pytest.raises(SparkDanceHostError):
                Protocol(at).read_poll("sd-1", status, headers, body)
        assert target.asked == []

    async def test_keep_a_connection_and_carry_no_cookie_from_one_call_to_the_next(self, way: Open) -> None:
        async with host(lambda head: plain(headers="Set-Cookie: session=1; Path=/\r\n")) as vendor:
            at = endpoint(vendor.url)
            transport = way(at)
            for number in range(5):
                await transport.send(Protocol(at).poll_call(f"sd-{number}"))
            await transport.aclose()
        assert vendor.connections == 1
        assert len(vendor.heads) == 5
        assert not any("cookie" in head.lower() for head in vendor.heads)

    async def test_use_the_connection_again_that_was_used_last(self, way: Open) -> None:
        async with host(lambda head: plain()) as vendor:
            at = endpoint(vendor.url)
            transport = way(at)
            call = Protocol(at).poll_call("sd-1")
            await asyncio.gather(*(transport.send(call) for _ in range(10)))
            assert vendor.connections == 10
            vendor.asked_over.clear()
            for _ in range(20):
                await transport.send(call)
            await transport.aclose()
        assert len(vendor.asked_over) == 20
        assert len(set(vendor.asked_over)) == 1

    @pytest.mark.parametrize("length", ["Content-Length: 100000000\r\n", "Transfer-Encoding: chunked\r\n"])
    async def test_read_no_more_than_a_reply_may_have(self, way: Open, length: str) -> None:
        part = b"x" * 65536
        chunk = b"10000\r\n" + part + b"\r\n" if "chunked" in length else part
        head = f"HTTP/1.1 200 OK\r\n{length}\r\n".encode()
        async with host(lambda _: head + chunk * 100) as vendor:
            _, _, body = await ask(way, endpoint(vendor.url))
        assert MAX_REPLY_BYTES < len(body) <= MAX_REPLY_BYTES + 2**20

    async def test_wait_for_a_whole_reply_no_longer_than_the_timeout(self, way: Open) -> None:
        drops = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"\n" * 1000
        async with host(lambda _: drops, pause=0.02) as vendor:
            with pytest.raises((TimeoutError, httpx.TimeoutException)):
                await ask(way, endpoint(vendor.url, request_timeout=0.3))

    async def test_go_on_after_a_call_was_cut_off_in_whatever_turn_of_the_loop(self, way: Open) -> None:
        async with host(lambda _: plain()) as vendor:
            at = endpoint(vendor.url, request_timeout=2)
            call, transport = Protocol(at).poll_call("sd-1"), way(at)
            ends = []
            for turns in range(30):
                assert (await transport.send(call))[0] == 200
                cut = asyncio.create_task(transport.send(call))
                for _ in range(turns):
                    await asyncio.sleep(0)
                cut.cancel()
                await asyncio.wait([cut])
                ends.append("cut" if cut.cancelled() else "answered")
            await transport.aclose()
        assert ends.count("cut") > 3
        assert ends[-1] == "answered"

    async def test_tell_a_host_that_is_not_there_from_one_that_gave_no_answer(self, way: Open) -> None:
        with deaf_port() as port, pytest.raises(httpx.ConnectError):
            await ask(way, endpoint(f"http://127.0.0.1:{port}"))
        async with host(lambda _: b"SSH-2.0-nonsense\r\n\r\n") as vendor:
            with pytest.raises(Exception) as told:  # noqa: PT011 - whatever a transport makes of it
                await ask(way, endpoint(vendor.url))
        assert not isinstance(told.value, httpx.ConnectError)

    async def test_leave_no_connection_open(self, way: Open) -> None:
        async with host(lambda head: plain()) as vendor:
            before = len(asyncio.all_tasks())
            await ask(way, endpoint(vendor.url))
            while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110 - the server's own task ends by itself
                await asyncio.sleep(0.001)

    async def test_read_no_key_from_a_netrc(self, way: Open, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login somebody password something\n")
        monkeypatch.setenv("NETRC", str(netrc))
        async with host(lambda head: plain()) as vendor:
            await ask(way, endpoint(vendor.url))
        assert f"Bearer {KEY}" in vendor.heads[0]


class TestTheWay:
    async def test_is_direct_where_there_is_no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        transport = open_transport(endpoint("https://api.example.com"))
        assert isinstance(transport, DirectTransport)
        await transport.aclose()

    async def test_is_through_the_proxy_of_the_connection(self) -> None:
        async with host(lambda head: plain()) as proxy:
            at = endpoint("http://api.example.com", proxy=proxy.url.replace("//", "//me:secret@"))
            await ask(open_transport, at)
        assert proxy.heads[0].startswith("GET http://api.example.com/model/")
        assert "proxy-authorization: basic" in proxy.heads[0].lower()

    async def test_is_through_the_proxy_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with host(lambda head: plain()) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("http_proxy", proxy.url)
            await ask(open_transport, endpoint("http://api.example.com"))
        assert len(proxy.heads) == 1

    async def test_is_direct_to_this_machine_whatever_the_environment_says(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with host(lambda head: plain()) as proxy, host(lambda head: plain()) as vendor:
            monkeypatch.setenv("http_proxy", proxy.url)
            await ask(open_transport, endpoint(vendor.url))
        assert proxy.heads == []
        assert len(vendor.heads) == 1

    async def test_with_certificates_that_are_not_there_is_refused(self) -> None:
        with pytest.raises(SparkDanceConfigurationError, match="verify"):
            open_transport(endpoint("https://127.0.0.1:1", verify="/nowhere.pem"))
