"""When to ask next: a function of a generation's age, its progress and the kind of clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

# Seconds that the model typically takes for ten seconds of video, by the pixels of a frame
# up to which the figure holds: 480p, 720p, 1080p (the vendor's figures; in proportion to length).
TYPICAL_SECONDS_PER_TEN = ((500_000, 70.0), (1_000_000, 85.0), (float("inf"), 115.0))
FRAMES_IN_TEN_SECONDS = 240
# A flex render may take hours: the longest clip at 1080p is expected after one and a half.
FLEX_FACTOR = 40.0
# A clip is first asked for at this share of its typical time: few are ready sooner, one in twenty if they scatter by a
# quarter.
EARLIEST_SHARE = 0.65
# Later steps are this share of the age, so that a result is found late by at most as much.
STEP_SHARE = 0.1
# Steps are spread by up to this share either way, so that clips ordered together don't ask together.
JITTER_SHARE = 0.1
# Flex renders are asked for this many times more rarely than the ceiling allows.
FLEX_CEILING_FACTOR = 30.0


# Progress is believed once it has moved by so much, and its figures are taken for rounded to so much.
SHORTEST_MOVE = 0.05
ROUNDING = 0.01
# A step that progress tells is at most this share of the age.
LONGEST_TRUST = 1.0


class Shape(TypedDict):
    """What decides how long a render takes."""

    pixels: int
    frames: int
    tier: Literal["default", "flex"]


@dataclass(frozen=True, slots=True)
class Pace:
    """Bounds of the time between two polls, in seconds; ``interval`` fixes it instead."""

    floor: float = 2.0
    ceiling: float = 60.0
    interval: float | None = None

    def __post_init__(self) -> None:
        if self.ceiling < self.floor:
            raise ValueError(f"poll_ceiling ({self.ceiling:g} s) is below poll_floor ({self.floor:g} s)")


def typical_seconds(shape: Shape) -> float:
    """Return how long a render of this shape typically takes, in seconds."""
    per_ten = next(seconds for pixels, seconds in TYPICAL_SECONDS_PER_TEN if shape["pixels"] <= pixels)
    typical = per_ten * shape["frames"] / FRAMES_IN_TEN_SECONDS
    return typical * FLEX_FACTOR if shape["tier"] == "flex" else typical


def may_be_ready(*, age: float, shape: Shape) -> bool:
    """Whether a clip of this age, in seconds since the submit, is worth a look."""
    return age >= typical_seconds(shape) * EARLIEST_SHARE


def next_step(
    *,
    age: float,
    progress: float | None,
    shape: Shape,
    pace: Pace,
    spread: float,
    first_progress: tuple[float, float] | None = None,
) -> float:
    """Return the seconds until the next poll.

    :param age: seconds since the submit.
    :param progress: the vendor's last figure, 0 to 1, where it gave one.
    :param spread: a random number, 0 to 1, which places the step within its jitter.
    :param first_progress: age and progress at the first poll that told any. A figure that has moved since is believed,
        and the next poll comes when it says that the clip is ready.
    """
    if pace.interval is not None:
        return pace.interval
    flex = shape["tier"] == "flex"
    ceiling = pace.ceiling * FLEX_CEILING_FACTOR if flex else pace.ceiling
    earliest = typical_seconds(shape) * EARLIEST_SHARE
    step = max(earliest - age, age * STEP_SHARE)
    ready_in = _ready_in(age, progress, first_progress)
    if ready_in is not None:
        # No surer than the age allows: a figure that stands still near the end must not put the end off for long.
        return min(max(min(ready_in, age * LONGEST_TRUST), pace.floor), ceiling)
    if progress is not None and 0 < progress <= 1 and age > 0:
        remaining = age * (1 - progress) / progress
        step = min(step, max(remaining / 2, pace.floor))
    jitter = 1 + JITTER_SHARE * (2 * spread - 1)
    # At the ceiling too, or all that wait would ask together after a restart.
    spread_out = min(step, ceiling / (1 + JITTER_SHARE)) * jitter
    return min(max(spread_out, pace.floor), ceiling)


def _ready_in(age: float, progress: float | None, first: tuple[float, float] | None) -> float | None:
    """Say when a clip will just be ready if its progress goes on as it did; None where that can't be told."""
    if progress is None or first is None:
        return None
    moved = progress - first[1]
    if moved < SHORTEST_MOVE or age <= first[0]:
        return None
    # Rather a little late than a poll too early.
    slowest = (age - first[0]) / max(moved - ROUNDING, SHORTEST_MOVE / 2)
    return slowest * (1 - progress + ROUNDING / 2)
