"""What stands at the beginning of a wait: an order, or what makes one needless."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_spark.ledger.order import Order
from airflow_provider_spark.operators.keeping import Asked

if TYPE_CHECKING:
    from airflow_provider_spark.api.generation import Generation
    from airflow_provider_spark.operators.result import VideoResult


@dataclass(frozen=True)
class Placed:
    """An order to wait for; ``generation`` is the vendor's reply to it, ``None`` where an earlier attempt got that."""

    order: Order
    asked: Asked
    generation: Generation | None = None

    @classmethod
    def of(cls, order: dict[str, Any], asked: dict[str, Any] | None) -> Placed:
        """Read what has travelled through a deferral."""
        return cls(Order.model_validate(order), Asked.of(asked or {}))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types, to travel through a deferral."""
        return {"order": self.order.model_dump(mode="json"), "asked": self.asked.to_json()}

    @property
    def is_taken_up(self) -> bool:
        """Whether an earlier attempt made it."""
        return self.generation is None


@dataclass(frozen=True)
class Reused:
    """The result of an earlier video in the place of an order."""

    result: VideoResult
