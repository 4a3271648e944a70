from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.operators import values

PARSERS: list[Callable[[str, Any], Any]] = [
    values.text,
    values.integer,
    values.boolean,
    values.seconds,
    values.picture_url,
]
SPACE = st.text(" \t\r\n", max_size=2)
DATA_URI = "data:image/png;base64," + "QUJD" * 200


def refusal_of(parse: Callable[[str, Any], Any], value: Any) -> str | None:
    """Why a value is refused; ``None`` where it is taken."""
    try:
        parse("field", value)
    except SparkDanceRequestError as error:
        return str(error)
    return None


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("value", [None, "", " ", "\n", "None", " None "])
def test_an_empty_value_is_not_set(parse: Callable[[str, Any], Any], value: Any) -> None:
    assert parse("field", value) is None


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("value", [{"a": 1}, ["a"], object(), b"bytes", 1j])
def test_a_value_of_a_wrong_kind_is_refused_by_the_name_of_its_field(
    parse: Callable[[str, Any], Any], value: Any
) -> None:
    with pytest.raises(SparkDanceRequestError, match="field must be "):
        parse("field", value)


@pytest.mark.parametrize("parse", [values.integer, values.boolean, values.seconds])
@pytest.mark.parametrize("value", [DATA_URI, f" {DATA_URI}", f"see {DATA_URI}", "https://user:pa55word@host/?key=1"])
def test_a_refusal_shows_no_data_uri_and_no_password(parse: Callable[[str, Any], Any], value: str) -> None:
    with pytest.raises(SparkDanceRequestError) as refusal:
        parse("field", value)
    assert "QUJDQUJD" not in str(refusal.value)
    assert "pa55word" not in str(refusal.value)


@pytest.mark.parametrize("parse", [values.integer, values.boolean, values.seconds])
@given(value=st.text(min_size=1))
@example(value="0\x1f")
def test_text_is_converted_or_refused_in_a_few_words(parse: Callable[[str, Any], Any], value: str) -> None:
    refusal = refusal_of(parse, value)
    assert refusal is None or (refusal.startswith("field must be ") and len(refusal) < 400)


class TestText:
    @given(value=st.text(min_size=1).filter(lambda value: value.strip() not in {"", "None"}))
    def test_goes_through_as_it_is(self, value: str) -> None:
        assert values.text("prompt", value) == value

    @pytest.mark.parametrize("value", [5, 0, 1.5, True, False])
    def test_is_made_of_nothing_else(self, value: Any) -> None:
        with pytest.raises(SparkDanceRequestError, match="prompt must be text"):
            values.text("prompt", value)


class TestAWholeNumber:
    @given(number=st.integers(-(10**15), 10**15), before=SPACE, after=SPACE)
    def test_is_read_from_its_text(self, number: int, before: str, after: str) -> None:
        assert values.integer("seed", f"{before}{number}{after}") == number
        assert values.integer("seed", number) == number

    @pytest.mark.parametrize(
        "value",
        ["5.0", "5.5", 5.0, "five", "5s", "0x10", "1_000", "٥", "1e3", "--5", True, False, "1" * 5000, math.nan],
    )
    def test_is_made_of_nothing_else(self, value: Any) -> None:
        with pytest.raises(SparkDanceRequestError, match="duration must be a whole number"):
            values.integer("duration", value)


class TestABoolean:
    @pytest.mark.parametrize("value", [True, "true", "True", "TRUE", " true\n"])
    def test_is_true(self, value: Any) -> None:
        assert values.boolean("watermark", value) is True

    @pytest.mark.parametrize("value", [False, "false", "False", "FALSE", " false "])
    def test_is_false(self, value: Any) -> None:
        assert values.boolean("watermark", value) is False

    @pytest.mark.parametrize("value", [0, 1, "0", "1", "yes", "no", "on", "t", 1.0, "nonsense"])
    def test_is_made_of_nothing_else(self, value: Any) -> None:
        with pytest.raises(SparkDanceRequestError, match="watermark must be true or false"):
            values.boolean("watermark", value)


class TestSeconds:
    @given(number=st.floats(0.001, 100_000_000))
    def test_are_read_from_their_text(self, number: float) -> None:
        assert values.seconds("timeout", number) == values.seconds("timeout", f" {number!r} ") == number

    @pytest.mark.parametrize("value", [5, "5", "5.5", "1e3"])
    def test_may_be_whole_or_not(self, value: Any) -> None:
        assert values.seconds("timeout", value) == float(value)

    @pytest.mark.parametrize(
        "value", [0, -1, "0", "-0.5", "nan", "inf", math.inf, math.nan, True, "soon", 10**400, 1e300, "1e12"]
    )
    def test_are_more_than_none_and_less_than_an_age(self, value: Any) -> None:
        with pytest.raises(SparkDanceRequestError, match="timeout must be a number of seconds above 0"):
            values.seconds("timeout", value)


class TestAPicture:
    @pytest.mark.parametrize("value", ["https://cdn.example.com/a.png", "http://10.0.0.1/a?b=c"])
    def test_comes_as_a_url(self, value: str) -> None:
        assert values.picture_url("first_frame", value) == value

    @pytest.mark.parametrize("value", [DATA_URI, DATA_URI.upper(), f"\n {DATA_URI}", "data:", "DATA:image/png,x"])
    def test_that_is_a_data_uri_is_refused_with_the_way_to_go_instead(self, value: str) -> None:
        with pytest.raises(SparkDanceRequestError, match="first_frame is a data URI") as refusal:
            values.picture_url("first_frame", value)
        assert "SparkDanceHook" in str(refusal.value)
        assert "QUJD" not in str(refusal.value)
