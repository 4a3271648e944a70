from __future__ import annotations

import io

import pytest
from PIL import Image, ImageCms

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.api.picture import FORMATS, MAX_BYTES, inspect_picture
from airflow_provider_spark.media.fitting import MAX_PIXELS
from airflow_provider_spark.media.frames import Frame, frame_of
from tests.unit.api.frame_files import decoded, flat_picture, opened, picture, turned_picture

RED, BLUE = (254, 0, 0), (0, 0, 254)


def fit(data: bytes) -> Frame:
    return frame_of(data, called="first_frame (a.jpg)", fit_frames=True)


def is_like(found: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(found, tuple)
    return all(abs(one - other) < 12 for one, other in zip(found[:3], colour, strict=True))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_within_the_limits_is_left_as_it_is(kind: str) -> None:
    data = picture(kind)
    frame = fit(data)
    assert decoded(frame.data_uri) == data
    assert frame.notes == ()


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize(
    ("orientation", "size", "first", "last"),
    [
        (3, (640, 480), BLUE, RED),
        (6, (480, 640), RED, BLUE),
        (8, (480, 640), BLUE, RED),
    ],
)
def test_a_picture_on_its_side_is_sent_upright(
    kind: str, orientation: int, size: tuple[int, int], first: tuple[int, int, int], last: tuple[int, int, int]
) -> None:
    frame = fit(turned_picture(kind, orientation=orientation))
    image = opened(decoded(frame.data_uri))
    assert image.size == size == (frame.picture.width, frame.picture.height)
    assert is_like(image.getpixel((10, 10)), first)
    assert is_like(image.getpixel((size[0] - 10, size[1] - 10)), last)
    assert inspect_picture(decoded(frame.data_uri)).orientation == 1
    assert "turned upright" in frame.notes[0]


@pytest.mark.parametrize(("width", "height"), [(6000, 4000), (4000, 6000), (9000, 9000), (12000, 9000)])
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_too_many_pixels_are_scaled_down_in_proportion(kind: str, width: int, height: int) -> None:
    frame = fit(flat_picture(kind, width, height))
    assert max(frame.picture.width, frame.picture.height) == 5999
    assert frame.picture.width / frame.picture.height == pytest.approx(width / height, abs=0.001)
    assert f"scaled down from {width} x {height} px by fit_frames=True; {frame.picture.width} x" in frame.notes[0]


def test_too_many_bytes_are_encoded_anew() -> None:
    data = picture("bmp", 4000, 3000)
    assert len(data) > MAX_BYTES
    frame = fit(data)
    assert (frame.picture.format, frame.picture.width) == ("jpeg", 4000)
    assert frame.size < MAX_BYTES


def test_a_picture_that_no_encoder_makes_small_is_scaled_until_it_is() -> None:
    noise = Image.effect_noise((3000, 3000), 120)
    picture_of_noise = Image.merge("RGBA", (noise, noise.rotate(90), noise.rotate(180), noise.rotate(270)))

    file = io.BytesIO()
    picture_of_noise.save(file, "PNG", compress_level=1)
    assert len(file.getvalue()) > MAX_BYTES
    frame = fit(file.getvalue())
    assert frame.size < MAX_BYTES
    assert frame.picture.format == "png"
    assert frame.picture.width > 1500


def test_transparency_and_the_colour_profile_are_kept() -> None:

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode, kind in (("RGBA", "PNG"), ("RGB", "JPEG")):
        file = io.BytesIO()
        Image.new(mode, (6100, 4000)).save(file, "PNG", icc_profile=profile)
        image = opened(decoded(fit(file.getvalue()).data_uri))
        assert (image.format, image.mode, image.info.get("icc_profile")) == (kind, mode, profile)


def test_sixteen_bits_of_grey_stay_the_grey_that_they_are() -> None:

    file = io.BytesIO()
    Image.new("I;16", (6100, 4000), 128 * 256).save(file, "PNG")
    image = opened(decoded(fit(file.getvalue()).data_uri))
    assert abs(int(image.convert("L").getpixel((5, 5))) - 128) < 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (flat_picture("png", 300, 300), "over 300"),
        (flat_picture("png", 6100, 2000), "under 2.5"),
        (flat_picture("png", 11000, 11000), f"{MAX_PIXELS:,} pixels"),
        (picture("ppm"), "one of the formats"),
        (flat_picture("png", 6100, 4000)[:9000], "whole"),
        (turned_picture(width=400, height=1200), "over 0.4"),
    ],
    ids=["too small", "too wide", "beyond what is decoded", "of another format", "cut", "turned and too narrow"],
)
def test_what_is_wrong_otherwise_is_refused_all_the_same(data: bytes, reason: str) -> None:
    with pytest.raises(SparkDanceRequestError, match=reason):
        fit(data)


def test_the_same_bytes_become_the_same_bytes() -> None:
    data = turned_picture()
    assert fit(data) == fit(data)
