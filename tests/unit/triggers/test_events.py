from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.api import errors
from airflow_provider_spark.api.errors import (
    SparkDanceAuthenticationError,
    SparkDanceError,
    SparkDanceGenerationFailedError,
    SparkDanceTimeoutError,
)
from airflow_provider_spark.api.generation import Generation
from airflow_provider_spark.polling.wait import GaveUp, Settled
from airflow_provider_spark.triggers.events import from_event, to_event

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SparkDanceError)]
TEXT = st.text(max_size=300) | st.text("密é\n\U0001f409", min_size=200, max_size=3000)
URLS = st.integers(0, 8000).map(lambda length: "https://results.example.com/v.mp4?sign=" + "x" * length)
REPLIES = st.fixed_dictionaries(
    {"id": st.just("sd-1"), "status": st.sampled_from(["completed", "failed", "expired"])},
    optional={
        "output": st.lists(
            st.fixed_dictionaries(
                {
                    "content": st.lists(
                        st.fixed_dictionaries(
                            {"type": st.sampled_from(["video", "image"]), "url": URLS},
                            optional={"duration": st.floats(), "jobId": TEXT},
                        ),
                        max_size=2,
                    )
                },
                optional={"ratio": TEXT, "resolution": TEXT, "fps": st.integers(), "format": TEXT},
            ),
            max_size=1,
        ),
        "usage": st.fixed_dictionaries({"cost": st.decimals(0, 100).map(str)}),
        "error": st.fixed_dictionaries({"code": st.text(max_size=20), "error_message": TEXT}),
        "metadata": st.dictionaries(TEXT, TEXT, max_size=5),
        "model": TEXT,
        "extra": TEXT,
    },
)
ERRORS = st.builds(
    lambda kind, message, **facts: kind(message, **facts),
    st.sampled_from(KINDS),
    TEXT,
    http_status=st.none() | st.integers(100, 599),
    code=st.none() | st.text("0123456789密", max_size=80),
    vendor_message=st.none() | TEXT,
    generation_id=st.none() | st.text("sd-0123456789", max_size=256),
)


def is_one_line(event: dict[str, Any]) -> bool:
    """Whether Airflow, which logs each event, takes one line for it."""
    return len(repr(TriggerEvent(event)).splitlines()) == 1  # type: ignore[no-untyped-call]


def travelled(end: Settled | GaveUp) -> Settled | GaveUp:
    """An end as the worker has it, after the database."""
    return from_event(json.loads(json.dumps(to_event(end))))


def told(error: SparkDanceError) -> SparkDanceError:
    end = travelled(GaveUp(error))
    assert isinstance(end, GaveUp)
    return end.error


class TestAnEvent:
    @given(reply=REPLIES)
    def test_of_a_generation_has_at_most_four_kilobytes_and_one_line(self, reply: dict[str, Any]) -> None:
        event = to_event(Settled(Generation.model_validate(reply)))
        assert len(json.dumps(event, allow_nan=False)) <= 4096
        assert is_one_line(event)

    def test_of_a_generation_holds_to_its_size_to_the_byte(self) -> None:
        for length in range(3_400, 4_000):
            content = [{"type": "video", "url": "https://results.example.com/" + "x" * length}]
            reply = {"id": "sd-1", "status": "completed", "output": [{"content": content}]}
            assert len(json.dumps(to_event(Settled(Generation.model_validate(reply))))) <= 4096

    @given(error=ERRORS)
    def test_of_an_error_has_at_most_four_kilobytes_and_one_line(self, error: SparkDanceError) -> None:
        event = to_event(GaveUp(error))
        assert len(json.dumps(event, allow_nan=False)) <= 4096
        assert is_one_line(event)

    def test_has_nothing_of_a_reply_that_nobody_knows(self) -> None:
        reply = {"id": "sd-1", "status": "failed", "internal": "secret", "user": {"mail": "a@example.com"}}
        assert "secret" not in repr(to_event(Settled(Generation.model_validate(reply))))
        assert "mail" not in repr(to_event(Settled(Generation.model_validate(reply))))


