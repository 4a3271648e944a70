"""What became of a batch: a row for every clip, and the sums. Pure: what is known goes in, the summary comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypedDict

Outcome = Literal["completed", "refused", "skipped", "failed"]

# Said of a task that has left neither a result nor a reason.
_NO_WORD = {
    "upstream_failed": "its task never ran, since something before it failed",
    "removed": "its task was removed from the run",
    "skipped": "its task was skipped",
    None: "its task never ran",
}


class PlannedRow(TypedDict):
    """A row as the plan saw it. ``map_index`` is ``None`` where it was refused; costs are USD."""

    row: int
    label: str | None
    map_index: int | None
    estimated_cost_usd: float | None
    exact: bool
    refused: str | None


class ClipRow(TypedDict):
    """A row of the summary; ``None`` where a value isn't known or there is none.

    ``row`` counts from 1. ``outcome``: ``completed``; ``refused``: the row can't be right, nothing was ordered;
    ``skipped``: the vendor's moderation refused it; ``failed``. ``reason`` tells why there is no video.
    """

    row: int
    label: str | None
    map_index: int | None
    outcome: Outcome
    generation_id: str | None
    duration: float | None
    cost_usd: float | None
    estimated_cost_usd: float | None
    may_be_billed: bool
    video_path: str | None
    video_url: str | None
    code: str | None
    reason: str | None


class BatchSummary(TypedDict):
    """What became of a batch. Costs in USD.

    ``total_cost_usd`` is the sum of what was billed, as far as the vendor has told it; ``may_be_billed_usd`` is the sum
    of the estimates for what may still be billed: clips that render on, orders that no one can tell of, and videos
    without a bill.
    """

    rows: list[ClipRow]
    completed: int
    refused: int
    skipped: int
    failed: int
    total_cost_usd: float
    may_be_billed_usd: float
    estimated_cost_usd: float


@dataclass(frozen=True)
class Known:
    """What Airflow knows of the mapped tasks, each by map index."""

    results: Mapping[int, Mapping[str, Any]]
    failures: Mapping[int, Mapping[str, Any]]
    states: Mapping[int, str | None]
    unmapped: str | None = None
    """The state of the task itself, where it was never mapped."""

    @classmethod
    def of(
        cls,
        results: Iterable[Any],
        failures: Iterable[Any],
        states: Mapping[int, str | None],
        unmapped: str | None = None,
    ) -> Known:
        """Order what was pulled from XCom, each of which names its map index."""
        return cls(_by_index(results), _by_index(failures), states, unmapped)


def summarise(planned: Sequence[PlannedRow], known: Known) -> BatchSummary:
    """Return the summary of a batch."""
    rows = [_clip_row(row, known) for row in planned]
    counts = Counter(row["outcome"] for row in rows)
    return BatchSummary(
        rows=rows,
        completed=counts["completed"],
        refused=counts["refused"],
        skipped=counts["skipped"],
        failed=counts["failed"],
        total_cost_usd=_sum(row["cost_usd"] for row in rows),
        may_be_billed_usd=_sum(row["estimated_cost_usd"] for row in rows if row["may_be_billed"]),
        estimated_cost_usd=_sum(row["estimated_cost_usd"] for row in rows),
    )


def _clip_row(planned: PlannedRow, known: Known) -> ClipRow:
    row = ClipRow(
        row=planned["row"],
        label=planned["label"],
        map_index=planned["map_index"],
        outcome="refused",
        generation_id=None,
        duration=None,
        cost_usd=None,
        estimated_cost_usd=planned["estimated_cost_usd"],
        may_be_billed=False,
        video_path=None,
        video_url=None,
        code=None,
        reason=planned["refused"],
    )
    index = planned["map_index"]
    if index is None:
        return row
    if result := known.results.get(index):
        row["outcome"] = "completed"
        row["generation_id"] = result.get("generation_id")
        row["duration"] = result.get("duration")
        row["cost_usd"] = result.get("cost_usd")
        row["video_path"] = result.get("video_path")
        row["video_url"] = result.get("video_url")
        row["may_be_billed"] = row["cost_usd"] is None
        return row
    if failure := known.failures.get(index):
        row["outcome"] = "skipped" if failure.get("outcome") == "skipped" else "failed"
        row["generation_id"] = failure.get("generation_id")
        row["code"] = failure.get("code")
        row["reason"] = failure.get("reason")
        row["may_be_billed"] = bool(failure.get("may_be_billed"))
        return row
    state = known.states.get(index, known.unmapped)
    row["outcome"] = "skipped" if state == "skipped" else "failed"
    row["reason"] = _NO_WORD.get(state) or f"its task is {state} and has left no reason; see its log"
    row["may_be_billed"] = state not in _NO_WORD
    return row


def _by_index(found: Iterable[Any]) -> dict[int, Mapping[str, Any]]:
    return {word["map_index"]: word for word in found if isinstance(word, Mapping) and "map_index" in word}


def _sum(amounts: Iterable[float | None]) -> float:
    return float(sum((Decimal(str(amount)) for amount in amounts if amount is not None), Decimal(0)))
