import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.api.picture import FORMATS
from airflow_provider_spark.api.request import MODEL, VideoRequest, nearest_frames
from tests.unit.api.frame_files import data_uri, picture

URL = "https://example.com/frame.png"
TEXT = {"type": "text", "text": "a cat"}


def image(role: Any = None, url: Any = URL) -> dict[str, Any]:
    item = {"type": "image_url", "image_url": {"url": url}}
    return item if role is None else item | {"role": role}


def problems(**parameters: Any) -> str:
    with pytest.raises(SparkDanceRequestError) as caught:
        VideoRequest.compose(**parameters)
    assert caught.value.may_repeat is False
    return "\n".join(caught.value.problems)


# Content and roles


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        ([TEXT], "text"),
        ([image()], "first_frame"),
        ([image("first_frame")], "first_frame"),
        ([image("")], "first_frame"),
        ([image() | {"role": None}], "first_frame"),
        ([TEXT, image()], "first_frame"),
        ([image("first_frame"), TEXT], "first_frame"),
        ([image("first_frame"), image("last_frame")], "first_and_last_frame"),
        ([image("last_frame"), TEXT, image("first_frame")], "first_and_last_frame"),
    ],
)
def test_every_documented_combination_is_taken_in_any_order(content: list[Any], mode: str) -> None:
    assert VideoRequest.model_validate({"content": content}).mode == mode


@pytest.mark.parametrize(
    "content",
    [
        None,
        "a cat",
        {},
        [],
        [None],
        ["a cat"],
        [TEXT, TEXT],
        [TEXT | {"text": ""}],
        [TEXT | {"text": " \n\u3000"}],
        [TEXT | {"text": None}],
        [TEXT | {"text": "half a \ud83d pair"}],
        [TEXT | {"role": "first_frame"}],
        [{"type": "text"}],
        [{"text": "a cat"}],
        [{"type": "video_url", "video_url": {"url": URL}}],
        [{"type": ["text"], "text": "a cat"}],
        [{"type": "image_url", "image_url": URL}],
        [{"type": "image_url", "image_url": {}}],
        [{"type": "image_url"}],
        [image("last_frame")],
        [image("middle_frame")],
        [image("First_Frame")],
        [TEXT, image("last_frame")],
        [image(), image()],
        [image("first_frame"), image()],
        [image(), image("last_frame")],
        [image("first_frame"), image("")],
        [image("first_frame"), image("first_frame")],
        [image("last_frame"), image("last_frame")],
        [image("first_frame"), image("last_frame"), image()],
    ],
)
def test_every_other_content_is_refused(content: Any) -> None:
    with pytest.raises(ValidationError):
        VideoRequest.model_validate({"content": content})


def test_a_single_frame_needs_no_role_and_two_get_both() -> None:
    assert VideoRequest.compose(first_frame=URL).params() == {"content": [image()]}
    assert VideoRequest.compose(prompt="a cat", first_frame=URL, last_frame=URL).params() == {
        "content": [TEXT, image("first_frame"), image("last_frame")]
    }


def test_an_empty_role_stays_off_the_wire() -> None:
    assert VideoRequest.model_validate({"content": [image("")]}).params() == {"content": [image()]}


def test_a_last_frame_alone_is_refused() -> None:
    assert "a first frame where it holds a last frame" in problems(prompt="a cat", last_frame=URL)


def test_neither_prompt_nor_frame_is_refused() -> None:
    assert "content = <a list>: must hold a text or an image" in problems(duration=5)


# Parameters


