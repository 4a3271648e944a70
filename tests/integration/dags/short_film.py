"""Two shots and their film, retried once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag

from airflow_provider_spark.operators.storyboard import SparkDanceStoryboard


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))
def short_film() -> None:
    SparkDanceStoryboard(
        "film",
        shots=[{"prompt": "a shot that renders at once"}, {"prompt": "a shot that fails at first"}],
        seconds=2,
        resolution="480p",
        save_to="{{ var.value.film_folder }}",
        retries=1,
        retry_delay=timedelta(seconds=1),
    )


short_film()
