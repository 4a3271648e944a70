from __future__ import annotations

from typing import Any

from airflow_provider_spark.ledger.decision import Attempt
from airflow_provider_spark.ledger.order import Order
from airflow_provider_spark.ledger.record import Failure, Record, State

FINGERPRINT = {"connection": "c0", "base_url": "b0", "prompt": "p0"}
BROKEN_RENDER = Failure(message="it broke", code="003005095")
REFUSED_RENDER = Failure(message="it was refused", vendor_message="OutputVideoSensitiveContentDetected")


def an_order(generation_id: str = "sd-1", **changed: Any) -> Order:
    facts: dict[str, Any] = {
        "generation_id": generation_id,
        "connection_id": "spark_dance_default",
        "try_number": 1,
        "submitted_at": 1_800_000_000.0,
        "expires_after": 172_800,
        "estimated_cost_usd": 0.1215,
        "pixels": 864 * 480,
        "frame_count": 120,
        "tier": "default",
        "resolution": "480p",
        "ratio": "16:9",
        "width": 864,
        "height": 480,
    }
    return Order(**facts | changed)


def a_record(state: State, **changed: Any) -> Record:
    facts: dict[str, Any] = {
        "revision": 1,
        "state": state,
        "max_tries": 3,
        "try_number": 1,
        "fingerprint": FINGERPRINT,
        "submitting_at": 1_800_000_000.0,
        "estimated_cost_usd": 0.1215,
        "order": an_order() if state in ("submitted", "failed", "delivered") else None,
        "failure": BROKEN_RENDER if state == "failed" else None,
    }
    return Record(**facts | changed)


def an_attempt(try_number: int = 2, max_tries: int = 3, **changed: Any) -> Attempt:
    names: dict[str, Any] = {"dag_id": "campaign", "run_id": "manual__1", "task_id": "render", "map_index": -1}
    return Attempt(**names | changed, try_number=try_number, max_tries=max_tries)
