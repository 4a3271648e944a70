"""The trace that an order leaves for whoever reads the invoice: a line, a file, and two sums."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_spark.ledger.stores import Folder, receipt_name
from airflow_provider_spark.operators.result import iso

if TYPE_CHECKING:
    from airflow_provider_spark.api.generation import Generation
    from airflow_provider_spark.ledger.decision import Attempt
    from airflow_provider_spark.ledger.ledger import Log
    from airflow_provider_spark.ledger.order import Order

LINE = "Spark Dance order: "
ESTIMATED, BILLED = "spark_dance.estimated_usd", "spark_dance.billed_usd"


class Receipts:
    """Writes an order down when it is accepted and when it has ended.

    - A line in the task's log: ``Spark Dance order: {...}``, JSON with always the same keys.
    - The same JSON as a file of its own, ``orders/<day>/<time>-<generation id>.json`` in the ``ledger_path``, where
      one is set. Neither a retry nor a clear takes it away.
    - Two counters among Airflow's metrics, ``spark_dance.estimated_usd`` and ``spark_dance.billed_usd``, tagged with
      ``dag_id`` and ``task_id``.

    None of it can fail a task: the video matters more than its receipt.
    """

    def __init__(self, folder: Folder | None, attempt: Attempt, log: Log) -> None:
        self._folder = folder
        self._attempt = attempt
        self._log = log

    def accepted(self, order: Order, generation: Generation) -> None:
        """Note that the vendor took an order."""
        self._write(order, generation)
        self._count(ESTIMATED, order.estimated_cost_usd)

    def ended(self, order: Order, generation: Generation, *, count: bool = True) -> None:
        """Note how an order has ended.

        :param count: ``False`` where its cost was counted before.
        """
        self._write(order, generation)
        if count and generation.cost is not None:
            self._count(BILLED, float(generation.cost))

    def _write(self, order: Order, generation: Generation) -> None:
        receipt = {
            **asdict(self._attempt),
            "try_number": order.try_number,
            "generation_id": order.generation_id,
            "connection_id": order.connection_id,
            "submitted_at": iso(order.submitted_at),
            "completed_at": iso(generation.completed_at) if generation.completed_at is not None else None,
            "status": generation.status,
            "estimated_cost_usd": order.estimated_cost_usd,
            "billed_usd": float(generation.cost) if generation.cost is not None else None,
        }
        del receipt["max_tries"]
        self._log.info("%s%s", LINE, json.dumps(receipt, ensure_ascii=False))
        if self._folder is not None:
            self._keep(self._folder, receipt_name(order.generation_id, order.submitted_at), receipt)

    def _keep(self, folder: Folder, name: str, receipt: dict[str, Any]) -> None:
        try:
            folder.write(name, receipt)
        except Exception as error:
            self._log.warning("The order's receipt couldn't be written to %s: %s", folder.show(name), error)

    def _count(self, name: str, usd: float) -> None:
        try:
            from airflow.providers.common.compat.sdk import Stats

            # Counters of every backend take fractions, whatever Airflow's annotation says.
            Stats.incr(name, usd, tags={"dag_id": self._attempt.dag_id, "task_id": self._attempt.task_id})  # type: ignore[arg-type]
        except Exception as error:
            self._log.warning("The metric %s couldn't be sent: %s", name, error)
