"""What the vendor takes as a first or last frame: the format, size and shape of a picture, judged from its bytes."""

import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Literal, get_args

PictureFormat = Literal["jpeg", "png", "webp", "bmp", "tiff", "gif"]
FORMATS: tuple[PictureFormat, ...] = get_args(PictureFormat)

MAX_BYTES = 30_000_000
"""A picture stays below this. The documents say "less than 30 MB" of decoded bytes; this is the smaller reading."""

MIN_SIDE, MAX_SIDE = 300, 6000
"""Both sides lie strictly between these, in pixels."""


@dataclass(frozen=True)
class Picture:
    """A picture that the vendor takes: its format by content, and its stored size in pixels."""

    format: PictureFormat
    width: int
    height: int


class PictureError(ValueError):
    """The bytes are no picture that the vendor takes; the text is a whole clause that names the limit."""


def inspect_picture(data: bytes) -> Picture:
    """Hold a picture to the vendor's limits (`content[].image_url` in its parameter page).

    The size is read from the header before a pixel is touched. After that the file is read to its end, so that a
    cut or damaged one is found here: of a PNG the checksums, of a JPEG an eighth of the size, of the others, whose
    codecs offer no shortcut, all of the first frame (at most 6000 by 6000).

    Raises PictureError.
    """
    if len(data) >= MAX_BYTES:
        raise PictureError(f"the picture has {len(data):,} bytes and must have less than 30 MB ({MAX_BYTES:,})")
    # Costs 15 ms, which only a data URI should pay.
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        # Pillow warns about metadata that the vendor doesn't read either.
        warnings.simplefilter("ignore")
        try:
            with Image.open(BytesIO(data), formats=[name.upper() for name in FORMATS]) as image:
                picture = _picture(image.format or "", *image.size)
                if picture.format == "png":
                    image.verify()
                else:
                    image.draft(None, (max(1, picture.width // 8), max(1, picture.height // 8)))
                    image.load()
        except PictureError:
            raise
        except Image.DecompressionBombError:
            raise PictureError(f"the picture's sides must be under {MAX_SIDE} px") from None
        except UnidentifiedImageError:
            raise PictureError(f"the bytes must be a picture in one of the formats {', '.join(FORMATS)}") from None
        except Exception as error:  # Pillow's readers raise a dozen types on damaged bytes.
            raise PictureError(f"the picture must be whole, and reading it failed: {type(error).__name__}") from None
    return picture


def _picture(pillow_format: str, width: int, height: int) -> Picture:
    # A phone's JPEG with a second picture behind the first is an MPO to Pillow.
    name = "jpeg" if pillow_format == "MPO" else pillow_format.lower()
    found = next(known for known in FORMATS if known == name)
    if not (MIN_SIDE < width < MAX_SIDE and MIN_SIDE < height < MAX_SIDE):
        raise PictureError(
            f"the picture is {width} x {height} px; both sides must be over {MIN_SIDE} and under {MAX_SIDE}"
        )
    if not (2 * height < 5 * width and 2 * width < 5 * height):
        raise PictureError(f"the picture is {width} x {height} px; width / height must be over 0.4 and under 2.5")
    return Picture(found, width, height)
