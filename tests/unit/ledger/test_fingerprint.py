from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from airflow_provider_spark.api.request import VideoRequest
from airflow_provider_spark.ledger.fingerprint import changes, fingerprint

PROMPT = "the secret launch of our new tea"


def of(**parameters: Any) -> dict[str, str]:
    return fingerprint(
        VideoRequest.compose(**{"prompt": PROMPT} | parameters), connection_id="c", base_url="https://vendor.example"
    )


def picture(colour: str) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (320, 320), colour).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def test_the_same_request_has_the_same_fingerprint() -> None:
    assert of(seed=1, duration=3) == of(duration=3, seed=1)


def test_a_default_that_is_written_out_changes_nothing() -> None:
    assert of(resolution="1080p", duration=5, seed=-1, watermark=False) == of()


@pytest.mark.parametrize(
    ("field", "value"),
    [("prompt", "another"), ("seed", 7), ("duration", 6), ("service_tier", "flex"), ("callback_url", "https://a.b/c")],
)
def test_a_changed_field_is_named(field: str, value: Any) -> None:
    assert changes(of(), of(**{field: value})) == (field,)


def test_the_connection_and_the_base_url_belong_to_it() -> None:
    request = VideoRequest.compose(prompt=PROMPT)
    here = fingerprint(request, connection_id="a", base_url="https://one.example")
    there = fingerprint(request, connection_id="b", base_url="https://two.example")
    assert changes(here, there) == ("base_url", "connection")


def test_a_url_counts_without_its_query() -> None:
    signed, anew = ("https://s3.example/frame.png?signature=" + text for text in ("abc", "xyz"))
    assert of(first_frame=signed) == of(first_frame=anew)
    assert changes(of(first_frame=signed), of(first_frame="https://s3.example/other.png?signature=abc")) == (
        "first_frame",
    )


def test_a_prompt_that_looks_like_a_url_is_compared_whole() -> None:
    assert of(prompt="https://tea.example/?page=1") != of(prompt="https://tea.example/?page=2")


def test_a_data_uri_counts_by_its_bytes() -> None:
    assert of(first_frame=picture("red")) == of(first_frame=picture("red"))
    assert changes(of(first_frame=picture("red")), of(first_frame=picture("blue"))) == ("first_frame",)


def test_it_is_small_and_tells_nothing_of_what_was_ordered() -> None:
    text = json.dumps(of(first_frame=picture("red"), callback_url="https://a.b/c?token=hush"))
    assert len(text) < 600
    for secret in (PROMPT, "tea", "base64", "hush", "a.b"):
        assert secret not in text
