"""Many renders at once, each with a ledger of its own, while everything around them goes wrong at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tests.chaos.scenarios.scenario import Scenario
from tests.chaos.stage import AMBIGUOUS, Stage

# How likely each fault is, for each call. The vendor draws them from its seed.
SUBMIT_FAULTS: tuple[tuple[str, float, dict[str, Any]], ...] = (
    ("drop_reply", 0.03, {}),
    ("refuse", 0.03, {}),
    ("rate_limit", 0.05, {}),
    ("rate_limit", 0.05, {"retry_after": 2}),
    ("server_error", 0.02, {}),
    ("server_error", 0.02, {"accepted": True}),
    ("vendor_error", 0.05, {"code": "003005095"}),
    ("vendor_error", 0.05, {"code": "003005099"}),
    ("vendor_error", 0.02, {"code": "003005096"}),
    ("garbage", 0.02, {}),
    ("slow", 0.05, {"seconds": 1}),
    ("slow", 0.02, {"seconds": 6}),
)
POLL_FAULTS: tuple[tuple[str, float, dict[str, Any]], ...] = (
    ("drop_reply", 0.05, {}),
    ("refuse", 0.05, {}),
    ("rate_limit", 0.05, {}),
    ("server_error", 0.05, {}),
    ("server_error", 0.02, {"http_status": 401}),
    ("server_error", 0.02, {"http_status": 404}),
    ("vendor_error", 0.03, {"code": "003005096"}),
    ("vendor_error", 0.03, {"code": "003005099", "http_status": 500}),
    ("garbage", 0.05, {}),
    ("slow", 0.02, {"seconds": 6}),
)
# What follows from being killed at each place of a crowd: (orders, whether the result arrives).
PLACES: dict[str, tuple[int, bool]] = {
    "at once": (1, True),
    "before the intent": (1, True),
    "before the submit": (0, False),
    "before the record": (1, False),
    "before deferring": (1, True),
    "on resuming": (1, True),
    "before delivered": (1, True),
    "after delivered": (1, True),
    "before success": (1, True),
}


def arm(stage: Stage) -> None:
    """Let the vendor go wrong at random."""
    for on, faults in (("submit", SUBMIT_FAULTS), ("poll", POLL_FAULTS)):
        for kind, rate, options in faults:
            stage.emulator.arm(on, kind, rate=rate, **options)


def crowd(clips: int, happens: Callable[[Stage], None] = lambda _: None, **conf: Any) -> Callable[[Stage], None]:
    """Render many clips while the vendor goes wrong at random, and something else happens to Airflow."""

    def play(stage: Stage) -> None:
        arm(stage)
        stage.start("chaos_many", clips=clips, **conf)
        happens(stage)
        stage.wait_for_end(timeout=300 + 6 * clips)
        check_each(stage, range(clips))
        if not conf:
            failures = {one["map_index"]: stage.failures(one["map_index"]) for one in stage.instances()}
            failed = {one["map_index"] for one in stage.instances() if one["state"] == "failed"}
            for clip, count in failures.items():
                stage.check(count == (clip in failed), f"clip {clip:03} failed {count} times for a fault that passes")

    return play


def check_each(stage: Stage, clips: Iterable[int]) -> None:
    """Check that each clip was ordered once and delivered, or reported as ambiguous and ordered at most once."""
    generations = stage.emulator.stats()["generations"]
    orders = Counter(generation["request"]["content"][0]["text"] for generation in generations.values())
    results = {result["map_index"]: result for result in stage.airflow.xcom(stage.dag_id, stage.run_id, "collect")}
    instances = {one["map_index"]: one for one in stage.instances()}
    for clip in clips:
        prompt, instance, result = f"clip {clip:03}", instances[clip], results.get(clip)
        stage.check(orders[prompt] <= 1, f"{prompt} was ordered {orders[prompt]} times")
        if instance["state"] == "success":
            stage.check(result and result["video_url"], f"{prompt} succeeded without a video")
            ordered = generations.get(result and result["generation_id"], {"request": None})["request"]
            stage.check(ordered and ordered["content"][0]["text"] == prompt, f"{prompt} got another clip's video")
        else:
            stage.check(result is None, f"{prompt} is {instance['state']} and has a result")
            log = stage.log(instance["try_number"], clip)
            stage.check(AMBIGUOUS in log, f"{prompt} is {instance['state']}, and not for an ambiguous submit")


def killed_everywhere(rounds: int) -> Callable[[Stage], None]:
    """Kill each clip's first try at a place of its own."""

    def play(stage: Stage) -> None:
        places = list(PLACES) * rounds
        stage.start("chaos_many", clips=len(places), dies=" | ".join(places))
        stage.wait_for_end()
        check_each(stage, range(len(places)))
        orders = Counter(
            generation["request"]["content"][0]["text"] for generation in stage.emulator.stats()["generations"].values()
        )
        states = {one["map_index"]: one["state"] for one in stage.instances()}
        stage.check(all(one["try_number"] > 1 for one in stage.instances()), "not each clip was killed")
        for clip, place in enumerate(places):
            wanted, arrives = PLACES[place]
            stage.check(orders[f"clip {clip:03}"] == wanted, f"killed {place}: {orders[f'clip {clip:03}']} orders")
            stage.check(states[clip] == ("success" if arrives else "failed"), f"killed {place}: {states[clip]}")

    return play


def parts_die(stage: Stage) -> None:
    """Kill the triggerer and the scheduler with its workers, twice, while the clips are ordered and waited for."""
    for orders in (10, 30):
        stage.wait_for_orders(orders)
        for part in ("triggerer", "scheduler"):
            stage.airflow.servers[part].kill()


CROWDS = [
    Scenario(
        "mapped clips, killed at nine places",
        "each mapped index is killed at a place of its own: each has its own ledger",
        killed_everywhere(1),
        orders=8,
        billed=8,
        arrived=7,
        ambiguous=2,
        state="2 failed, 7 success",
        failures=1,
    ),
    Scenario(
        "12 clips, faults at random",
        "about two of five submits and polls go wrong, in every way",
        crowd(12),
        orders=None,
        billed=None,
        arrived=None,
        ambiguous=None,
        state=None,
        failures=None,
    ),
    Scenario(
        "60 clips, killed at nine places, faults at random, parts of Airflow die",
        "all at once; the triggerer and the scheduler with its workers are killed twice",
        crowd(60, parts_die, dies=" | ".join(PLACES)),
        orders=None,
        billed=None,
        arrived=None,
        ambiguous=None,
        state=None,
        failures=None,
        alone=True,
        long=True,
    ),
    Scenario(
        "200 clips, faults at random",
        "about two of five submits and polls go wrong, in every way",
        crowd(200),
        orders=None,
        billed=None,
        arrived=None,
        ambiguous=None,
        state=None,
        failures=None,
        alone=True,
        long=True,
    ),
]
