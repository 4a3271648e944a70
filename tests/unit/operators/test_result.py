from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.api.generation import Generation
from airflow_provider_spark.api.pricing import PIXELS, estimate
from airflow_provider_spark.api.request import VideoRequest
from airflow_provider_spark.ledger.order import Order
from airflow_provider_spark.operators.result import VideoResult, result_of

NOON = 1_800_000_000.0
VIDEO = {"type": "video", "url": "https://r.example.com/1.mp4", "duration": 5, "jobId": "job-1"}
FRAME = {"type": "image", "url": "https://r.example.com/1.png"}
KEYS = [
    "generation_id",
    "map_index",
    "status",
    "model",
    "video_url",
    "last_frame_url",
    "video_path",
    "last_frame_path",
    "manifest_path",
    "duration",
    "resolution",
    "ratio",
    "fps",
    "format",
    "width",
    "height",
    "seed",
    "cost_usd",
    "estimated_cost_usd",
    "discount",
    "submitted_at",
    "completed_at",
    "elapsed_seconds",
    "metadata",
]


def ordered(prompt: str | None = "A paper kite", **asked: Any) -> Order:
    """The record of an order made at noon."""
    request = VideoRequest.compose(prompt=prompt, **asked)
    facts = {"generation_id": "sd-1", "connection_id": "spark_dance_default", "try_number": 1, "submitted_at": NOON}
    return Order.placed(request, estimate(request), **facts)


def result(
    *content: dict[str, Any],
    order: Order | None = None,
    status: str = "completed",
    output: dict[str, Any] | None = None,
    map_index: int = -1,
    now: float = NOON + 90,
    **reply: Any,
) -> VideoResult:
    """The result of a generation whose last reply was this."""
    outputs = [{"content": list(content or [VIDEO]), **(output or {})}] if status == "completed" else None
    told = {"id": "sd-1", "status": status, "output": outputs, **reply}
    return result_of(Generation.model_validate(told), order or ordered(), map_index=map_index, now=now)


def test_a_full_reply_gives_every_value() -> None:
    told = result(
        VIDEO,
        FRAME,
        order=ordered(resolution="480p", seed=7),
        output={"duration": 5, "format": "mp4", "resolution": "480p", "ratio": "16:9", "fps": 24},
        map_index=3,
        model="spark_dance_v1_0_pro",
        usage={"cost": "0.2", "discount": 0.05},
        metadata={"completed_at": NOON + 75.5, "note": "绿茶"},
    )
    assert told == {
        "generation_id": "sd-1",
        "map_index": 3,
        "status": "completed",
        "model": "spark_dance_v1_0_pro",
        "video_url": "https://r.example.com/1.mp4",
        "last_frame_url": "https://r.example.com/1.png",
        "video_path": None,
        "last_frame_path": None,
        "manifest_path": None,
        "duration": 5.0,
        "resolution": "480p",
        "ratio": "16:9",
        "fps": 24,
        "format": "mp4",
        "width": 864,
        "height": 480,
        "seed": 7,
        "cost_usd": 0.2,
        "estimated_cost_usd": 0.1215,
        "discount": 0.05,
        "submitted_at": "2027-01-15T08:00:00.000+00:00",
        "completed_at": "2027-01-15T08:01:15.500+00:00",
        "elapsed_seconds": 75.5,
        "metadata": {"completed_at": NOON + 75.5, "note": "绿茶"},
    }


def test_a_bare_reply_gives_every_key() -> None:
    told = result_of(Generation.model_validate({"id": "sd-1", "status": "queued"}), ordered(), map_index=-1, now=NOON)
    assert list(told) == KEYS
    unknown = {"video_url", "last_frame_url", "duration", "seed", "cost_usd", "discount", "completed_at", "metadata"}
    assert {name for name, value in told.items() if value is None} >= unknown
    assert (told["status"], told["elapsed_seconds"]) == ("queued", None)
    assert (told["resolution"], told["ratio"], told["width"], told["height"]) == ("1080p", "16:9", 1920, 1088)


class TestItsLength:
    def test_is_what_the_frames_make(self) -> None:
        # The reply rounds to a whole second.
        assert result(order=ordered(frames=57), output={"duration": 2})["duration"] == 57 / 24

    def test_is_else_that_of_the_content(self) -> None:
        assert result({**VIDEO, "duration": "4.96"}, output={"duration": 5})["duration"] == 4.96

    def test_is_else_that_of_the_output(self) -> None:
        assert result({**VIDEO, "duration": None}, output={"duration": 6})["duration"] == 6.0

    def test_is_known_before_the_end_where_frames_were_asked(self) -> None:
        assert result(order=ordered(frames=29), status="in_progress")["duration"] == 29 / 24

    def test_is_else_unknown(self) -> None:
        assert result({**VIDEO, "duration": None})["duration"] is None


