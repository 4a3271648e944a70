"""Text on a film: the prompt, wrapped and legible in Chinese and English, and the watermark."""

from __future__ import annotations

import functools
import unicodedata
from importlib import resources
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from collections.abc import Callable

_FONT_PACKAGE: Final = "noto_cjk_sans_otc"
_SIMPLIFIED_CHINESE: Final = 2
"""Place of the face with Simplified Chinese forms in the Noto Sans CJK collection."""
_SYSTEM_FONTS: Final = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "wqy-microhei.ttc",
    "PingFang.ttc",
    "msyh.ttc",
    "DejaVuSans.ttf",
)
_MARGIN: Final = 0.06
_SIZES: Final = (0.064, 0.054, 0.045, 0.037, 0.031)
"""Font sizes to try for the prompt, as parts of the shorter side."""
_NEVER_FIRST: Final = ("Pe", "Pf", "Po")
"""Unicode categories of what never begins a line: closing brackets and quotes, commas, full stops."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def caption(text: str, label: str, width: int, height: int) -> Image.Image:
    """Draw the prompt in the lower part of a clear RGBA picture, on a shadow that lets it be read on any ground."""
    shorter = min(width, height)
    inner = round(width * (1 - 2 * _MARGIN))
    font, lines, step = _fitted(text, inner, round(height * 0.42), shorter)
    small = _font(max(11, round(shorter * 0.024)))

    ink = Image.new("L", (width, height))
    draw = ImageDraw.Draw(ink)
    left = round(width * _MARGIN)
    top = height - round(shorter * 0.11) - step * len(lines)
    draw.text((left, top - round(shorter * 0.045)), label, font=small, fill=185)
    for number, line in enumerate(lines):
        draw.text((left, top + number * step), line, font=font, fill=255)

    fade_from = top - round(shorter * 0.2)
    ramp = Image.linear_gradient("L").resize((width, max(1, height - fade_from)))
    shade = Image.new("L", (width, height))
    shade.paste(ramp.point(lambda value: value * 150 // 255), (0, fade_from))
    glow = ink.filter(ImageFilter.GaussianBlur(shorter / 110)).point(lambda value: min(200, value * 2))
    shadow = Image.new("RGBA", (width, height), (6, 8, 18, 0))
    shadow.putalpha(ImageChops.screen(shade, glow))
    letters = Image.new("RGBA", (width, height), (255, 255, 255, 0))
    letters.putalpha(ink)
    return Image.alpha_composite(shadow, letters)


def watermark(width: int, height: int) -> Image.Image:
    """Draw the mark "AI generated" in the lower right corner of a clear RGBA picture."""
    shorter = min(width, height)
    font = _font(max(12, round(shorter * 0.032)))
    ink = Image.new("L", (width, height))
    corner = (width - round(shorter * 0.035), height - round(shorter * 0.03))
    ImageDraw.Draw(ink).text(corner, "AI generated", font=font, fill=200, anchor="rs")
    mark = Image.new("RGBA", (width, height), (255, 255, 255, 0))
    mark.putalpha(ink)
    return mark


def wrap(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Break a text into lines no wider than `width`: Latin between words, Chinese between any two characters.

    A word wider than a line is broken within.
    """
    lines: list[str] = []
    line = ""
    for piece in _pieces(text):
        if measure((line + piece).rstrip()) <= width or not line:
            line += piece
        else:
            lines.append(line.rstrip())
            line = piece.lstrip()
        while len(line) > 1 and measure(line.rstrip()) > width:
            fitting = next((n for n in range(len(line) - 1, 1, -1) if measure(line[:n]) <= width), 1)
            lines.append(line[:fitting])
            line = line[fitting:]
    if line.strip():
        lines.append(line.rstrip())
    return lines


def _pieces(text: str) -> list[str]:
    """Cut a text where a line may end, each piece with the blanks after it."""
    pieces: list[str] = []
    for character in _plain(text):
        wide = unicodedata.east_asian_width(character) in "WF"
        if not pieces or (pieces[-1].endswith(" ") and character != " "):
            pieces.append(character)
        elif unicodedata.category(character) in _NEVER_FIRST or character == " ":
            pieces[-1] += character
        elif wide or unicodedata.east_asian_width(pieces[-1][-1]) in "WF":
            pieces.append(character)
        else:
            pieces[-1] += character
    return pieces


def _plain(text: str) -> str:
    """Let each run of white space and control characters be one blank."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _fitted(text: str, width: int, height: int, shorter: int) -> tuple[Font, list[str], int]:
    """Choose the largest font in which the text fits; in the smallest, what doesn't fit is cut off with an ellipsis.

    Returns the font, the lines, and the pixels from one line to the next.
    """
    text = text[:2000]
    for part in _SIZES:
        size = max(14, round(shorter * part))
        font, step = _font(size), round(size * 1.38)
        lines = wrap(text, width, font.getlength)
        # Large type is for a few words only.
        if len(lines) <= (3 if part == _SIZES[0] else height // step):
            return font, _balanced(text, lines, width, font), step
    room = max(1, height // step)
    if len(lines) > room:
        lines = [*lines[: room - 1], lines[room - 1][:-1] + "…"]
    return font, lines, step


def _balanced(text: str, lines: list[str], width: int, font: Font) -> list[str]:
    """Break the text anew into as many lines of about the same length, so that no single word is left for the last."""
    best = lines
    for share in range(96, 50, -4):
        closer = wrap(text, width * share / 100, font.getlength)
        if len(closer) > len(lines):
            break
        best = closer
    return best


@functools.cache
def _font(size: int) -> Font:
    size = max(size, 8)
    if find_spec(_FONT_PACKAGE) is not None:
        for entry in resources.files(_FONT_PACKAGE).iterdir():
            if entry.name.endswith((".ttc", ".otf", ".ttf")):
                with resources.as_file(entry) as path:
                    return ImageFont.truetype(path, size, index=_SIMPLIFIED_CHINESE if path.suffix == ".ttc" else 0)
    for name in _SYSTEM_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:  # not on this machine
            continue
    return ImageFont.load_default(size)
