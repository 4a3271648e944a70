"""Retries, clears and marks, with the same request and another; failed renders; tasks that don't wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.chaos.scenarios.scenario import NO_ARRIVAL, Scenario, plays
from tests.chaos.scenarios.vendor import suffers
from tests.chaos.stage import Stage

# Logged once the order is in the ledger; before that, a clear may cut off the very moment of the submit.
ORDER_LINE = "Spark Dance order:"


def cleared_when(state: str, **conf: Any) -> Callable[[Stage], None]:
    """Clear the task once it is in a state."""

    def play(stage: Stage) -> None:
        stage.start(**conf)
        stage.wait_for("running", "deferred", "success")  # before that there is no log
        stage.wait(lambda: ORDER_LINE in stage.log(), "the order in the ledger")
        stage.wait_for(state)
        if state == "success":
            stage.wait_for_end()
        stage.clear()
        stage.wait_for_end()

    return play


def marked_and_cleared(state: str, **conf: Any) -> Callable[[Stage], None]:
    """Mark the task as failed once it is in a state, and clear it then."""

    def play(stage: Stage) -> None:
        stage.start(**conf)
        stage.wait_for("running", "deferred", "success")  # before that there is no log
        stage.wait(lambda: ORDER_LINE in stage.log(), "the order in the ledger")
        stage.wait_for(state)
        stage.mark("failed")
        stage.wait_for_end()
        time.sleep(3)  # what was running notices it by its next heartbeat
        stage.clear()
        stage.wait_for_end()

    return play


def lost_and_cleared(stage: Stage) -> None:
    stage.emulator.arm("submit", "drop_reply")
    stage.start()
    stage.wait_for_end()
    stage.check(stage.failures() == 1, "an ambiguous submit is retried by Airflow")
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


ATTEMPTS = [
    Scenario(
        "changed parameters on a retry",
        "killed before deferring; the template renders to another prompt on each try",
        changed_on_a_retry,
    ),
    Scenario(
        "clear while deferred",
        "cleared while it waits: the same request is taken up",
        cleared_when("deferred"),
    ),
    Scenario(
        "clear while deferred, with another prompt",
        "cleared while it waits, and the prompt has changed: what is wanted now is ordered",
        cleared_when("deferred", varies="yes"),
        orders=2,
        billed=2,
        ledger_path=True,
    ),
    Scenario(
        "clear while running",
        "cleared while it waits on the worker",
        cleared_when("running", deferrable="False"),
        failures=None,
        # Long enough that the clear falls into it: once it is delivered, a clear asks for a new clip.
        options={"render_seconds": 20.0},
    ),
    Scenario(
        "clear while running, with a ledger_path in S3 alone",
        "cleared while it waits on the worker; the record lies on an S3 server and nowhere else",
        cleared_when("running", deferrable="False", state_store="False"),
        failures=None,
        in_s3=True,
        options={"render_seconds": 20.0},
    ),
    Scenario("clear after success", "cleared once it is done: a new clip", cleared_when("success"), 2, 2, long=True),
    Scenario(
        "clear after an ambiguous submit",
        "the reply is lost, the user reads the report and clears",
        lost_and_cleared,
        orders=2,
        billed=2,
        failures=1,
    ),
    Scenario(
        "marked failed while deferred, then cleared",
        "a user marks the waiting task as failed and clears it later",
        marked_and_cleared("deferred"),
        long=True,
    ),
    Scenario(
        "marked failed while running, then cleared",
        "a user marks the task that waits on the worker as failed and clears it later",
        marked_and_cleared("running", deferrable="False"),
        failures=None,
        options={"render_seconds": 20.0},
        long=True,
    ),
    Scenario(
        "resubmit an ambiguous submit",
        'the reply is lost, on_ambiguous_submit="resubmit"',
        suffers("submit", "drop_reply", {}, on_ambiguous_submit="resubmit"),
        orders=2,
        billed=2,
        failures=1,
    ),
    Scenario("without waiting", "wait_for_completion=False", plays(wait="False")),
    Scenario(
        "kill -9 without waiting",
        "wait_for_completion=False, killed between 'delivered' and Airflow's success",
        plays(wait="False", dies="after delivered"),
        long=True,
    ),
    Scenario(
        "the wait runs out, the retry goes on",
        "timeout=5 s, the render takes 12",
        plays(timeout="5"),
        failures=None,
        options={"render_seconds": 12.0},
    ),
    Scenario(
        "the render fails, the retry orders anew",
        "the vendor fails a render with 003005095, which isn't billed",
        failing_renders("003005095"),
        orders=2,
        failures=1,
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
]
