"""What an order will cost, estimated before it is made; what was billed is the vendor's `usage.cost`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from airflow_provider_spark.api.request import FPS, RATIOS, Ratio, Resolution, ServiceTier, VideoRequest

PIXELS: Mapping[Resolution, Mapping[Ratio, tuple[int, int]]] = MappingProxyType(
    {
        "480p": MappingProxyType(
            {
                "16:9": (864, 480),
                "4:3": (736, 544),
                "1:1": (640, 640),
                "3:4": (544, 736),
                "9:16": (480, 864),
                "21:9": (960, 416),
            }
        ),
        "720p": MappingProxyType(
            {
                "16:9": (1248, 704),
                "4:3": (1120, 832),
                "1:1": (960, 960),
                "3:4": (832, 1120),
                "9:16": (704, 1248),
                "21:9": (1504, 640),
            }
        ),
        "1080p": MappingProxyType(
            {
                "16:9": (1920, 1088),
                "4:3": (1664, 1248),
                "1:1": (1440, 1440),
                "3:4": (1248, 1664),
                "9:16": (1088, 1920),
                "21:9": (2176, 928),
            }
        ),
    }
)
"""Width and height of the rendered video in pixels."""

LIST_PRICE = Decimal("2.50")
"""About what the vendor asks for a million tokens, in USD; half of it for the flex tier."""


@dataclass(frozen=True)
class Estimate:
    """What an order will render and cost."""

    width: int
    height: int
    frames: int
    tokens: int
    """The billing unit: width x height x frames / 1024."""
    usd: Decimal
    tier: ServiceTier
    exact: bool
    """False where the ratio follows a picture of unknown size: then width, height and cost are the largest possible."""

    @property
    def seconds(self) -> float:
        """The video's length in seconds."""
        return self.frames / FPS


def nearest_ratio(width: float, height: float) -> Ratio:
    """Give the rendered ratio nearest to a picture's, as a factor: a picture on its side gets the ratio on its side."""

    def distance(ratio: Ratio) -> float:
        across, down = map(int, ratio.split(":"))
        return abs(math.log(width * down / (height * across)))

    return min(RATIOS, key=distance)


def estimate(request: VideoRequest, price_per_million_tokens: Decimal = LIST_PRICE) -> Estimate:
    """Estimate an order at a price in USD for a million tokens of the default tier."""
    sizes = PIXELS[request.resolution]
    ratio = request.effective_ratio
    picture = request.first_frame_picture if ratio == "adaptive" else None
    if ratio != "adaptive":
        width, height = sizes[ratio]
    elif picture:
        width, height = sizes[nearest_ratio(picture.width, picture.height)]
    else:
        width, height = max(sizes.values(), key=math.prod)
    # Whole for every size of the table: width times height is a multiple of 1024.
    tokens = width * height * request.frame_count // 1024
    price = price_per_million_tokens / 2 if request.service_tier == "flex" else price_per_million_tokens
    return Estimate(
        width=width,
        height=height,
        frames=request.frame_count,
        tokens=tokens,
        usd=tokens * price / 1_000_000,
        tier=request.service_tier,
        exact=ratio != "adaptive" or picture is not None,
    )
