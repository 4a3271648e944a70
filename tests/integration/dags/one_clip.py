"""One clip, everything about it from the run's conf."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import dag

from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={
        "connection": "spark_dance_default",
        "prompt": "a lighthouse",
        "duration": "2",
        "deferrable": "True",
        "wait": "True",
        "watermark": "",
        "first_frame": "",
    },
)
def one_clip() -> None:
    SparkDanceGenerateVideoOperator(
        task_id="render",
        prompt="{{ params.prompt }}",
        first_frame="{{ params.first_frame }}",
        resolution="480p",
        duration="{{ params.duration }}",
        watermark="{{ params.watermark }}",
        deferrable="{{ params.deferrable }}",
        wait_for_completion="{{ params.wait }}",
        spark_dance_conn_id="{{ params.connection }}",
    )


one_clip()
