from __future__ import annotations

import dataclasses
import pickle
import string
from decimal import Decimal
from typing import Any

import pytest
from airflow.sdk import Connection
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.api.endpoint import DEFAULT_BASE_URL
from airflow_provider_spark.api.errors import SparkDanceConfigurationError
from airflow_provider_spark.get_provider_info import get_provider_info
from airflow_provider_spark.hooks.settings import Settings, clean_key, read_base_url
from tests.unit.hooks.helpers import CONN_ID, KEY, Fields, every_text_of, settings

LETTERS = string.ascii_letters + string.digits
KEYS = st.text(LETTERS + "-_.+/=:@#%?&\"'\\", min_size=8, max_size=60).map("sk-{}".format)
SPACE = st.text(" \t\r\n", max_size=3)
BEARER = st.sampled_from(["Bearer ", "bearer ", "BEARER\t", "bEaReR  ", " Bearer \n", ""])
UNSENDABLE = st.one_of(
    st.sampled_from(["\n", "\r\n", "\t", "\0", "\x1b", "\x7f", "\u200b", "é", "密", "\u2028", "“"]),
    st.characters(min_codepoint=0x80, exclude_categories=["Zs", "Cs"]).filter(
        lambda character: not character.isspace()
    ),
)


def refused(extra: Any = None, **fields: Any) -> str:
    """Why a connection is refused."""
    with pytest.raises(SparkDanceConfigurationError) as refusal:
        settings(extra, **fields)
    assert CONN_ID in str(refusal.value)
    return str(refusal.value)


