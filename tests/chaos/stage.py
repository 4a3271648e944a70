"""Where a scenario plays: an Airflow that all of them share, and an emulator and a connection of its own for each."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from airflow_provider_spark.emulator import RunningEmulator, running_emulator
from demo.local_airflow import LocalAirflow

ENDS = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
# How old the shared look at all task instances may be, in seconds: a look costs Airflow more than most scenarios do.
FRESH = 1.0
PATIENCE = 300.0
AMBIGUOUS = "SparkDanceAmbiguousSubmitError"
TASK = "render"

Instance = dict[str, Any]


class Watch:
    """The state of all task instances, read for all scenarios at once."""

    def __init__(self, airflow: LocalAirflow) -> None:
        self.writing = threading.Lock()
        """Held while Airflow is asked to change something: SQLite takes one writer at a time."""
        self.airflow = airflow
        self.closing = threading.Event()
        """Set once no one waits any more."""
        self._lock = threading.Lock()
        self._read_at = 0.0
        self._runs: dict[str, list[Instance]] = {}

    def instances(self, run_id: str) -> list[Instance]:
        """Return a run's task instances."""
        with self._lock:
            if time.monotonic() - self._read_at > FRESH:
                self._look()
            return self._runs.get(run_id, [])

    def forget(self) -> None:
        """Look anew the next time: something was done that changes states at once."""
        with self._lock:
            self._read_at = 0.0

    def _look(self) -> None:
        try:
            found = self.airflow.call("GET", "dags/~/dagRuns/~/taskInstances", params={"limit": 1000})
        except httpx.HTTPError:
            # A scenario has taken the API server or its database away.
            self._read_at = time.monotonic()
            return
        assert found["total_entries"] <= 1000
        runs: dict[str, list[Instance]] = {}
        for instance in found["task_instances"]:
            runs.setdefault(instance["dag_run_id"], []).append(instance)
        self._runs, self._read_at = runs, time.monotonic()


@dataclass(frozen=True)
class Outcome:
    """What became of a scenario's renders, as the vendor and Airflow tell it.

    :param orders: how many orders the emulator accepted.
    :param billed: how many of them it bills.
    :param arrived: how many results Airflow has that name one of these orders.
    :param ambiguous: how many task instances ended by reporting an ambiguous submit.
    :param state: how the task ended; of a mapped one how each did, in short.
    :param failures: how many tries ended with an exception; of a mapped task's clips the most.
    """

    orders: int
    billed: int
    arrived: int
    ambiguous: int
    state: str
    failures: int


