"""Pictures for tests, made in memory."""

import base64
from io import BytesIO
from typing import Any

from PIL import Image


def picture(kind: str = "png", width: int = 640, height: int = 480, **options: Any) -> bytes:
    file = BytesIO()
    Image.effect_noise((width, height), 40).convert("RGB").save(file, kind.upper(), **options)
    return file.getvalue()


def flat_picture(kind: str, width: int, height: int) -> bytes:
    file = BytesIO()
    Image.new("L", (width, height)).save(file, kind.upper())
    return file.getvalue()


def data_uri(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def turned_picture(kind: str = "jpeg", width: int = 640, height: int = 480, orientation: int = 6) -> bytes:
    """A picture, red on the left and blue on the right as it is stored, that is meant to be shown turned."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    image.save(file, kind.upper(), exif=exif)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


def decoded(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])