class TestTheKey:
    @given(bearer=BEARER, before=SPACE, key=KEYS, after=SPACE)
    def test_is_freed_of_white_space_and_a_pasted_bearer(self, bearer: str, before: str, key: str, after: str) -> None:
        assert clean_key(before + bearer + key + after) == key

    @given(bearer=BEARER, start=KEYS, odd=UNSENDABLE, end=KEYS)
    def test_is_refused_unseen_where_it_holds_what_no_header_can(
        self, bearer: str, start: str, odd: str, end: str
    ) -> None:
        with pytest.raises(SparkDanceConfigurationError, match="outside printable ASCII") as refusal:
            settings(password=bearer + start + odd + end)
        for part in (start, end):
            assert part not in every_text_of(refusal.value)
            assert part.encode() not in pickle.dumps(refusal.value)

    @pytest.mark.parametrize("password", [None, "", " \n", "Bearer", "bearer \t"])
    def test_is_missed_where_there_is_none(self, password: str | None) -> None:
        assert "the password is empty" in refused(password=password)

    def test_says_where_the_odd_character_is(self) -> None:
        assert "position 4 of 7" in refused(password="abc\x00def")

    @given(key=KEYS)
    def test_shows_in_no_repr_of_the_settings(self, key: str) -> None:
        read = settings(password=key)
        assert key not in repr(read)
        assert key not in repr(dataclasses.asdict(read))
        assert read.endpoint.key == key


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, DEFAULT_BASE_URL),
        ({"host": " "}, DEFAULT_BASE_URL),
        ({"schema": "https"}, DEFAULT_BASE_URL),
        ({"host": "api.example.com"}, "https://api.example.com"),
        ({"host": "API.Example.com"}, "https://api.example.com"),
        ({"host": "  https://api.example.com\n"}, "https://api.example.com"),
        ({"host": "https://api.example.com/"}, "https://api.example.com"),
        ({"host": "https://api.example.com/model"}, "https://api.example.com"),
        ({"host": "https://api.example.com/model/"}, "https://api.example.com"),
        ({"host": "api.example.com", "schema": "model"}, "https://api.example.com"),
        ({"host": "api.example.com", "schema": "/model/"}, "https://api.example.com"),
        ({"host": "api.example.com", "schema": "HTTPS"}, "https://api.example.com"),
        ({"host": "api.example.com:8443"}, "https://api.example.com:8443"),
        ({"host": "api.example.com", "port": 8443}, "https://api.example.com:8443"),
        ({"host": "api.example.com", "schema": "https", "port": 8443}, "https://api.example.com:8443"),
        ({"host": "https://api.example.com:8443", "port": 8443}, "https://api.example.com:8443"),
        ({"host": "HTTPS://api.example.com", "schema": "https"}, "https://api.example.com"),
        ({"host": "localhost"}, "http://localhost"),
        ({"host": "LOCALHOST:8765"}, "http://localhost:8765"),
        ({"host": "localhost", "schema": "https"}, "https://localhost"),
        ({"host": "vendor.localhost:80"}, "http://vendor.localhost:80"),
        ({"host": "127.0.0.1", "port": 8765}, "http://127.0.0.1:8765"),
        ({"host": "127.8.9.1", "schema": "http"}, "http://127.8.9.1"),
        ({"host": "http://127.0.0.1:8765/"}, "http://127.0.0.1:8765"),
        ({"host": "::1"}, "http://[::1]"),
        ({"host": "::1", "port": 8765}, "http://[::1]:8765"),
        ({"host": "[::1]:8765"}, "http://[::1]:8765"),
        ({"host": "http://[::1]:8765"}, "http://[::1]:8765"),
        ({"host": "2001:db8::7"}, "https://[2001:db8::7]"),
        ({"host": "https://[2001:DB8::7]:8443/model"}, "https://[2001:db8::7]:8443"),
    ],
)
def test_a_host_comes_in_many_forms(fields: dict[str, Any], base_url: str) -> None:
    assert settings(**fields).endpoint.base_url == base_url


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"host": "http://api.example.com"}, "plain http"),
        ({"host": "api.example.com", "schema": "http"}, "plain http"),
        ({"host": "http://0.0.0.0:8765"}, "plain http"),
        ({"host": "http://localhost.example.com"}, "plain http"),
        ({"host": "https://api.example.com/?a=1"}, "a query"),
        ({"host": "api.example.com#part"}, "a fragment"),
        ({"host": "https://api.example.com/v2"}, "a path"),
        ({"host": "https://api.example.com/model/v1/generation"}, "a path"),
        ({"host": "ftp://api.example.com"}, "http or https URL"),
        ({"host": "api.example.com", "schema": "ftp"}, "http or https"),
        ({"host": "https://api.example.com", "schema": "http"}, "schema says http"),
        ({"host": "https://api.example.com:8443", "port": 443}, "port says 443"),
        ({"host": "api.example.com", "port": 70_000}, "1 to 65535"),
        ({"host": "api.example.com:0"}, "1 to 65535"),
        ({"host": "api.example.com:http"}, "can't be read"),
        ({"host": "[::1"}, "can't be read"),
        ({"port": 8443}, "no host"),
        ({"host": "https://"}, "no name"),
        ({"host": "käse.example"}, "punycode"),
        ({"host": "two words"}, "no name"),
        ({"host": "api\\.example.com"}, "no name"),
        ({"host": "api.example.com%2Fmodel"}, "no name"),
    ],
)
def test_a_host_that_cannot_be_right_is_refused_in_words(fields: dict[str, Any], reason: str) -> None:
    assert reason in refused(**fields)


def test_plain_http_is_taken_where_the_network_is_trusted() -> None:
    read = settings({"allow_http": True}, host="http://render.internal", port=8080)
    assert read.endpoint.base_url == "http://render.internal:8080"


@given(
    user=st.text(LETTERS, max_size=8),
    secret=st.text(LETTERS + "/:?#&=+", min_size=8, max_size=20).map("pw-{}".format),
    form=st.sampled_from(["https://{}:{}@api.example.com", "{}:{}@api.example.com/model", "{}://{}@x"]),
)
def test_a_password_that_was_put_into_the_host_is_refused_unseen(user: str, secret: str, form: str) -> None:
    with pytest.raises(SparkDanceConfigurationError, match="must not contain a user or password") as refusal:
        settings(host=form.format(user, secret))
    for part in (secret, "pw-"):
        assert part not in every_text_of(refusal.value)


def test_what_strayed_into_the_schema_is_not_shown() -> None:
    # A slash in a key that wasn't escaped ends the host of a connection's URI: the rest of the key becomes the schema.
    connection = Connection.from_uri("spark-dance://:123/56789abcdef@api.example.com", CONN_ID)
    with pytest.raises(SparkDanceConfigurationError, match="schema must be http or https") as refusal:
        Settings.from_connection(connection, {})
    assert "56789abcdef" not in every_text_of(refusal.value)


