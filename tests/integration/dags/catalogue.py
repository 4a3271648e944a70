"""A clip for each row of a CSV file, mapped at run time."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

from airflow.sdk import dag, task

from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator

ROWS = """prompt,duration,frames,watermark,seed
a red kite,2,,true,7
a blue kite,,29,False,None
"""


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))
def catalogue() -> None:
    @task
    def rows() -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(ROWS)))

    @task
    def collect(clips: list[dict[str, object]]) -> list[dict[str, object]]:
        return list(clips)

    clips = SparkDanceGenerateVideoOperator.partial(task_id="render", resolution="480p").expand_kwargs(rows())
    collect(clips.output)  # type: ignore[arg-type]


catalogue()
