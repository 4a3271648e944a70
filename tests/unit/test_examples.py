"""What an Airflow makes of the examples when it reads them, without running any."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.serialization import serialized_objects

FOLDER = Path(__file__).parents[2] / "dags_examples"
FILES = sorted(FOLDER.glob("*.py"))
DAG_IDS = {
    "daily_campaign": ["daily_campaign"],
    "overnight_flex": ["overnight_flex"],
    "product_catalogue": ["product_catalogue"],
    "publish_when_ready": ["clip_of_the_day", "publish_when_ready"],
    "storyboard": ["storyboard"],
}
HEAVY = {"PIL", "aiohttp", "av"}


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def dags(file: Path) -> list[DAG]:
    """Read a file as Airflow does: by running it."""
    made: list[DAG] = []
    before: Any = DAG.__attrs_post_init__

    def noted(self: DAG) -> None:
        before(self)
        made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DAG, "__attrs_post_init__", noted)
        runpy.run_path(str(file))
    return made


def test_are_all_known_here() -> None:
    assert {file.stem for file in FILES} == set(DAG_IDS)


def test_can_be_read_and_stored_and_keep_all_their_tasks(file: Path) -> None:
    written = dags(file)
    assert [dag.dag_id for dag in written] == DAG_IDS[file.stem]
    found = vars(serialized_objects)
    serialization = found.get("DagSerialization") or found["SerializedDAG"]
    for dag in written:
        again = serialization.from_dict(json.loads(json.dumps(serialization.to_dict(dag))))
        assert set(again.task_dict) == set(dag.task_ids) != set()


def test_say_what_they_do_and_retry(file: Path) -> None:
    for dag in dags(file):
        assert dag.doc_md
        assert "spark-dance" in dag.tags
        assert dag.start_date is not None
        assert dag.default_args["retries"] == 3


def test_cost_no_more_to_read_than_the_operators_and_airflow(file: Path) -> None:
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert not loaded & HEAVY
