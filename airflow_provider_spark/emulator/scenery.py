"""What a film shows: a landscape made up from the seed, or the input pictures, in motion."""

from __future__ import annotations

import functools
import math
import random
from typing import Final, NamedTuple, Protocol

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

Colour = tuple[int, int, int]


class Scene(Protocol):
    """A picture for each moment of a film, from 0 at its first frame to 1 at its last."""

    def at(self, moment: float) -> Image.Image:
        """Draw the picture, which belongs to the caller."""
        ...


class _Palette(NamedTuple):
    zenith: Colour
    middle: Colour
    horizon: Colour
    sun: Colour
    far: Colour
    near: Colour
    stars: bool


_PALETTES: Final = (
    _Palette((36, 42, 92), (150, 82, 128), (255, 178, 122), (255, 236, 200), (166, 104, 138), (24, 20, 46), True),
    _Palette((28, 92, 140), (122, 178, 198), (255, 226, 186), (255, 250, 232), (126, 164, 178), (14, 44, 62), False),
    _Palette((10, 16, 44), (24, 62, 96), (86, 168, 164), (226, 255, 242), (44, 98, 118), (6, 16, 34), True),
    _Palette((92, 52, 100), (214, 106, 92), (255, 206, 120), (255, 246, 214), (190, 104, 92), (52, 20, 44), False),
    _Palette((62, 66, 126), (158, 138, 190), (255, 208, 214), (255, 244, 240), (146, 130, 178), (34, 32, 70), True),
)
_LAYERS: Final = 6
_STEPS: Final = 4
"""Positions between two pixels that a ridge can take, so that a slow drift doesn't stutter."""


