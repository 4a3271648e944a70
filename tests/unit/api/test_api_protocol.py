import json
from typing import Any

import httpx
import pytest

from airflow_provider_spark import __version__
from airflow_provider_spark.api.endpoint import Endpoint
from airflow_provider_spark.api.errors import (
    SparkDanceAccountError,
    SparkDanceAmbiguousSubmitError,
    SparkDanceAuthenticationError,
    SparkDanceContentRefusedError,
    SparkDanceError,
    SparkDanceHostError,
    SparkDanceNotFoundError,
    SparkDanceRateLimitError,
    SparkDanceRequestError,
    SparkDanceUnreachableError,
    SparkDanceVendorError,
)
from airflow_provider_spark.api.generation import Generation
from airflow_provider_spark.api.protocol import Protocol, read_retry_after
from airflow_provider_spark.api.request import VideoRequest

KEY = "sk-very-secret"
PROTOCOL = Protocol(Endpoint(KEY))
REQUEST = VideoRequest.compose(prompt="一只猫", duration=5)
HTML = b"<html><h1>Bad gateway</h1></html>"
NO_REPLY: list[Any] = [b"", HTML, b'{"id": "gen-1", "st', [], None, {}]


def as_bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def submit(status: int, body: Any, **headers: str) -> Generation:
    return PROTOCOL.read_submit(status, headers, as_bytes(body))


def poll(status: int, body: Any, **headers: str) -> Generation:
    return PROTOCOL.read_poll("gen-1", status, headers, as_bytes(body))


def error(code: Any = None, message: str | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "error_message": message}}


# What is sent


def test_an_order_is_posted_as_documented() -> None:
    call = PROTOCOL.submit_call(REQUEST)
    assert (call.method, call.url) == ("POST", "https://cloud.vtrix.ai/model/v1/generation")
    assert json.loads(call.body or b"") == REQUEST.body()
    headers = dict(call.headers)
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == f"airflow-provider-spark/{__version__}"


def test_a_poll_asks_for_its_id_whatever_it_holds() -> None:
    call = PROTOCOL.poll_call("gen-1")
    assert (call.method, call.url, call.body) == ("GET", "https://cloud.vtrix.ai/model/v1/generation/task/gen-1", None)
    quoted = PROTOCOL.poll_call("../a?b#c")
    assert httpx.URL(quoted.url).raw_path == b"/model/v1/generation/task/..%2Fa%3Fb%23c"


@pytest.mark.parametrize("generation_id", ["", ".", "..", "a b", "a\n", "é"])
def test_what_cannot_be_an_id_is_never_asked_for(generation_id: str) -> None:
    with pytest.raises(SparkDanceRequestError):
        PROTOCOL.poll_call(generation_id)


def test_a_base_url_may_have_a_path() -> None:
    call = Protocol(Endpoint(KEY, "http://localhost:8080/vtrix/")).submit_call(REQUEST)
    assert call.url == "http://localhost:8080/vtrix/model/v1/generation"


# Answers to an order


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"id": "gen-1", "status": "queued", "created_at": 1_767_225_600}),
        (201, {"id": "gen-1", "status": "IN_PROGRESS"}),
        (202, {"id": "gen-1"}),
        (200, {"id": "gen-1", "status": "reticulating"}),
        (200, {"id": "gen-1", "status": "completed", **error("003005099", "odd")}),
        (200, {"id": "gen-1", "status": "queued", **error("003005005", "odd")}),
        (200, {"id": "gen-1", "status": "failed"}),
        (200, {"id": "gen-1", "status": "failed", "error": {}}),
        (200, {"id": "gen-1", "status": "failed", **error("003005097")}),
        (500, {"id": "gen-1", "status": "queued"}),
        (503, {"id": "gen-1", **error("003005099")}),
        (408, {"id": "gen-1"}),
    ],
)
def test_an_answer_with_an_id_that_may_be_rendering_is_recorded(status: int, body: Any) -> None:
    assert submit(status, body).id == "gen-1"


