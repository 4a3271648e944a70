"""A real ``airflow triggerer`` that holds 2,000 triggers to their end; prints what it cost as JSON.

The triggers are fed through the metadata database, as a deferral leaves them: a row for each trigger and a deferred
task instance that waits for it. No worker process is needed for that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.server import COUNT, DONE_AT, SHARED_BYTES

TRIGGERS = 2000
INTERVAL = 10.0
DAG = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG("waits", schedule=None, catchup=False):
    EmptyOperator(task_id="render")
"""


def arguments_of(contender: str, number: int) -> tuple[str, dict[str, Any]]:
    now = time.time()
    if contender == "spark_dance":
        return "airflow_provider_spark.triggers.spark_dance.SparkDanceGenerationTrigger", {
            "generation_id": f"sd-{number}",
            "spark_dance_conn_id": "waits",
            "submitted_at": now,
            "deadline": now + 86_400,
            "shape": {"pixels": 1920 * 1088, "frames": 240, "tier": "default"},
            "poll": {"interval": INTERVAL},
        }
    return "airflow.providers.databricks.triggers.databricks.DatabricksExecutionTrigger", {
        "run_id": number,
        "databricks_conn_id": "waits",
        "polling_period_seconds": INTERVAL,
    }


def connection_of(contender: str, port: int) -> str:
    fields: dict[str, Any]
    if contender == "spark_dance":
        extra = {"max_requests_per_second": 1000}
        fields = {"conn_type": "spark_dance", "host": f"http://127.0.0.1:{port}", "password": "key", "extra": extra}
    else:
        fields = {"conn_type": "databricks", "host": "127.0.0.1", "port": port, "schema": "http", "password": "key"}
    return json.dumps(fields)


def feed(contender: str) -> None:
    """Leave deferred task instances and their triggers in the database."""
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagrun import DagRun
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from sqlalchemy import delete

    with create_session() as session:
        assert session.get(DagModel, "waits") is not None
        model = SerializedDagModel.get("waits", session=session)
        assert model is not None
        dag = model.dag
        version = DagVersion.get_latest_version("waits", session=session)
        assert version is not None
        from airflow.sdk import timezone

        run = DagRun(
            dag_id="waits",
            run_id="bench",
            run_type=DagRunType.MANUAL,
            state=DagRunState.RUNNING,
            triggered_by=DagRunTriggeredByType.TEST,
            run_after=timezone.utcnow(),
            start_date=timezone.utcnow(),
        )
        run.created_dag_version_id = version.id
        session.add(run)
        session.flush()
        session.execute(delete(TaskInstance).where(TaskInstance.dag_id == "waits"))
        task = dag.get_task("render")
        for number in range(TRIGGERS):
            path, kwargs = arguments_of(contender, number)
            trigger = Trigger(path, kwargs)
            session.add(trigger)
            session.flush()
            instance = TaskInstance(
                task, dag_version_id=version.id, run_id="bench", state=TaskInstanceState.DEFERRED, map_index=number
            )
            instance.trigger_id = trigger.id
            instance.next_method = "execute_complete"
            instance.try_number = 1
            session.add(instance)


def deferred() -> int:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import func, select

    with create_session() as session:
        waiting = select(func.count()).select_from(TaskInstance).where(TaskInstance.state == TaskInstanceState.DEFERRED)
        return int(session.scalar(waiting) or 0)


def family(pid: int) -> list[int]:
    """The process and all that came of it."""
    found = [pid]
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent in found:
                    found.append(int(folder.name))
    return found


def cost(pids: list[int]) -> tuple[float, float]:
    """Seconds of CPU so far, and megabytes that belong to these processes alone."""
    ticks, kilobytes = 0, 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
            for line in (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Private_Dirty"):
                    kilobytes += int(line.split()[1])
    return ticks / os.sysconf("SC_CLK_TCK"), kilobytes / 1024


@contextlib.contextmanager
def triggerer(core: int) -> Iterator[int]:
    log = (Path(os.environ["AIRFLOW_HOME"]) / "triggerer.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "airflow", "triggerer", "--capacity", str(TRIGGERS + 100)],
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    try:
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def measure(arguments: argparse.Namespace, shared: mmap.mmap) -> dict[str, float]:
    def polls() -> int:
        return int(COUNT.unpack_from(shared)[0])

    with triggerer(arguments.core) as pid:
        idle_at = time.monotonic() + 12
        while time.monotonic() < idle_at:
            time.sleep(0.5)
        _, idle_memory = cost(family(pid))
        feed(arguments.contender)
        fed = time.monotonic()
        while polls() < TRIGGERS and time.monotonic() < fed + 180:
            time.sleep(0.5)
        started = time.monotonic() - fed
        time.sleep(5)
        pids = family(pid)
        at, asked, (cpu, _) = time.monotonic(), polls(), cost(pids)
        time.sleep(arguments.seconds)
        took, asked = time.monotonic() - at, polls() - asked
        cpu_after, memory = cost(pids)
        shared[DONE_AT] = 1
        ended = time.monotonic()
        left = TRIGGERS
        while left and time.monotonic() < ended + 120:
            time.sleep(1)
            left = deferred()
        return {
            "started_s": started,
            "polls": asked,
            "pace_kept": asked / (took * TRIGGERS / INTERVAL),
            "ms_per_poll": 1000 * (cpu_after - cpu) / max(1, asked),
            "core_share": (cpu_after - cpu) / took,
            "idle_mb": idle_memory,
            "grown_mb": memory - idle_memory,
            "ended_s": time.monotonic() - ended,
            "lost": left,
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("contender", choices=["spark_dance", "databricks"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    signal.alarm(600)
    home = arguments.folder / "airflow"
    (home / "dags").mkdir(parents=True)
    (home / "dags" / "waits.py").write_text(DAG)
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_WAITS": connection_of(arguments.contender, arguments.port),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": "0",
    }
    for command in (["db", "migrate"], ["dags", "reserialize"]):
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "airflow", *command], check=True, capture_output=True, timeout=180
        )
    with (arguments.folder / "shared").open("r+b") as file:
        shared = mmap.mmap(file.fileno(), SHARED_BYTES)
    print(json.dumps(measure(arguments, shared)), flush=True)


if __name__ == "__main__":
    main()
