import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_provider_spark.api.errors import ErrorDetail
from airflow_provider_spark.api.generation import Generation, read_id

VIDEO = {"type": "video", "url": "https://cdn.example.com/v.mp4?sig=secret", "duration": 5, "jobId": "job-1"}
FRAME = {"type": "image", "url": "https://cdn.example.com/l.png?sig=secret"}
COMPLETED: dict[str, Any] = {
    "id": "gen-1",
    "status": "completed",
    "model": "spark_dance_v1_0_pro",
    "created_at": 1_767_225_600,
    "output": [
        {
            "content": [VIDEO, FRAME],
            "duration": 5,
            "format": "mp4",
            "resolution": "1080p",
            "ratio": "16:9",
            "fps": 24,
        }
    ],
    "usage": {"cost": "0.6120", "discount": 0.1, "tokens": 244_800},
    "metadata": {"completed_at": 1_767_225_700, "in_queue_at": 1_767_225_601.5},
}


def read(**changes: Any) -> Generation:
    return Generation.model_validate({"id": "gen-1", "status": "completed"} | changes)


def with_content(*items: Any, **output: Any) -> Generation:
    return read(output=[{"content": list(items)} | output])


def unread(*values: Any) -> list[tuple[Any, None]]:
    return [(value, None) for value in (*values, None, "", True, [], {})]


def test_a_documented_reply_is_read_whole() -> None:
    generation = Generation.model_validate(COMPLETED)
    assert (generation.id, generation.model, generation.job_id) == ("gen-1", "spark_dance_v1_0_pro", "job-1")
    assert (generation.status, generation.vendor_status) == ("completed", "completed")
    assert (generation.is_terminal, generation.is_completed, generation.is_failed) == (True, True, False)
    assert (generation.video_url, generation.last_frame_url) == (VIDEO["url"], FRAME["url"])
    assert (generation.duration, generation.resolution, generation.ratio) == (5, "1080p", "16:9")
    assert (generation.fps, generation.format) == (24, "mp4")
    assert (generation.cost, generation.discount) == (Decimal("0.6120"), 0.1)
    assert (generation.created_at, generation.completed_at) == (1_767_225_600, 1_767_225_700)
    assert generation.metadata == COMPLETED["metadata"]
    assert generation.error is None


def test_what_no_one_knows_stays_readable_in_the_raw_reply() -> None:
    generation = Generation.model_validate_json(json.dumps(COMPLETED | {"trace": [1]}))
    assert generation.raw["trace"] == [1]
    assert generation.raw["usage"]["tokens"] == 244_800
    assert generation == Generation.model_validate(COMPLETED)


# Status


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pending", "queued"),
        ("queued", "queued"),
        ("in_queue", "queued"),
        ("processing", "in_progress"),
        ("running", "in_progress"),
        ("in_progress", "in_progress"),
        ("IN PROGRESS", "in_progress"),
        ("In-Progress", "in_progress"),
        ("done", "completed"),
        ("SUCCEEDED", "completed"),
        ("Completed", "completed"),
        ("FAILED", "failed"),
        ("cancelled", "cancelled"),
        ("canceled", "cancelled"),
        ("expired", "expired"),
    ],
)
def test_every_listed_status_word_is_normalised_and_kept(word: str, status: str) -> None:
    generation = read(status=word)
    assert (generation.status, generation.vendor_status) == (status, word)
    assert generation.is_terminal == (status in ("completed", "failed", "cancelled", "expired"))
    assert generation.is_failed == (status in ("failed", "cancelled", "expired"))


@pytest.mark.parametrize("word", ["reticulating", "", None, 3, {}, ["completed"], True])
def test_an_unknown_status_is_not_the_end(word: Any) -> None:
    generation = read(status=word, error={"message": "odd"})
    assert (generation.status, generation.is_terminal, generation.is_failed) == ("unknown", False, False)


# Progress


@pytest.mark.parametrize(
    ("value", "progress"),
    [
        (0, 0),
        (0.25, 0.25),
        (1, 1),
        ("0.5", 0.5),
        (45, 0.45),
        (100, 1),
        ("45%", 0.45),
        ("0.5%", 0.005),
        *unread(-0.1, 101, "soon", "%", float("nan"), float("inf"), 10**400),
    ],
)
def test_progress_is_a_share_from_zero_to_one_or_none(value: Any, progress: float | None) -> None:
    assert read(progress=value).progress == progress


# Output


@pytest.mark.parametrize("kind", ["video", "video_url", "VIDEO"])
def test_the_video_is_found_by_its_type_wherever_it_stands(kind: str) -> None:
    item = VIDEO | {"type": kind}
    assert with_content(FRAME, item).video_url == VIDEO["url"]
    assert with_content(item, FRAME).last_frame_url == FRAME["url"]


def test_without_a_type_the_file_name_tells() -> None:
    video, frame = ({"url": item["url"]} for item in (VIDEO, FRAME))
    generation = with_content(frame, video)
    assert (generation.video_url, generation.last_frame_url) == (VIDEO["url"], FRAME["url"])


