"""What it costs a triggerer to load a trigger's module: seconds of CPU and memory, above Airflow's own."""

from __future__ import annotations

import argparse
import json
import time

MODULES = {
    "spark_dance": ["airflow_provider_spark.triggers.spark_dance"],
    "spark_dance, with its first wait": [
        "airflow_provider_spark.triggers.spark_dance",
        "airflow_provider_spark.polling.transport",
    ],
    "databricks": ["airflow.providers.databricks.triggers.databricks"],
    "anthropic": ["airflow.providers.anthropic.triggers.batch"],
    "openai": ["airflow.providers.openai.triggers.openai"],
    "dbt-cloud": ["airflow.providers.dbt.cloud.triggers.dbt"],
    "http": ["airflow.providers.http.triggers.http"],
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("contender", choices=MODULES)
    arguments = parser.parse_args()
    import importlib

    importlib.import_module("airflow.jobs.triggerer_job_runner")
    from benchmarks.waiting import memory

    before, cpu = memory(), time.process_time()
    for module in MODULES[arguments.contender]:
        importlib.import_module(module)
    print(
        json.dumps(
            {
                "import_ms": 1000 * (time.process_time() - cpu),
                "import_mb": (memory() - before) / 2**20,
                "triggerer_mb": before / 2**20,
            }
        )
    )


if __name__ == "__main__":
    main()