class TestWhatTheWorkerGets:
    @given(reply=REPLIES.filter(lambda reply: len(json.dumps(reply)) < 2500))
    def test_is_the_generation(self, reply: dict[str, Any]) -> None:
        end = Settled(Generation.model_validate(reply))
        assert travelled(end) == end

    @given(error=ERRORS)
    def test_is_an_error_of_the_same_kind_with_the_same_facts(self, error: SparkDanceError) -> None:
        copy = told(error)
        assert type(copy) is type(error)
        assert (copy.http_status, copy.code, copy.generation_id) == (
            error.http_status,
            error.code,
            error.generation_id,
        )
        assert str(error).startswith(str(copy)) or not str(error)
        assert (error.vendor_message or "").startswith(copy.vendor_message or "")

    def test_is_a_message_in_full_where_it_is_of_a_usual_length(self) -> None:
        message = "Asked for generation sd-1, the vendor gave no answer about it. " * 15
        assert str(told(SparkDanceTimeoutError(message))) == message

    def test_keeps_whether_a_failed_generation_may_be_ordered_anew(self) -> None:
        moderated = SparkDanceGenerationFailedError("no", vendor_message="OutputVideoSensitiveContentDetected")
        copy = told(moderated)
        assert isinstance(copy, SparkDanceGenerationFailedError)
        assert not copy.may_reorder


class TestAnEventOfAnotherVersion:
    @pytest.mark.parametrize(
        "kind", ["SparkDanceQuotaError", "ValueError", "find_error", "Mapping", "__doc__", "", None, 5]
    )
    def test_with_an_unknown_kind_of_error_is_an_error_all_the_same(self, kind: Any) -> None:
        end = from_event({"error": {"kind": kind, "message": "The wait is over.", "generation_id": "sd-1", "new": 1}})
        assert isinstance(end, GaveUp)
        assert type(end.error) is SparkDanceError
        assert str(end.error) == "The wait is over."
        assert end.error.generation_id == "sd-1"

    def test_with_more_facts_of_a_generation_is_read_as_far_as_it_is_known(self) -> None:
        end = from_event({"generation": {"id": "sd-1", "status": "completed", "new": {}}, "attempts": 3})
        assert isinstance(end, Settled)
        assert end.generation.is_completed

    @pytest.mark.parametrize("event", [None, {}, {"error": None}, {"error": "text"}, {"generation": None}, "text", 7])
    def test_that_says_nothing_is_an_error(self, event: Any) -> None:
        end = from_event(event)
        assert isinstance(end, GaveUp)
        assert "without a reason" in str(end.error)

    def test_of_release_0_1_0_is_read(self) -> None:
        good = from_event(
            {
                "generation": {
                    "id": "sd-1",
                    "status": "completed",
                    "model": "spark_dance_v1_0_pro",
                    "progress": None,
                    "created_at": 1800000000.0,
                    "output": [
                        {
                            "content": [
                                {"type": "video", "url": "https://r.example.com/1.mp4", "duration": 5, "jobId": "j"},
                                {"type": "image", "url": None},
                            ],
                            "resolution": "480p",
                            "ratio": "16:9",
                            "fps": 24.0,
                            "format": "mp4",
                            "seed": None,
                        }
                    ],
                    "usage": {"cost": "0.12", "discount": 0.0},
                    "error": None,
                    "metadata": {"completed_at": 1800000035},
                }
            }
        )
        assert isinstance(good, Settled)
        assert good.generation.video_url == "https://r.example.com/1.mp4"
        assert str(good.generation.cost) == "0.12"
        bad = from_event(
            {
                "error": {
                    "kind": "SparkDanceAuthenticationError",
                    "message": "The key is refused.",
                    "http_status": 401,
                    "code": None,
                    "vendor_message": None,
                    "generation_id": "sd-1",
                }
            }
        )
        assert isinstance(bad, GaveUp)
        assert isinstance(bad.error, SparkDanceAuthenticationError)
