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
