"""Clips that have the night to render, at half the price.

The tier ``flex`` costs half and may take hours. No worker waits for it: the tasks are deferred, and the triggerer
asks ever more rarely. What isn't ready after eight hours is given up by the vendor, and isn't billed. An order whose
estimate is above ``max_cost_usd`` isn't made. The clips go to ``overnight`` in the folder that the Airflow variable
``film_folder`` names, such as ``s3://aws_default@marketing/films``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag, task

from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator

PROMPTS = [
    "Rain on a window at night, the lights of a city out of focus behind it",
    "A lighthouse turns above a calm sea, long exposure, stars move slowly",
]


@dag(
    schedule="0 20 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10), "retry_exponential_backoff": True},
    tags=["spark-dance"],
    doc_md=__doc__,
)
def overnight_flex() -> None:
    """Render tonight's clips and say in the morning what they cost."""
    clips = SparkDanceGenerateVideoOperator.partial(
        task_id="render",
        service_tier="flex",
        execution_expires_after=8 * 3600,
        resolution="480p",
        duration=2,
        max_cost_usd=0.05,
        save_to="{{ var.value.film_folder }}/overnight",
    ).expand(prompt=PROMPTS)

    # It runs whatever became of the clips, and fails with them: else a night without a clip would look like a good one.
    @task(trigger_rule="all_done", retries=0)
    def bill(clips: Iterable[dict[str, Any]]) -> float:
        done = list(clips)
        cost = round(sum(clip["cost_usd"] or 0 for clip in done), 6)
        print(f"{len(done)} of {len(PROMPTS)} clips are done, for {cost} USD")  # noqa: T201 - to the log
        if len(done) < len(PROMPTS):
            raise RuntimeError(f"{len(PROMPTS) - len(done)} clips aren't there; their tasks' logs say why")
        return cost

    bill(clips.output)  # type: ignore[arg-type]


overnight_flex()
