from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.api.pricing import PIXELS, estimate, nearest_ratio
from airflow_provider_spark.api.request import RATIOS, RESOLUTIONS, Ratio, Resolution, VideoRequest
from tests.unit.api.frame_files import data_uri, flat_picture

URL = "https://example.com/frame.png"


def order(**parameters: Any) -> VideoRequest:
    return VideoRequest.compose(**{"prompt": "a cat"} | parameters)


def test_five_seconds_of_1080p_are_the_documented_244800_tokens() -> None:
    costs = estimate(order())
    assert (costs.width, costs.height, costs.frames, costs.seconds, costs.tokens) == (1920, 1088, 120, 5, 244_800)
    assert (costs.usd, costs.tier, costs.exact) == (Decimal("0.612"), "default", True)


def test_flex_costs_half() -> None:
    assert estimate(order(service_tier="flex")).usd == Decimal("0.306")


def test_the_price_is_the_callers() -> None:
    assert estimate(order(), Decimal(5)).usd == Decimal("1.224")
    assert estimate(order(), Decimal(0)).usd == 0


@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize("ratio", RATIOS)
def test_every_size_makes_whole_tokens(resolution: Resolution, ratio: Ratio) -> None:
    width, height = PIXELS[resolution][ratio]
    assert width * height % 1024 == 0
    costs = estimate(order(resolution=resolution, ratio=ratio, frames=29))
    assert (costs.width, costs.height) == (width, height)
    assert costs.tokens * 1024 == width * height * 29


def test_frames_win_over_duration_in_the_price_too() -> None:
    assert estimate(order(duration=12, frames=57)).tokens == 1920 * 1088 * 57 // 1024


def test_adaptive_without_an_image_is_16_to_9() -> None:
    assert estimate(order(ratio="adaptive")) == estimate(order(ratio="16:9"))


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_a_picture_of_unknown_size_is_never_estimated_too_low(resolution: Resolution) -> None:
    unknown = estimate(order(first_frame=URL, resolution=resolution))
    assert not unknown.exact
    assert all(
        unknown.tokens >= estimate(order(first_frame=URL, resolution=resolution, ratio=ratio)).tokens
        for ratio in RATIOS
    )


def test_a_fixed_ratio_is_exact_whatever_the_picture() -> None:
    assert estimate(order(first_frame=URL, ratio="1:1")).exact


def test_a_picture_at_hand_decides_the_ratio() -> None:
    uri = data_uri(flat_picture("png", 400, 800))
    costs = estimate(order(first_frame=uri, last_frame=URL))
    assert (costs.width, costs.height, costs.exact) == (1088, 1920, True)


@pytest.mark.parametrize(
    ("width", "height", "ratio"),
    [(1920, 1080, "16:9"), (1600, 1200, "4:3"), (512, 512, "1:1"), (1200, 1600, "3:4"), (1080, 1920, "9:16")],
)
def test_a_picture_of_a_rendered_ratio_keeps_it(width: int, height: int, ratio: Ratio) -> None:
    assert nearest_ratio(width, height) == ratio
    assert nearest_ratio(2499, 1000) == "21:9"


@given(st.integers(301, 5999), st.integers(301, 5999))
def test_a_picture_on_its_side_gets_the_ratio_on_its_side(width: int, height: int) -> None:
    ratio, turned = nearest_ratio(width, height), nearest_ratio(height, width)
    across, down = ratio.split(":")
    # 21:9 has no counterpart.
    assert turned == f"{down}:{across}" or "21:9" in (ratio, turned)


@given(
    st.sampled_from(RESOLUTIONS),
    st.sampled_from([*RATIOS, "adaptive"]),
    st.integers(2, 12),
    st.sampled_from(["default", "flex"]),
    st.decimals(0, 1000, places=2),
)
def test_an_estimate_is_exact_arithmetic(resolution: str, ratio: str, duration: int, tier: str, price: Decimal) -> None:
    costs = estimate(order(resolution=resolution, ratio=ratio, duration=duration, service_tier=tier), price)
    assert costs.usd * 1_000_000 * (2 if tier == "flex" else 1) == costs.tokens * price
