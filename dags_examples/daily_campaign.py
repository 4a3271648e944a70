"""Every day, render the campaign's clips and keep them with a manifest.

One task renders one prompt, so a failed clip is retried by itself; while a clip renders, no
worker is held. Set up a ``spark_dance`` connection named ``spark_dance_default`` first.

The files go to the folder in the Airflow variable ``campaign_folder``, by default
``campaign`` below the folder that Airflow was started in.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from airflow.sdk import Variable, dag, task

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
    """Render today's clips and store a manifest of them."""
    clips = SparkDanceGenerateVideoOperator.partial(
        task_id="render",
        resolution="480p",
        return_last_frame=True,
        max_active_tis_per_dagrun=5,
    ).expand_kwargs(CLIPS)

    # The vendor's URLs die within a day, so the files are fetched at once.
    @task
    def download(clip: dict[str, Any], ds_nodash: str) -> dict[str, Any]:
        folder = Path(Variable.get("campaign_folder", default="campaign")) / ds_nodash
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{clip['map_index']:02}-{clip['generation_id']}.mp4"
        part = target.with_suffix(".part")
        with httpx.stream("GET", clip["video_url"], timeout=60) as response, part.open("wb") as file:
            response.raise_for_status()
            for chunk in response.iter_bytes():
                file.write(chunk)
        part.rename(target)
        return {**clip, "video_path": str(target.resolve())}

    @task
    def manifest(clips: list[dict[str, Any]]) -> str:
        clips = list(clips)
        for clip in clips:
            print(f"{clip['generation_id']}: {clip['video_path']}, {clip['cost_usd']} USD")  # noqa: T201 - to the log
        target = Path(clips[0]["video_path"]).with_name("manifest.json")
        target.write_text(json.dumps(clips, indent=2, ensure_ascii=False))
        return str(target)

    manifest(download.expand(clip=clips.output))  # type: ignore[arg-type]


daily_campaign()
