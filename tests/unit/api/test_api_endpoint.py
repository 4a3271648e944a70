import dataclasses
import json
from typing import Any

import pytest

from airflow_provider_spark.api.endpoint import Endpoint
from airflow_provider_spark.api.errors import SparkDanceConfigurationError

KEY = "sk-very-secret"


def test_the_default_is_the_vendors_own_host() -> None:
    assert Endpoint(KEY).base_url == "https://cloud.vtrix.ai"
    assert Endpoint(KEY, "https://proxy.example.com/vtrix/").base_url == "https://proxy.example.com/vtrix"


def test_neither_the_key_nor_the_proxys_password_is_ever_shown() -> None:
    endpoint = Endpoint(KEY, proxy="http://me:hush@proxy.example.com:3128")
    for shown in (repr(endpoint), str(endpoint), str(dataclasses.asdict(endpoint)), str(dataclasses.astuple(endpoint))):
        assert KEY not in shown
        assert "hush" not in shown
    with pytest.raises(TypeError):
        json.dumps(dataclasses.asdict(endpoint))
    assert (endpoint.key, endpoint.proxy_url) == (KEY, "http://me:hush@proxy.example.com:3128")


def test_endpoints_with_the_same_settings_are_equal_and_hashable() -> None:
    assert Endpoint(KEY) == Endpoint(KEY)
    assert hash(Endpoint(KEY)) == hash(Endpoint(KEY))
    assert Endpoint(KEY) != Endpoint("another")
    assert dataclasses.replace(Endpoint(KEY), request_timeout=5).key == KEY


@pytest.mark.parametrize("key", ["", " ", f"{KEY}\n", f" {KEY}", f"{KEY}\x00", f"{KEY}é", f"{KEY}\r\nX: 1"])
def test_a_key_that_cannot_go_into_a_header_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(SparkDanceConfigurationError) as caught:
        Endpoint(key)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cloud.vtrix.ai",
        "ftp://cloud.vtrix.ai",
        "https://",
        "https://a b",
        "https://user:hush@cloud.vtrix.ai",
        "user:hush@cloud.vtrix.ai",
        "user:hush@cloud.vtrix.ai:443/model",
        "https://user:4/hush@cloud.vtrix.ai",
        "https://cloud.vtrix.ai?key=hush",
        "https://cloud.vtrix.ai#hush",
        "https://[::1",
        "https://cloud.vtrix.ai:port",
        f"https://{'a' * 64}.example.com",
    ],
)
def test_a_host_that_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(SparkDanceConfigurationError) as caught:
        Endpoint(KEY, url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["", "proxy:3128", "ftp://proxy", "http://", "http://me:hush@:1", "http://[hush"])
def test_a_proxy_that_is_no_url_is_refused_without_showing_it(proxy: str) -> None:
    with pytest.raises(SparkDanceConfigurationError) as caught:
        Endpoint(KEY, proxy=proxy)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_call_has_a_time_limit(seconds: float) -> None:
    with pytest.raises(SparkDanceConfigurationError):
        Endpoint(KEY, request_timeout=seconds)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8765", True),
        ("http://localhost", True),
        ("http://[::1]:8765", True),
        ("http://emulator.localhost", True),
        ("https://cloud.vtrix.ai", False),
        ("http://10.0.0.1", False),
        ("http://localhost.example.com", False),
    ],
)
def test_a_loopback_host_is_known(url: str, loopback: bool) -> None:
    assert Endpoint(KEY, url).is_loopback == loopback


def test_one_tls_context_serves_the_whole_process() -> None:
    assert Endpoint(KEY).tls() is Endpoint("another", "https://example.com").tls()
    assert Endpoint(KEY, verify=False).tls() is not Endpoint(KEY).tls()


@pytest.mark.parametrize("verify", ["/no/such/bundle.pem", __file__])
def test_a_certificate_bundle_that_is_none_is_a_configuration_error(verify: Any) -> None:
    with pytest.raises(SparkDanceConfigurationError, match="certificate"):
        Endpoint(KEY, verify=verify).tls()


def test_scrubbed_text_has_no_key_and_no_proxy_password() -> None:
    endpoint = Endpoint("a/key+here", proxy="http://me:hush@proxy.example.com")
    assert endpoint.scrub("Bearer a/key+here, a%2Fkey%2Bhere\nvia hush") == "Bearer ***, *** via ***"
