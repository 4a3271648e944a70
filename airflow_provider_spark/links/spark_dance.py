"""A button on the task's page that opens the finished video."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey


class SparkDanceVideoLink(BaseOperatorLink):
    """Opens the video at the vendor's result URL, which the vendor lets expire within a day."""

    name = "Video"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the video's URL, nothing where the task has no video yet."""
        # It brings Airflow's data model along, which a DAG file needn't pay for.
        from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY, XCom

        result = XCom.get_value(ti_key=ti_key, key=XCOM_RETURN_KEY)
        url = result.get("video_url") if isinstance(result, dict) else None
        return url or ""