@given(
    host=st.text(max_size=30),
    schema=st.sampled_from([None, "", "http", "https", "model"]),
    port=st.none() | st.integers(0, 70_000),
    allow_http=st.booleans(),
)
def test_whatever_the_host_a_base_url_is_encrypted_or_near_or_allowed(
    host: str, schema: str | None, port: int | None, allow_http: bool
) -> None:
    try:
        base_url = read_base_url(host, schema, port, allow_http=allow_http)
    except ValueError:
        return
    scheme, _, rest = base_url.partition("://")
    assert scheme == "https" or allow_http or rest.startswith(("localhost", "127.", "[::1]")) or ".localhost" in rest
    assert not set("/?#@\\ ") & set(rest)


FORMS: dict[str, Connection] = {
    "a URI": Connection.from_uri(
        f"spark-dance://:{KEY}@127.0.0.1:8765/?request_timeout=7&allow_http=true&verify=False&poll_floor=0.5", CONN_ID
    ),
    "a URI with a scheme": Connection.from_uri(
        f"spark-dance://http://:{KEY}@127.0.0.1:8765/?request_timeout=7.0&allow_http=1&verify=no&poll_floor=.5", CONN_ID
    ),
    "a URI with the path of the API": Connection.from_uri(
        f"spark-dance://:{KEY}@127.0.0.1:8765/model?request_timeout=7&allow_http=yes&verify=0&poll_floor=5e-1", CONN_ID
    ),
    "a URI with a JSON extra": Connection.from_uri(
        f"spark-dance://:{KEY}@127.0.0.1:8765/?__extra__=%7B%22request_timeout%22%3A7%2C%22allow_http%22%3Atrue%2C"
        "%22verify%22%3Afalse%2C%22poll_floor%22%3A0.5%7D",
        CONN_ID,
    ),
    "JSON": Connection.from_json(
        f'{{"conn_type": "spark_dance", "password": "{KEY}", "host": "http://127.0.0.1:8765",'
        ' "extra": {"request_timeout": 7, "allow_http": true, "verify": false, "poll_floor": 0.5}}',
        CONN_ID,
    ),
    "JSON with everything as text": Connection.from_json(
        f'{{"conn_type": "spark-dance", "password": "Bearer {KEY}\\n", "host": "127.0.0.1", "port": "8765",'
        ' "extra": "{\\"request_timeout\\": \\"7\\", \\"allow_http\\": \\"True\\", \\"verify\\": \\"False\\",'
        ' \\"poll_floor\\": \\" 0.5 \\"}"}',
        CONN_ID,
    ),
    "the form": Connection(
        conn_id=CONN_ID,
        conn_type="spark_dance",
        host="127.0.0.1",
        schema="http",
        login="",
        password=f" {KEY} ",
        port=8765,
        extra='{"request_timeout": 7, "allow_http": true, "verify": "false", "poll_floor": 0.5,'
        ' "poll_ceiling": null, "proxy": "", "price_per_million_tokens": " "}',
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_connection_means_the_same_in_every_form(form: str) -> None:
    connection = FORMS[form]
    read = Settings.from_connection(connection, connection.extra_dejson)
    assert read == settings(
        {"request_timeout": 7, "allow_http": True, "verify": False, "poll_floor": 0.5}, host="127.0.0.1", port=8765
    )
    assert read.endpoint.key == KEY


@pytest.mark.parametrize(
    "host",
    ["api.example.com", "api.example.com:8443", "https://api.example.com/", "https://api.example.com/model", "::1"],
)
def test_a_connection_survives_the_uri_that_airflow_makes_of_it(host: str) -> None:
    typed = Connection(
        conn_id=CONN_ID, conn_type="spark_dance", host=host, password=f"{KEY}/+%?#@:\n", extra='{"poll_floor": 3}'
    )
    stored = Connection.from_uri(typed.get_uri(), CONN_ID)
    read = Settings.from_connection(stored, stored.extra_dejson)
    assert read == Settings.from_connection(typed, typed.extra_dejson)
    assert read.endpoint.key == f"{KEY}/+%?#@:"


def test_an_empty_extra_leaves_every_default() -> None:
    blank = dict.fromkeys(
        ["request_timeout", "price_per_million_tokens", "poll_floor", "poll_ceiling", "verify", "proxy", "allow_http"]
    )
    for extra in ({}, blank, dict.fromkeys(blank, ""), dict.fromkeys(blank, "  ")):
        read = settings(extra)
        assert read == settings()
        assert (read.endpoint.request_timeout, read.endpoint.verify, read.endpoint.proxy) == (30, True, None)
        assert (read.pace.floor, read.pace.ceiling, read.price_per_million_tokens) == (2, 60, Decimal("2.50"))


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"request_timeout": "soon"}, "extra request_timeout must be a number"),
        ({"request_timeout": 0}, "extra request_timeout must be above 0"),
        ({"request_timeout": True}, "extra request_timeout must be a number"),
        ({"request_timeout": [5]}, "extra request_timeout must be a number"),
        ({"request_timeout": "inf"}, "extra request_timeout must be a finite number"),
        ({"request_timeout": 10**400}, "extra request_timeout must be a number"),
        ({"poll_ceiling": 1e300}, "extra poll_ceiling must be at most"),
        ({"poll_floor": -1}, "extra poll_floor must be above 0"),
        ({"poll_floor": 10, "poll_ceiling": 5}, "poll_ceiling (5 s) is below poll_floor (10 s)"),
        ({"price_per_million_tokens": "cheap"}, "extra price_per_million_tokens must be an amount in USD"),
        ({"price_per_million_tokens": -1}, "extra price_per_million_tokens must be"),
        ({"price_per_million_tokens": "NaN"}, "extra price_per_million_tokens must be"),
        ({"price_per_million_tokens": "1e999999"}, "extra price_per_million_tokens must be"),
        ({"price_per_million_tokens": False}, "extra price_per_million_tokens must be"),
        ({"allow_http": "perhaps"}, "extra allow_http must be true or false"),
        ({"proxy": 3128}, "extra proxy must be text"),
        ({"proxy": "proxy.example.com"}, "proxy must be an http"),
        ([], "extra must be a JSON object"),
        ("text", "extra must be a JSON object"),
    ],
)
def test_an_extra_that_cannot_be_right_is_named(extra: Any, reason: str) -> None:
    assert reason in refused(extra)


