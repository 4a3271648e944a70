from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.api.text import clean, is_web_url, show, show_url

URI = "data:image/png;base64," + "iVBORw0KGgo" * 30


@given(st.text(), st.integers(1, 50))
def test_cleaned_text_is_one_printable_line_within_its_limit_and_stays_as_it_is(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert cleaned.isprintable()
    assert len(cleaned) <= limit
    assert clean(cleaned, limit) == cleaned


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.b/c.png", "https://a.b/c.png"),
        ("https://user:hush@a.b:8443/c.png?sig=hush#hush", "https://a.b:8443/c.png?…"),
        ("/login?key=hush", "/login?…"),
        ("https://a.b/@user/c.png", "https://a.b/@user/c.png"),
        ("/@user/c.png", "/@user/c.png"),
        ("http://[::1", "<a URL that can't be read>"),
        ("user:hush@a.b", "<a URL that can't be read>"),
        ("https:user:hush@a.b", "<a URL that can't be read>"),
        ("https:///user:hush@a.b", "<a URL that can't be read>"),
        ("https://user:hu/sh@a.b", "<a URL that can't be read>"),
        ("https://user:12/hush@a.b", "<a URL that can't be read>"),
        ("https://user:hu#sh@a.b", "<a URL that can't be read>"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert show_url(url) == shown


def test_of_a_data_uri_type_size_and_checksum_are_shown() -> None:
    assert show_url(URI).startswith("data:image/png;base64,<330 characters, sha256 ")
    assert show_url(URI) != show_url(URI[:-1] + "x")
    assert show_url(" DATA:" + "x" * 500).count("x") <= 40


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (13, "13"),
        (True, "True"),
        (None, "None"),
        (2.5, "2.5"),
        ("1080P", "'1080P'"),
        ("a\x00b", r"'a\x00b'"),
        (10**400, "<a number of 1329 bits>"),
        ({"a": 1}, "<an object>"),
        ([1], "<a list>"),
        ("x" * 61, "<text of 61 characters>"),
        ("https://me:hush@a.b/?c", "https://a.b/?…"),
    ],
)
def test_a_rejected_value_is_shown_short(value: Any, shown: str) -> None:
    assert show(value) == shown


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_rejected_value_shows_a_data_uri(before: str, after: str) -> None:
    assert "iVBORw0KGgoiVBOR" not in show(f"{before} {URI} {after}")
    assert len(show(f"{before}{URI}{after}")) < 300


@pytest.mark.parametrize(
    "url", ["https://a.b", "HTTP://a.b/c?d#e", "http://127.0.0.1:8765/x", "https://münchen.example/ü"]
)
def test_an_absolute_http_or_https_url_is_a_web_url(url: str) -> None:
    assert is_web_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.b",
        "//a.b",
        "ftp://a.b",
        "https:a.b",
        "https://",
        "https://a.b/ c",
        "https://a.b\t",
        "http://a.b:0",
        "http://a:x",
    ],
)
def test_anything_else_is_none(url: str) -> None:
    assert not is_web_url(url)
