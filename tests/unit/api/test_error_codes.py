import pickle
from typing import Any

import pytest

from airflow_provider_spark.api import errors
from airflow_provider_spark.api.errors import (
    ERROR_CODES,
    ErrorDetail,
    SparkDanceError,
    SparkDanceGenerationFailedError,
    SparkDanceRateLimitError,
    find_error,
    is_moderation,
    normalise_code,
    read_error,
)

EXCEPTIONS = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, SparkDanceError)
]


def test_all_nineteen_codes_have_a_meaning() -> None:
    documented = [*range(1, 15), *range(95, 100)]
    assert sorted(ERROR_CODES) == [f"003005{number:03}" for number in documented]
    assert all(ERROR_CODES.values())


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("003005095", "003005095"),
        ("3005095", "003005095"),
        (3005095, "003005095"),
        (3005095.0, "003005095"),
        (" 3005095 ", "003005095"),
        ("InvalidParameter", "InvalidParameter"),
        (40203, "000040203"),
        *[(0, None), ("0", None), ("000000000", None), ("", None), (None, None), (True, None), (-1, None), (1.5, None)],
        *[(float("inf"), None), ([], None), ({}, None), (10**400, None)],
    ],
)
def test_a_code_is_padded_to_nine_digits(value: Any, code: str | None) -> None:
    assert normalise_code(value) == code


@pytest.mark.parametrize(
    "message",
    [
        "InputTextSensitiveContentDetected",
        "OutputVideoSensitiveContentDetected.PolicyViolation",
        "the input may contain sensitive information",
        "SENSITIVE_CONTENT",
        "sensitive content found",
    ],
)
def test_moderation_is_known_by_its_words_in_message_or_code(message: str) -> None:
    assert is_moderation(None, message)
    assert is_moderation(message, None)
    assert not is_moderation("003005003", "the camera is sensitive to light")


@pytest.mark.parametrize(
    ("body", "detail", "place"),
    [
        ({"error": {"code": 3005005, "error_message": "bad"}}, ErrorDetail("003005005", "bad"), "error"),
        ({"error": {"code": "3005005", "message": "bad"}}, ErrorDetail("003005005", "bad"), "error"),
        ({"error": "bad"}, ErrorDetail(None, "bad"), "error"),
        ({"message": "bad"}, ErrorDetail(None, "bad"), "message"),
        ({"code": 3005005, "message": "bad"}, ErrorDetail("003005005", "bad"), "message"),
        (
            {"status": {"code": 400, "message": "no money", "error_code": 40201}, "data": None},
            ErrorDetail("000040201", "no money", is_balance=True),
            "status",
        ),
        ({"status": {"code": 500, "message": "broke"}, "data": None}, ErrorDetail("000000500", "broke"), "status"),
    ],
)
def test_an_error_is_found_in_every_form_of_body(body: Any, detail: ErrorDetail, place: str) -> None:
    assert find_error(body) == (detail, place)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "text",
        {},
        {"error": None},
        {"error": {}, "message": ""},
        {"status": "queued"},
        {"status": {"code": 200, "message": "all good"}},
    ],
)
def test_a_body_without_an_error_has_none(body: Any) -> None:
    assert find_error(body) is None


@pytest.mark.parametrize(("code", "balance"), [(40200, False), (40201, True), (40208, True), (40209, False)])
def test_codes_40201_to_40208_mean_balance(code: int, balance: bool) -> None:
    detail = read_error({"error_code": code})
    assert detail is not None
    assert detail.is_balance == balance


def test_a_strangers_message_is_one_short_line_without_a_data_uri() -> None:
    uri = "data:image/png;base64," + "iVBORw0KGgo" * 100
    detail = read_error({"message": f"bad\x1b[2J picture\r\n{uri} or {'QUJD' * 200}= " + "and so on " * 100})
    assert detail is not None
    assert detail.message is not None
    assert detail.message.startswith("bad [2J picture [data URI] or [encoded data] and so on")
    assert len(detail.message) <= 300


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_every_exception_survives_a_pickle_with_all_it_knows(kind: type[SparkDanceError]) -> None:
    error = kind("text", http_status=400, code="003005005", vendor_message="bad", generation_id="gen-1")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == "text"
    assert vars(again) == vars(error)


def test_the_wait_of_a_rate_limit_survives_a_pickle() -> None:
    error = SparkDanceRateLimitError("slow down")
    assert error.retry_after is None
    error.retry_after = 7.5
    assert pickle.loads(pickle.dumps(error)).retry_after == 7.5


def test_only_what_cannot_have_ordered_may_be_repeated() -> None:
    assert {kind.__name__ for kind in EXCEPTIONS if kind.may_repeat} == {
        "SparkDanceRateLimitError",
        "SparkDanceConnectionLookupError",
        "SparkDanceVendorError",
        "SparkDanceUnreachableError",
        "SparkDancePictureUnavailableError",
    }


@pytest.mark.parametrize("number", range(1, 15))
def test_an_order_that_was_wrong_is_not_ordered_again(number: int) -> None:
    assert not SparkDanceGenerationFailedError("text", code=f"003005{number:03}").may_reorder


@pytest.mark.parametrize("code", [None, "003005095", "003005096", "003005097", "003005098", "003005099", "Other"])
def test_an_order_that_met_a_fault_may_be_ordered_again(code: str | None) -> None:
    assert SparkDanceGenerationFailedError("text", code=code).may_reorder