IN_RANGE: dict[str, list[Any]] = {
    "callback_url": ["https://example.com/done?token=1", "http://localhost:8080", "HTTPS://EXAMPLE.COM"],
    "return_last_frame": [True, False],
    "service_tier": ["default", "flex"],
    "execution_expires_after": [3600, 259_200],
    "resolution": ["480p", "720p", "1080p"],
    "ratio": ["16:9", "4:3", "1:1", "3:4", "9:16", "21:9", "adaptive"],
    "duration": [2, 12],
    "frames": [29, 33, 57, 285, 289],
    "seed": [-1, 0, 2**32 - 1],
    "camera_fixed": [True, False],
    "watermark": [True, False],
}
OUT_OF_RANGE: dict[str, list[Any]] = {
    "callback_url": ["", "example.com", "ftp://example.com", "https://", "https://a b.com", "https://a.com/\n", 5],
    "return_last_frame": [0, 1, "true"],
    "service_tier": ["", "Default", "batch", 1],
    "execution_expires_after": [3599, 259_201, 3600.0, "3600", True],
    "resolution": ["1080P", "4k", 1080],
    "ratio": ["16:10", "16x9", "Adaptive", 1],
    "duration": [1, 13, 5.0, 5.5, "5", True],
    "frames": [25, 28, 30, 31, 32, 288, 290, 293, 57.0, "57", True],
    "seed": [-2, 2**32, 10**30, 1.0, "1", False],
    "camera_fixed": [0, "false"],
    "watermark": [1, "no"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in IN_RANGE.items() for value in values])
def test_a_value_in_range_goes_on_the_wire_as_it_is(name: str, value: Any) -> None:
    assert VideoRequest.compose(prompt="a cat", **{name: value}).params() == {"content": [TEXT], name: value}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OUT_OF_RANGE.items() for value in [*values, [], {}, math.nan]]
)
def test_a_value_out_of_range_or_of_another_type_is_refused_by_name(name: str, value: Any) -> None:
    assert problems(prompt="a cat", **{name: value}).startswith(f"{name} = ")


@pytest.mark.parametrize("name", IN_RANGE)
def test_none_is_not_set_for_compose_but_null_is_refused_on_the_wire(name: str) -> None:
    assert VideoRequest.compose(prompt="a cat", **{name: None}).params() == {"content": [TEXT]}
    with pytest.raises(ValidationError):
        VideoRequest.model_validate({"content": [TEXT], name: None})


def test_what_is_not_set_reads_as_the_documented_default() -> None:
    request = VideoRequest.compose(prompt="a cat")
    assert (request.resolution, request.duration, request.seed) == ("1080p", 5, -1)
    assert (request.service_tier, request.execution_expires_after) == ("default", 172_800)
    assert (request.return_last_frame, request.camera_fixed, request.watermark) == (False, False, False)


def test_the_body_has_the_parameters_inside_the_first_input() -> None:
    request = VideoRequest.compose(prompt="a cat", seed=7)
    assert request.body() == {"model": MODEL, "input": [{"params": {"content": [TEXT], "seed": 7}}]}


def test_the_default_ratio_depends_on_the_mode() -> None:
    assert VideoRequest.compose(prompt="a cat").effective_ratio == "16:9"
    assert VideoRequest.compose(prompt="a cat", ratio="adaptive").effective_ratio == "16:9"
    assert VideoRequest.compose(first_frame=URL).effective_ratio == "adaptive"
    assert VideoRequest.compose(first_frame=URL, ratio="1:1").effective_ratio == "1:1"


def test_frames_win_over_duration() -> None:
    request = VideoRequest.compose(prompt="a cat", duration=5, frames=57)
    assert (request.frame_count, request.seconds) == (57, 2.375)
    assert VideoRequest.compose(prompt="a cat", duration=4).frame_count == 96


def test_an_unknown_parameter_is_refused_and_fps_explained() -> None:
    assert problems(prompt="a cat", fps=30) == "fps: is not a parameter of this model (it renders 24 a second)"
    assert problems(prompt="a cat", content=[]).startswith("content: ")


def test_each_broken_limit_is_named_at_once() -> None:
    found = problems(prompt="", first_frame="frame.png", duration=13, frames=30)
    assert [line.split(" = ")[0] for line in found.splitlines()] == [
        "prompt (content[0].text)",
        "first_frame (content[1].image_url.url)",
        "duration",
        "frames",
    ]
    assert "duration = 13: must be a whole number of seconds from 2 to 12" in found


