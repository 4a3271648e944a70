"""Where records lie: Airflow's task state store, and object storage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from airflow_provider_spark.ledger.record import Record, SparkDanceLedgerError, unreadable
from airflow_provider_spark.media.storage import Storage

if TYPE_CHECKING:
    from airflow_provider_spark.ledger.decision import Attempt

STATE_KEY = "spark_dance_ledger"


class Store(Protocol):
    """A place that keeps one record for a task instance."""

    @property
    def place(self) -> str:
        """What to call it in a message."""

    def read(self) -> Record | None:
        """Return the record, ``None`` only where there certainly is none.

        :raises SparkDanceLedgerError: the place can't be read, or what lies there can't be understood.
        """

    def write(self, record: Record) -> None:
        """Put a record in the place of the one before.

        :raises SparkDanceLedgerError: it couldn't be written.
        """

    def intend(self, record: Record) -> bool:
        """Write that an order is about to go out; return whether no other try has claimed its revision.

        :raises SparkDanceLedgerError: it couldn't be told or written.
        """

    def read_claim(self, revision: int) -> Record | None:
        """Return with which intent a revision was claimed, ``None`` where it is free or the place knows no claims.

        :raises SparkDanceLedgerError: as with a record.
        """


class TaskStateStore:
    """Airflow's own store for a task instance (3.3 and later): it survives retries and clears, and goes with the run.

    Records never expire there, since the row is deleted with its DAG run in any case and a retry
    or a clear can come as late as the run is kept.
    """

    def __init__(self, accessor: Any) -> None:
        self._accessor = accessor

    @property
    def place(self) -> str:
        """What to call it in a message."""
        return f"Airflow's task state store (key {STATE_KEY!r} of this task instance)"

    def read(self) -> Record | None:
        """Return the record, ``None`` where there is none."""
        try:
            value = self._accessor.get(STATE_KEY)
        except Exception as error:
            raise _unreachable("read from", self.place, error) from error
        return None if value is None else Record.read(value, self.place)

    def write(self, record: Record) -> None:
        """Put a record in the place of the one before."""
        try:
            self._accessor.set(STATE_KEY, record.to_json(), **_forever())
        except Exception as error:
            raise _unreachable("written to", self.place, error) from error

    def intend(self, record: Record) -> bool:
        """Write an intent: Airflow takes no word of a try that it has given up."""
        self.write(record)
        return True

    def read_claim(self, revision: int) -> Record | None:
        """Return ``None``: there are no claims."""
        return None


class Folder:
    """A folder in object storage that holds JSON files.

    :param path: a path or a URL as Airflow's ``ObjectStoragePath`` takes it, such as ``s3://aws_default@bucket/ledger``.
    """

    def __init__(self, path: str) -> None:
        self._storage = Storage(path)

    def read(self, name: str) -> str | None:
        """Return a file's text, ``None`` where there certainly is none."""
        content = self._storage.read(name)
        return None if content is None else content.decode()

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a file, so that a reader finds the old text or the new one, never a part."""
        self._storage.write(name, content)

    def create(self, name: str, content: Mapping[str, Any]) -> bool:
        """Write a file where there is none of that name; return whether that is what lies there now."""
        return self._storage.create(name, content)

    def show(self, name: str) -> str:
        """Return what to call a file in a message."""
        return self._storage.uri_of(name)


class FolderStore:
    """A record as a file in object storage, for every version of Airflow.

    In ``claims`` beside it lies a file for each order that was about to go out, the intent, which only one of several
    tries can create. None is ever removed: a try that was held up for hours would claim the revision again.
    """

    def __init__(self, folder: Folder, attempt: Attempt) -> None:
        self._folder = folder
        self._name = record_name(attempt)

    @property
    def place(self) -> str:
        """What to call it in a message."""
        return self._folder.show(self._name)

    def read(self) -> Record | None:
        """Return the record, ``None`` where there is none."""
        return self._read(self._name)

    def write(self, record: Record) -> None:
        """Put a record in the place of the one before."""
        try:
            self._folder.write(self._name, record.to_json())
        except Exception as error:
            raise _unreachable("written to", self.place, error) from error

    def intend(self, record: Record) -> bool:
        """Claim a revision for an order; return whether no other try has it."""
        name = self._claim_name(record.revision)
        try:
            return self._folder.create(name, record.to_json())
        except Exception as error:
            raise _unreachable("written to", self._folder.show(name), error) from error

    def read_claim(self, revision: int) -> Record | None:
        """Return with which intent a revision was claimed, ``None`` where it is free."""
        return self._read(self._claim_name(revision))

    def _claim_name(self, revision: int) -> str:
        return f"claims/{self._name.replace('.json', f'.{revision}.json')}"

    def _read(self, name: str) -> Record | None:
        place = self._folder.show(name)
        try:
            text = self._folder.read(name)
        except UnicodeDecodeError as error:
            raise unreadable(place, str(error)) from None
        except Exception as error:
            raise _unreachable("read from", place, error) from error
        if text is None:
            return None
        try:
            value = json.loads(text)
        except ValueError as error:
            raise unreadable(place, str(error)) from None
        return Record.read(value, place)


def _forever() -> dict[str, Any]:
    try:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE
    except ImportError:  # a store that doesn't know the word keeps records for its own time
        return {}
    return {"retention": NEVER_EXPIRE}


def record_name(attempt: Attempt) -> str:
    """Return the file name of a task instance's record: a hash, since ids may hold what a file name can't."""
    key = json.dumps([attempt.dag_id, attempt.run_id, attempt.task_id, attempt.map_index])
    return f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.json"


def receipt_name(generation_id: str, submitted_at: float) -> str:
    """Return the file name of an order's receipt: by day, then by time."""
    moment = datetime.fromtimestamp(submitted_at, UTC)
    return f"orders/{moment:%Y-%m-%d}/{moment:%H%M%S}-{quote(generation_id, safe='')}.json"


def _unreachable(verb: str, place: str, error: Exception) -> SparkDanceLedgerError:
    return SparkDanceLedgerError(
        f"The ledger's record can't be {verb} {place} at the moment ({type(error).__name__}: {error})."
    )
