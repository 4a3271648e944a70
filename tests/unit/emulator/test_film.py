"""The files, opened and looked at."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import httpx
import pytest
from PIL import Image, ImageChops, ImageStat

from tests.unit.emulator.helpers import data_uri, image, picture, text

if TYPE_CHECKING:
    from tests.unit.emulator.helpers import Vendor


def frames(film: bytes) -> list[Image.Image]:
    with av.open(io.BytesIO(film), "r") as container:
        return [frame.to_image() for frame in container.decode(video=0)]  # type: ignore[no-untyped-call]


def distance(one: Image.Image, other: Image.Image) -> float:
    """The mean difference between two pictures, of 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean) / 3


def patch(picture: Image.Image) -> Image.Image:
    """A part of the sky, away from the sun, the caption and most lights."""
    return picture.crop((0, 0, picture.width // 3, picture.height // 3))


@pytest.mark.parametrize(
    ("params", "size", "count"),
    [
        ({"resolution": "480p", "ratio": "16:9", "duration": 2}, (864, 480), 48),
        ({"resolution": "480p", "ratio": "9:16", "frames": 29}, (480, 864), 29),
        ({"resolution": "1080p", "ratio": "21:9", "frames": 29}, (2176, 928), 29),
        ({"resolution": "720p", "ratio": "1:1", "frames": 33, "duration": 12}, (960, 960), 33),
    ],
)
def test_a_film_has_exactly_the_pixels_frames_and_length_asked(
    vendor: Vendor, params: dict[str, object], size: tuple[int, int], count: int
) -> None:
    with av.open(io.BytesIO(vendor.film(**params)), "r") as container:
        (stream,) = container.streams.video
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == size
        assert stream.average_rate == 24
        assert stream.frames == count
        assert container.duration is not None
        assert abs(container.duration / av.time_base - count / 24) < 0.001
        times = [Fraction(frame.pts or 0) * (frame.time_base or 0) for frame in container.decode(stream)]
        assert times == [Fraction(number, 24) for number in range(count)]


def test_a_film_starts_to_play_before_it_is_all_there(vendor: Vendor) -> None:
    film = vendor.film(frames=29)
    assert film.index(b"moov") < film.index(b"mdat")


def test_a_film_moves_and_shows_its_prompt(vendor: Vendor) -> None:
    one, other = (frames(vendor.film(text(prompt), seed=5, frames=29)) for prompt in ("A kite", "纸风筝"))
    assert distance(one[0], one[-1]) > 2
    assert distance(one[14], other[14]) > 1


def test_a_fixed_camera_leaves_the_hills_where_they_are(vendor: Vendor) -> None:
    def hills(film: bytes) -> float:
        shown = frames(film)
        box = (0, shown[0].height * 9 // 10, shown[0].width, shown[0].height)
        return distance(shown[0].crop(box), shown[-1].crop(box))

    fixed = hills(vendor.film(seed=5, frames=29, camera_fixed=True))
    free = hills(vendor.film(seed=5, frames=29))
    assert fixed < free


def test_the_first_frame_opens_the_film_and_the_last_frame_ends_it(vendor: Vendor) -> None:
    first, last = picture(colour="orange"), picture(600, 600, colour="navy")
    shown = frames(
        vendor.film(
            text("From day to night"),
            image(data_uri(first), "first_frame"),
            image(data_uri(last), "last_frame"),
            frames=29,
        )
    )
    assert distance(shown[0], Image.new("RGB", (864, 480), "orange")) < 3
    assert distance(shown[-1], Image.new("RGB", (864, 480), "navy")) < 3


def test_a_picture_of_another_ratio_is_cropped_around_its_centre(vendor: Vendor) -> None:
    wide = Image.new("RGB", (800, 400), "red")
    wide.paste("lime", (200, 0, 600, 400))
    file = io.BytesIO()
    wide.save(file, "PNG")
    shown = frames(vendor.film(image(data_uri(file.getvalue())), ratio="1:1", frames=29))
    assert distance(shown[0], Image.new("RGB", (640, 640), "lime")) < 4


def test_a_film_takes_the_ratio_of_its_first_frame(vendor: Vendor) -> None:
    reply = vendor.finished(image(data_uri(picture(400, 600))), frames=29)
    assert reply["output"][0]["ratio"] == "3:4"
    assert vendor.finished(ratio="adaptive")["output"][0]["ratio"] == "16:9"


def test_the_last_frame_is_a_png_of_the_films_last_picture_without_the_watermark(vendor: Vendor) -> None:
    reply = vendor.finished(frames=29, watermark=True, return_last_frame=True)
    video, last = reply["output"][0]["content"]
    png = Image.open(io.BytesIO(httpx.get(last["url"]).content))
    shown = frames(httpx.get(video["url"], timeout=60).content)[-1]
    assert (png.format, png.size) == ("PNG", shown.size)
    assert distance(patch(png), patch(shown)) < 4
    corner = (png.width - 120, png.height - 30, png.width - 10, png.height - 8)
    assert distance(png.crop(corner), shown.crop(corner)) > 4 * distance(patch(png), patch(shown))


def test_the_last_frame_of_one_clip_can_open_the_next(vendor: Vendor) -> None:
    last = vendor.finished(frames=29, return_last_frame=True)["output"][0]["content"][1]["url"]
    reply = vendor.finished(text("And on"), image(last, "first_frame"), frames=29)
    opening = frames(httpx.get(reply["output"][0]["content"][0]["url"], timeout=60).content)[0]
    assert distance(opening, Image.open(io.BytesIO(httpx.get(last).content))) < 4


def test_the_same_seed_shows_the_same_film_and_another_seed_another(vendor: Vendor) -> None:
    def last(seed: int) -> Image.Image:
        url = vendor.finished(seed=seed, frames=29, return_last_frame=True)["output"][0]["content"][1]["url"]
        return Image.open(io.BytesIO(httpx.get(url).content))

    assert distance(last(5), last(5)) == 0
    assert distance(last(5), last(6)) > 1
