"""Mending a picture that is sound but for its size, or lies on its side: turned upright, scaled down, encoded anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from airflow_provider_spark.api.picture import MAX_BYTES, MAX_SIDE, PictureError, open_picture, orientation_of

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 120_000_000
"""What is decoded at most: 480 MB of memory where it is a PNG with transparency, a quarter or less for a JPEG."""

JPEG_QUALITY = 95

# Of other modes the colours are turned into another model, of which the profile knows nothing.
_KEEPS_PROFILE = frozenset({"L", "P", "RGB", "RGBA"})


@dataclass(frozen=True)
class Fitted:
    """A picture within the limits on size."""

    data: bytes = field(repr=False)
    told: str
    """What was done to it, as the beginning of a sentence."""


def fitted(data: bytes) -> Fitted:
    """Turn a picture as its EXIF data says, scale it down to the vendor's limits on size, and encode it anew.

    Without transparency it becomes a JPEG, with it a PNG; the colour profile stays. All other metadata goes, a
    phone's position too. Of several pictures in the file the first is taken.

    Raises PictureError where it is too large even for that, or can't be read to its end.
    """
    from PIL import Image, ImageOps

    with open_picture(data) as opened:
        stored = opened.size
        if stored[0] * stored[1] > MAX_PIXELS:
            raise PictureError(
                f"the picture is {stored[0]} x {stored[1]} px, and from {MAX_PIXELS:,} pixels on it isn't scaled "
                "down here"
            )
        if opened.mode == "F":
            raise PictureError("the picture's pixels are floating-point numbers; save it with 8 bits a colour")
        turned = orientation_of(opened) != 1
        # A JPEG's decoder can halve the size on the way, which saves three quarters of the memory.
        factor = min(1.0, (MAX_SIDE - 1) / max(stored))
        opened.draft(None, (int(stored[0] * factor), int(stored[1] * factor)))
        ImageOps.exif_transpose(opened, in_place=True)
        profile = opened.info.get("icc_profile") if opened.mode in _KEEPS_PROFILE else None
        image = _plain(opened)
        image.thumbnail((MAX_SIDE - 1, MAX_SIDE - 1), Image.Resampling.LANCZOS)
        encoded = _encoded(image, profile)
        while len(encoded) >= MAX_BYTES:
            # Bytes go with the pixels; a little less, so that few rounds are needed.
            factor = 0.95 * (MAX_BYTES / len(encoded)) ** 0.5
            image.thumbnail((image.width * factor, image.height * factor), Image.Resampling.LANCZOS)
            encoded = _encoded(image, profile)
    done = ["turned upright"] if turned else []
    if image.width * image.height < stored[0] * stored[1]:
        done.append(f"scaled down from {stored[0]} x {stored[1]} px")
    return Fitted(encoded, f"{' and '.join(done) or 'encoded anew'} by fit_frames=True")


def _plain(image: Image) -> Image:
    """Return the picture with 8 bits a colour, in a mode that JPEG or PNG knows."""
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
        return image.convert("I").point(lambda value: value / 256).convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _encoded(image: Image, profile: bytes | None) -> bytes:
    file = BytesIO()
    options: dict[str, Any] = {"icc_profile": profile} if profile else {}
    if image.mode == "RGBA":
        image.save(file, "PNG", **options)
    else:
        image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0, **options)
    return file.getvalue()