def test_the_vendors_own_form_is_named_by_its_path() -> None:
    with pytest.raises(SparkDanceRequestError, match=r"content\[1\]\.image_url\.url = 5: must be an absolute"):
        VideoRequest.from_params({"content": [TEXT, image(url=5)]})
    with pytest.raises(SparkDanceRequestError, match=r"content: is missing"):
        VideoRequest.from_params({})


# Pictures as data URIs


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_may_come_as_a_data_uri(kind: str) -> None:
    uri = data_uri(picture(kind, 320, 310), kind)
    request = VideoRequest.compose(first_frame=uri)
    assert request.params()["content"][0]["image_url"]["url"] == uri
    assert request.first_frame_picture is not None
    assert (request.first_frame_picture.width, request.first_frame_picture.height) == (320, 310)


PNG = data_uri(picture("png", 320, 310))


@pytest.mark.parametrize(
    "uri",
    [
        PNG.replace("png", "PNG"),
        PNG.replace("png", "jpg"),
        PNG.replace("png", "svg+xml"),
        PNG.replace("png", "jpeg"),
        PNG.replace("data:", "DATA:"),
        PNG.replace("data:", " data:"),
        PNG.replace(";base64", ""),
        PNG.replace(";base64", ";charset=utf-8;base64"),
        PNG.replace("base64,", "base64, "),
        PNG.replace("image/", ""),
        PNG + "\n",
        PNG + "=",
        PNG + "====",
        PNG[:-1],
        PNG[: len(PNG) // 2 // 4 * 4 + PNG.index(",") % 4 + 1],
        PNG[:40] + "-_" + PNG[42:],
        PNG[:40] + "é" + PNG[41:],
        PNG[: PNG.index(",") + 1],
        data_uri(b"no picture at all"),
        data_uri(picture("png", 320, 300)),
    ],
)
def test_a_malformed_data_uri_is_refused_and_never_shown(uri: str) -> None:
    found = problems(first_frame=uri)
    assert "first_frame" in found
    assert len(found) < 400
    data = uri.partition(",")[2]
    assert not any(data[at : at + 12] in found for at in range(0, len(data) - 12, 12))


def test_a_picture_over_thirty_megabytes_is_refused_before_it_is_decoded() -> None:
    uri = "data:image/png;base64," + "A" * 40_000_004
    assert "30 MB" in problems(first_frame=uri)


def test_no_text_of_a_request_shows_a_data_uri_or_a_urls_secrets() -> None:
    request = VideoRequest.compose(
        prompt="a cat",
        first_frame=PNG,
        last_frame="https://user:password@example.com/f.png?sig=secret",
        callback_url="https://example.com/done?token=secret",
    )
    for shown in (repr(request), str(request), f"{request.content}"):
        assert PNG[40:60] not in shown
        assert "secret" not in shown
        assert "password" not in shown
    assert "data:image/png;base64,<" in repr(request)


@pytest.mark.parametrize("field", ["text", "type", "role", "url"])
def test_pydantics_own_error_shows_no_data_uri_either(field: str) -> None:
    broken = PNG[:-9]
    item = {"text": {"type": "text", "text": [broken]}, "type": {"type": broken}, "role": image(broken)}
    with pytest.raises(ValidationError) as caught:
        VideoRequest.model_validate({"content": [item.get(field, image(url=broken))]})
    assert PNG[40:60] not in str(caught.value)
    with pytest.raises(SparkDanceRequestError) as ours:
        VideoRequest.from_params({"content": [item.get(field, image(url=broken))]})
    assert PNG[40:60] not in str(ours.value)
    assert ours.value.__context__ is None


@pytest.mark.parametrize(
    "url", ["frame.png", "//example.com/f.png", "s3://bucket/f.png", "https:///f.png", "http://[::1", "http://a:99999/"]
)
def test_a_frame_is_an_absolute_web_url(url: str) -> None:
    assert "must be an absolute http or https URL" in problems(first_frame=url)


# Warnings


def test_an_ordinary_request_has_no_warnings() -> None:
    assert VideoRequest.compose(prompt="a cat -- slowly, --really", frames=57).warnings == ()
    assert VideoRequest.compose(first_frame=URL, ratio="adaptive").warnings == ()
    assert VideoRequest.compose(prompt="x" * 500).warnings == ()


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"prompt": "猫" * 501}, "501 characters"),
        ({"prompt": "a cat", "ratio": "adaptive"}, "16:9"),
        ({"prompt": "a cat", "duration": 5, "frames": 57}, "frames wins: 57 frames, 2.375 s"),
    ],
)
def test_what_the_author_may_not_have_meant_is_a_warning(parameters: dict[str, Any], word: str) -> None:
    (warning,) = VideoRequest.compose(**parameters).warnings
    assert word in warning


