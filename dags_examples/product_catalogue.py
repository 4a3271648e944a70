"""A clip for each product of a catalogue, started from the product's picture.

The catalogue is a folder in object storage, named by the Airflow variable ``catalogue_folder`` (such as
``s3://aws_default@shop/catalogue``). In it lie ``products.csv``, with the columns ``sku``, ``name``, ``picture`` and
``seconds`` (which may be empty), and the pictures. The clips go to ``clips`` below it.

Before anything is ordered, the rows are checked and their estimates added up: above ``max_total_cost_usd`` nothing is
rendered. A row that can't be right is left out, a clip that the vendor's moderation refuses is skipped, and the
task ``clips.summary`` has a row for every one of them with what it cost and why it has no video.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import ObjectStoragePath, Variable, dag, task

from airflow_provider_spark.operators.batch import SparkDanceBatch


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=2), "retry_exponential_backoff": True},
    tags=["spark-dance"],
    doc_md=__doc__,
)
def product_catalogue() -> None:
    """Render a clip for each product."""

    @task
    def products() -> list[dict[str, str]]:
        folder = ObjectStoragePath(Variable.get("catalogue_folder"))
        # Only the pictures' addresses travel through XCom; each is opened by its own render.
        return [
            {
                "sku": product["sku"],
                "prompt": f"{product['name']} turns slowly on a white table, soft light of a studio, macro",
                "first_frame": str(folder / product["picture"]),
                "seconds": product["seconds"],
            }
            for product in csv.DictReader((folder / "products.csv").read_text().splitlines())
        ]

    clips = SparkDanceBatch(
        "clips",
        rows=products(),
        label_column="sku",
        resolution="480p",
        duration=2,
        on_moderation="skip",
        save_to="{{ var.value.catalogue_folder }}/clips",
        max_total_cost_usd=20,
        max_active_tis_per_dagrun=5,
    )

    # By default a task is skipped where any of its upstream is, so one clip that moderation refused would take the
    # others with it. With none_failed it gets the results that there are.
    @task(trigger_rule="none_failed")
    def shop_window(clips: Iterable[dict[str, Any]]) -> list[str]:
        return [clip["video_path"] for clip in clips]

    shop_window(clips.render.output)  # type: ignore[arg-type]


product_catalogue()