def test_a_floor_above_the_usual_ceiling_lifts_the_ceiling() -> None:
    pace = settings({"poll_floor": 300}).pace
    assert (pace.floor, pace.ceiling) == (300, 300)


def test_a_bundle_of_certificates_is_named_by_its_path() -> None:
    assert settings({"verify": "/etc/ssl/company.pem"}).endpoint.verify == "/etc/ssl/company.pem"


def test_an_extra_that_nobody_reads_is_told() -> None:
    assert settings({"timeout": 5, "poll_floor": 1, "api_key": "x"}).unknown_extras == ("api_key", "timeout")


def test_the_form_offers_every_extra_and_no_other() -> None:
    fields = get_provider_info()["connection-types"][0]["conn-fields"]
    assert settings(dict.fromkeys(fields)).unknown_extras == ()
    for name in fields:
        assert f"extra {name} must" in refused({name: {}})


class TestTheProxy:
    PASSWORD = "p%40ss-w%C3%B6rd"
    URL = f"http://user:{PASSWORD}@proxy.example.com:3128"

    def test_keeps_its_password_out_of_every_repr(self) -> None:
        read = settings({"proxy": self.URL})
        assert self.PASSWORD not in repr(read)
        assert self.PASSWORD not in repr(dataclasses.asdict(read))
        assert read.endpoint.proxy_url == self.URL

    def test_has_its_password_masked_as_typed_and_as_meant(self) -> None:
        assert set(settings({"proxy": self.URL}).secrets) == {KEY, self.PASSWORD, "p@ss-wörd"}

    @given(password=st.text(LETTERS + "/#?[] \\", min_size=8, max_size=20).map("pw-{}".format))
    def test_that_is_no_url_is_refused_with_its_password_unseen(self, password: str) -> None:
        for url in (f"user:{password}@proxy", f"ftp://user:{password}@proxy", f"http://user:{password}@proxy:port"):
            with pytest.raises(SparkDanceConfigurationError) as refusal:
                settings({"proxy": url})
            assert password not in every_text_of(refusal.value)


def test_fields_are_all_that_is_read_of_a_connection() -> None:
    assert Settings.from_connection(Fields(host="api.example.com"), {}) == settings(host="api.example.com")
