"""Everything that may go wrong around an order, and what must come of it.

Each scenario has a vendor of its own. The expectation is the design's: an order is paid once, or its user is told
that no one can say whether it was taken. Never both, never twice without being asked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.stage import Outcome, Stage, locked_database

RENDER_SECONDS = 8.0
NO_ARRIVAL: dict[str, Any] = {"billed": 0, "arrived": 0, "state": "failed"}


@dataclass(frozen=True)
class Scenario:
    """A story with an end that is known beforehand.

    :param does: what happens, for the table.
    :param play: makes it happen, and returns once Airflow is done with it.
    :param orders: how many orders the vendor accepts.
    :param billed: how many of them it bills.
    :param arrived: how many results Airflow gets.
    :param ambiguous: how many clips end with the report of an ambiguous submit.
    :param state: how the task ends.
    :param tries: how many tries that takes; ``None`` where it doesn't matter.
    :param ledger_path: whether the connection has one, beside Airflow's own task state store.
    :param alone: whether it takes away a part of Airflow that others need.
    :param long: whether it is too slow for every ``make test``.
    :param options: of the vendor.
    """

    name: str
    does: str
    play: Callable[[Stage], None]
    orders: int = 1
    billed: int = 1
    arrived: int = 1
    ambiguous: int = 0
    state: str = "success"
    tries: int | None = 1
    ledger_path: bool = False
    alone: bool = False
    long: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def judge(self, outcome: Outcome) -> list[str]:
        """Return what differs from the known end."""
        expected = Outcome(
            orders=self.orders,
            billed=self.billed,
            arrived=self.arrived,
            ambiguous=self.ambiguous,
            state=self.state,
            tries=outcome.tries if self.tries is None else self.tries,
        )
        return [
            f"{name}: {found!r}, not {wanted!r}"
            for name, wanted in vars(expected).items()
            if (found := getattr(outcome, name)) != wanted
        ]


def plays(**conf: Any) -> Callable[[Stage], None]:
    """Render one clip, come what may."""

    def play(stage: Stage) -> None:
        stage.start(**conf)
        stage.wait_for_end()

    return play


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


# --- kill -9 of the task's process ------------------------------------------------------------------------------------

LOST: dict[str, Any] = {"ambiguous": 1, "arrived": 0, "state": "failed"}
KILLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("before the intent", "before anything is written or sent", {}),
    ("before the submit", "between the intent and the submit", {**LOST, "orders": 0, "billed": 0}),
    ("before the record", "between the submit and its record", LOST),
    ("before deferring", "between the record and the deferral", {}),
    ("while waiting on the worker", "while it waits on the worker", {}),
    ("on resuming", "as the resumed method begins", {}),
    ("before delivered", "in the resumed method", {}),
    ("after delivered", "right after 'delivered' is written", {}),
    ("before success", "between 'delivered' and Airflow's success", {}),
)


def _kills() -> list[Scenario]:
    found = []
    for place, does, expected in KILLS:
        conf = {"dies": place} | ({"deferrable": "False"} if "worker" in place else {})
        for ledger_path in (False, True):
            where = "with ledger_path" if ledger_path else "with the task state store"
            found.append(
                Scenario(
                    name=f"kill -9 {place}, {where}",
                    does=f"the task's process is killed {does}",
                    play=plays(**conf),
                    tries=2,
                    ledger_path=ledger_path,
                    # In short, each place once.
                    long=ledger_path is (KILLS.index((place, does, expected)) % 2 == 0),
                    **expected,
                )
            )
    return found


# --- faults of the vendor ---------------------------------------------------------------------------------------------

UNTAKEN: dict[str, Any] = {"orders": 0, **NO_ARRIVAL}
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


def _faults() -> list[Scenario]:
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
    stage.wait_for("running")
    stage.wait(lambda: "Trying again in" in stage.log(), "a submit that fails")
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
    stage.check(stage.instance()["try_number"] == 1, "a redirected poll is retried")
    stage.clear()
    stage.wait_for_end()


# --- retries and clears -----------------------------------------------------------------------------------------------


def cleared_when(state: str, **conf: Any) -> Callable[[Stage], None]:
    """Clear the task once it is in a state."""

    def play(stage: Stage) -> None:
        stage.start(**conf)
        stage.wait_for_orders(1)
        stage.wait_for(state)
        stage.clear()
        stage.wait_for_end()

    return play


def marked_and_cleared(state: str, **conf: Any) -> Callable[[Stage], None]:
    """Mark the task as failed once it is in a state, and clear it then."""

    def play(stage: Stage) -> None:
        stage.start(**conf)
        stage.wait_for_orders(1)
        stage.wait_for(state)
        stage.mark("failed")
        stage.wait_for("failed")
        time.sleep(3)  # what was running notices it by its next heartbeat
        stage.clear()
        stage.wait_for_end()

    return play


def lost_and_cleared(stage: Stage) -> None:
    stage.emulator.arm("submit", "drop_reply")
    stage.start()
    stage.wait_for_end()
    stage.check(stage.instance()["try_number"] == 1, "an ambiguous submit is retried by Airflow")
    stage.clear()
    stage.wait_for_end()


def changed_on_a_retry(stage: Stage) -> None:
    stage.start(dies="before deferring", varies="yes")
    stage.wait_for_end()
    stage.check("request has changed since then: prompt" in stage.log(), "no warning names what changed")


def failing_renders(code: str) -> Callable[[Stage], None]:
    """Let the vendor fail the first render."""

    def play(stage: Stage) -> None:
        stage.emulator.arm("render", "fail", code=code)
        stage.start()
        stage.wait_for_end()

    return play


def moderated(**conf: Any) -> Callable[[Stage], None]:
    """Let moderation refuse the first finished video."""

    def play(stage: Stage) -> None:
        stage.emulator.arm("render", "moderate")
        stage.start(**conf)
        stage.wait_for_end()

    return play


RETRIES = [
    Scenario(
        "changed parameters on a retry",
        "killed before deferring; the template renders to another prompt on each try",
        changed_on_a_retry,
        tries=2,
    ),
    Scenario(
        "clear while deferred",
        "cleared while it waits: the same request is taken up",
        cleared_when("deferred"),
        tries=2,
    ),
    Scenario(
        "clear while deferred, with another prompt",
        "cleared while it waits, and the prompt has changed: what is wanted now is ordered",
        cleared_when("deferred", varies="yes"),
        orders=2,
        billed=2,
        tries=2,
        ledger_path=True,
    ),
    Scenario(
        "clear while running",
        "cleared while it waits on the worker",
        cleared_when("running", deferrable="False"),
        tries=2,
    ),
    Scenario(
        "clear after success", "cleared once it is done: a new clip", cleared_when("success"), 2, 2, tries=2, long=True
    ),
    Scenario(
        "clear after an ambiguous submit",
        "the reply is lost, the user reads the report and clears",
        lost_and_cleared,
        orders=2,
        billed=2,
        tries=2,
    ),
    Scenario(
        "marked failed while deferred, then cleared",
        "a user marks the waiting task as failed and clears it later",
        marked_and_cleared("deferred"),
        tries=2,
        long=True,
    ),
    Scenario(
        "marked failed while running, then cleared",
        "a user marks the task that waits on the worker as failed and clears it later",
        marked_and_cleared("running", deferrable="False"),
        tries=2,
        long=True,
    ),
    Scenario(
        "resubmit an ambiguous submit",
        'the reply is lost, on_ambiguous_submit="resubmit"',
        suffers("submit", "drop_reply", {}, on_ambiguous_submit="resubmit"),
        orders=2,
        billed=2,
        tries=2,
    ),
    Scenario("without waiting", "wait_for_completion=False", plays(wait="False")),
    Scenario(
        "kill -9 without waiting",
        "wait_for_completion=False, killed between 'delivered' and Airflow's success",
        plays(wait="False", dies="after delivered"),
        tries=2,
        long=True,
    ),
    Scenario(
        "the wait runs out, the retry goes on",
        "timeout=5 s, the render takes 12",
        plays(timeout="5"),
        tries=None,
        options={"render_seconds": 12.0},
    ),
    Scenario(
        "the render fails, the retry orders anew",
        "the vendor fails a render with 003005095, which isn't billed",
        failing_renders("003005095"),
        orders=2,
        tries=2,
    ),
    Scenario(
        "the render fails for good",
        "the vendor fails a render with 003005007, a fault of the request",
        failing_renders("003005007"),
        **NO_ARRIVAL,
    ),
    Scenario("moderation fails", "moderation refuses the video", moderated(), **NO_ARRIVAL, long=True),
    Scenario(
        "moderation, ordered again",
        'moderation refuses the video, on_moderation="resubmit"',
        moderated(on_moderation="resubmit"),
        orders=2,
        long=True,
    ),
    Scenario(
        "moderation, skipped",
        'moderation refuses the video, on_moderation="skip"',
        moderated(on_moderation="skip"),
        billed=0,
        arrived=0,
        state="skipped",
        long=True,
    ),
    Scenario(
        "too dear", "max_cost_usd below the estimate: no call", plays(max_cost_usd="0.01"), 0, **NO_ARRIVAL, long=True
    ),
    Scenario(
        "the vendor is away at the submit",
        "nothing listens when the order is to go out; ten seconds later it does",
        away_at_the_submit,
    ),
    Scenario(
        "the vendor is away for minutes",
        "nothing listens for the three minutes of tries in place; Airflow's retry orders",
        away_for_minutes,
        tries=2,
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
        tries=2,
        long=True,
    ),
]


# --- parts of Airflow die ---------------------------------------------------------------------------------------------


def part_killed(part: str, when: str, **conf: Any) -> Callable[[Stage], None]:
    """Kill a part of Airflow, and everything that it started, while the clip is in a state; start it again."""

    def play(stage: Stage) -> None:
        stage.start(**conf)
        stage.wait_for_orders(1)
        stage.wait_for(when)
        stage.airflow.servers[part].kill()
        time.sleep(3)
        stage.airflow.start(part)
        stage.wait_for_end()

    return play


def database_locked_while_waiting(stage: Stage) -> None:
    stage.start()
    stage.wait_for("deferred")
    with locked_database(stage.airflow):
        time.sleep(8)
    stage.wait_for_end()


def database_locked_at_the_record(stage: Stage) -> None:
    stage.emulator.arm("submit", "slow", seconds=2)
    stage.start()
    stage.wait(lambda: stage.emulator.stats()["submits_received"], "the submit")
    # The reply comes while no one can write it down.
    with locked_database(stage.airflow):
        time.sleep(8)
    stage.wait_for_end()


CRASHES = [
    Scenario(
        "kill -9 of the triggerer while it waits",
        "killed with everything it started, started again three seconds later",
        part_killed("triggerer", "deferred"),
        alone=True,
    ),
    Scenario(
        "kill -9 of the scheduler while a trigger waits",
        "killed with its workers, started again three seconds later",
        part_killed("scheduler", "deferred"),
        alone=True,
    ),
    Scenario(
        "kill -9 of the scheduler and its worker",
        "killed with the worker that waits for the clip, started again three seconds later",
        part_killed("scheduler", "running", deferrable="False"),
        tries=2,
        alone=True,
        long=True,
        options={"render_seconds": 25.0},
    ),
    Scenario(
        "the metadata database is locked while it waits",
        "BEGIN EXCLUSIVE for eight seconds",
        database_locked_while_waiting,
        tries=None,
        alone=True,
        long=True,
    ),
    Scenario(
        "the metadata database is locked between submit and record",
        "BEGIN EXCLUSIVE for eight seconds, from before the reply on",
        database_locked_at_the_record,
        tries=None,
        alone=True,
    ),
]

SCENARIOS: tuple[Scenario, ...] = (*_kills(), *_faults(), *RETRIES, *CRASHES)


def chosen(*, short: bool, names: Sequence[str] = ()) -> list[Scenario]:
    """Return the scenarios of the short or the long form, or those whose name holds one of ``names``."""
    if names:
        return [one for one in SCENARIOS if any(name in one.name for name in names)]
    return [one for one in SCENARIOS if not (short and one.long)]
