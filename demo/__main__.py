"""``python -m demo``: the scheduled campaign on a real Airflow against the emulator."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import httpx

from demo.display import Display, results_table
from demo.local_airflow import USER, LocalAirflow, local_airflow
from demo.processes import Server, is_port_free, python_module

CHECKOUT = Path(__file__).parent.parent
DAG_ID = "daily_campaign"
LAST_TASK = "summary"
API_KEY = "emulator-key"
# Long enough to watch: the emulator could be done before Airflow has shown the task as waiting.
RENDER_SECONDS = 15
RUN_TIMEOUT = 300.0
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(Exception):
    """Ends the demo with a sentence for its user."""


def main() -> int:
    """Run the demo; the exit code says whether the campaign succeeded."""
    options = _options()
    for number in ENDING_SIGNALS:
        signal.signal(number, _interrupt)
    display = Display()
    try:
        _check_ports(options)
        with tempfile.TemporaryDirectory(prefix="spark-dance-demo-") as folder:
            _demo(options, Path(folder), display)
    except KeyboardInterrupt:
        display.say("Interrupted. Everything that was started has been ended.")
        return 130
    except (DemoError, RuntimeError, TimeoutError, httpx.HTTPError) as error:
        display.say(f"The demo failed: {error}")
        return 1
    return 0


def _demo(options: argparse.Namespace, home: Path, display: Display) -> None:
    output = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    emulator_url = f"http://127.0.0.1:{options.emulator_port}"
    connection = {
        "conn_type": "spark_dance",
        "host": emulator_url,
        "password": API_KEY,
        "extra": {"poll_floor": 1, "poll_ceiling": 3},
    }
    env = {
        "AIRFLOW_CONN_SPARK_DANCE_DEFAULT": json.dumps(connection),
        "AIRFLOW_VAR_CAMPAIGN_FOLDER": str(output),
    }
    command = python_module(
        "airflow_provider_spark.emulator",
        *("--port", str(options.emulator_port), "--api-key", API_KEY),
        *("--render-seconds", str(RENDER_SECONDS), "--seed", "1"),
    )
    display.say("Starting the emulator and Airflow (about half a minute).")
    with (
        Server(command, log=home / "emulator.log") as emulator,
        local_airflow(home / "airflow", CHECKOUT / "dags_examples", port=options.airflow_port, env=env) as airflow,
        _uninterrupted_end(),
    ):
        if not emulator.is_running:
            raise DemoError(emulator.last_lines())
        # The scheduler makes the run of the day as soon as the DAG is unpaused; once paused again, it makes no other.
        airflow.unpause(DAG_ID)
        run_id = _scheduled_run(airflow)
        display.say(f"The scheduler has started {DAG_ID}, run {run_id}.")
        state = _watch(airflow, run_id, display)
        airflow.call("PATCH", f"dags/{DAG_ID}", json={"is_paused": True})
        if state != "success":
            raise DemoError(f"the run ended as {state!r}.\n{_failures(airflow, run_id)}")
        clips = airflow.xcom(DAG_ID, run_id, LAST_TASK)
        stats = httpx.get(f"{emulator_url}/_emulator/stats", trust_env=False).json()
        display.show(results_table(clips, billed_usd=float(stats["billed_usd"])))
        display.say(f"The MP4 files, last frames and manifests: {Path(clips[0]['video_path']).parent}")
        if options.stay:
            display.say(
                f"Airflow stays open at {airflow.url}/dags/{DAG_ID} (user {USER}, password {airflow.password})."
            )
            display.say(f"The emulator's counts are at {emulator_url}/_emulator/stats. End both with Ctrl-C.")
            while emulator.is_running and not airflow.has_failed():
                time.sleep(0.5)
            raise DemoError("Airflow or the emulator has ended by itself.")


def _scheduled_run(airflow: LocalAirflow) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for run in airflow.call("GET", f"dags/{DAG_ID}/dagRuns")["dag_runs"]:
            run_id: str = run["dag_run_id"]
            return run_id
        time.sleep(0.3)
    raise DemoError(f"the scheduler has made no run of {DAG_ID} within a minute.")


def _watch(airflow: LocalAirflow, run_id: str, display: Display) -> str:
    deadline = time.monotonic() + RUN_TIMEOUT
    with display.progress() as progress:
        while True:
            state = airflow.run_state(DAG_ID, run_id)
            progress.update(airflow.task_instances(DAG_ID, run_id))
            if state in {"success", "failed"}:
                return state
            if airflow.has_failed():
                raise DemoError(f"Airflow has ended by itself.\n{airflow.last_lines()}")
            if time.monotonic() > deadline:
                raise DemoError(f"the run isn't done after {RUN_TIMEOUT:g} s.\n{_failures(airflow, run_id)}")
            time.sleep(1)


def _failures(airflow: LocalAirflow, run_id: str) -> str:
    told = []
    for ti in airflow.task_instances(DAG_ID, run_id):
        if ti["state"] not in {"success", "upstream_failed", None}:
            log = airflow.log(DAG_ID, run_id, ti["task_id"], max(1, ti["try_number"]), ti["map_index"])
            told.append(f"{ti['task_id']} [{ti['map_index']}] is {ti['state']}:\n{log[-3000:]}")
    return "\n".join(told)


def _check_ports(options: argparse.Namespace) -> None:
    for name, port in (("Airflow", options.airflow_port), ("the emulator", options.emulator_port)):
        variable = "AIRFLOW_PORT" if name == "Airflow" else "EMULATOR_PORT"
        if not is_port_free(port):
            raise DemoError(
                f"port {port}, which {name} needs, is in use on this machine. "
                f"End what uses it, or take another: make demo {variable}={port + 1}"
            )


@contextmanager
def _uninterrupted_end() -> Iterator[None]:
    """Let nothing cut off the clean-up that follows."""
    try:
        yield
    finally:
        _ignore_signals()


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--airflow-port", type=int, default=8080, help="port of the web UI (%(default)s)")
    parser.add_argument("--emulator-port", type=int, default=8765, help="port of the emulator (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for the files (%(default)s)")
    parser.add_argument("--stay", action="store_true", help="leave the web UI open until Ctrl-C")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