class Landscape:
    """Ridges in the haze under a rising sun, with lights that float; the camera drifts unless it is fixed."""

    def __init__(self, width: int, height: int, chance: random.Random, *, camera_fixed: bool) -> None:
        self._size = width, height
        palette = chance.choice(_PALETTES)
        self._drift = 0.0 if camera_fixed else width * 0.16 * chance.choice((-1, 1))
        self._sun_at = round(width * chance.uniform(0.52, 0.8)), round(height * 0.44)
        self._sun = _disc(round(min(width, height) * 0.15))
        self._sky = _sky(width, height, palette, self._sun_at, chance)
        # From our feet to the horizon, as each ridge needs painting only down to where the next one hides it.
        self._ridges: list[_Ridge] = []
        hidden_from = height
        for number in reversed(range(_LAYERS)):
            ridge = _Ridge(width, height, number / (_LAYERS - 1), palette, abs(self._drift), hidden_from, chance)
            self._ridges.insert(0, ridge)
            hidden_from = ridge.valley
        self._lights = _Lights(width, height, palette.sun, chance)

    def at(self, moment: float) -> Image.Image:
        """Draw the landscape."""
        height = self._size[1]
        image = self._sky.copy()
        x, y = self._sun_at
        image.paste((255, 253, 246), (x - self._sun.width // 2, round(y + height * (0.06 - 0.16 * moment))), self._sun)
        for ridge in self._ridges:
            ridge.draw(image, self._drift * moment)
        self._lights.draw(image, moment, 1.0)
        return image


class Pictures:
    """The first frame, slowly approached unless the camera is fixed, and dissolving into the last frame if any.

    The film begins with the one exactly and ends with the other exactly, each cropped to the film around its centre.
    """

    def __init__(
        self,
        first: Image.Image,
        last: Image.Image | None,
        width: int,
        height: int,
        chance: random.Random,
        *,
        camera_fixed: bool,
    ) -> None:
        self._size = width, height
        self._first = ImageOps.fit(first, self._size, Image.Resampling.LANCZOS)
        self._last = ImageOps.fit(last, self._size, Image.Resampling.LANCZOS) if last else None
        self._zoom = 0.0 if camera_fixed else 0.1
        self._focus = chance.uniform(0.3, 0.7), chance.uniform(0.3, 0.7)
        self._lights = _Lights(width, height, (255, 250, 235), chance)

    def at(self, moment: float) -> Image.Image:
        """Draw the pictures."""
        if self._last is None:
            image = self._closer(self._first, moment)
        else:
            share = _eased((moment - 0.2) / 0.6)
            if share <= 0:
                image = self._closer(self._first, moment)
            elif share >= 1:
                image = self._closer(self._last, 1 - moment)
            else:
                image = Image.blend(self._closer(self._first, moment), self._closer(self._last, 1 - moment), share)
        self._lights.draw(image, moment, math.sin(math.pi * moment))
        return image

    def _closer(self, image: Image.Image, way: float) -> Image.Image:
        cut = self._zoom * _eased(way)
        if cut <= 0:
            return image.copy()
        width, height = self._size
        left, top = width * cut * self._focus[0], height * cut * self._focus[1]
        box = (left, top, left + width * (1 - cut), top + height * (1 - cut))
        return image.resize(self._size, Image.Resampling.BILINEAR, box)


class _Ridge:
    """One line of hills. `depth` goes from 0, at the horizon, to 1, before our feet.

    Below `hidden_from`, in pixels from the top, nothing of it shows; `valley` is that line for the ridge behind.
    """

    def __init__(
        self,
        width: int,
        height: int,
        depth: float,
        palette: _Palette,
        drift: float,
        hidden_from: int,
        chance: random.Random,
    ) -> None:
        self._speed = 0.12 + 0.88 * depth**1.6
        self._width = width
        # One pixel beyond the drift on each side, for the positions between two pixels.
        self._reach = math.ceil(drift * self._speed) + 2
        crest = height * (0.52 + 0.33 * depth**1.15)
        swing = height * (0.055 + 0.045 * depth)
        waves = [
            (
                chance.uniform(0.7, 1.3) * swing / order**0.9,
                2 * math.pi * order * chance.uniform(0.55, 0.9) / height,
                chance.uniform(0, 2 * math.pi),
            )
            for order in (1, 2, 4, 9, 21)
        ]
        wide = width + 2 * self._reach
        line = [
            (x, crest - sum(high * math.sin(x * often + phase) for high, often, phase in waves))
            for x in range(0, wide + 3, 2)
        ]
        self._top = max(0, math.floor(min(y for _, y in line)) - 1)
        self.valley = min(height, math.ceil(max(y for _, y in line)) + 1)
        tall = max(hidden_from, self.valley) - self._top
        # Drawn at twice the size and shrunk: the edge of a polygon has no soft pixels of its own.
        large = Image.new("L", (wide * 2, tall * 2))
        outline = [(2 * x, 2 * (y - self._top)) for x, y in line]
        ImageDraw.Draw(large).polygon([*outline, (wide * 2 + 9, tall * 2), (0, tall * 2)], fill=255)
        mask = large.resize((wide, tall), Image.Resampling.BOX)
        beside = ImageChops.offset(mask, -1, 0)
        self._masks = [mask, *(Image.blend(mask, beside, step / _STEPS) for step in range(1, _STEPS if drift else 1))]
        colour = _mixed(palette.far, palette.near, depth**0.8)
        mist = _mixed(colour, palette.horizon, 0.45 * (1 - depth) ** 0.7)
        self._ground = _gradient(width, tall, (colour, colour, mist))

    def draw(self, image: Image.Image, drift: float) -> None:
        """Draw the ridge, moved by its share of the camera's drift in pixels."""
        place = self._reach + drift * self._speed
        whole = math.floor(place)
        mask = self._masks[int((place - whole) * _STEPS)]
        cut = mask.crop((whole, 0, whole + self._width, mask.height))
        image.paste(self._ground, (0, self._top), cut)


class _Lights:
    """Small soft lights that float up and flicker."""

    def __init__(self, width: int, height: int, colour: Colour, chance: random.Random) -> None:
        self._size = width, height
        self._colour = colour
        shorter = min(width, height)
        self._sprites = [_glow(max(5, round(shorter * part)), 2.0) for part in (0.012, 0.02, 0.034)]
        self._floats = [
            (
                chance.random(),
                chance.random(),
                chance.uniform(0.04, 0.14),
                chance.uniform(0, 2 * math.pi),
                chance.choice(self._sprites),
            )
            for _ in range(26)
        ]

    def draw(self, image: Image.Image, moment: float, strength: float) -> None:
        """Draw the lights, as bright as `strength` from 0 to 1 says."""
        width, height = self._size
        for x, y, speed, phase, sprite in self._floats:
            bright = strength * (0.35 + 0.3 * math.sin(phase + 9 * moment))
            if bright <= 0:
                continue
            left = round(width * (x + 0.02 * math.sin(phase + 4 * moment)) - sprite.width / 2)
            top = round(height * (1 - (y + speed * moment) % 1 * 0.75) - sprite.height / 2)
            mask = sprite.point([int(value * bright) for value in range(256)])
            image.paste(self._colour, (left, top, left + sprite.width, top + sprite.height), mask)


def _sky(width: int, height: int, palette: _Palette, sun: tuple[int, int], chance: random.Random) -> Image.Image:
    sky = _gradient(width, height, (palette.zenith, palette.middle, palette.horizon, palette.horizon))
    glow = _glow(round(min(width, height) * 1.6), 2.6)
    sky.paste(palette.sun, (sun[0] - glow.width // 2, sun[1] - glow.height // 2), glow)
    if palette.stars:
        draw = ImageDraw.Draw(sky)
        for _ in range(width * height // 9000):
            x, y = chance.randrange(width), int(height * 0.42 * chance.random() ** 1.4)
            under = sky.getpixel((x, y))
            assert isinstance(under, tuple)  # noqa: S101 - as it is RGB
            draw.point((x, y), _mixed((under[0], under[1], under[2]), (255, 255, 255), chance.uniform(0.1, 0.6)))
    return sky


def _gradient(width: int, height: int, colours: tuple[Colour, ...]) -> Image.Image:
    """Let colours run into each other from top to bottom, with a grain that hides the steps between them."""
    column = Image.new("RGB", (1, len(colours)))
    column.putdata(colours)
    smooth = column.resize((1, height), Image.Resampling.BICUBIC).resize((width, height))
    return ImageChops.add(smooth, _grain().crop((0, 0, width, height)), offset=-128)


@functools.cache
def _grain() -> Image.Image:
    """Scatter grey around 128, one tile of it repeated over more than any film's size."""
    side = 256
    chance = random.Random("grain")
    shades = bytes(124 + value % 5 + value // 5 % 5 for value in range(256))
    tile = Image.frombytes("L", (side, side), chance.randbytes(side * side).translate(shades)).convert("RGB")
    grain = Image.new("RGB", (side * 10, side * 8))
    for x in range(0, grain.width, side):
        for y in range(0, grain.height, side):
            grain.paste(tile, (x, y))
    return grain


def _glow(size: int, power: float) -> Image.Image:
    """Draw a soft round light, as a mask."""
    fading = Image.radial_gradient("L").resize((size, size), Image.Resampling.BICUBIC)
    # The gradient reaches 255 in the corners; the light has to end at the sides.
    return fading.point([int(205 * max(0.0, 1 - value / 180) ** power) for value in range(256)])


def _disc(size: int) -> Image.Image:
    large = Image.new("L", (size * 4, size * 4))
    ImageDraw.Draw(large).ellipse((8, 8, size * 4 - 8, size * 4 - 8), fill=240)
    return large.resize((size, size), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(size / 90))


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _eased(moment: float) -> float:
    """Start and stop softly."""
    moment = min(1.0, max(0.0, moment))
    return moment * moment * (3 - 2 * moment)
