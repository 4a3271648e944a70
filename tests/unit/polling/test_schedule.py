from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.api.pricing import PIXELS
from airflow_provider_spark.polling.schedule import Pace, Shape, next_step, typical_seconds
from benchmarks.polls import KINDS, Kind, compare

SHAPES = st.builds(
    Shape,
    pixels=st.sampled_from([width * height for sizes in PIXELS.values() for width, height in sizes.values()]),
    frames=st.integers(7, 72).map(lambda n: 25 + 4 * n) | st.integers(2, 12).map(lambda seconds: 24 * seconds),
    tier=st.sampled_from(["default", "flex"]),
)
PACES = st.tuples(st.floats(0.01, 600), st.floats(1, 100)).map(lambda t: Pace(floor=t[0], ceiling=t[0] * t[1]))
AGES = st.floats(0, 300_000)
PROGRESS = st.none() | st.floats(0, 1)
SPREAD = st.floats(0, 1)

ONLINE = Shape(pixels=1920 * 1088, frames=240, tier="default")
FLEX = Shape(pixels=1920 * 1088, frames=240, tier="flex")
PACE = Pace()


@pytest.mark.parametrize(
    ("pixels", "frames", "seconds"),
    [
        (864 * 480, 240, 70),
        (1248 * 704, 240, 85),
        (1920 * 1088, 240, 115),
        (864 * 480, 120, 35),
        (2176 * 928, 24, 11.5),
    ],
)
def test_a_render_typically_takes_what_the_vendor_says(pixels: int, frames: int, seconds: float) -> None:
    assert typical_seconds(Shape(pixels=pixels, frames=frames, tier="default")) == seconds


@given(shape=SHAPES, pace=PACES, age=AGES, progress=PROGRESS, spread=SPREAD)
def test_a_step_stays_within_floor_and_ceiling(
    shape: Shape, pace: Pace, age: float, progress: float | None, spread: float
) -> None:
    step = next_step(age=age, progress=progress, shape=shape, pace=pace, spread=spread)
    assert pace.floor <= step <= pace.ceiling * (30 if shape["tier"] == "flex" else 1)


@given(shape=SHAPES, interval=st.floats(0.01, 10_000), age=AGES, progress=PROGRESS, spread=SPREAD)
def test_an_interval_fixes_every_step(
    shape: Shape, interval: float, age: float, progress: float | None, spread: float
) -> None:
    pace = Pace(interval=interval)
    assert next_step(age=age, progress=progress, shape=shape, pace=pace, spread=spread) == interval


@given(shape=SHAPES, pace=PACES, age=AGES, spread=SPREAD)
def test_flex_is_asked_for_no_oftener_than_online(shape: Shape, pace: Pace, age: float, spread: float) -> None:
    online, flex = (
        next_step(age=age, progress=None, shape={**shape, "tier": tier}, pace=pace, spread=spread)
        for tier in ("default", "flex")
    )
    assert flex >= online


def test_flex_is_asked_for_more_rarely_at_every_age() -> None:
    for age in (0, 100, 1_000, 10_000):
        online, flex = (
            next_step(age=age, progress=None, shape=shape, pace=PACE, spread=0.5) for shape in (ONLINE, FLEX)
        )
        assert flex > online


@given(shape=SHAPES, pace=PACES, ages=st.lists(AGES, min_size=2), spread=SPREAD)
def test_past_its_earliest_moment_an_older_clip_is_asked_for_no_oftener(
    shape: Shape, pace: Pace, ages: list[float], spread: float
) -> None:
    late = sorted(typical_seconds(shape) + age for age in ages)
    steps = [next_step(age=age, progress=None, shape=shape, pace=pace, spread=spread) for age in late]
    assert steps == sorted(steps)


@given(shape=SHAPES, pace=PACES, ages=st.lists(AGES, min_size=2))
def test_who_asks_later_is_told_to_come_back_no_sooner(shape: Shape, pace: Pace, ages: list[float]) -> None:
    moments = [age + next_step(age=age, progress=None, shape=shape, pace=pace, spread=0.5) for age in sorted(ages)]
    assert all(later >= sooner - 1e-6 for sooner, later in pairwise(moments))


