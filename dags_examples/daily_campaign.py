"""Every day, render the campaign's clips and keep them with a manifest each.

One task renders one prompt, so a failed clip is retried by itself; while a clip renders, no
worker is held. Set up a ``spark_dance`` connection named ``spark_dance_default`` first.

The films, their last frames and manifests go to a folder of the day in the Airflow variable ``campaign_folder``: an
absolute path that every worker sees, or a URL such as ``s3://aws_default@bucket/campaign``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag, task

from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator

CLIPS = [
    {"prompt": "Sunrise over a terraced tea garden, mist in the valleys, slow drone flight", "duration": 3},
    {"prompt": "A ceramic cup fills with green tea, macro, steam in warm back light", "duration": 2, "ratio": "1:1"},
    {"prompt": "清晨的茶园，采茶人走过薄雾，电影感镜头", "duration": 2, "ratio": "9:16"},
]


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=2), "retry_exponential_backoff": True},
    tags=["spark-dance"],
    doc_md=__doc__,
)
def daily_campaign() -> None:
    """Render and keep today's clips, and sum up what they are and cost."""
    clips = SparkDanceGenerateVideoOperator.partial(
        task_id="render",
        resolution="480p",
        return_last_frame=True,
        save_to="{{ var.value.get('campaign_folder', '/tmp/spark-dance-campaign') }}/{{ ds_nodash }}",
        name="{{ '%02d' | format(ti.map_index) }}",
        max_active_tis_per_dagrun=5,
    ).expand_kwargs(CLIPS)

    @task
    def summary(clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
        clips = list(clips)
        for clip in clips:
            print(f"{clip['generation_id']}: {clip['video_path']}, {clip['cost_usd']} USD")  # noqa: T201 - to the log
        print(f"Together {sum(clip['cost_usd'] for clip in clips):.4f} USD")  # noqa: T201
        return clips

    summary(clips.output)  # type: ignore[arg-type]


daily_campaign()
