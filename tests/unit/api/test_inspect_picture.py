import struct
import zlib
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from airflow_provider_spark.api.picture import FORMATS, MAX_BYTES, Picture, PictureError, inspect_picture
from tests.unit.api.frame_files import flat_picture, picture, turned_picture


@pytest.mark.parametrize("kind", FORMATS)
def test_each_documented_format_is_taken_with_its_size(kind: str) -> None:
    assert inspect_picture(picture(kind, 640, 480)) == Picture(kind, 640, 480)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_cut_in_half_is_refused(kind: str) -> None:
    data = picture(kind)
    with pytest.raises(PictureError):
        inspect_picture(data[: len(data) // 2])


@pytest.mark.parametrize(("width", "height"), [(301, 301), (5999, 5999), (301, 752), (752, 301)])
def test_sizes_just_inside_the_limits_are_taken(width: int, height: int) -> None:
    assert inspect_picture(flat_picture("png", width, height)) == Picture("png", width, height)


@pytest.mark.parametrize(
    ("width", "height", "limit"),
    [
        (300, 400, "over 300"),
        (400, 300, "over 300"),
        (6000, 5000, "under 6000"),
        (5000, 6000, "under 6000"),
        (400, 1000, "over 0.4"),
        (1000, 400, "under 2.5"),
    ],
)
def test_sizes_on_the_limits_are_refused_with_the_limit_named(width: int, height: int, limit: str) -> None:
    with pytest.raises(PictureError, match=f"{width} x {height} px.*{limit}"):
        inspect_picture(flat_picture("png", width, height))


def test_a_damaged_png_is_refused_by_its_checksum() -> None:
    data = bytearray(picture("png"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(PictureError, match="whole"):
        inspect_picture(bytes(data))


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(PictureError, match="under 6000"):
        inspect_picture(bomb)


def test_thirty_megabytes_are_too_many_whatever_they_are() -> None:
    with pytest.raises(PictureError, match="30 MB"):
        inspect_picture(bytes(MAX_BYTES))


def test_a_picture_in_another_format_is_refused() -> None:
    with pytest.raises(PictureError, match="one of the formats jpeg, png, webp, bmp, tiff, gif"):
        inspect_picture(picture("ppm"))


def test_a_phones_jpeg_with_a_second_picture_inside_is_a_jpeg() -> None:
    file = BytesIO()
    image = Image.new("RGB", (640, 480))
    image.save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (640, 480))])
    assert inspect_picture(file.getvalue()).format == "jpeg"


@given(st.binary(max_size=200), st.sampled_from(FORMATS), st.integers(0, 400))
def test_no_bytes_raise_anything_but_a_picture_error(noise: bytes, kind: str, at: int) -> None:
    whole = SMALL[kind]
    with suppress(PictureError):
        inspect_picture(whole[:at] + noise + whole[at + len(noise) :])


@given(st.sampled_from(FORMATS), st.data())
def test_a_picture_cut_anywhere_is_refused(kind: str, data: st.DataObject) -> None:
    whole = SMALL[kind]
    # A GIF may do without its end mark, one byte; of a PNG's the checksum isn't read, four bytes.
    spare = {"gif": 1, "png": 4}.get(kind, 0)
    length = data.draw(st.integers(0, len(whole) - spare - 1))
    with pytest.raises(PictureError):
        inspect_picture(whole[:length])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("jpeg", {"progressive": True}),
        ("jpeg", {"restart_marker_blocks": 4}),
        ("jpeg", {"comment": b"\xff\xd9 no end, only a comment"}),
        ("webp", {"lossless": True}),
        ("tiff", {"compression": "tiff_lzw"}),
        ("tiff", {"compression": "jpeg"}),
        ("png", {"interlace": 1}),
    ],
)
def test_other_ways_to_write_a_format_are_taken_whole_and_refused_cut(kind: str, options: dict[str, Any]) -> None:
    data = picture(kind, **options)
    assert inspect_picture(data).format == kind
    with pytest.raises(PictureError):
        inspect_picture(data[: -len(data) // 3])


def test_what_follows_a_whole_picture_does_no_harm() -> None:
    for kind in FORMATS:
        assert inspect_picture(SMALL[kind] + bytes(100)).format == kind


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
def test_how_a_picture_is_to_be_turned_is_told(kind: str) -> None:
    assert inspect_picture(turned_picture(kind, orientation=6)).orientation == 6
    assert inspect_picture(picture(kind)).orientation == 1


SMALL: dict[str, bytes] = {kind: flat_picture(kind, 302, 302) for kind in FORMATS}