@given(shape=SHAPES, pace=PACES, age=AGES, progress=PROGRESS, spread=SPREAD)
def test_progress_only_ever_shortens_a_step(
    shape: Shape, pace: Pace, age: float, progress: float | None, spread: float
) -> None:
    told = next_step(age=age, progress=progress, shape=shape, pace=pace, spread=spread)
    assert told <= next_step(age=age, progress=None, shape=shape, pace=pace, spread=spread)


@given(shape=SHAPES, pace=PACES, age=AGES, progress=st.lists(st.floats(0.001, 1), min_size=2), spread=SPREAD)
def test_the_nearer_the_end_the_sooner_the_next_poll(
    shape: Shape, pace: Pace, age: float, progress: list[float], spread: float
) -> None:
    steps = [next_step(age=age, progress=at, shape=shape, pace=pace, spread=spread) for at in sorted(progress)]
    assert steps == sorted(steps, reverse=True)


MOVED = st.tuples(st.floats(1, 0.5e5), st.floats(0, 0.9), st.floats(1, 0.5e5), st.floats(0, 1))


@given(shape=SHAPES, pace=PACES, moved=MOVED, spread=SPREAD)
def test_a_step_that_moved_progress_tells_stays_within_its_bounds_too(
    shape: Shape, pace: Pace, moved: tuple[float, float, float, float], spread: float
) -> None:
    first_age, first, since, share = moved
    age, progress = first_age + since, first + share * (1 - first)
    step = next_step(
        age=age, progress=progress, shape=shape, pace=pace, spread=spread, first_progress=(first_age, first)
    )
    assert pace.floor <= step <= pace.ceiling * (30 if shape["tier"] == "flex" else 1)
    assert step <= max(pace.floor, age, typical_seconds(shape))


@pytest.mark.parametrize("takes", [20, 60, 200])
@pytest.mark.parametrize("queued", [0, 5])
def test_progress_that_moves_steadily_leads_to_the_end_at_once(takes: float, queued: float) -> None:
    def progress(age: float) -> float:
        return round((age - queued) / (takes - queued), 2)

    first, age = 0.4 * takes + queued, 0.5 * takes + queued
    step = next_step(
        age=age,
        progress=progress(age),
        shape=ONLINE,
        pace=Pace(ceiling=600),
        spread=0.5,
        first_progress=(first, progress(first)),
    )
    assert takes <= age + step <= takes * 1.1 + 1


def test_progress_that_stands_still_is_not_believed() -> None:
    step = next_step(age=200, progress=0.5, shape=ONLINE, pace=PACE, spread=0.5, first_progress=(100, 0.5))
    assert step == next_step(age=200, progress=0.5, shape=ONLINE, pace=PACE, spread=0.5)


def test_a_render_that_is_nearly_done_is_asked_for_at_the_floor() -> None:
    assert next_step(age=600, progress=0.99, shape=ONLINE, pace=PACE, spread=0.5) < 4
    assert next_step(age=600, progress=1, shape=ONLINE, pace=PACE, spread=0.5) == PACE.floor


def test_a_clip_is_first_asked_for_when_it_may_be_ready() -> None:
    first = next_step(age=0, progress=None, shape=ONLINE, pace=PACE, spread=0.5)
    assert 0.25 * typical_seconds(ONLINE) < first < typical_seconds(ONLINE)


@given(spread=SPREAD)
def test_a_result_is_found_late_by_a_small_share_of_its_age(spread: float) -> None:
    for age in (75, 120, 300, 500):
        assert next_step(age=age, progress=None, shape=ONLINE, pace=PACE, spread=spread) <= 0.15 * age


def test_clips_ordered_together_are_not_asked_for_together() -> None:
    steps = {next_step(age=0, progress=None, shape=ONLINE, pace=PACE, spread=at / 100) for at in range(80)}
    assert len(steps) == 80


def test_a_ceiling_below_the_floor_is_refused_in_the_words_of_the_connection() -> None:
    with pytest.raises(ValueError, match=r"poll_ceiling \(5 s\) is below poll_floor \(10 s\)"):
        Pace(floor=10, ceiling=5)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_with_progress_a_quarter_of_the_polls_finds_the_end_as_early_as_a_fixed_interval(kind: Kind) -> None:
    assert compare(kind, tells_progress=True, renders=300).share <= 0.25
