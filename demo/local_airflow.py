"""A real Airflow on this machine that starts from nothing and leaves nothing: ``airflow standalone``, SQLite."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from demo.processes import Server, free_port

START_TIMEOUT = 180.0
USER = "admin"
# Seconds after each answer of a database that is locked.
LOCKED_PAUSES = (0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0)
# What `airflow standalone` starts, and what can be started one by one instead.
PARTS = ("api-server", "scheduler", "triggerer", "dag-processor")


@dataclass
class LocalAirflow:
    """A running Airflow, spoken to over its REST API."""

    home: Path
    port: int
    password: str
    servers: dict[str, Server]
    environment: Mapping[str, str] = field(repr=False)
    python: str
    api: httpx.Client = field(repr=False)

    @property
    def url(self) -> str:
        """Where the web UI is."""
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """Call ``/api/v2`` and return the JSON reply.

        A 500 is asked again a few times: that is how Airflow answers where another writer has locked its SQLite for
        too long, and then nothing was done.

        :raises httpx.HTTPStatusError: the answer is an error.
        """
        for pause in LOCKED_PAUSES:
            response = self.api.request(method, f"/api/v2/{path}", **kwargs)
            if response.status_code != 500:
                break
            time.sleep(pause)
        response.raise_for_status()
        return response.json() if response.content else None

    def wait_for_dag(self, dag_id: str, *, timeout: float = 60.0) -> None:
        """Wait until the DAG file is parsed."""
        deadline = time.monotonic() + timeout
        while True:
            errors = self.call("GET", "importErrors")["import_errors"]
            if errors:
                raise RuntimeError("\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors))
            if self.api.get(f"/api/v2/dags/{dag_id}").status_code == 200:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"Airflow hasn't parsed the DAG {dag_id} after {timeout:g} s")
            time.sleep(0.3)

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG."""
        self.wait_for_dag(dag_id)
        self.call("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run and return its id."""
        run = self.call("POST", f"dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": dict(conf or {})})
        run_id: str = run["dag_run_id"]
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        state: str = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout: float = 180.0) -> str:
        """Wait for a run's end and return its state."""
        deadline = time.monotonic() + timeout
        while (state := self.run_state(dag_id, run_id)) not in {"success", "failed"}:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{dag_id} {run_id} is still {state} after {timeout:g} s")
            time.sleep(0.3)
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return a run's task instances, mapped ones each."""
        tasks = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", params={"limit": 1000})
        instances: list[dict[str, Any]] = tasks["task_instances"]
        return sorted(instances, key=lambda ti: (ti["task_id"], ti["map_index"]))

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return a value that a task pushed, ``None`` where it pushed none."""
        response = self.api.get(
            f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}",
            params={"map_index": map_index, "deserialize": False},
        )
        if response.status_code == 404:
            return None
        response.raise_for_status()
        value = response.json()["value"]
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            return value

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """Return the log of a try, an event a line."""
        reply = self.call(
            "GET",
            f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}",
            params={"map_index": map_index, "full_content": True},
            headers={"Accept": "application/json"},
        )
        return "\n".join(json.dumps(event, ensure_ascii=False) for event in reply["content"])

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task of a run, whatever its state, so that it runs again."""
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": [task_id]}
        self.call("POST", f"dags/{dag_id}/clearTaskInstances", json=body)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task of a run as ``failed`` or ``success``."""
        self.call("PATCH", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", json={"new_state": state})

    def start(self, part: str) -> None:
        """Start a part; its output goes to a file of its own."""
        command = [self.python, "-m", "airflow", part]
        log = self.home / ("airflow.log" if part == "standalone" else f"airflow-{part}.log")
        self.servers[part] = Server(command, log=log, env=self.environment)

    def stop(self) -> None:
        """End all parts."""
        for server in self.servers.values():
            server.terminate()
        for server in self.servers.values():
            server.stop()

    def has_failed(self) -> bool:
        """Whether a part has ended by itself."""
        return not all(server.is_running for server in self.servers.values())

    def last_lines(self) -> str:
        """Return the end of what the parts have put out."""
        return "\n".join(server.last_lines() for server in self.servers.values())


@contextmanager
def local_airflow(
    home: Path,
    dags_folder: Path,
    *,
    port: int | None = None,
    env: Mapping[str, str] | None = None,
    parts: Sequence[str] = ("standalone",),
    python: str = sys.executable,
) -> Iterator[LocalAirflow]:
    """Start an Airflow, yield it once it is healthy, and end all of it.

    :param home: a folder for its database, logs and password, empty or of an Airflow that has ended.
    :param env: environment variables beside those of this process, such as connections.
    :param parts: :data:`PARTS` to start them one by one, so that each can be ended and started again.
    :param python: the Python that Airflow is installed for.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    password = secrets.token_urlsafe(9)
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({USER: password}))
    # What a shell has set for another Airflow must not reach this one.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment = inherited | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "PATH": os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", "")]),
        # Calls between the parts of this Airflow must not go through a proxy.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        **(env or {}),
    }
    if "standalone" not in parts:
        # Each part would make up its own.
        environment |= {"AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32), **(env or {})}
        migrate = [python, "-m", "airflow", "db", "migrate"]
        with (home / "airflow-db.log").open("ab") as output:
            subprocess.run(migrate, env=environment, stdout=output, stderr=output, check=True, timeout=START_TIMEOUT)
    with ExitStack() as ending:
        api = ending.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False))
        airflow = LocalAirflow(home, port, password, {}, environment, python, api)
        ending.callback(airflow.stop)
        for part in parts:
            airflow.start(part)
        _wait_until_healthy(airflow)
        token = api.post("/auth/token", json={"username": USER, "password": password})
        token.raise_for_status()
        api.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        yield airflow


def _wait_until_healthy(airflow: LocalAirflow) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        if airflow.has_failed():
            raise RuntimeError(f"Airflow ended while it was starting:\n{airflow.last_lines()}")
        try:
            health = airflow.api.get("/api/v2/monitor/health").json()
        except (httpx.TransportError, ValueError):
            health = {}
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        if all((health.get(part) or {}).get("status") == "healthy" for part in parts):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"Airflow isn't healthy after {START_TIMEOUT:g} s:\n{airflow.last_lines()}")
        time.sleep(0.3)
