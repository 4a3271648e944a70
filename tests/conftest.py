"""Every run has an Airflow of its own: an empty home, and nothing of the caller's configuration."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from benchmarks.certificate import write_certificate
from tests.s3 import one_s3_server as one_s3_server
from tests.s3 import s3_server as s3_server

# How busy the machine is decides no test.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[name]
HOME = tempfile.mkdtemp(prefix="spark-dance-tests-")
os.environ["AIRFLOW_HOME"] = HOME


def pytest_configure(config: pytest.Config) -> None:
    signal.signal(signal.SIGTERM, end_in_order)
    # Airflow 3.1 reads a connection by way of its whole data model, which warns of itself with newer libraries;
    # so does its ObjectStoragePath.
    for quiet in (
        "ignore:The `airflow[.]:FutureWarning:airflow[.]",
        "ignore:The ``noload`` loader strategy:DeprecationWarning:airflow[.]",
        "ignore:in a future version of UPath:PendingDeprecationWarning",
        "ignore:Using Connection.from_json from `airflow.models`:DeprecationWarning:airflow[.]",
    ):
        config.addinivalue_line("filterwarnings", quiet)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and a certificate for this machine that nobody vouches for."""
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    write_certificate(path)
    return path


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


def end_in_order(_number: int, _frame: FrameType | None) -> NoReturn:
    """Let a run that is told to end take down what its fixtures have started, as Ctrl-C does."""
    raise KeyboardInterrupt
