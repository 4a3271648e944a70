"""Polls for each render, and how late its end is found: our schedule against a fixed interval. Pure: nothing is waited.

A render takes its nominal time times a random factor (log-normal, sigma 0.25), stands in a queue for a random part of
the first tenth of it, and reports its progress, rounded to a percent. The fixed interval is the one that finds the end
as late in the median: a fixed interval of ``i`` seconds finds it ``i / 2`` late, and asks ``time / i`` times. An oracle
asks at that interval too, but knows before which moment no render of the kind but one in twenty ends: without progress
there is hardly more to know.
"""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass

from airflow_provider_spark.api.generation import Generation
from airflow_provider_spark.polling.schedule import Pace, Shape
from airflow_provider_spark.polling.wait import Ask, Settled, Wait

RENDERS = 2000
SIGMA = 0.25


@dataclass(frozen=True)
class Kind:
    name: str
    shape: Shape
    nominal: float


KINDS = (
    Kind("20 s", Shape(pixels=864 * 480, frames=72, tier="default"), 20),
    Kind("2 min", Shape(pixels=1920 * 1088, frames=240, tier="default"), 120),
    Kind("flex, 2 h", Shape(pixels=1920 * 1088, frames=288, tier="flex"), 7200),
)


def render(kind: Kind, seed: int, *, tells_progress: bool) -> tuple[int, float, float]:
    """Return how often was asked, how late the end was found and how long the render took, in seconds."""
    chance = random.Random(f"{kind.name} {seed}")
    takes = kind.nominal * math.exp(chance.gauss(0, SIGMA))
    queued = takes * 0.1 * chance.random()
    wait = Wait("sd-1", 0.0, 200_000.0, kind.shape, Pace())
    now = wait.first_ask(0.0, chance.random())
    polls = 1
    while True:
        told: dict[str, object] = {"id": "sd-1", "status": "queued" if now < queued else "in_progress"}
        if now >= takes:
            told["status"] = "completed"
            told["output"] = [{"content": [{"type": "video", "url": "https://r.example.com/1.mp4"}]}]
        elif tells_progress and now >= queued:
            told["progress"] = min(0.99, round((now - queued) / (takes - queued), 2))
        wait, decision = wait.after_reply(Generation.model_validate(told), now, chance.random())
        if isinstance(decision, Settled):
            return polls, now - takes, takes
        assert isinstance(decision, Ask)
        now += decision.after
        polls += 1


@dataclass(frozen=True)
class Comparison:
    """Polls of a render, and seconds from its end until it is found."""

    polls: float
    delay_median: float
    delay_p95: float
    fixed_interval: float
    fixed_polls: float
    oracle_polls: float

    @property
    def oracle_share(self) -> float:
        return self.oracle_polls / self.fixed_polls

    @property
    def share(self) -> float:
        return self.polls / self.fixed_polls


def compare(kind: Kind, *, tells_progress: bool, renders: int = RENDERS) -> Comparison:
    stories = [render(kind, seed, tells_progress=tells_progress) for seed in range(renders)]
    delay = statistics.median(late for _, late, _ in stories)
    polls = statistics.fmean(asked for asked, _, _ in stories)
    # The last poll of a fixed interval is the one that finds the end.
    fixed = statistics.fmean(math.ceil(takes / (2 * delay)) for _, _, takes in stories)
    delays = sorted(late for _, late, _ in stories)
    first = sorted(takes for _, _, takes in stories)[renders // 20]
    oracle = statistics.fmean(max(1, math.ceil((takes - first) / (2 * delay))) for _, _, takes in stories)
    return Comparison(
        polls=polls,
        delay_median=delay,
        delay_p95=delays[int(len(delays) * 0.95)],
        fixed_interval=2 * delay,
        fixed_polls=fixed,
        oracle_polls=oracle,
    )


def main() -> None:
    for kind in KINDS:
        for tells_progress in (True, False):
            print(kind.name, tells_progress, compare(kind, tells_progress=tells_progress))


if __name__ == "__main__":
    main()