class TestItsSize:
    @pytest.mark.parametrize(("resolution", "ratio"), [(name, ratio) for name, of in PIXELS.items() for ratio in of])
    def test_follows_from_what_the_vendor_rendered(self, resolution: str, ratio: str) -> None:
        told = result(
            order=ordered(None, first_frame="https://a.example.com/1.png"),
            output={"resolution": resolution, "ratio": ratio},
        )
        sizes = {name: dict(of) for name, of in PIXELS.items()}
        assert (told["width"], told["height"]) == sizes[resolution][ratio]  # type: ignore[index]

    def test_is_unknown_where_it_follows_a_picture_that_only_the_vendor_saw(self) -> None:
        told = result(order=ordered(None, first_frame="https://a.example.com/1.png"))
        assert (told["width"], told["height"], told["ratio"]) == (None, None, None)

    def test_is_that_of_the_order_where_the_vendor_says_nothing(self) -> None:
        told = result(order=ordered(resolution="720p", ratio="1:1"))
        assert (told["width"], told["height"], told["ratio"], told["resolution"]) == (960, 960, "1:1", "720p")


class TestItsSeed:
    def test_is_the_vendors(self) -> None:
        assert result(order=ordered(seed=7), output={"seed": 12})["seed"] == 12

    def test_may_be_zero(self) -> None:
        assert result(order=ordered(seed=7), output={"seed": 0})["seed"] == 0
        assert result(order=ordered(seed=0))["seed"] == 0

    @pytest.mark.parametrize("told", [None, -1])
    def test_is_else_the_one_that_was_asked(self, told: int | None) -> None:
        assert result(order=ordered(seed=7), output={"seed": told})["seed"] == 7

    @pytest.mark.parametrize("told", [None, -1])
    def test_is_unknown_where_the_vendor_chose_it(self, told: int | None) -> None:
        assert result(order=ordered(seed=-1), output={"seed": told})["seed"] is None


class TestItsMoney:
    @pytest.mark.parametrize(("cost", "number"), [("0.6120", 0.612), (0.25, 0.25), (None, None), ("free", None)])
    def test_is_a_number_where_it_is_told(self, cost: Any, number: float | None) -> None:
        assert result(usage={"cost": cost})["cost_usd"] == number

    def test_is_shown_with_a_discount_that_is_never_taken_off(self) -> None:
        told = result(usage={"cost": "1.00", "discount": 0.4})
        assert (told["cost_usd"], told["discount"]) == (1.0, 0.4)

    def test_is_estimated_by_the_tier(self) -> None:
        online, flex = (result(order=ordered(service_tier=tier))["estimated_cost_usd"] for tier in ("default", "flex"))
        assert (online, flex) == (0.612, 0.306)


class TestItsTimes:
    def test_are_the_vendors_where_it_tells_them(self) -> None:
        told = result(metadata={"completed_at": NOON + 60}, now=NOON + 90)
        assert (told["completed_at"], told["elapsed_seconds"]) == ("2027-01-15T08:01:00.000+00:00", 60)

    def test_are_else_those_of_the_moment_it_was_seen(self) -> None:
        assert result(now=NOON + 90)["elapsed_seconds"] == 90

    def test_never_run_backwards(self) -> None:
        assert result(metadata={"completed_at": NOON - 5})["elapsed_seconds"] == 0

    @pytest.mark.parametrize("moment", [3e14, 9e14, 999_999_999_999_999])
    def test_are_those_of_the_moment_where_the_vendors_is_none(self, moment: float) -> None:
        told = result(metadata={"completed_at": moment}, now=NOON + 90)
        assert told["elapsed_seconds"] == 90

    def test_are_in_utc(self) -> None:
        moment = datetime.fromisoformat(str(result()["submitted_at"]))
        assert moment == datetime.fromtimestamp(NOON, UTC)
        assert moment.utcoffset() == UTC.utcoffset(None)


URLS = st.integers(0, 8000).map(lambda length: "https://r.example.com/v?sign=" + "x" * length)
TEXT = st.text(max_size=300) | st.text("密é\n", min_size=100, max_size=900)


@given(
    video=URLS,
    frame=URLS,
    duration=st.floats() | TEXT,
    output=st.dictionaries(st.sampled_from(["resolution", "ratio", "format", "fps", "seed"]), TEXT | st.floats()),
    usage=st.dictionaries(st.sampled_from(["cost", "discount"]), TEXT | st.floats() | st.integers()),
    metadata=st.dictionaries(TEXT | st.just("completed_at"), TEXT | st.floats() | st.integers(), max_size=4),
    model=TEXT,
)
def test_whatever_the_vendor_says_it_is_small_and_of_json_types(
    video: str, frame: str, duration: Any, output: Any, usage: Any, metadata: Any, model: str
) -> None:
    told = result(
        {**VIDEO, "url": video, "duration": duration},
        {**FRAME, "url": frame},
        output=output,
        usage=usage,
        metadata=metadata,
        model=model,
    )
    assert list(told) == KEYS
    text = json.dumps(told, allow_nan=False)
    assert len(text) < 4096
    assert json.loads(text) == told


def test_what_is_too_long_loses_the_metadata_first_and_the_video_last() -> None:
    metadata = {"note": "x" * 900}

    def kept(video: int, frame: int) -> list[bool]:
        told = result(
            {**VIDEO, "url": "https://r.example.com/" + "v" * video},
            {**FRAME, "url": "https://r.example.com/" + "f" * frame},
            metadata=metadata,
        )
        return [told["video_url"] is not None, told["last_frame_url"] is not None, told["metadata"] is not None]

    assert kept(900, 900) == [True, True, True]
    assert kept(1500, 1500) == [True, True, False]
    assert kept(2500, 2500) == [True, False, False]
    assert kept(5000, 2500) == [False, False, False]
