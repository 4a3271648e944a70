"""Whether a picture's file goes on to its end, told from its structure: no pixel is decoded, whatever it claims."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# A marker: neither a stuffed 0xFF of the pixels nor one of the restarts between them.
# It begins with a plain byte, so that the search for it runs as fast as the memory.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_JPEG_END = 0xD9
_JPEG_ALONE = (0x01, 0xD8)
_GIF_EXTENSION, _GIF_PICTURE, _GIF_END = 0x21, 0x2C, 0x3B
_TIFF_PARTS = ((273, 279), (324, 325))
"""Tags that say where the strips or the tiles begin, and how long they are."""


def is_whole(data: bytes, image: "ImageFile") -> bool:
    """Whether nothing is missing at the end of the picture that Pillow has opened, whose file is `data`.

    Of a PNG the checksums are read too. What stands in the pixels of the others is for the vendor to judge, who bills
    nothing for a refusal. Raises what Pillow raises on a broken file.
    """
    kind = image.format
    if kind == "PNG":
        image.verify()
        return True
    if kind in ("JPEG", "MPO"):
        return _jpeg(data)
    if kind == "GIF":
        return _gif(data)
    if kind == "WEBP":
        return 8 + int.from_bytes(data[4:8], "little") <= len(data)
    known = _bmp(data, image) if kind == "BMP" else _tiff(data, image)
    if known is None:  # a kind that is rarely met and doesn't tell its length
        image.load()
    return known is not False


def _jpeg(data: bytes) -> bool:
    at = 2
    while found := _JPEG_MARKER.search(data, at):
        at, marker = found.end(), found[1][0]
        if marker == _JPEG_END:
            return True
        if marker not in _JPEG_ALONE:
            at += int.from_bytes(data[at : at + 2], "big")
    return False


def _gif(data: bytes) -> bool:
    at = 13 + _palette(data[10])
    pictures = 0
    while at < len(data) and data[at] != _GIF_END:
        if data[at] == _GIF_EXTENSION:
            at = _past_blocks(data, at + 2)
        elif data[at] == _GIF_PICTURE and at + 9 < len(data):
            pictures += 1
            at = _past_blocks(data, at + 11 + _palette(data[at + 9]))
        else:
            at += 1
    # Some writers leave the end mark out, but none stops within a block.
    return pictures > 0 and at <= len(data)


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _past_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _bmp(data: bytes, image: "ImageFile") -> bool | None:
    # Pillow has read from the header where the rows begin and how long one is.
    decoder, _, offset, args = image.tile[0]
    if decoder != "raw" or not isinstance(args, tuple):
        return None
    return offset + int(args[1]) * image.height <= len(data)


def _tiff(data: bytes, image: "ImageFile") -> bool | None:
    tags = getattr(image, "tag_v2", {})
    for where, how_long in _TIFF_PARTS:
        offsets, lengths = _numbers(tags.get(where)), _numbers(tags.get(how_long))
        if offsets and len(offsets) == len(lengths):
            return all(offset + length <= len(data) for offset, length in zip(offsets, lengths, strict=True))
    return None


def _numbers(value: object) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,)
    return value if isinstance(value, tuple) and all(isinstance(item, int) for item in value) else ()
