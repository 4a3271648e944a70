"""What an attempt does about an earlier one: the table "Paying once" of the documentation, as a function."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_provider_spark.ledger.fingerprint import changes

if TYPE_CHECKING:
    from airflow_provider_spark.ledger.record import Record


@dataclass(frozen=True)
class Attempt:
    """One try of a task instance. ``map_index`` is -1 where the task isn't mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    max_tries: int

    @classmethod
    def of(cls, ti: Any) -> Attempt:
        """Read it from Airflow's task instance."""
        map_index = -1 if ti.map_index is None else ti.map_index
        return cls(ti.dag_id, ti.run_id, ti.task_id, map_index, ti.try_number, ti.max_tries)

    @property
    def is_last(self) -> bool:
        """Whether Airflow won't retry by itself after this one."""
        return self.try_number > self.max_tries


class Step(Enum):
    """What to do first."""

    ORDER = "order"
    TAKE_UP = "take up"
    """Wait for, and deliver, the generation that was ordered before."""
    LOOK_THEN_ORDER = "look, then order"
    """Ask once what became of the generation that was ordered before, then order anew."""
    REPORT_AMBIGUOUS = "report ambiguous"
    FAIL = "fail"
    """Report the failure of the generation that was ordered before; a new order would fail again."""


@dataclass(frozen=True)
class Decision:
    """The step, and the fields in which the request differs from the one that was ordered."""

    step: Step
    changed: tuple[str, ...] = ()


def decide(
    record: Record | None, attempt: Attempt, fingerprint: dict[str, str] | None, *, resubmit_ambiguous: bool
) -> Decision:
    """Decide what an attempt does first.

    :param record: what the ledger knows of this task instance.
    :param fingerprint: of the request as it renders now, ``None`` where that breaks a limit.
    :param resubmit_ambiguous: the user accepts that an ambiguous submit may be paid twice.
    """
    if record is None or record.state == "refused":
        return Decision(Step.ORDER)
    cleared = was_cleared(record, attempt)
    if record.state in ("intent", "ambiguous"):
        # Only what was reported can have been accepted by a clear.
        accepted = resubmit_ambiguous or (cleared and record.state == "ambiguous")
        return Decision(Step.ORDER if accepted else Step.REPORT_AMBIGUOUS)
    if record.state == "failed":
        return Decision(Step.ORDER if cleared or record.may_reorder else Step.FAIL)
    if cleared and (record.state == "delivered" or fingerprint is None):
        return Decision(Step.ORDER)
    changed = ("request",) if fingerprint is None else changes(record.fingerprint, fingerprint)
    return Decision(Step.LOOK_THEN_ORDER if cleared and changed else Step.TAKE_UP, changed)


def was_cleared(record: Record, attempt: Attempt) -> bool:
    """Whether someone asked for this attempt, rather than Airflow retrying by itself.

    A clear sets ``max_tries`` to the tries so far and the retries, so it changes; an automatic retry
    leaves it and counts the try up. A try that isn't later than the record's own belongs to a run that
    was deleted and made anew under the same id.
    """
    return attempt.max_tries != record.max_tries or attempt.try_number <= record.try_number
