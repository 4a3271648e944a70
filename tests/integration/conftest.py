"""A real Airflow and the emulator over a real socket, started once for all integration tests."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_spark.emulator import RunningEmulator, running_emulator
from demo.local_airflow import LocalAirflow, local_airflow
from tests.integration.redirecting_host import RedirectingHost, redirecting_host

KEY = "sk-integration-5f0c1d7e9a"
DAGS = Path(__file__).parent / "dags"
EXAMPLES = Path(__file__).parents[2] / "dags_examples"
BUNDLES = [
    {"name": name, "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {"path": str(path)}}
    for name, path in (("tests", DAGS), ("examples", EXAMPLES))
]
# A task that defers for less than about six seconds can lose a race inside Airflow: its worker
# reports the deferral up to five seconds late.
RENDER_SECONDS = 8.0


@pytest.fixture(scope="session")
def emulator() -> Iterator[RunningEmulator]:
    with running_emulator(api_key=KEY, render_seconds=RENDER_SECONDS, seed=1) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def wrong_host(emulator: RunningEmulator) -> Iterator[RedirectingHost]:
    with redirecting_host(emulator.base_url) as host:
        yield host


@dataclass
class Metrics:
    """What has arrived of Airflow's metrics, as StatsD lines."""

    port: int
    lines: list[str] = field(default_factory=list)

    def counted(self, name: str, **tags: str) -> list[float]:
        """Return what each line has added to a counter that has these tags."""
        found = []
        for line in list(self.lines):
            counter, _, rest = line.partition(":")
            known = set(counter.split(","))
            if f"airflow.{name}" in known and {f"{tag}={value}" for tag, value in tags.items()} <= known:
                amount, kind = rest.split("|")[:2]
                assert kind == "c"
                found.append(float(amount))
        return found


@pytest.fixture(scope="session")
def metrics() -> Iterator[Metrics]:
    """Yield a StatsD server."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        metrics = Metrics(listener.getsockname()[1])

        def listen() -> None:
            while datagram := listener.recv(65536):
                metrics.lines += datagram.decode().splitlines()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield metrics
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", listener.getsockname())
        thread.join()


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that the examples read from and write to."""
    return tmp_path_factory.mktemp("storage")


RUNNING = pytest.StashKey[LocalAirflow]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what Airflow said last where a test failed: its log is gone when the reader comes."""
    report = yield
    airflow = item.config.stash.get(RUNNING, None)
    if report.failed and airflow is not None:
        for name, server in airflow.servers.items():
            report.sections.append((f"the end of Airflow's log ({name})", server.last_lines(200)))
    return report


@pytest.fixture(scope="session")
def airflow(
    request: pytest.FixtureRequest,
    emulator: RunningEmulator,
    wrong_host: RedirectingHost,
    metrics: Metrics,
    storage: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalAirflow]:
    authority = emulator.base_url.removeprefix("http://")
    pace = {"poll_floor": 0.5, "poll_ceiling": 1}
    connections: dict[str, dict[str, Any]] = {
        # Pasted as people do: the word Bearer before it, a line break behind it.
        "SPARK_DANCE_DEFAULT": {"host": emulator.base_url, "password": f"Bearer {KEY}\n", "extra": pace},
        "WRONG_KEY": {"host": emulator.base_url, "password": "sk-of-somebody-else"},
        "BROKEN_KEY": {"host": emulator.base_url, "password": f"{KEY}\x07{KEY}"},
        "REDIRECTING": {"host": wrong_host.base_url, "password": KEY},
    }
    env = {
        f"AIRFLOW_CONN_{name}": json.dumps({"conn_type": "spark_dance", **fields})
        for name, fields in connections.items()
    }
    env["AIRFLOW_CONN_AS_URI"] = f"spark-dance://:{KEY}@{authority}/model?poll_floor=0.5&poll_ceiling=1"
    env |= {
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(metrics.port),
        "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",  # so that tags are shown
    }
    env["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(BUNDLES)
    for variable in ("CATALOGUE_FOLDER", "FILM_FOLDER"):
        env[f"AIRFLOW_VAR_{variable}"] = (storage / variable.lower()).as_uri()
    with local_airflow(tmp_path_factory.mktemp("airflow"), DAGS, env=env) as airflow:
        for dag_id in ("one_clip", "catalogue"):
            airflow.unpause(dag_id)
        request.config.stash[RUNNING] = airflow
        yield airflow
