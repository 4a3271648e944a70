"""A spot of several shots: each starts at the last frame of the one before, and the end joins them into one film.

The two scenes render side by side, the shots of a scene one after the other. A shot that fails is tried again by
itself; nothing before it is ordered, or paid, twice. The film and its shots go to the folder in the Airflow variable
``film_folder``, such as ``s3://aws_default@marketing/films``. Joining needs the extra ``film``:
``pip install 'airflow-provider-spark[film]'``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag, task

from airflow_provider_spark.operators.storyboard import SparkDanceStoryboard

SHOTS = [
    {"scene": "garden", "prompt": "A tea garden at dawn, mist between the rows, slow drone flight", "seconds": 3},
    {"prompt": "The camera sinks down to a picker's hands among the leaves", "seconds": 2.4},
    {"scene": "table", "prompt": "{{ params.product }} on a wooden table, steam in warm back light", "seconds": 2},
]


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 3, "retry_delay": timedelta(minutes=2), "retry_exponential_backoff": True},
    params={"product": "A cup of green tea"},
    tags=["spark-dance"],
    doc_md=__doc__,
)
def storyboard() -> None:
    """Render the shots of a spot and join them."""
    spot = SparkDanceStoryboard(
        "spot",
        shots=SHOTS,
        resolution="480p",
        ratio="16:9",
        save_to="{{ var.value.film_folder }}",
        name="tea-{{ ds_nodash | default('spot') }}",
        max_total_cost_usd=2,
    )

    @task
    def premiere(film: dict[str, Any]) -> str:
        return f"{film['duration']} s at {film['film_path']}, for {film['cost_usd']} USD"

    premiere(spot.output)  # type: ignore[arg-type]


storyboard()