def test_a_paid_video_is_not_lost_for_want_of_a_type_and_a_name() -> None:
    assert with_content(FRAME, {"url": "https://cdn.example.com/4711"}).video_url == "https://cdn.example.com/4711"
    assert with_content(FRAME).video_url is None


@pytest.mark.parametrize(
    "output",
    [
        [{"content": [{"type": "video_url", "video_url": {"url": VIDEO["url"]}}]}],
        [{"content": [{"type": "video", "video_url": VIDEO["url"]}]}],
        [{"content": VIDEO}],
        {"content": [VIDEO]},
        [VIDEO],
        [None, {}, {"content": None}, {"content": [None, "x", {"type": "video"}, VIDEO]}],
    ],
)
def test_other_shapes_of_output_are_read(output: Any) -> None:
    assert read(output=output).video_url == VIDEO["url"]


@pytest.mark.parametrize("url", ["", "v.mp4", "ftp://a.b/v.mp4", "file:///etc/passwd", "https://a b/v.mp4", 5, None])
def test_only_an_absolute_web_url_is_a_video(url: Any) -> None:
    assert with_content({"type": "video", "url": url}).video_url is None


@pytest.mark.parametrize(
    ("value", "duration"), [(5, 5), ("5", 5), (2.375, 2.375), ("5.0", 5), ("5s", None), (-1, None)]
)
def test_duration_is_read_as_number_or_text(value: Any, duration: float | None) -> None:
    assert with_content(VIDEO | {"duration": value}).duration == duration


def test_the_content_items_facts_win_over_the_outputs() -> None:
    assert with_content(VIDEO | {"duration": 4.5}, duration=5).duration == 4.5
    generation = with_content(VIDEO | {"resolution": "720p", "ratio": "1:1", "fps": 24, "format": "mp4", "seed": 7})
    assert (generation.resolution, generation.ratio, generation.fps, generation.format) == ("720p", "1:1", 24, "mp4")
    assert generation.seed == 7


# Money


@pytest.mark.parametrize(
    ("cost", "decimal"),
    [
        ("0.612", Decimal("0.612")),
        (0.612, Decimal("0.612")),
        (1, Decimal(1)),
        ("0", Decimal(0)),
        (6.12e-05, Decimal("0.0000612")),
        ("$0.61", Decimal("0.61")),
        (" 0.61 USD", Decimal("0.61")),
        *unread("NaN", "Infinity", "-1", -0.5, "1e99", 10**400, "1" * 10**6, "free", float("nan"), float("inf")),
    ],
)
def test_cost_is_an_exact_amount_or_none(cost: Any, decimal: Decimal | None) -> None:
    assert read(usage={"cost": cost}).cost == decimal


# Times


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_767_225_600, 1_767_225_600),
        (1_767_225_600.5, 1_767_225_600.5),
        (1_767_225_600_500, 1_767_225_600.5),
        ("1767225600", 1_767_225_600),
        ("2026-01-01T00:00:00Z", 1_767_225_600),
        ("2026-01-01T01:00:00.5+01:00", 1_767_225_600.5),
        ("2026-01-01 00:00:00", 1_767_225_600),
        *unread("yesterday", 0, -5, float("nan"), 10**30, "9" * 60),
    ],
)
def test_a_time_is_unix_seconds_however_it_was_written(value: Any, seconds: float | None) -> None:
    assert read(created_at=value).created_at == seconds
    assert read(metadata={"completed_at": value}).completed_at == seconds


# Errors


@pytest.mark.parametrize(
    "error", [None, {}, "", "  ", [], 0, False, {"code": 0}, {"code": "0", "message": ""}, {"code": 0, "message": "ok"}]
)
def test_an_empty_error_is_none(error: Any) -> None:
    generation = Generation.model_validate(COMPLETED | {"error": error})
    assert generation.error is None
    assert generation.is_completed


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ({"code": "003005095", "error_message": "broke"}, "003005095", "broke"),
        ({"code": 3005095, "message": "broke"}, "003005095", "broke"),
        ({"code": "3005095"}, "003005095", None),
        ({"code": 3005095.0}, "003005095", None),
        ({"code": "OutputVideoSensitiveContentDetected"}, "OutputVideoSensitiveContentDetected", None),
        ({"code": 0, "message": "broke"}, None, "broke"),
        ("broke", None, "broke"),
        ("two\nlines\x00 and \x1b[31mred", None, "two lines and [31mred"),
        ([{"message": "broke"}], None, "broke"),
        (3005095, "003005095", None),
    ],
)
def test_an_error_is_read_in_every_form(error: Any, code: str | None, message: str | None) -> None:
    generation = read(status="failed", error=error)
    assert generation.error == ErrorDetail(code, message)


def test_completed_with_an_error_is_a_failure_whose_video_stays_readable() -> None:
    generation = Generation.model_validate(COMPLETED | {"error": {"code": "003005096", "message": "half of it"}})
    assert (generation.is_terminal, generation.is_failed, generation.is_completed) == (True, True, False)
    assert generation.video_url == VIDEO["url"]
    assert "ended with an error" in str(generation.failure())


