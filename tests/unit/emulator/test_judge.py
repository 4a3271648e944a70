"""Every documented limit, on both sides of its edge."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.emulator.judge import Refusal, judge
from tests.unit.emulator.helpers import body, image, text

A = "https://example.com/a.png"
B = "https://example.com/b.png"


def code(request: object) -> str | None:
    """The code with which a request is refused, or none."""
    try:
        judge(request)
    except Refusal as refusal:
        return refusal.code
    return None


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"resolution": "1080p"}, None),
        ({"resolution": "1080P"}, "003005005"),
        ({"resolution": "360p"}, "003005005"),
        ({"resolution": 1080}, "003005005"),
        ({"resolution": ["1080p"]}, "003005005"),
        ({"ratio": "21:9"}, None),
        ({"ratio": "adaptive"}, None),
        ({"ratio": "16:10"}, "003005006"),
        ({"ratio": None}, "003005006"),
        ({"duration": 2}, None),
        ({"duration": 12}, None),
        ({"duration": 1}, "003005007"),
        ({"duration": 13}, "003005007"),
        ({"duration": 5.0}, "003005007"),
        ({"duration": "5"}, "003005007"),
        ({"duration": True}, "003005007"),
        ({"frames": 29}, None),
        ({"frames": 289}, None),
        ({"frames": 57, "duration": 12}, None),
        ({"frames": 57, "duration": 13}, "003005007"),
        ({"frames": 25}, "003005008"),
        ({"frames": 58}, "003005008"),
        ({"frames": 293}, "003005008"),
        ({"frames": 57.0}, "003005008"),
        ({"seed": -1}, None),
        ({"seed": 2**32 - 1}, None),
        ({"seed": -2}, "003005009"),
        ({"seed": 2**32}, "003005009"),
        ({"seed": 10**400}, "003005009"),
        ({"seed": False}, "003005009"),
        ({"watermark": True}, None),
        ({"watermark": "true"}, "003005010"),
        ({"camera_fixed": 1}, "003005010"),
        ({"return_last_frame": None}, "003005010"),
        ({"service_tier": "flex"}, None),
        ({"service_tier": "Flex"}, "003005002"),
        ({"execution_expires_after": 3600}, None),
        ({"execution_expires_after": 259_200}, None),
        ({"execution_expires_after": 3599}, "003005002"),
        ({"execution_expires_after": 259_201}, "003005002"),
        ({"callback_url": "https://example.com/hook?a=1"}, None),
        ({"callback_url": "http://127.0.0.1:8080"}, None),
        ({"callback_url": ""}, "003005002"),
        ({"callback_url": "example.com/hook"}, "003005002"),
        ({"callback_url": "ftp://example.com"}, "003005002"),
        ({"callback_url": "https://"}, "003005002"),
        ({"callback_url": "https://exa mple.com"}, "003005002"),
        ({"callback_url": "https://example.com:99999"}, "003005002"),
        ({"callback_url": 5}, "003005002"),
        ({"a_parameter_of_tomorrow": [1]}, None),
    ],
)
def test_each_parameter_keeps_its_type_and_range(params: dict[str, Any], expected: str | None) -> None:
    assert code(body(**params)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([text("x" * 5000)], None),
        ([image(A)], None),
        ([image(A, "")], None),
        ([{**image(A), "role": None}], None),
        ([{**image(A), "role": False}], "003005002"),
        ([{**image(A), "role": []}], "003005002"),
        ([image(A, "first_frame")], None),
        ([text("t"), image(A)], None),
        ([image(A), text("t")], None),
        ([image(B, "last_frame"), image(A, "first_frame")], None),
        ([text("t"), image(A, "first_frame"), image(A, "last_frame")], None),
        ([], "003005001"),
        ({}, "003005002"),
        (None, "003005002"),
        ("a prompt", "003005002"),
        (["a prompt"], "003005002"),
        ([{"text": "t"}], "003005011"),
        ([{"type": "video_url"}], "003005002"),
        ([{"type": ["text"]}], "003005002"),
        ([{"type": "text"}], "003005012"),
        ([text("")], "003005012"),
        ([text(" \n\u3000")], "003005012"),
        ([{"type": "text", "text": 5}], "003005002"),
        ([text("half a pair: \ud83d")], "003005002"),
        ([text("a"), text("b")], "003005002"),
        ([{"type": "image_url"}], "003005013"),
        ([{"type": "image_url", "image_url": A}], "003005014"),
        ([{"type": "image_url", "image_url": {}}], "003005014"),
        ([image("")], "003005014"),
        ([image("file:///etc/hostname")], "003005014"),
        ([{"type": "image_url", "image_url": {"url": None}}], "003005014"),
        ([image(A, "reference")], "003005002"),
        ([image(A, "last_frame")], "003005004"),
        ([image(A), image(B)], "003005002"),
        ([image(A, "first_frame"), image(B)], "003005002"),
        ([image(A, "first_frame"), image(B, "first_frame")], "003005002"),
        ([image(A, "last_frame"), image(B, "last_frame")], "003005002"),
        ([image(A, "first_frame"), image(B, "last_frame"), image(A)], "003005004"),
    ],
)
def test_content_is_a_text_a_first_frame_or_a_first_and_a_last_one(content: Any, expected: str | None) -> None:
    assert code(body(content=content)) == expected


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (None, "003005002"),
        ([], "003005002"),
        ({**body(), "model": "spark_dance_v2"}, "003005002"),
        ({"input": body()["input"]}, "003005002"),
        ({**body(), "input": []}, "003005001"),
        ({**body(), "input": body()["input"][0]}, "003005001"),
        ({**body(), "input": body()["input"] * 2}, "003005001"),
        ({**body(), "input": [{}]}, "003005001"),
        ({**body(), "input": [{"params": {}}]}, "003005001"),
    ],
)
def test_a_body_in_another_form_is_refused(request_: object, expected: str) -> None:
    assert code(request_) == expected


def test_what_is_left_out_gets_the_documented_default() -> None:
    order = judge({"model": "spark_dance_v1_0_pro", "input": [{"params": {"content": [text("t")]}}]})
    assert (order.resolution, order.ratio, order.frames, order.seed) == ("1080p", "16:9", 120, -1)
    assert (order.service_tier, order.execution_expires_after) == ("default", 172_800)
    assert not (order.camera_fixed)
    assert not (order.watermark)
    assert not (order.return_last_frame)


def test_with_a_picture_the_ratio_adapts_to_it_unless_told() -> None:
    assert judge(body(image(A))).ratio == "adaptive"
    assert judge(body(image(A), ratio="1:1")).ratio == "1:1"


def test_frames_win_over_duration() -> None:
    assert judge(body(frames=57, duration=12)).frames == 57


def test_roles_tell_the_frames_apart_in_either_order() -> None:
    order = judge(body(image(B, "last_frame"), image(A, "first_frame")))
    assert (order.first_frame, order.last_frame) == (A, B)


@given(st.integers(-10, 400))
def test_frames_are_29_to_289_in_steps_of_four(frames: int) -> None:
    allowed = 29 <= frames <= 289 and (frames - 25) % 4 == 0
    assert code(body(frames=frames)) == (None if allowed else "003005008")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
NAMES = st.sampled_from(["content", "resolution", "ratio", "duration", "frames", "seed", "watermark", "callback_url"])


@given(JSON)
def test_any_json_is_judged(request_: object) -> None:
    assert code(request_) is not None


@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_any_parameters_are_judged(params: dict[str, Any]) -> None:
    assert code(body(**params)) in {None, *(f"0030050{number:02}" for number in range(1, 15))}
