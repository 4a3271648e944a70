"""Input pictures: fetched or decoded, really opened, and held to the vendor's image limits."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from dataclasses import dataclass
from typing import Final

import httpx
from PIL import Image

from airflow_provider_spark.emulator.judge import INVALID_IMAGE_FORMAT, INVALID_IMAGE_URL, Refusal

MAX_BYTES: Final = 30_000_000
"""The page's "less than 30 MB", of the decoded bytes: this many are one too many."""

_FORMATS: Final = {
    "JPEG": "jpeg",
    "MPO": "jpeg",  # what Pillow calls a JPEG with a second picture inside, as phones make them
    "PNG": "png",
    "WEBP": "webp",
    "BMP": "bmp",
    "TIFF": "tiff",
    "GIF": "gif",
}
_READERS: Final = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_PREFIX: Final = re.compile(r"data:image/(jpeg|png|webp|bmp|tiff|gif);base64,")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_FETCH_SECONDS: Final = 10


@dataclass(frozen=True)
class Picture:
    """A picture that keeps the limits: its bytes as they came, and its sides in pixels."""

    data: bytes
    width: int
    height: int


def open_picture(data: bytes, declared: str | None = None) -> Picture:
    """Open a picture to its last pixel. `declared` is the format that its data URI names.

    Raises:
        Refusal: not one of the six formats, not the declared one, broken, or outside the limits of the page.
    """
    if len(data) >= MAX_BYTES:
        raise Refusal(INVALID_IMAGE_FORMAT, "an image must be smaller than 30 MB")
    try:
        with Image.open(io.BytesIO(data), formats=_READERS) as image:
            actual = _FORMATS[image.format or ""]
            width, height = image.size
            # Before the pixels: a small file can claim a picture that fills the memory.
            _check_sides(width, height)
            image.load()
        if actual == "png":
            # Loading looks at the pixels, this at the checksums, and at the end of the file.
            with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                image.verify()
    except Refusal:
        raise
    except Exception as error:  # Pillow's readers raise whatever a broken file makes them stumble over
        raise Refusal(INVALID_IMAGE_FORMAT, "the image can't be read as jpeg, png, webp, bmp, tiff or gif") from error
    if declared is not None and declared != actual:
        raise Refusal(INVALID_IMAGE_FORMAT, f"the data URI says {declared}, but its image is {actual}")
    return Picture(data, width, height)


def open_data_uri(uri: str) -> Picture:
    """Open the picture in a data URI `data:image/<format>;base64,<data>`, spelled exactly so.

    Raises:
        Refusal: another spelling, or a picture that `open_picture` refuses.
    """
    prefix = _PREFIX.match(uri)
    if prefix is None:
        raise Refusal(
            INVALID_IMAGE_URL,
            "a data URI must start with data:image/<format>;base64, and the format must be jpeg, png, webp, bmp, tiff "
            "or gif in lower case",
        )
    payload = uri[prefix.end() :]
    if len(payload) % 4 or not _BASE64.fullmatch(payload):
        raise Refusal(INVALID_IMAGE_URL, "the data URI does not hold base64")
    return open_picture(base64.b64decode(payload), prefix[1])


async def fetch(client: httpx.AsyncClient, url: str) -> bytes:
    """Read the bytes behind a picture's URL, within ten seconds and the size limit.

    Raises:
        Refusal: it can't be had.
    """
    try:
        return await asyncio.wait_for(_read(client, url), _FETCH_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise Refusal(INVALID_IMAGE_FORMAT, "the image URL can't be read") from error


async def _read(client: httpx.AsyncClient, url: str) -> bytes:
    data = bytearray()
    async with client.stream("GET", url, follow_redirects=True) as reply:
        reply.raise_for_status()
        async for chunk in reply.aiter_bytes():
            data += chunk
            if len(data) >= MAX_BYTES:
                raise Refusal(INVALID_IMAGE_FORMAT, "an image must be smaller than 30 MB")
    return bytes(data)


def _check_sides(width: int, height: int) -> None:
    """Hold to the page's open intervals: sides in (300, 6000) pixels, width / height in (0.4, 2.5)."""
    if not (300 < width < 6000 and 300 < height < 6000):
        raise Refusal(INVALID_IMAGE_FORMAT, "the sides of an image must be between 300 and 6000 pixels")
    if not (5 * width > 2 * height and 2 * width < 5 * height):
        raise Refusal(INVALID_IMAGE_FORMAT, "the ratio of an image must be between 0.4 and 2.5")
