"""A DAG that starts when a video is ready, however long that takes.

The first DAG renders the clip of the day and lists an asset among the task's ``outlets``. Once the clip is there,
Airflow notes an event of that asset, with the render's result in it, and starts the second DAG, which waits for the
asset and for nothing else. It may be another team's, in another file. The clips go to ``of_the_day`` in the folder that
the Airflow variable ``film_folder`` names, such as ``s3://aws_default@marketing/films``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, dag, task

from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator

CLIP = Asset("clip_of_the_day")
DEFAULTS = {"retries": 3, "retry_delay": timedelta(minutes=2), "retry_exponential_backoff": True}


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["spark-dance"],
    doc_md=__doc__,
)
def clip_of_the_day() -> None:
    """Render the clip, and tell who waits for it."""
    SparkDanceGenerateVideoOperator(
        task_id="render",
        prompt="The tea of the day is poured into a glass cup, macro, morning light",
        resolution="480p",
        duration=2,
        save_to="{{ var.value.film_folder }}/of_the_day",
        outlets=[CLIP],
    )


@dag(
    schedule=[CLIP],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args=DEFAULTS,
    tags=["spark-dance"],
    doc_md=__doc__,
)
def publish_when_ready() -> None:
    """Publish the clip that has just been rendered."""

    @task
    def publish(triggering_asset_events: Any = None) -> dict[str, Any]:
        clip = triggering_asset_events[CLIP][-1].extra
        print(f"Publishing {clip['generation_id']}: {clip['video_path']}")  # noqa: T201 - to the log
        return dict(clip)

    publish()


clip_of_the_day()
publish_when_ready()
