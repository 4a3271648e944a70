from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_spark.ledger.record import SparkDanceLedgerError, SparkDanceRecordError
from airflow_provider_spark.ledger.stores import Folder, FolderStore, TaskStateStore, receipt_name, record_name
from tests.unit.ledger.helpers import a_record, an_attempt


class Accessor:
    """Airflow's ``context["task_state_store"]``."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.retention: timedelta | None = None
        self.fault: Exception | None = None

    def get(self, key: str, default: Any = None) -> Any:
        if self.fault:
            raise self.fault
        return self.values.get(key, default)

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        if self.fault:
            raise self.fault
        self.values[key], self.retention = value, retention


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


class TestTaskStateStore:
    def test_it_keeps_a_record_as_long_as_the_run(self) -> None:
        context = pytest.importorskip("airflow.sdk.execution_time.context")
        if not hasattr(context, "NEVER_EXPIRE"):
            pytest.skip("this Airflow has no task state store")
        accessor = Accessor()
        TaskStateStore(accessor).write(a_record("submitted"))
        assert TaskStateStore(accessor).read() == a_record("submitted")
        assert accessor.retention is context.NEVER_EXPIRE

    def test_a_new_task_has_no_record(self) -> None:
        assert TaskStateStore(Accessor()).read() is None

    def test_an_outage_is_no_empty_store(self) -> None:
        accessor = Accessor()
        accessor.fault = RuntimeError("database is locked")
        for act in (TaskStateStore(accessor).read, lambda: TaskStateStore(accessor).write(a_record("intent"))):
            with pytest.raises(SparkDanceLedgerError, match=r"task state store.*database is locked") as caught:
                act()
            assert caught.value.may_repeat

    def test_a_broken_record_is_named(self) -> None:
        accessor = Accessor()
        accessor.values["spark_dance_ledger"] = {"format": 1}
        with pytest.raises(SparkDanceRecordError, match="task state store"):
            TaskStateStore(accessor).read()


class TestFolderStore:
    @pytest.mark.parametrize("scheme", ["", "file://"])
    def test_it_keeps_a_record_in_folders_that_it_makes_itself(self, tmp_path: Path, scheme: str) -> None:
        store = FolderStore(Folder(f"{scheme}{tmp_path}/a folder/ledger/"), an_attempt())
        assert store.read() is None
        store.write(a_record("intent"))
        store.write(a_record("submitted"))
        assert store.read() == a_record("submitted")
        (file,) = files(tmp_path)
        assert file.parent == tmp_path / "a folder" / "ledger"

    def test_a_revision_is_claimed_once_and_stays_so(self, tmp_path: Path) -> None:
        ours, theirs = (FolderStore(Folder(str(tmp_path)), an_attempt()) for _ in range(2))
        intent = a_record("intent", revision=3)
        assert ours.read_claim(3) is None
        assert ours.intend(intent)
        assert not theirs.intend(a_record("intent", revision=3, try_number=2))
        assert theirs.read_claim(3) == intent
        ours.write(a_record("submitted", revision=4))
        assert not theirs.intend(a_record("intent", revision=3, try_number=2))
        assert theirs.intend(a_record("intent", revision=5, try_number=2))

    def test_a_claim_that_cannot_be_understood_is_never_taken_for_none(self, tmp_path: Path) -> None:
        store = FolderStore(Folder(str(tmp_path)), an_attempt())
        store.intend(a_record("intent"))
        (file,) = files(tmp_path)
        file.write_text("{")
        with pytest.raises(SparkDanceRecordError, match=str(file)):
            store.read_claim(1)

    def test_each_task_instance_has_a_file_of_its_own_whatever_the_try(self) -> None:
        names = {
            record_name(an_attempt(**changed))
            for changed in ({}, {"dag_id": "x"}, {"run_id": "x"}, {"task_id": "x"}, {"map_index": 0}, {"map_index": 1})
        }
        assert len(names) == 6
        assert record_name(an_attempt(try_number=1)) == record_name(an_attempt(try_number=5, max_tries=9))

    def test_names_of_runs_need_not_be_file_names(self) -> None:
        name = record_name(an_attempt(run_id="scheduled__2026-01-01T00:00:00+00:00/../x", task_id="组.任务"))
        assert name.removesuffix(".json").isalnum()

    def test_parts_of_the_key_cannot_run_into_each_other(self) -> None:
        assert record_name(an_attempt(dag_id="a", run_id="b__c")) != record_name(an_attempt(dag_id="a__b", run_id="c"))

    @pytest.mark.parametrize("text", [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"format": 1}'])
    def test_a_file_that_cannot_be_understood_is_never_taken_for_none(self, tmp_path: Path, text: bytes) -> None:
        attempt = an_attempt()
        (tmp_path / record_name(attempt)).write_bytes(text)
        with pytest.raises(SparkDanceRecordError, match=str(tmp_path)):
            FolderStore(Folder(str(tmp_path)), attempt).read()

    def test_a_place_that_cannot_be_read_is_never_taken_for_empty(self, tmp_path: Path) -> None:
        attempt = an_attempt()
        (tmp_path / record_name(attempt)).mkdir()
        store = FolderStore(Folder(str(tmp_path)), attempt)
        with pytest.raises(SparkDanceLedgerError, match="can't be read from"):
            store.read()

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "ledger").write_text("a file where the folder should be")
        store = FolderStore(Folder(f"{tmp_path}/ledger"), an_attempt())
        with pytest.raises(SparkDanceLedgerError, match="can't be written to"):
            store.write(a_record("intent"))

    def test_a_file_system_that_is_not_installed_is_named(self) -> None:
        store = FolderStore(Folder("nosuchscheme://bucket/x"), an_attempt())
        with pytest.raises(SparkDanceLedgerError, match="nosuchscheme"):
            store.read()


def test_receipts_are_sorted_by_day_and_time_and_their_names_are_safe() -> None:
    assert receipt_name("sd-1", 1_800_000_000.5) == "orders/2027-01-15/080000-sd-1.json"
    assert receipt_name("../a/b", 0).count("/") == 2
