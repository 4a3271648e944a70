"""An accepted order: all that must be known to wait for it, to deliver it, and to find it on an invoice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from airflow_provider_spark.polling.schedule import Shape

if TYPE_CHECKING:
    from airflow_provider_spark.api.pricing import Estimate
    from airflow_provider_spark.api.request import VideoRequest


class Order(BaseModel):
    """What was ordered, when and by whom. It is kept in the ledger and travels through a deferral.

    Both outlive an upgrade, so a field that a later version adds has a default, and one that
    it drops is ignored. Times are Unix seconds, prices USD, sizes pixels.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    generation_id: str
    connection_id: str
    """The connection that the order went out with: only its account knows the generation."""
    try_number: int
    """The try of the task that ordered."""
    submitted_at: float
    expires_after: float
    """Seconds from the submit after which the vendor gives the generation up."""
    estimated_cost_usd: float
    pixels: int
    """Of one frame: with ``frame_count`` and ``tier`` what decides how long the render may take."""
    frame_count: int
    tier: Literal["default", "flex"]
    frames: int | None = None
    """As asked, ``None`` where the length was given in seconds or left to the vendor; ``seed`` likewise."""
    seed: int | None = None
    resolution: str
    ratio: str
    width: int | None = None
    """``None``, as ``height``, where it follows from a picture that only the vendor has seen."""
    height: int | None = None
    resubmits: int = 0
    """How many orders before this one the vendor's moderation has refused."""

    @property
    def shape(self) -> Shape:
        """What decides how long the render takes."""
        return Shape(pixels=self.pixels, frames=self.frame_count, tier=self.tier)

    @classmethod
    def placed(cls, request: VideoRequest, estimate: Estimate, **facts: Any) -> Order:
        """Return the order that a submit has made of a request; ``facts`` are the fields that it doesn't tell."""
        return cls(
            expires_after=request.execution_expires_after,
            estimated_cost_usd=float(estimate.usd),
            pixels=estimate.width * estimate.height,
            frame_count=estimate.frames,
            tier=estimate.tier,
            frames=request.frames,
            seed=request.seed if request.seed >= 0 else None,
            resolution=request.resolution,
            ratio=request.effective_ratio,
            width=estimate.width if estimate.exact else None,
            height=estimate.height if estimate.exact else None,
            **facts,
        )


def left_behind(generation_id: str, estimated_cost_usd: float | None) -> str:
    """Say what becomes of a render whose task is told to end."""
    return f"{goes_on(generation_id, estimated_cost_usd)} The next attempt of this task takes it up."


def goes_on(generation_id: str, estimated_cost_usd: float | None) -> str:
    """Say what becomes of a render that no one waits for any more."""
    price = f"about {estimated_cost_usd:.4f} USD" if estimated_cost_usd is not None else "what it costs"
    return f"The vendor has no cancel: generation {generation_id} goes on, and {price} is billed if it succeeds."
