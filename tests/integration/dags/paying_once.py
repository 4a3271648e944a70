"""One clip that is retried once, with what it may cost and how it waits from the run's conf."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag

from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={
        "connection": "spark_dance_default",
        "prompt": "a lighthouse",
        "timeout": "",
        "deferrable": "true",
        "max_cost_usd": "",
        "on_moderation": "fail",
        "on_ambiguous_submit": "fail",
    },
)
def paying_once() -> None:
    SparkDanceGenerateVideoOperator(
        task_id="render",
        prompt="{{ params.prompt }}",
        resolution="480p",
        duration=2,
        timeout="{{ params.timeout }}",
        deferrable="{{ params.deferrable }}",
        max_cost_usd="{{ params.max_cost_usd }}",
        on_moderation="{{ params.on_moderation }}",
        on_ambiguous_submit="{{ params.on_ambiguous_submit }}",
        spark_dance_conn_id="{{ params.connection }}",
        retries=1,
        retry_delay=timedelta(seconds=1),
    )


paying_once()
