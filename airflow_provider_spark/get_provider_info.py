"""What Airflow reads first of the provider: plain data, no import that costs."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, as Airflow's ``provider_info.schema.json`` asks for it."""
    return {
        "package-name": "airflow-provider-spark",
        "name": "Spark Dance",
        "description": "Video generation with the Spark Dance 1.0 Pro API (Vtrix): order, wait, keep.",
        "integrations": [
            {
                "integration-name": "Spark Dance",
                "external-doc-url": "https://cloud.vtrix.ai",
                "tags": ["ai"],
            }
        ],
        "hooks": [
            {"integration-name": "Spark Dance", "python-modules": ["airflow_provider_spark.hooks.spark_dance"]},
        ],
        "operators": [
            {
                "integration-name": "Spark Dance",
                "python-modules": [
                    "airflow_provider_spark.operators.spark_dance",
                    "airflow_provider_spark.operators.batch",
                    "airflow_provider_spark.operators.download",
                    "airflow_provider_spark.operators.film",
                    "airflow_provider_spark.operators.storyboard",
                ],
            },
        ],
        "triggers": [
            {"integration-name": "Spark Dance", "python-modules": ["airflow_provider_spark.triggers.spark_dance"]},
        ],
        "extra-links": ["airflow_provider_spark.links.spark_dance.SparkDanceVideoLink"],
        "connection-types": [
            {
                "connection-type": "spark_dance",
                "hook-class-name": "airflow_provider_spark.hooks.spark_dance.SparkDanceHook",
                "hook-name": "Spark Dance",
                "ui-field-behaviour": {
                    "hidden-fields": ["login"],
                    "relabeling": {"password": "API key", "host": "Base URL", "schema": "Scheme"},
                    "placeholders": {
                        "host": "https://cloud.vtrix.ai",
                        "schema": "https",
                        "password": "the key, without Bearer",
                    },
                },
                "conn-fields": {
                    "request_timeout": {
                        "label": "Request timeout (seconds)",
                        "description": "How long one call may take; 30 unless set.",
                        "schema": {"type": ["number", "null"], "minimum": 0},
                    },
                    "price_per_million_tokens": {
                        "label": "Price per million tokens (USD)",
                        "description": "For estimates; 2.50 unless set. Flex counts half of it.",
                        "schema": {"type": ["number", "null"], "minimum": 0},
                    },
                    "poll_floor": {
                        "label": "Shortest time between polls (seconds)",
                        "description": "2 unless set.",
                        "schema": {"type": ["number", "null"], "minimum": 0},
                    },
                    "poll_ceiling": {
                        "label": "Longest time between polls (seconds)",
                        "description": "60 unless set; thirty times as much for the flex tier.",
                        "schema": {"type": ["number", "null"], "minimum": 0},
                    },
                    "max_requests_per_second": {
                        "label": "Most polls in a second",
                        "description": "For each triggerer; 50 unless set.",
                        "schema": {"type": ["number", "null"], "minimum": 0},
                    },
                    "ledger_path": {
                        "label": "Ledger folder",
                        "description": "Where orders are recorded so that no retry pays twice, beside Airflow's own "
                        "task state store (3.3 and later): e.g. s3://aws_default@bucket/folder.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "save_to": {
                        "label": "Folder for finished videos",
                        "description": "Where tasks that name none keep the video, its last frame and a manifest: e.g. "
                        "s3://aws_default@bucket/folder. Empty: nowhere, and the vendor's URLs end within a day.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "verify": {
                        "label": "Verify TLS",
                        "description": "true unless set; false, or the path of a CA bundle.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "proxy": {
                        "label": "Proxy URL",
                        "description": "For calls to the API, e.g. http://user:password@proxy:3128.",
                        "schema": {"type": ["string", "null"], "format": "password"},
                    },
                    "allow_http": {
                        "label": "Allow plain http",
                        "description": "Lets the key go out unencrypted; only for a trusted network.",
                        "schema": {"type": ["boolean", "null"], "default": False},
                    },
                },
            }
        ],
    }
