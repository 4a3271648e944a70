"""Pixels, ratios, prices."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_spark.emulator import model


def test_five_seconds_of_1080p_cost_what_the_formula_says() -> None:
    assert model.cost_usd(1920, 1088, 120, "default") == Decimal("0.612")
    assert model.cost_usd(1920, 1088, 120, "flex") == Decimal("0.306")


@pytest.mark.parametrize(
    ("size", "ratio"),
    [((1920, 1080), "16:9"), ((1080, 1920), "9:16"), ((500, 500), "1:1"), ((1200, 500), "21:9"), ((900, 1200), "3:4")],
)
def test_a_picture_adapts_to_the_nearest_ratio(size: tuple[int, int], ratio: str) -> None:
    assert model.nearest_ratio(*size) == ratio


def test_a_picture_turned_gets_the_ratio_turned() -> None:
    for width in range(400, 1000, 7):
        across = model.nearest_ratio(width, 640)
        if across != "21:9" and width / 640 < 16 / 9:
            assert model.nearest_ratio(640, width) == ":".join(reversed(across.split(":")))


def test_ten_seconds_take_the_documented_time() -> None:
    assert [model.typical_seconds(resolution, 240, "default") for resolution in model.RESOLUTIONS] == [70, 85, 115]
    assert model.typical_seconds("480p", 240, "flex") > 70


def test_every_size_suits_the_encoder() -> None:
    for sizes in model.PIXELS.values():
        assert all(width % 16 == height % 16 == 0 for width, height in sizes.values())
