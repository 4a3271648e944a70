"""Facts of the model `spark_dance_v1_0_pro`: pixels, frame rate, price and typical render time."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

NAME: Final = "spark_dance_v1_0_pro"
FPS: Final = 24

PIXELS: Final[dict[str, dict[str, tuple[int, int]]]] = {
    "480p": {
        "16:9": (864, 480),
        "4:3": (736, 544),
        "1:1": (640, 640),
        "3:4": (544, 736),
        "9:16": (480, 864),
        "21:9": (960, 416),
    },
    "720p": {
        "16:9": (1248, 704),
        "4:3": (1120, 832),
        "1:1": (960, 960),
        "3:4": (832, 1120),
        "9:16": (704, 1248),
        "21:9": (1504, 640),
    },
    "1080p": {
        "16:9": (1920, 1088),
        "4:3": (1664, 1248),
        "1:1": (1440, 1440),
        "3:4": (1248, 1664),
        "9:16": (1088, 1920),
        "21:9": (2176, 928),
    },
}
"""Width and height in pixels, by resolution and ratio."""

RESOLUTIONS: Final = tuple(PIXELS)
RATIOS: Final = tuple(PIXELS["480p"])

_USD_PER_MILLION_TOKENS: Final = {"default": Decimal("2.50"), "flex": Decimal("1.25")}
_SECONDS_PER_VIDEO_SECOND: Final = {"480p": 7.0, "720p": 8.5, "1080p": 11.5}
_FLEX_TAKES: Final = 4
"""The vendor says that flex "can take hours"; a stand-in on a desk only makes it plainly slower."""


def nearest_ratio(width: int, height: int) -> str:
    """Choose the documented ratio nearest to a picture's, by factor rather than by difference.

    So a picture and the same one turned by 90 degrees get ratios that are each other's turn, too.
    """

    def distance(ratio: str) -> float:
        across, down = map(int, ratio.split(":"))
        return abs(math.log(width / height * down / across))

    return min(RATIOS, key=distance)


def cost_usd(width: int, height: int, frames: int, tier: str) -> Decimal:
    """Price a finished generation in USD, to the millionth: the token formula at list price."""
    tokens = Decimal(width * height * frames) / 1024
    usd = tokens * _USD_PER_MILLION_TOKENS[tier] / 1_000_000
    return usd.quantize(Decimal("0.000001"), ROUND_HALF_UP)


def typical_seconds(resolution: str, frames: int, tier: str) -> float:
    """Estimate how long the vendor renders, in seconds: in proportion to the length of the video."""
    seconds = _SECONDS_PER_VIDEO_SECOND[resolution] * frames / FPS
    return seconds * _FLEX_TAKES if tier == "flex" else seconds
