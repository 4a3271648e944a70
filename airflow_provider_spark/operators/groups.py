"""What the task groups of this provider have in common: one set of keyword arguments, for three kinds of things."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import TaskGroup

from airflow_provider_spark.operators import plan


def sorted_out(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell a task group's own arguments from those for its renders.

    What any Airflow task takes, such as ``retries``, becomes a default argument of the group.
    """
    of_groups = set(inspect.signature(TaskGroup).parameters) - {"group_id"}
    group = {name: value for name, value in parameters.items() if name in of_groups}
    for_tasks = {
        name: value
        for name, value in parameters.items()
        if name in plan.airflow_parameters() - of_groups - {"task_id", "task_group", "dag"}
    }
    renders = {name: value for name, value in parameters.items() if name not in group and name not in for_tasks}
    if for_tasks:
        group["default_args"] = for_tasks | (group.get("default_args") or {})
    return group, renders
