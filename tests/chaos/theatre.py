"""Plays the scenarios, as many at a time as don't disturb each other, and tells how they ended."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.local_airflow import PARTS, LocalAirflow, local_airflow
from tests.chaos.scenarios import HAS_TASK_STATE_STORE, Scenario
from tests.chaos.scenarios.secrets import KEY, leaks
from tests.chaos.stage import Outcome, Stage, Watch, environment
from tests.s3 import S3Server, running_s3, s3_path

DAGS = Path(__file__).parent / "dags"
# A task that defers for less than about six seconds can lose a race inside Airflow.
RENDER_SECONDS = 8.0
SEED = 3
# More at a time only wait for each other on two cores.
AT_A_TIME = 16
# How long what has ended is away at least.
AWAY_SECONDS = 2.0


@dataclass(frozen=True)
class Report:
    """How a scenario ended; ``outcome`` is ``None`` where it didn't."""

    scenario: Scenario
    outcome: Outcome | None
    problems: tuple[str, ...]
    seconds: float

    @property
    def verdict(self) -> str:
        """In a word, or why not."""
        return "; ".join(self.problems) or "ok"


@dataclass
class Theatre:
    """A running Airflow, and a stage for each scenario."""

    home: Path
    airflow: LocalAirflow
    stages: dict[str, Stage]
    closing: threading.Event
    s3: S3Server

    def play(self, scenarios: Sequence[Scenario], *, told: Callable[[Report], None] = lambda _: None) -> list[Report]:
        """Play all scenarios: first those that get along with each other, then the others one by one."""
        together = [one for one in scenarios if not one.alone]
        alone = [one for one in scenarios if one.alone]

        def play(scenario: Scenario) -> Report:
            report = self._play(scenario)
            told(report)
            return report

        reports: list[Report] = []
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            try:
                reports += pool.map(play, together)
            except BaseException:
                self.closing.set()
                raise
        return reports + [play(one) for one in alone]

    def leaks(self) -> list[str]:
        """Return where a secret got out, in all that was written and is shown."""
        return leaks(self.airflow, (self.home / "airflow", self.home / "ledgers"), self.s3.objects())

    def _play(self, scenario: Scenario) -> Report:
        stage = self.stages[scenario.name]
        if self.closing.is_set():
            raise InterruptedError(scenario.name)
        begun = time.monotonic()
        outcome = None
        problems: list[str] = []
        try:
            scenario.play(stage)
            outcome = stage.outcome()
            problems = scenario.judge(outcome)
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}")
        return Report(scenario, outcome, (*problems, *stage.problems), time.monotonic() - begun)


def set_stages(home: Path, scenarios: Sequence[Scenario]) -> dict[str, Stage]:
    """Return a stage for each scenario, by its name."""
    stages = {}
    for number, scenario in enumerate(scenarios):
        connection = "chaos_" + re.sub(r"\W+", "_", scenario.name).lower()
        options = {"api_key": KEY, "render_seconds": RENDER_SECONDS, "seed": SEED + number, **scenario.options}
        if options.get("state_dir"):
            options["state_dir"] = home / "vendors" / connection
        ledger: Path | str | None = None
        if scenario.in_s3:
            ledger = s3_path(connection)
        elif scenario.ledger_path or not HAS_TASK_STATE_STORE:
            ledger = home / "ledgers" / connection
        stages[scenario.name] = Stage(
            scenario.name, connection, options, ledger, scenario.password or KEY, scenario.extra
        )
    return stages


class Keeper(threading.Thread):
    """Starts again what has ended, as systemd or Kubernetes do: what was killed, and what SQLite's lock has ended."""

    def __init__(self, airflow: LocalAirflow, closing: threading.Event) -> None:
        super().__init__(name="keeper", daemon=True)
        self._airflow = airflow
        self._closing = closing

    def run(self) -> None:
        while not self._closing.wait(AWAY_SECONDS):
            for part, server in list(self._airflow.servers.items()):
                if not server.is_running and not self._closing.wait(AWAY_SECONDS):
                    self._airflow.start(part)


@contextmanager
def theatre(home: Path, stages: Mapping[str, Stage], *, python: str = sys.executable) -> Iterator[Theatre]:
    """Start an Airflow with these stages, and end all of it.

    :param home: an empty folder, or that of a theatre that has ended.
    :param python: the Python that Airflow is installed for.
    """
    with ExitStack() as ending:
        for stage in stages.values():
            if stage.is_away:
                stage.start_emulator()
            ending.callback(stage.stop_emulator)
        s3 = ending.enter_context(running_s3())
        env = environment(stages.values()) | s3.env
        airflow = ending.enter_context(local_airflow(home / "airflow", DAGS, env=env, parts=PARTS, python=python))
        watch = Watch(airflow)
        for stage in stages.values():
            stage.watch = watch
        for dag_id in ("chaos_one", "chaos_many", "chaos_hook"):
            airflow.unpause(dag_id)
        keeper = Keeper(airflow, watch.closing)
        keeper.start()
        ending.callback(keeper.join)
        ending.callback(watch.closing.set)
        yield Theatre(home, airflow, dict(stages), watch.closing, s3)


def table(reports: Sequence[Report]) -> str:
    """Return the reports as a table."""
    rows = [("scenario", "orders accepted", "billed", "result arrived", "reported", "failures", "verdict")]
    for report in reports:
        outcome = report.outcome
        numbers = (
            ("?",) * 5
            if outcome is None
            else (
                str(outcome.orders),
                str(outcome.billed),
                str(outcome.arrived) if outcome.arrived != 1 else "yes",
                str(outcome.ambiguous) if outcome.ambiguous != 1 else "ambiguous",
                str(outcome.failures),
            )
        )
        rows.append((report.scenario.name, *numbers, report.verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines[:1])), *lines[1:]])
