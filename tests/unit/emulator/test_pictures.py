"""The limits of input pictures, on pictures that are really opened."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from airflow_provider_spark.emulator import pictures
from airflow_provider_spark.emulator.judge import Refusal
from tests.unit.emulator.helpers import data_uri, picture

FORMATS = ["jpeg", "png", "webp", "bmp", "tiff", "gif"]


def noise(form: str) -> bytes:
    """A picture that no format can make small."""
    file = io.BytesIO()
    Image.effect_noise((320, 320), 90).convert("RGB").save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("form", FORMATS)
def test_each_documented_format_is_taken_under_its_own_name(form: str) -> None:
    opened = pictures.open_data_uri(data_uri(picture(form=form), form))
    assert (opened.width, opened.height) == (640, 360)


@pytest.mark.parametrize("form", FORMATS)
def test_a_picture_that_ends_half_way_is_refused(form: str) -> None:
    data = noise(form)
    with pytest.raises(Refusal) as refusal:
        pictures.open_picture(data[: len(data) // 2])
    assert refusal.value.code == "003005003"


def test_a_declared_format_must_be_that_of_the_picture() -> None:
    with pytest.raises(Refusal, match="says png, but its image is jpeg"):
        pictures.open_data_uri(data_uri(picture(form="JPEG"), "png"))


def test_a_format_that_is_not_listed_is_refused() -> None:
    for form in ("ICO", "PPM", "JPEG2000"):
        with pytest.raises(Refusal):
            pictures.open_picture(picture(form=form))


@pytest.mark.parametrize(
    "prefix",
    [
        "data:image/PNG;base64,",
        "DATA:image/png;base64,",
        "data:image/jpg;base64,",
        "data:image/svg+xml;base64,",
        "data:image/png,",
        "data:image/png;charset=utf-8;base64,",
        "data:image/png;base64",
        "data:;base64,",
    ],
)
def test_a_data_uri_is_spelled_as_documented(prefix: str) -> None:
    with pytest.raises(Refusal) as refusal:
        pictures.open_data_uri(prefix + base64.b64encode(picture()).decode())
    assert refusal.value.code == "003005014"


@pytest.mark.parametrize(
    ("old", "new"), [("iVBOR", "iVBO"), ("iVBOR", "iVBO\nR"), ("iVBOR", "-VBOR"), ("iVBOR", "=iVBOR")]
)
def test_base64_is_taken_at_its_word(old: str, new: str) -> None:
    uri = data_uri(picture())
    assert old in uri
    with pytest.raises(Refusal):
        pictures.open_data_uri(uri.replace(old, new, 1))


@pytest.mark.parametrize(
    ("width", "height", "good"),
    [
        (301, 301, True),
        (300, 400, False),
        (400, 300, False),
        (5999, 2400, True),
        (6000, 3000, False),
        (3000, 6000, False),
        (1000, 401, True),
        (1000, 400, False),
        (401, 1000, True),
        (400, 1000, False),
    ],
)
def test_sides_and_ratio_lie_inside_open_intervals(width: int, height: int, good: bool) -> None:
    data = picture(width, height)
    if good:
        pictures.open_picture(data)
    else:
        with pytest.raises(Refusal):
            pictures.open_picture(data)


def test_thirty_megabytes_are_one_byte_too_many() -> None:
    data = picture()
    pictures.open_picture(data + b"\0" * (pictures.MAX_BYTES - len(data) - 1))
    with pytest.raises(Refusal, match="30 MB"):
        pictures.open_picture(data + b"\0" * (pictures.MAX_BYTES - len(data)))


def test_a_small_file_that_claims_a_huge_picture_is_refused_by_its_header() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(Refusal):
        pictures.open_picture(bomb)


BEGINNINGS = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"RIFF"]


@given(st.sampled_from(BEGINNINGS), st.binary(max_size=200))
def test_any_other_bytes_are_refused(beginning: bytes, rest: bytes) -> None:
    with pytest.raises(Refusal):
        pictures.open_picture(beginning + rest)