REFUSED: list[tuple[int, Any, type[SparkDanceError]]] = [
    *[(status, HTML, SparkDanceHostError) for status in (300, 301, 302, 304, 307, 308)],
    (302, {"id": "gen-1"}, SparkDanceHostError),
    (401, error(None, "who are you"), SparkDanceAuthenticationError),
    (401, b"", SparkDanceAuthenticationError),
    (402, b"", SparkDanceAccountError),
    (403, {"message": "not yours"}, SparkDanceAccountError),
    *[
        (
            status,
            {"status": {"code": status, "message": "no", "error_code": code}, "data": None},
            SparkDanceAccountError,
        )
        for status in (200, 400, 401, 429, 500)
        for code in (40201, 40208)
    ],
    (404, HTML, SparkDanceHostError),
    (405, b"", SparkDanceHostError),
    (404, error(None, "no such model"), SparkDanceRequestError),
    (413, HTML, SparkDanceRequestError),
    (422, error("003005007", "bad"), SparkDanceRequestError),
    (400, {"error": "bad"}, SparkDanceRequestError),
    (400, {"message": "bad"}, SparkDanceRequestError),
    (418, b"", SparkDanceRequestError),
    (400, {"id": "request-1", **error(None, "bad")}, SparkDanceRequestError),
    *[(status, error(number), SparkDanceRequestError) for status in (200, 400, 500) for number in (3005001, 3005014)],
    (200, {"id": "gen-1", "status": "failed", **error("003005003")}, SparkDanceRequestError),
    *[
        (status, error("X", "InputTextSensitiveContentDetected"), SparkDanceContentRefusedError)
        for status in (200, 400, 403, 500)
    ],
    (429, b"", SparkDanceRateLimitError),
    (429, error("003005005"), SparkDanceRateLimitError),
    *[
        (status, error(code), SparkDanceVendorError)
        for status in (200, 400, 500, 502, 503, 504)
        for code in ("003005095", "003005099")
    ],
    (500, error("Overloaded", "later"), SparkDanceVendorError),
    (500, {"error": "later"}, SparkDanceVendorError),
    (503, {"status": {"code": 503, "message": "later"}, "data": None}, SparkDanceVendorError),
    (200, {"error": "later"}, SparkDanceVendorError),
    (200, {"id": "gen-1", "status": "failed", **error("003005099")}, SparkDanceVendorError),
]


@pytest.mark.parametrize(("status", "body", "kind"), REFUSED)
def test_a_refusal_is_told_by_what_may_be_done_next(status: int, body: Any, kind: type[SparkDanceError]) -> None:
    with pytest.raises(kind) as caught:
        submit(status, body)
    assert type(caught.value) is kind
    assert caught.value.http_status == status


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (408, b""),
        (408, error(None, "timed out")),
        *[(status, body) for status in (500, 502, 503, 504, 520) for body in (b"", HTML, {}, {"message": "oops"})],
        *[(status, {"error": "upstream timed out"}) for status in (502, 504)],
        (504, error(504, "gateway timeout")),
        *[(200, body) for body in NO_REPLY],
        (200, "gen-1"),
        (200, {"status": "queued"}),
        (200, {"message": "ok"}),
        (200, {"message": "something"}),
        (200, {"id": None, "error": None}),
        (200, {"id": "", "error": {}}),
        (200, {"status": {"code": 200, "message": "success"}, "data": {"task": 1}}),
        *[(status, error(code)) for status in (200, 400, 500) for code in (3005096, "003005097", 3005098)],
    ],
)
def test_an_answer_that_does_not_tell_is_ambiguous(status: int, body: Any) -> None:
    with pytest.raises(SparkDanceAmbiguousSubmitError) as caught:
        submit(status, body)
    assert caught.value.http_status == status
    assert not caught.value.may_repeat
    assert "may have been taken" in str(caught.value)


def test_an_error_carries_what_the_vendor_said_and_what_it_means() -> None:
    with pytest.raises(SparkDanceRequestError) as caught:
        submit(400, error(3005005, "resolution 8k"))
    refused = caught.value
    assert (refused.http_status, refused.code, refused.vendor_message) == (400, "003005005", "resolution 8k")
    assert refused.in_vendor_form
    assert refused.generation_id is None
    for word in ("HTTP 400", "003005005", "resolution 8k", "not one that the model renders", "Nothing was ordered"):
        assert word in str(refused)


def test_a_refused_generation_is_named() -> None:
    with pytest.raises(SparkDanceVendorError) as caught:
        submit(200, {"id": "gen-1", "status": "failed", **error("003005095")})
    assert caught.value.generation_id == "gen-1"


def test_a_redirect_names_its_target_without_its_secrets() -> None:
    with pytest.raises(
        SparkDanceHostError, match=r"redirects \(HTTP 301\) to https://login\.example\.com/in\?…"
    ) as caught:
        submit(301, b"", location=f"https://login.example.com/in?key={KEY}")
    assert KEY not in str(caught.value)


# Answers to a poll


def test_a_poll_gives_the_generation() -> None:
    generation = poll(200, {"id": "gen-1", "status": "in_progress", "progress": 0.5})
    assert (generation.id, generation.status, generation.progress) == ("gen-1", "in_progress", 0.5)


def test_a_poll_that_names_no_id_is_about_the_one_asked_for() -> None:
    assert poll(200, {"status": "completed"}).id == "gen-1"
    assert poll(200, {"status": "failed", **error("003005095")}).is_failed


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (301, HTML, SparkDanceHostError),
        (401, b"", SparkDanceAuthenticationError),
        (402, b"", SparkDanceAccountError),
        (403, HTML, SparkDanceAccountError),
        (500, {"status": {"message": "no", "error_code": 40202}}, SparkDanceAccountError),
        (404, error(None, "unknown"), SparkDanceNotFoundError),
        (404, HTML, SparkDanceNotFoundError),
        (429, b"", SparkDanceRateLimitError),
        *[(status, b"", SparkDanceVendorError) for status in (400, 408, 410, 422, 500, 502, 503, 504)],
        *[(200, body, SparkDanceVendorError) for body in NO_REPLY],
        (200, error("X"), SparkDanceVendorError),
        (200, {"id": "gen-2", "status": "completed"}, SparkDanceVendorError),
    ],
)
def test_a_poll_fault_is_told_by_what_may_be_done_next(status: int, body: Any, kind: type[SparkDanceError]) -> None:
    with pytest.raises(kind) as caught:
        poll(status, body)
    assert type(caught.value) is kind
    assert (caught.value.http_status, caught.value.generation_id) == (status, "gen-1")


