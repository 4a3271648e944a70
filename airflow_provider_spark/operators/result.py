"""What a render leaves in XCom: small, JSON types, every key always there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from airflow_provider_spark.api.pricing import PIXELS
from airflow_provider_spark.api.request import FPS, MODEL

if TYPE_CHECKING:
    from airflow_provider_spark.api.generation import Generation
    from airflow_provider_spark.ledger.order import Order

# Bytes of JSON in plain ASCII; what is left out first where a result would be longer.
RESULT_LIMIT: Final = 4096
SPARE: Final[tuple[Literal["metadata", "last_frame_url", "video_url"], ...]] = (
    "metadata",
    "last_frame_url",
    "video_url",
)


class VideoResult(TypedDict):
    """The result of one render; ``None`` where a value isn't known.

    ``duration`` and ``elapsed_seconds`` are seconds, ``width`` and ``height`` pixels, times
    ISO 8601 in UTC. ``cost_usd`` is what the vendor billed, ``discount`` what it shows
    beside it (never subtracted here).
    """

    generation_id: str
    map_index: int
    status: str
    model: str
    video_url: str | None
    last_frame_url: str | None
    video_path: str | None
    last_frame_path: str | None
    manifest_path: str | None
    duration: float | None
    resolution: str | None
    ratio: str | None
    fps: int | None
    format: str | None
    width: int | None
    height: int | None
    seed: int | None
    cost_usd: float | None
    estimated_cost_usd: float | None
    discount: float | None
    submitted_at: str | None
    completed_at: str | None
    elapsed_seconds: float | None
    metadata: dict[str, Any] | None


class Paths(TypedDict):
    """Where a generation's files were kept: URIs that ``ObjectStoragePath`` takes."""

    video_path: str | None
    last_frame_path: str | None
    manifest_path: str | None


NOWHERE: Final[Paths] = {"video_path": None, "last_frame_path": None, "manifest_path": None}


def result_of(
    generation: Generation, order: Order | None, *, map_index: int, now: float, paths: Paths = NOWHERE
) -> VideoResult:
    """Return the result of a generation.

    :param order: how it was ordered; ``None`` where that was done elsewhere.
    :param now: Unix seconds; taken as the end of a completed generation where the vendor doesn't tell it.
    :param paths: where its files were kept.
    """
    completed_at = None
    if generation.is_terminal:
        completed_at = generation.completed_at or now
    resolution, ratio = generation.resolution, generation.ratio
    width = height = frames = seed = None
    submitted_at = generation.created_at
    if order is not None:
        resolution = resolution or order.resolution
        ratio = ratio or (order.ratio if order.ratio != "adaptive" else None)
        width, height, frames, seed = order.width, order.height, order.frames, order.seed
        submitted_at = order.submitted_at
    size = next((of[r] for name, of in PIXELS.items() if name == resolution for r in of if r == ratio), None)
    width, height = size or (width, height)
    result = VideoResult(
        # Only a reply that was asked for by its id may lack it.
        generation_id=order.generation_id if order is not None else str(generation.id),
        map_index=map_index,
        status=generation.status,
        model=generation.model or MODEL,
        video_url=generation.video_url,
        last_frame_url=generation.last_frame_url,
        **paths,
        duration=frames / FPS if frames else generation.duration,
        resolution=resolution,
        ratio=ratio,
        fps=round(generation.fps) if generation.fps is not None else FPS,
        format=generation.format or "mp4",
        width=width,
        height=height,
        # -1 is how the vendor says that it chose one, not the one that it chose.
        seed=seed if generation.seed is None or generation.seed < 0 else generation.seed,
        cost_usd=float(generation.cost) if generation.cost is not None else None,
        estimated_cost_usd=order.estimated_cost_usd if order is not None else None,
        discount=generation.discount,
        submitted_at=iso(submitted_at) if submitted_at is not None else None,
        completed_at=iso(completed_at) if completed_at is not None else None,
        elapsed_seconds=_elapsed(submitted_at, completed_at),
        metadata=generation.metadata,
    )
    for name in SPARE:
        if len(json.dumps(result)) < RESULT_LIMIT:
            break
        result[name] = None
    return result


def _elapsed(submitted_at: float | None, completed_at: float | None) -> float | None:
    if submitted_at is None or completed_at is None:
        return None
    return round(max(0.0, completed_at - submitted_at), 3)


def to_the_second(seconds: float) -> str:
    """Return a moment, Unix seconds, as a person reads it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(seconds: float) -> str:
    """Return a moment, Unix seconds, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