@pytest.mark.parametrize(
    "flag", ["--rs", "--rt", "--dur", "--fps", "--wm", "--seed", "--cf", "--RS", "--resolution", "--camerafixed"]
)
def test_a_flag_of_the_model_family_in_the_prompt_is_a_warning(flag: str) -> None:
    for prompt in (f"a cat {flag} 5", f"{flag} 5", f"一只猫。{flag}=5"):
        (warning,) = VideoRequest.compose(prompt=prompt).warnings
        assert flag.lower() in warning
    assert not VideoRequest.compose(prompt=f"a cat {flag}x").warnings


# The nearest number of frames


def test_two_point_four_seconds_are_57_frames() -> None:
    assert nearest_frames(2.4) == 57


@given(st.floats(29 / 24, 289 / 24))
def test_the_nearest_frames_are_legal_and_at_most_two_away(seconds: float) -> None:
    frames = nearest_frames(seconds)
    assert VideoRequest.compose(prompt="a cat", frames=frames).frame_count == frames
    assert abs(frames - seconds * 24) <= 2


@pytest.mark.parametrize("middle", range(31, 289, 4))
def test_between_two_legal_numbers_the_cheaper_is_taken(middle: int) -> None:
    assert nearest_frames(middle / 24) == middle - 2


@pytest.mark.parametrize("seconds", [0, 1, 12.2, -5, math.nan, math.inf, 10**400])
def test_seconds_far_from_any_legal_number_are_an_error_that_names_the_limits(seconds: float) -> None:
    with pytest.raises(SparkDanceRequestError, match=r"29 to 289 frames"):
        nearest_frames(seconds)


# Anything at all


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
parts = st.sampled_from([TEXT, image(), image("first_frame"), image("last_frame"), image(url=PNG[:-9])]) | json_values


@given(
    st.fixed_dictionaries(
        {"content": st.lists(parts, max_size=3) | json_values},
        optional={name: st.sampled_from(IN_RANGE[name]) | json_values for name in IN_RANGE},
    )
)
def test_any_parameters_make_a_request_or_our_error(params: dict[str, Any]) -> None:
    with suppress(SparkDanceRequestError):
        request = VideoRequest.from_params(params)
        assert VideoRequest.from_params(request.params()).params() == request.params()
        assert set(request.params()) == set(params)
        assert json.dumps(request.body(), ensure_ascii=False).encode()


def test_requests_are_values() -> None:
    one, other = (VideoRequest.compose(prompt="a cat", seed=7) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    with pytest.raises(ValidationError):
        one.seed = 8


@pytest.mark.parametrize("spare", range(3))
@pytest.mark.parametrize("tail", ["=", "==", "===", "====", "A", "\n", "A===", "AA=A"])
def test_base64_ends_with_the_padding_that_its_length_asks_for(spare: int, tail: str) -> None:
    data = picture("png", 320, 310)
    uri = data_uri(data + b"x" * ((spare - len(data)) % 3))
    assert VideoRequest.compose(first_frame=uri).mode == "first_frame"
    assert "padded base64" in problems(first_frame=uri + tail)
    if uri.endswith("="):
        assert "padded base64" in problems(first_frame=uri[:-1])
