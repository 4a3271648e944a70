"""The vendor at fault: each fault of a submit and of a poll alone, an outage, a restart, a wrong host."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from tests.chaos.scenarios.scenario import LOST, UNTAKEN, Scenario
from tests.chaos.stage import Stage


def suffers(on: str, kind: str, fault: dict[str, Any], **conf: Any) -> Callable[[Stage], None]:
    """Render one clip while the vendor is at fault."""

    def play(stage: Stage) -> None:
        stage.emulator.arm(on, kind, **fault)
        stage.start(**conf)
        stage.wait_for_end()
        if stage.instance()["state"] == "failed" and "AmbiguousSubmit" in (log := stage.log()):
            stage.check(re.search(r"sent at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", log), "the report has no submit time")
            stage.check("costs about 0.0486 USD" in log, "the report doesn't say what it may cost")
            stage.check("Clearing this task orders again" in log, "the report doesn't say what to do")

    return play


SUBMIT_FAULTS: tuple[tuple[str, str, dict[str, Any], dict[str, Any]], ...] = (
    ("drop_reply", "the reply is lost", {}, LOST),
    ("refuse", "the connection is cut before the order is read", {}, {**UNTAKEN, "ambiguous": 1}),
    ("rate_limit", "429", {}, {}),
    ("rate_limit", "429 with Retry-After", {"retry_after": 3}, {}),
    ("server_error", "a bare 502, the order not taken", {}, {**UNTAKEN, "ambiguous": 1}),
    ("server_error", "a bare 502, the order taken", {"accepted": True}, LOST),
    ("vendor_error", "the vendor refuses with 003005095", {"code": "003005095"}, {}),
    ("vendor_error", "the vendor refuses with 003005099", {"code": "003005099"}, {}),
    ("vendor_error", "003005096 without an id", {"code": "003005096"}, {**UNTAKEN, "ambiguous": 1}),
    ("vendor_error", "the vendor refuses the request, 003005007", {"code": "003005007"}, UNTAKEN),
    ("garbage", "bytes that are no JSON, the order taken", {}, LOST),
    ("garbage", "bytes that are no JSON, the order not taken", {"accepted": False}, {**UNTAKEN, "ambiguous": 1}),
    ("slow", "the reply comes late", {"seconds": 1.5}, {}),
    ("slow", "the reply comes too late", {"seconds": 6}, LOST),
    ("moderate", "moderation refuses the prompt", {}, UNTAKEN),
)
POLL_FAULTS: tuple[tuple[str, str, dict[str, Any], dict[str, Any]], ...] = (
    ("drop_reply", "replies are lost", {}, {}),
    ("refuse", "connections are cut", {}, {}),
    ("rate_limit", "429", {}, {}),
    ("rate_limit", "429 with Retry-After", {"retry_after": 2}, {}),
    ("server_error", "a bare 502", {}, {}),
    ("vendor_error", "500 with 003005095", {"code": "003005095", "http_status": 500}, {}),
    ("vendor_error", "500 with 003005099", {"code": "003005099", "http_status": 500}, {}),
    ("vendor_error", "'failed' by the gateway, 003005096", {"code": "003005096"}, {}),
    ("server_error", "401", {"http_status": 401}, {}),
    ("server_error", "404", {"http_status": 404}, {}),
    ("garbage", "bytes that are no JSON", {}, {}),
    ("slow", "replies come too late", {"seconds": 6}, {}),
)
SHORT_FAULTS = {
    "submit: the reply is lost",
    "submit: 429 with Retry-After",
    "submit: the vendor refuses with 003005099",
    "submit: the connection is cut before the order is read",
    "poll: 'failed' by the gateway, 003005096",
    "poll: 401",
}


def faults() -> list[Scenario]:
    """Return a scenario for each fault."""
    found = []
    for on, table in (("submit", SUBMIT_FAULTS), ("poll", POLL_FAULTS)):
        for kind, does, fault, expected in table:
            name = f"{on}: {does}"
            count = 3 if on == "poll" else 1
            found.append(
                Scenario(
                    name=name,
                    does=f"{kind} on {count} {on}{'s' if count > 1 else ''}",
                    play=suffers(on, kind, {**fault, "count": count}),
                    long=name not in SHORT_FAULTS,
                    **expected,
                )
            )
    return found


def away_at_the_submit(stage: Stage) -> None:
    stage.stop_emulator()
    stage.start()
    stage.wait_for_line("Trying again in")
    stage.start_emulator()
    stage.wait_for_end()


def away_for_minutes(stage: Stage) -> None:
    stage.stop_emulator()
    stage.start()
    stage.wait(lambda: stage.instance()["try_number"] == 2, "the end of the tries in place")
    stage.start_emulator()
    stage.wait_for_end()


def restarted_mid_render(stage: Stage) -> None:
    stage.start()
    stage.wait_for("deferred")
    stage.stop_emulator()
    time.sleep(4)
    stage.start_emulator()
    stage.wait_for_end()


def redirected(stage: Stage) -> None:
    stage.emulator.arm("poll", "server_error", http_status=302)
    stage.start()
    stage.wait_for_end()
    stage.check(stage.instance()["state"] == "failed", "a redirected poll doesn't fail the task")
    stage.check(stage.failures() == 1, "a redirected poll is retried")
    stage.clear()
    stage.wait_for_end()


OUTAGES = [
    Scenario(
        "the vendor is away at the submit",
        "nothing listens when the order is to go out; ten seconds later it does",
        away_at_the_submit,
    ),
    Scenario(
        "the vendor is away for minutes",
        "nothing listens for the three minutes of tries in place; Airflow's retry orders",
        away_for_minutes,
        failures=1,
        long=True,
    ),
    Scenario(
        "the vendor is restarted mid-render",
        "the emulator ends while the render goes on, and comes back on the same port",
        restarted_mid_render,
        options={"state_dir": True},
    ),
    Scenario(
        "a poll is redirected, then cleared",
        "a poll gets a 302: the host is wrong; a clear takes the render up",
        redirected,
        failures=1,
        long=True,
    ),
]