def test_who_answers_in_none_of_the_vendors_forms_is_told_apart() -> None:
    for body, in_form in (
        (HTML, False),
        (b"", False),
        ({"detail": "Not Found"}, False),
        (error(None, "unknown"), True),
    ):
        with pytest.raises(SparkDanceNotFoundError) as caught:
            poll(404, body)
        assert caught.value.in_vendor_form == in_form


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"id": "gen-1", "status": "completed"}',
        '{"id": "gen-1", "status": "completed", "note": "é"}'.encode("latin-1"),
        '{"id": "gen-1", "status": "completed"}'.encode("utf-16"),
        b'{"id": "gen-1", "status": "completed", "note": "\\ud83d"}',
        b'{"id": "gen-1", "status": "completed", "progress": NaN, "big": 1e999}',
    ],
)
def test_odd_bytes_cost_a_character_and_not_the_reply(body: bytes) -> None:
    assert poll(200, body).is_completed
    assert submit(200, body).id == "gen-1"


# The key


@pytest.mark.parametrize("key", [KEY, 'quote"d/key', "back\\slash"])
@pytest.mark.parametrize("escape", [False, True])
def test_a_key_that_the_vendor_echoes_is_never_repeated(key: str, escape: bool) -> None:
    protocol = Protocol(Endpoint(key))
    message = f"invalid key {key}"
    echo = json.dumps({"id": "gen-1", "status": "failed", "error": {"message": message}, "metadata": {"key": key}})
    if escape:
        echo = echo.replace("s", "\\u0073").replace("/", "\\/")
    generation = protocol.read_poll("gen-1", 200, {}, echo.encode())
    shown = [repr(generation), str(generation.to_event()), str(generation.raw), str(generation.failure())]
    for status in (200, 401, 500):
        for read in (protocol.read_submit, lambda *answer: protocol.read_poll("gen-1", *answer)):
            try:
                shown.append(repr(read(status, {}, echo.encode())))
            except SparkDanceError as caught:
                shown.append(str(caught) + repr(vars(caught)))
    assert not any(key in text or repr(key)[1:-1] in text for text in shown)


# Faults of the transport


NOTHING_SENT = [
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
]
SENT = [
    httpx.ReadTimeout,
    httpx.WriteTimeout,
    httpx.ReadError,
    httpx.WriteError,
    httpx.CloseError,
    httpx.RemoteProtocolError,
    httpx.LocalProtocolError,
    httpx.DecodingError,
    RuntimeError,
    OSError,
]


@pytest.mark.parametrize("fault", NOTHING_SENT)
def test_before_the_first_byte_nothing_was_ordered(fault: type[Exception]) -> None:
    error = PROTOCOL.submit_fault(fault("no route"))
    assert type(error) is SparkDanceUnreachableError
    assert "Nothing was sent" in str(error)
    assert type(PROTOCOL.poll_fault("gen-1", fault("no route"))) is SparkDanceUnreachableError


@pytest.mark.parametrize("fault", SENT)
def test_after_the_first_byte_nobody_knows(fault: type[Exception]) -> None:
    error = PROTOCOL.submit_fault(fault("cut"))
    assert type(error) is SparkDanceAmbiguousSubmitError
    assert f"{fault.__name__}: cut" in str(error)
    on_poll = PROTOCOL.poll_fault("gen-1", fault("cut"))
    assert type(on_poll) is SparkDanceVendorError
    assert on_poll.generation_id == "gen-1"


def test_a_faults_text_has_no_secrets() -> None:
    protocol = Protocol(Endpoint(KEY, proxy="http://me:hush@proxy.example.com"))
    for fault in (
        httpx.LocalProtocolError(f"Illegal header value b'Bearer {KEY}'"),
        httpx.ProxyError("me:hush refused"),
    ):
        for error in (protocol.submit_fault(fault), protocol.poll_fault("gen-1", fault)):
            assert KEY not in str(error)
            assert "hush" not in str(error)
            assert error.__cause__ is None


# Retry-After


NOW = 1_767_225_600


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("0", 0),
        ("-3", 0),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90),
        ("Wed, 31 Dec 2025 23:59:00 GMT", 0),
        *[(text, None) for text in (None, "", "soon", "nan", "inf", "Thu, 99 Jan 2026 00:00:00 GMT")],
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str | None, seconds: float | None) -> None:
    assert read_retry_after(header, now=NOW) == seconds


def test_a_rate_limit_carries_the_wait() -> None:
    for read in (submit, poll):
        with pytest.raises(SparkDanceRateLimitError, match=r"wait 7 s") as caught:
            read(429, b"", **{"retry-after": "7"})
        assert caught.value.retry_after == 7
