"""What the vendor takes as a first or last frame: the format, size and shape of a picture, judged from its bytes."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal, get_args

from airflow_provider_spark.api.wholeness import is_whole

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

PictureFormat = Literal["jpeg", "png", "webp", "bmp", "tiff", "gif"]
FORMATS: tuple[PictureFormat, ...] = get_args(PictureFormat)

MAX_BYTES = 30_000_000
"""A picture stays below this. The documents say "less than 30 MB" of decoded bytes; this is the smaller reading."""

MIN_SIDE, MAX_SIDE = 300, 6000
"""Both sides lie strictly between these, in pixels."""

_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Picture:
    """A picture that the vendor takes: its format by content, and its stored size in pixels."""

    format: PictureFormat
    width: int
    height: int
    orientation: int = 1
    """How it is meant to be turned for showing, from 1 (not at all) to 8, by its EXIF data."""
    is_animated: bool = False
    """More than one picture is in the file."""


class PictureError(ValueError):
    """The bytes are no picture that the vendor takes; the text is a whole clause that names the limit."""


class PictureTooLargeError(PictureError):
    """The picture has too many pixels or bytes, and nothing else is known to be wrong with it."""


def inspect_picture(data: bytes) -> Picture:
    """Hold a picture to the vendor's limits (`content[].image_url` in its parameter page).

    The size is read from the header, before anything is made of the pixels. After that the file's structure is
    followed to its end, so that a cut one is found here; the pixels are never decoded, but in a compressed BMP and a
    TIFF of the early days.

    Raises PictureError, where it is only too large PictureTooLargeError.
    """
    if len(data) >= MAX_BYTES:
        raise PictureTooLargeError(f"the picture has {len(data):,} bytes and must have less than 30 MB ({MAX_BYTES:,})")
    with open_picture(data) as image:
        # Before the end is looked for, which in the one or other format takes the header's word for the size.
        picture = _picture(image)
        if not is_whole(data, image):
            raise PictureError("the picture must be whole, and its file ends too early")
    return picture


@contextmanager
def open_picture(data: bytes) -> Iterator["ImageFile"]:
    """Open a picture of one of the vendor's formats with Pillow, which reads its header.

    Raises PictureError for what is none, and in place of whatever Pillow raises within the block, but MemoryError.
    """
    # Costs 15 ms, which only one who has a picture's bytes should pay.
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        # Pillow warns about metadata that the vendor doesn't read either.
        warnings.simplefilter("ignore")
        try:
            with Image.open(BytesIO(data), formats=[name.upper() for name in FORMATS]) as image:
                yield image
        except (PictureError, MemoryError):
            raise
        except Image.DecompressionBombError:
            raise PictureError(f"the picture's sides must be under {MAX_SIDE} px, and are far beyond") from None
        except UnidentifiedImageError:
            raise PictureError(f"the bytes must be a picture in one of the formats {', '.join(FORMATS)}") from None
        except Exception as error:  # Pillow's readers raise a dozen types on damaged bytes.
            raise PictureError(f"the picture must be whole, and reading it failed: {type(error).__name__}") from None


def orientation_of(image: "ImageFile") -> int:
    """How a picture is meant to be turned for showing, from 1 to 8; 1 where it doesn't say."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode all of it to look behind the pixels, where hardly any writer puts this.
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken metadata turns nothing
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _picture(image: "ImageFile") -> Picture:
    width, height = image.size
    # A phone's JPEG with a second picture behind the first is an MPO to Pillow.
    name = "jpeg" if image.format == "MPO" else (image.format or "").lower()
    found = next(known for known in FORMATS if known == name)
    outside = f"the picture is {width} x {height} px; both sides must be over {MIN_SIDE} and under {MAX_SIDE}"
    if min(width, height) <= MIN_SIDE:
        raise PictureError(outside)
    if not (2 * height < 5 * width and 2 * width < 5 * height):
        raise PictureError(f"the picture is {width} x {height} px; width / height must be over 0.4 and under 2.5")
    if max(width, height) >= MAX_SIDE:
        raise PictureTooLargeError(outside)
    is_animated = image.format != "MPO" and bool(getattr(image, "is_animated", False))
    return Picture(found, width, height, orientation_of(image), is_animated)