@dataclass
class Stage:
    """One scenario's world."""

    name: str
    connection: str
    options: dict[str, Any]
    ledger: Path | str | None
    password: str
    extra: dict[str, Any]
    port: int = 0
    problems: list[str] = field(default_factory=list)
    runs: list[tuple[str, str]] = field(default_factory=list)
    watch: Watch = field(init=False)
    _ending: ExitStack = field(default_factory=ExitStack)
    _emulator: RunningEmulator | None = None

    @property
    def airflow(self) -> LocalAirflow:
        """The Airflow that all scenarios share."""
        return self.watch.airflow

    @property
    def emulator(self) -> RunningEmulator:
        """The vendor's stand-in."""
        assert self._emulator is not None, "the vendor is away"
        return self._emulator

    @property
    def is_away(self) -> bool:
        """Whether the vendor doesn't listen."""
        return self._emulator is None

    def start_emulator(self) -> None:
        """Let the vendor listen, always on the same port."""
        self._emulator = self._ending.enter_context(running_emulator(port=self.port, **self.options))
        self.port = int(self._emulator.base_url.rpartition(":")[2])

    def stop_emulator(self) -> None:
        """Take the vendor away."""
        self._ending.close()
        self._emulator = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the connection."""
        extra = {"poll_floor": 0.5, "poll_ceiling": 1, "request_timeout": 3, **self.extra}
        if self.ledger:
            extra["ledger_path"] = str(self.ledger)
        return {
            "conn_type": "spark_dance",
            "host": self.emulator.base_url,
            "password": self.password,
            "extra": extra,
        }

    def check(self, holds: object, sentence: str) -> None:
        """Note a problem where something doesn't hold."""
        if not holds:
            self.problems.append(sentence)

    def start(self, dag_id: str = "chaos_one", run_id: str | None = None, **conf: Any) -> str:
        """Start a run."""
        body: dict[str, Any] = {"logical_date": None, "conf": {"connection": self.connection, **conf}}
        if run_id:
            body["dag_run_id"] = run_id
        run: str = self._changing(lambda: self.airflow.call("POST", f"dags/{dag_id}/dagRuns", json=body))["dag_run_id"]
        self.runs.append((dag_id, run))
        return run

    @property
    def dag_id(self) -> str:
        """The DAG of the run."""
        return self.runs[-1][0]

    @property
    def run_id(self) -> str:
        """The run that was started last."""
        return self.runs[-1][1]

    def instance(self) -> Instance:
        """Return the clip as it is now."""
        return next((one for one in self.instances() if one["map_index"] == -1), {"state": None, "try_number": 0})

    def instances(self) -> list[Instance]:
        """Return the run's clips."""
        return [one for one in self.watch.instances(self.run_id) if one["task_id"] == TASK]

    def wait(self, until: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Wait until something holds.

        :raises TimeoutError: it doesn't.
        """
        deadline = time.monotonic() + timeout
        while not until():
            if self.watch.closing.is_set():
                raise InterruptedError(what)
            if time.monotonic() > deadline:
                states = {one["state"] for one in self.watch.instances(self.run_id)} if self.runs else set()
                raise TimeoutError(f"{what}: not after {timeout:.0f} s (states: {states})")
            time.sleep(0.5)

    def wait_for(self, *states: str, timeout: float = PATIENCE) -> None:
        """Wait until the clip is in one of these states."""
        self.wait(lambda: self.instance()["state"] in states, " or ".join(states), timeout)

    def wait_for_line(self, text: str) -> None:
        """Wait until the running try has logged a text."""
        self.wait_for("running")
        self.wait(lambda: text in self.log(), f"{text!r} in the log")

    def wait_for_end(self, timeout: float = PATIENCE) -> None:
        """Wait until every task of the run has ended."""

        def has_ended() -> bool:
            found = self.watch.instances(self.run_id)
            return bool(found) and all(one["state"] in ENDS for one in found)

        self.wait(has_ended, "the end of the run's tasks", timeout)
        # A clear that comes before the scheduler has ended the run too would be lost on it.
        self.wait(self._run_has_ended, "the end of the run")

    def _run_has_ended(self) -> bool:
        try:
            return self.airflow.run_state(self.dag_id, self.run_id) in ("success", "failed")
        except httpx.HTTPError:
            return False

    def wait_for_orders(self, count: int) -> None:
        """Wait until the vendor has accepted so many orders."""
        self.wait(lambda: self.orders() >= count, f"{count} orders")

    def clear(self) -> None:
        """Clear the clip."""
        self._changing(lambda: self.airflow.clear(self.dag_id, self.run_id, TASK))

    def mark(self, state: str) -> None:
        """Mark the clip."""
        self._changing(lambda: self.airflow.mark(self.dag_id, self.run_id, TASK, state))

    def _changing(self, change: Callable[[], Any]) -> Any:
        """Ask Airflow to change something, one scenario at a time."""
        with self.watch.writing:
            try:
                return change()
            finally:
                self.watch.forget()

    def orders(self) -> int:
        """Return how many orders the vendor has accepted."""
        accepted: int = self.emulator.stats()["submits_accepted"]
        return accepted

    def result(self) -> Any:
        """Return what the clip has left in XCom."""
        return self.airflow.xcom(self.dag_id, self.run_id, TASK)

    def log(self, try_number: int | None = None, map_index: int = -1) -> str:
        """Return the log of a try, the last one unless told."""
        if try_number is None:
            try_number = self.instance()["try_number"]
        return self.airflow.log(self.dag_id, self.run_id, TASK, try_number, map_index)

    def logs(self) -> str:
        """Return the logs of all tries so far."""
        return "\n".join(self.log(number) for number in range(1, self.instance()["try_number"] + 1))

    def outcome(self) -> Outcome:
        """Return what became of it all."""
        self.emulator.clock.advance(3600)  # so that every render has ended and what is billed stands
        stats = self.emulator.stats()
        generations = stats["generations"]
        instances = self.instances()
        if self.dag_id == "chaos_many":
            results = self.airflow.xcom(self.dag_id, self.run_id, "collect") or []
        else:
            results = [result] if (result := self.result()) else []
        delivered = {result["generation_id"] for result in results}
        self.check(delivered <= generations.keys(), f"results name orders that the vendor never took: {delivered}")
        self.check(len(delivered) == len(results), "two results name the same order")
        states: dict[str, int] = {}
        for one in instances:
            states[one["state"]] = states.get(one["state"], 0) + 1
        shown = next(iter(states)) if len(instances) == 1 else ", ".join(f"{n} {s}" for s, n in sorted(states.items()))
        failed = [one for one in instances if one["state"] == "failed"]
        ambiguous = sum(AMBIGUOUS in self.log(one["try_number"], one["map_index"]) for one in failed)
        return Outcome(
            orders=len(generations),
            billed=sum(generation["billed_usd"] > 0 for generation in generations.values()),
            arrived=len(delivered),
            ambiguous=ambiguous,
            state=shown,
            failures=max(self.failures(one["map_index"]) for one in instances),
        )

    def failures(self, map_index: int = -1) -> int:
        """Count the tries that ended with an exception.

        Airflow's own count of tries says less: on a busy machine it goes up by itself now and then.
        """
        folder = self.airflow.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}" / f"task_id={TASK}"
        if map_index >= 0:
            folder /= f"map_index={map_index}"
        tries = [path for path in folder.glob("attempt=*.log") if path.stem.partition("=")[2].isdigit()]
        return sum("Task failed with exception" in path.read_text() for path in tries)


@contextmanager
def locked_database(airflow: LocalAirflow) -> Iterator[None]:
    """Let no one else read or write Airflow's database."""
    with sqlite3.connect(airflow.home / "airflow.db", isolation_level=None, timeout=30) as database:
        database.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            database.execute("ROLLBACK")
    database.close()


def environment(stages: Iterable[Stage]) -> dict[str, str]:
    """Return the environment of an Airflow that has these stages' connections, and comes round to crashes soon."""
    env = {f"AIRFLOW_CONN_{stage.connection.upper()}": json.dumps(stage.fields()) for stage in stages}
    return env | {
        "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": "1000",
        "AIRFLOW__CORE__PARALLELISM": "6",
        "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "32",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
        # Less, and a scheduler on a busy machine takes itself for dead.
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "60",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }
