"""What the ledger writes down of one task instance, and how it stays readable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from airflow_provider_spark.api.errors import SparkDanceError, SparkDanceGenerationFailedError
from airflow_provider_spark.ledger.order import Order

FORMAT: Final = 1

State = Literal["intent", "refused", "ambiguous", "submitted", "failed", "delivered"]
# From the first word of an order to the last.
STATES: tuple[State, ...] = ("intent", "refused", "ambiguous", "submitted", "failed", "delivered")


class SparkDanceLedgerError(SparkDanceError):
    """The ledger can't be read or written at the moment. Nothing is ordered on its account."""

    may_repeat: ClassVar[bool] = True


class SparkDanceRecordError(SparkDanceLedgerError):
    """A record is there and can't be understood: only a person can tell what was ordered."""

    may_repeat: ClassVar[bool] = False


class SparkDanceOvertakenError(SparkDanceLedgerError):
    """Another try of the same task has written since this one read: one of them is an old one that woke up."""


class Failure(BaseModel):
    """Why a generation failed, in the vendor's words and ours."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    message: str
    code: str | None = None
    vendor_message: str | None = None

    @classmethod
    def of(cls, error: SparkDanceGenerationFailedError) -> Failure:
        """Return what is kept of a failed generation."""
        return cls(message=str(error), code=error.code, vendor_message=error.vendor_message)

    def error(self, generation_id: str) -> SparkDanceGenerationFailedError:
        """Return the failure as it was first raised."""
        return SparkDanceGenerationFailedError(
            self.message, code=self.code, vendor_message=self.vendor_message, generation_id=generation_id
        )


class Record(BaseModel):
    """How far the order of a task instance has come.

    - ``intent``: an order is about to go out, or went out and nothing was heard of it.
    - ``refused``: nothing was ordered, for certain.
    - ``ambiguous``: no one can tell whether the vendor took the order, and the user was told so.
    - ``submitted``: the vendor took it.
    - ``failed``: it took it and the render failed.
    - ``delivered``: the task was about to end with its outcome.

    Later versions read it too: a field that they add has a default, one that they drop is ignored,
    and a change of meaning gets a new ``format``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = FORMAT
    revision: int
    """Counts the writes, so that of two places the one that was written later is known without a clock."""
    state: State
    max_tries: int
    """Airflow's, when this was written: a clear of the task changes it, an automatic retry doesn't."""
    try_number: int
    fingerprint: dict[str, str]
    """See :func:`~airflow_provider_spark.ledger.fingerprint.fingerprint`."""
    submitting_at: float
    """Unix seconds at which the order went out, or was about to."""
    estimated_cost_usd: float
    order: Order | None = None
    failure: Failure | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Record:
        if self.state in ("submitted", "failed", "delivered") and self.order is None:
            raise ValueError(f"a record that is {self.state} must hold its order")
        if self.state == "failed" and self.failure is None:
            raise ValueError("a record that is failed must hold the failure")
        return self

    @property
    def error(self) -> SparkDanceGenerationFailedError | None:
        """The failure of a generation that failed, as it was first raised."""
        return self.failure.error(self.order.generation_id) if self.failure and self.order else None

    @property
    def may_reorder(self) -> bool:
        """Whether the same order can end otherwise than it did."""
        return self.error is None or self.error.may_reorder

    @classmethod
    def read(cls, value: object, place: str) -> Record:
        """Read a record.

        :param place: where it lies, for the message.
        :raises SparkDanceRecordError: it can't be understood.
        """
        if isinstance(value, Mapping):
            found = value.get("format")
            if isinstance(found, int) and found > FORMAT:
                raise SparkDanceRecordError(
                    f"The ledger's record in {place} has format {found}; this version of airflow-provider-spark reads "
                    f"formats up to {FORMAT}. Install the newer version that wrote it."
                )
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'record'}: {fault['msg']}" for fault in error.errors()[:3]
            )
        raise unreadable(place, faults)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types."""
        return self.model_dump(mode="json")


def unreadable(place: str, fault: str) -> SparkDanceRecordError:
    """Return the error for a record that is there and can't be understood."""
    return SparkDanceRecordError(
        f"The ledger's record in {place} can't be read ({fault}). It may stand for a paid order. "
        "Look into the vendor's console for what this task has ordered, then remove the record, from a folder with its "
        "files in claims/, and clear the task to order anew."
    )


def newest(records: list[Record]) -> Record | None:
    """Return the record that was written last: the higher revision, of equal ones the state that is further on."""
    return max(records, key=lambda record: (record.revision, STATES.index(record.state)), default=None)
