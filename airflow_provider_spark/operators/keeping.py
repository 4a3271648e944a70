"""Where a task keeps its files, as its author asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ON_EXISTING = ("render", "reuse")


@dataclass(frozen=True)
class Keeping:
    """What the task's author asked for.

    :param folder: a path or URL that ``ObjectStoragePath`` takes; ``None`` keeps nothing.
    :param name: what the files' names begin with; ``None`` makes one of dag, run, task and map index.
    :param on_existing: what a video means that is kept already for the same task instance and request.
    """

    folder: str | None = None
    name: str | None = None
    on_existing: str = "render"

    @property
    def reuses(self) -> bool:
        """Whether a kept video takes the place of an order."""
        return self.on_existing == "reuse"


@dataclass(frozen=True)
class Asked:
    """The request behind a generation, as far as it is known: for the manifest, and to know it again.

    :param request: fit to be kept; ``None`` where the order was made elsewhere.
    :param unknown: fields that have changed since, so that what was ordered can't be told.
    :param fingerprint: see :func:`~airflow_provider_spark.ledger.fingerprint.fingerprint`.
    """

    request: dict[str, Any] | None = None
    unknown: tuple[str, ...] = ()
    fingerprint: dict[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types, to travel through a deferral."""
        return {"request": self.request, "unknown": list(self.unknown), "fingerprint": self.fingerprint}

    @classmethod
    def of(cls, value: dict[str, Any]) -> Asked:
        """Read what travelled; what another version wrote beside it does no harm."""
        return cls(value.get("request"), tuple(value.get("unknown") or ()), value.get("fingerprint"))
