"""What a DAG file pays for with the import of the operators."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OPERATORS = [f"airflow_provider_spark.operators.{name}" for name in ("spark_dance", "storyboard", "film", "batch")]
CODE = """
import importlib
import sys
from airflow.providers.common.compat.sdk import BaseOperator, BaseHook, BaseOperatorLink
from airflow.triggers.base import BaseTrigger
known = set(sys.modules)
for module in sys.argv[1:]:
    importlib.import_module(module)
print(*sorted(set(sys.modules) - known))
"""


@pytest.fixture(scope="module")
def added() -> list[str]:
    """The modules that the import of the operators adds to what Airflow has loaded for any deferrable operator."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *OPERATORS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


def test_brings_along_no_library_that_airflow_has_not_loaded(added: list[str]) -> None:
    packages = {name.partition(".")[0] for name in added} - set(sys.stdlib_module_names)
    assert packages <= {"airflow", "airflow_provider_spark"}


def test_brings_along_neither_the_emulator_nor_a_client(added: list[str]) -> None:
    ours = {name for name in added if name.startswith("airflow_provider_spark.")}
    assert "airflow_provider_spark.operators.spark_dance" in ours
    assert not any("emulator" in name or "client" in name for name in ours)


def test_brings_along_nothing_of_airflows_data_model(added: list[str]) -> None:
    assert not any(name.startswith(("airflow.models", "airflow.serialization")) for name in added)
