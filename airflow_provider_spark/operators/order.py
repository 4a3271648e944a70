"""An accepted order, as it travels from the submit to the result (through a deferral, so JSON types only)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from airflow_provider_spark.polling.schedule import Shape

if TYPE_CHECKING:
    from airflow_provider_spark.api.pricing import Estimate
    from airflow_provider_spark.api.request import VideoRequest


class Order(TypedDict):
    """What was ordered and when.

    ``submitted_at`` and ``deadline`` are Unix seconds; ``frames`` and ``seed`` are what the
    user asked for, ``None`` where it was left to the vendor; ``width`` and ``height`` are
    ``None`` where they follow from a picture that only the vendor has seen.
    """

    generation_id: str
    submitted_at: float
    deadline: float
    estimated_cost_usd: float
    shape: Shape
    frames: int | None
    seed: int | None
    resolution: str
    ratio: str
    width: int | None
    height: int | None


def place(
    request: VideoRequest, estimate: Estimate, *, generation_id: str, submitted_at: float, deadline: float
) -> Order:
    """Return the order that a submit has made of a request."""
    return Order(
        generation_id=generation_id,
        submitted_at=submitted_at,
        deadline=deadline,
        estimated_cost_usd=float(estimate.usd),
        shape=Shape(pixels=estimate.width * estimate.height, frames=estimate.frames, tier=estimate.tier),
        frames=request.frames,
        seed=request.seed if request.seed >= 0 else None,
        resolution=request.resolution,
        ratio=request.effective_ratio,
        width=estimate.width if estimate.exact else None,
        height=estimate.height if estimate.exact else None,
    )