@pytest.mark.parametrize("code", [3005096, 3005097, "003005098"])
def test_a_failure_by_the_gateways_look_is_in_doubt(code: Any) -> None:
    assert read(status="failed", error={"code": code}).is_failure_in_doubt
    assert not read(status="in_progress", error={"code": code}).is_failure_in_doubt
    assert not read(status="failed", error={"code": "003005095"}).is_failure_in_doubt


@pytest.mark.parametrize(
    ("error", "may_reorder", "words"),
    [
        ({"code": 3005095}, True, "the render broke on the vendor's side"),
        ({"code": 3005099}, True, "can succeed"),
        ({"code": "weird"}, True, "can succeed"),
        (None, True, "no reason given"),
        ({"code": 3005005}, False, "Change its parameters"),
        ({"code": 3005095, "message": "OutputVideoSensitiveContentDetected"}, False, "moderation"),
        ("the prompt has sensitive content", False, "moderation"),
    ],
)
def test_a_failure_says_whether_a_new_order_can_help(error: Any, may_reorder: bool, words: str) -> None:
    failure = read(status="failed", error=error).failure()
    assert failure.may_reorder == may_reorder
    assert words in str(failure)
    assert "gen-1" in str(failure)
    assert failure.generation_id == "gen-1"


# Ids


@pytest.mark.parametrize(
    ("value", "id_"), [("gen-1", "gen-1"), (" gen-1\n", "gen-1"), (4711, "4711"), ("a/b?c", "a/b?c")]
)
def test_an_id_is_text_or_a_whole_number(value: Any, id_: str) -> None:
    assert read_id(value) == id_
    assert read(id=value).id == id_


@pytest.mark.parametrize("value", [None, "", " ", ".", "..", "a b", "a\nb", "é", "x" * 257, True, -1, 1.5, [], {}])
def test_what_cannot_be_an_id_is_none(value: Any) -> None:
    assert read(id=value).id is None


# Events


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
words = st.sampled_from(
    ["completed", "failed", "RUNNING", "video", "image", "https://a.b/v.mp4", "5", "0.6", "3005095"]
)
values = json_values | words | st.integers(0, 2 * 10**9)
KEYS = [
    "type",
    "url",
    "duration",
    "jobId",
    "resolution",
    "ratio",
    "fps",
    "format",
    "seed",
    "cost",
    "discount",
    "code",
    "message",
    "error_message",
    "completed_at",
]
objects = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), values, max_size=8)
nested = objects | st.fixed_dictionaries({"content": st.lists(objects, max_size=3)}) | st.lists(objects, max_size=2)
REPLY_KEYS = ["id", "status", "model", "created_at", "progress", "output", "usage", "error", "metadata"]
replies = st.dictionaries(st.sampled_from(REPLY_KEYS), values | nested, max_size=9)


@given(replies)
def test_any_reply_is_read_and_its_event_reads_back_to_an_equal_generation(reply: dict[str, Any]) -> None:
    generation = Generation.model_validate(reply)
    event = generation.to_event()
    assert json.loads(json.dumps(event, allow_nan=False)) == event
    assert Generation.model_validate(event) == generation
    assert Generation.model_validate_json(json.dumps(event)) == generation
    assert "\n" not in repr(generation)


def test_an_event_has_no_unknown_keys_and_at_most_one_kilobyte_of_metadata() -> None:
    metadata = {"note": "x" * 2000, "more": "y" * 900, "last": "z" * 900, "completed_at": 1_767_225_700}
    generation = Generation.model_validate(COMPLETED | {"trace": "x", "metadata": metadata})
    assert generation.metadata == {"completed_at": 1_767_225_700, "more": "y" * 900}
    assert "trace" not in generation.to_event()
    assert Generation.model_validate(generation.to_event()) == generation


def test_an_event_never_has_more_than_four_kilobytes() -> None:
    long = "https://cdn.example.com/" + "x" * 3000
    items = [VIDEO | {"url": long + ".mp4"}, FRAME | {"url": long + ".png"}]
    bulky = COMPLETED | {
        "id": "i" * 256,
        "output": [{"content": items}],
        "metadata": {"note": "猫" * 300},
        "error": {"code": "c" * 500, "message": "猫" * 10_000},
    }
    event = Generation.model_validate(bulky).to_event()
    assert len(json.dumps(event)) <= 4096
    assert event["id"] == "i" * 256
    assert Generation.model_validate(event).is_failed


def test_a_repr_is_one_line_without_the_secrets_of_a_url() -> None:
    shown = repr(Generation.model_validate(COMPLETED))
    assert "gen-1" in shown
    assert "v.mp4" in shown
    assert "secret" not in shown
    assert "\n" not in shown


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"", b"{", b"\xff"])
def test_what_is_no_object_is_no_generation(body: bytes) -> None:
    with pytest.raises(ValidationError):
        Generation.model_validate_json(body)
