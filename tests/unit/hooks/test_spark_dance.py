from __future__ import annotations

import asyncio
import logging
import pickle
import string
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.execution_time import task_runner
from asgiref.sync import async_to_sync
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from airflow_provider_spark.api.errors import (
    SparkDanceAuthenticationError,
    SparkDanceConfigurationError,
    SparkDanceError,
    SparkDanceNotFoundError,
)
from airflow_provider_spark.api.request import VideoRequest
from airflow_provider_spark.emulator import RunningEmulator, running_emulator
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from tests.unit.hooks.helpers import (
    CONN_ID,
    KEY,
    deaf_port,
    every_text_of,
    store_connection,
    stranger,
    vendor_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIP = VideoRequest.compose(prompt="A paper kite", resolution="480p", duration=2)


@pytest.fixture
def emulator() -> Iterator[RunningEmulator]:
    with running_emulator(render_seconds=0, seed=7) as running:
        yield running


@pytest.fixture
def hook(emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> SparkDanceHook:
    store_connection(monkeypatch, host=emulator.base_url, password=emulator.api_key)
    return SparkDanceHook(CONN_ID)


class TestUsingIt:
    def test_a_generation_is_ordered_and_asked_for(self, hook: SparkDanceHook, emulator: RunningEmulator) -> None:
        ordered = hook.submit(CLIP)
        assert ordered.id is not None
        assert hook.get_generation(ordered.id).is_completed
        assert emulator.stats()["submits_accepted"] == 1

    def test_an_estimate_counts_at_the_price_of_the_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store_connection(monkeypatch, password=KEY, extra={"price_per_million_tokens": "10"})
        assert SparkDanceHook(CONN_ID).estimate(CLIP).usd * 1_000_000 == 864 * 480 * 48 // 1024 * 10

    async def test_a_generation_is_asked_for_on_an_event_loop(self, hook: SparkDanceHook) -> None:
        generation_id = (await asyncio.to_thread(hook.submit, CLIP)).id
        assert generation_id is not None
        async with await SparkDanceHook(CONN_ID).get_async_conn() as client:
            assert (await client.get(generation_id)).is_completed

    def test_the_default_connection_is_the_documented_one(self) -> None:
        assert SparkDanceHook().spark_dance_conn_id == "spark_dance_default"


class TestTheConnection:
    @pytest.mark.parametrize(
        "stored",
        [
            "spark-dance://:{key}@{address}",
            "spark-dance://http://:{key}@{address}/model?poll_floor=1",
            '{{"conn_type": "spark_dance", "password": "Bearer {key}\\n", "host": "http://{address}/"}}',
        ],
    )
    def test_is_read_from_the_environment(
        self, emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch, stored: str
    ) -> None:
        address = emulator.base_url.removeprefix("http://")
        monkeypatch.setenv("AIRFLOW_CONN_FROM_ENV", stored.format(key=emulator.api_key, address=address))
        with pytest.raises(SparkDanceNotFoundError):
            SparkDanceHook("from_env").get_generation("sd-0")

    async def test_is_read_on_an_event_loop_as_it_is_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store_connection(monkeypatch, password=KEY, host="api.example.com", extra={"poll_floor": "5"})
        settings = await SparkDanceHook(CONN_ID).areload()
        assert settings == await asyncio.to_thread(SparkDanceHook(CONN_ID).reload)

    def test_is_looked_up_once_until_it_is_asked_for_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store_connection(monkeypatch, password=KEY)
        hook = SparkDanceHook(CONN_ID)
        assert hook.settings.endpoint.key == KEY
        store_connection(monkeypatch, password="a-newer-key")
        assert hook.settings.endpoint.key == KEY
        assert hook.reload().endpoint.key == hook.settings.endpoint.key == "a-newer-key"

    async def test_is_looked_up_anew_on_an_event_loop_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store_connection(monkeypatch, password=KEY)
        hook = SparkDanceHook(CONN_ID)
        await hook.areload()
        store_connection(monkeypatch, password="a-newer-key")
        assert (await hook.areload()).endpoint.key == "a-newer-key"
        assert hook.settings.endpoint.key == "a-newer-key"

    def test_is_warned_of_an_extra_that_has_no_effect(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store_connection(monkeypatch, password=KEY, extra={"pol_floor": 1, "verify": True})
        with capture_logs() as lines:
            SparkDanceHook(CONN_ID).reload()
        (warning,) = [line for line in lines if "has no effect" in line["event"]]
        assert warning["log_level"] == "warning"
        assert CONN_ID in warning["event"]
        assert "pol_floor" in warning["event"]


class Supervisor:
    """What a task and a trigger tell about secrets to the process that writes their logs."""

    def __init__(self) -> None:
        self.masked: set[str] = set()
        self.loops: list[asyncio.AbstractEventLoop] = []

    def send(self, message: Any) -> None:
        async_to_sync(self.asend)(message)

    async def asend(self, message: Any) -> None:
        self.loops.append(asyncio.get_running_loop())
        if isinstance(getattr(message, "value", None), str):
            self.masked.add(message.value)


class TestMasking:
    SECRETS = frozenset({KEY, "p%40ss-word", "p@ss-word"})

    @pytest.fixture
    def supervisor(self, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
        store_connection(
            monkeypatch,
            password=f"Bearer {KEY}\n",
            extra={"proxy": "http://user:p%40ss-word@proxy.example.com:3128"},
        )
        supervisor = Supervisor()
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
        return supervisor

    def test_covers_the_key_as_sent_and_the_password_of_the_proxy(self, supervisor: Supervisor) -> None:
        SparkDanceHook(CONN_ID).reload()
        assert supervisor.masked >= self.SECRETS

    async def test_speaks_to_the_supervisor_from_the_event_loop_that_owns_the_line(
        self, supervisor: Supervisor
    ) -> None:
        # A triggerer's line to its supervisor belongs to one loop: a message from another one loses its answer,
        # and every answer after it comes out of order.
        await SparkDanceHook(CONN_ID).areload()
        assert supervisor.masked >= self.SECRETS
        assert set(supervisor.loops) == {asyncio.get_running_loop()}


class TestTestConnection:
    """What stands behind the form's button."""

    def verdict(self, monkeypatch: pytest.MonkeyPatch, host: str, key: str = KEY, **fields: Any) -> tuple[bool, str]:
        store_connection(monkeypatch, conn_id="vendor", host=host, password=key, **fields)
        good, message = SparkDanceHook("vendor").test_connection()
        assert key not in message
        # There is no generation that could go on or be billed.
        assert "The render goes on" not in message
        assert "generation" not in message
        return good, message

    def test_says_yes_to_the_right_key_and_orders_nothing(
        self, hook: SparkDanceHook, emulator: RunningEmulator
    ) -> None:
        good, message = hook.test_connection()
        assert good
        assert emulator.base_url in message
        assert "accepts the key" in message
        assert emulator.stats()["submits_received"] == 0

    def test_says_no_to_a_wrong_key(self, emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
        good, message = self.verdict(monkeypatch, emulator.base_url)
        assert not good
        assert "key was refused" in message

    def test_takes_a_key_that_was_mended_since(self, hook: SparkDanceHook, monkeypatch: pytest.MonkeyPatch) -> None:
        right = hook.settings.endpoint
        store_connection(monkeypatch, host=right.base_url, password="wrong-key")
        assert not hook.test_connection()[0]
        store_connection(monkeypatch, host=right.base_url, password=right.key)
        assert hook.test_connection()[0]

    @pytest.mark.parametrize("status", [402, 403])
    def test_says_no_to_an_account_that_may_not_order(self, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
        with stranger(status, vendor_error("40203", "balance is empty")) as vendor:
            good, message = self.verdict(monkeypatch, vendor.url)
        assert not good
        assert "balance is empty" in message

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (200, b"<html><h1>It works!</h1></html>"),
            (200, b"{}"),
            (200, b'["a", "list"]'),
            (404, b"<html>Not here</html>"),
            (404, b""),
            (404, b'{"detail": "Not Found"}'),
            (405, b"Method not allowed"),
            (500, b"<html>Oops</html>"),
            (502, b""),
        ],
    )
    def test_says_no_to_a_host_that_is_not_the_vendor(
        self, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
    ) -> None:
        with stranger(status, body, content_type="text/html") as host:
            good, message = self.verdict(monkeypatch, host.url)
        assert not good
        assert "host" in message
        assert f"127.0.0.1:{host.port}" in message

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_says_no_to_a_host_that_redirects_and_takes_the_key_nowhere(
        self, monkeypatch: pytest.MonkeyPatch, status: int
    ) -> None:
        with stranger(200, b"{}") as target, stranger(status, location=f"{target.url}/model") as host:
            good, message = self.verdict(monkeypatch, host.url)
        assert not good
        assert "host" in message
        assert "redirects" in message
        assert len(host.asked) == 1
        assert target.asked == []

    def test_says_no_where_nothing_listens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with deaf_port() as port:
            good, message = self.verdict(monkeypatch, "127.0.0.1", port=port)
        assert not good
        assert f"127.0.0.1:{port}" in message

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (429, vendor_error("429", "too many requests")),
            (500, vendor_error("003005095", "internal error")),
            (502, vendor_error("003005097", "HTTP error")),
            (503, vendor_error("003005099", "model not available")),
        ],
    )
    def test_holds_a_vendor_in_trouble_against_no_key(
        self, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
    ) -> None:
        with stranger(status, body) as vendor:
            good, message = self.verdict(monkeypatch, vendor.url)
        assert good
        assert "accepts the key" not in message
        assert "nothing speaks against the key" in message

    def test_says_no_to_a_connection_that_cannot_be_right(self, monkeypatch: pytest.MonkeyPatch) -> None:
        good, message = self.verdict(monkeypatch, "http://api.example.com")
        assert not good
        assert "plain http" in message

    def test_says_no_to_a_bundle_of_certificates_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        good, message = self.verdict(monkeypatch, "api.example.com", extra={"verify": "/nowhere/ca.pem"})
        assert not good
        assert "verify" in message

    def test_says_no_where_there_is_no_such_connection(self) -> None:
        good, message = SparkDanceHook("nobody_set_this_up").test_connection()
        assert not good
        assert "nobody_set_this_up" in message

    def test_tells_nothing_but_the_kind_of_an_unforeseen_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Broken(SparkDanceHook):
            @classmethod
            def get_connection(cls, conn_id: str) -> Any:
                raise RuntimeError(f"Invalid connection string: spark-dance://:{KEY}@host")

        good, message = Broken(CONN_ID).test_connection()
        assert not good
        assert "RuntimeError" in message
        assert KEY not in message


PROXY_PASSWORD = "hunter2-hunter2"
TRICKY = string.ascii_letters + string.digits + "-_.+/=:@#%&\"'\\<>"


class TestSecrets:
    """Neither the key nor the proxy's password is in anything that an exception can bring into a log."""

    @hypothesis_settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        key=st.text(TRICKY, min_size=10, max_size=40).map("sk-{}".format),
        status=st.sampled_from([200, 301, 400, 401, 403, 404, 418, 429, 500, 502]),
        form=st.sampled_from(["json", "html", "headers", "cut"]),
    )
    def test_whoever_echoes_the_key_brings_it_into_no_exception(
        self, monkeypatch: pytest.MonkeyPatch, key: str, status: int, form: str
    ) -> None:
        body = {
            "json": vendor_error("X-" + key, f"Authorization: Bearer {key} is not good"),
            "html": f"<html>{key}</html>".encode(),
            "headers": b"",
            "cut": b"{",
        }[form]
        headers = {"location": f"/login?key={key}", "retry_after": key} if form == "headers" else {}
        with stranger(status, body, **headers) as host:
            store_connection(monkeypatch, host=host.url, password=key)
            with pytest.raises(SparkDanceError) as caught:
                SparkDanceHook(CONN_ID).get_generation("sd-0")
        assert key not in every_text_of(caught.value)
        assert key.encode() not in pickle.dumps(caught.value)

    @pytest.mark.parametrize(
        "proxy",
        [
            f"http://user:{PROXY_PASSWORD}@127.0.0.1:{{port}}",
            f"socks5://user:{PROXY_PASSWORD}@127.0.0.1:{{port}}",
            f"gopher://user:{PROXY_PASSWORD}@127.0.0.1:{{port}}",
            f"user:{PROXY_PASSWORD}@127.0.0.1:{{port}}",
            f"http://user:{PROXY_PASSWORD}@[127.0.0.1:{{port}}",
        ],
    )
    def test_a_proxy_that_fails_takes_its_password_along_nowhere(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, proxy: str
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with deaf_port() as port:
            store_connection(
                monkeypatch, host="api.example.com", password=KEY, extra={"proxy": proxy.format(port=port)}
            )
            hook = SparkDanceHook(CONN_ID)
            with pytest.raises(SparkDanceError) as caught, capture_logs() as lines:
                hook.get_generation("sd-0")
        for secret in (KEY, PROXY_PASSWORD):
            assert secret not in repr(lines)
            assert secret not in every_text_of(caught.value)
            assert secret not in repr(hook)
            assert secret not in repr(vars(hook))
            assert secret not in caplog.text

    def test_a_proxy_that_refuses_takes_its_password_along_nowhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with stranger(407, f"no {PROXY_PASSWORD}".encode()) as proxy:
            store_connection(
                monkeypatch,
                host="http://127.0.0.1:9",
                password=KEY,
                extra={"proxy": proxy.url.replace("://", f"://user:{PROXY_PASSWORD}@")},
            )
            with pytest.raises(SparkDanceError) as caught:
                SparkDanceHook(CONN_ID).get_generation("sd-0")
        assert PROXY_PASSWORD not in every_text_of(caught.value)
        assert KEY not in every_text_of(caught.value)

    def test_a_log_at_its_loudest_has_no_key(
        self, hook: SparkDanceHook, emulator: RunningEmulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with capture_logs() as lines:
            hook.submit(CLIP)
        assert caplog.records
        assert emulator.api_key not in caplog.text
        assert emulator.api_key not in repr(lines)

    def test_an_exception_can_be_pickled_and_tells_the_same(self, hook: SparkDanceHook) -> None:
        with pytest.raises(SparkDanceNotFoundError) as caught:
            hook.get_generation("sd-0")
        copy = pickle.loads(pickle.dumps(caught.value))
        assert str(copy) == str(caught.value)
        assert vars(copy) == vars(caught.value)

    def test_a_refused_key_names_what_to_do(self, emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
        store_connection(monkeypatch, host=emulator.base_url, password=KEY)
        with pytest.raises(SparkDanceAuthenticationError, match="password"):
            SparkDanceHook(CONN_ID).submit(CLIP)

    def test_a_key_that_no_header_takes_never_leaves(
        self, emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store_connection(monkeypatch, host=emulator.base_url, password="sk-ab\ncd\x00ef")
        with pytest.raises(SparkDanceConfigurationError) as caught:
            SparkDanceHook(CONN_ID).submit(CLIP)
        assert "sk-ab" not in every_text_of(caught.value)
        assert emulator.stats()["submits_received"] == 0
