from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.ledger.record import (
    STATES,
    Record,
    SparkDanceRecordError,
    State,
    newest,
)
from tests.unit.ledger.helpers import a_record, an_order

GOLDEN = json.loads(Path(__file__).with_name("golden_records.json").read_text())


@pytest.mark.parametrize("state", STATES)
def test_a_record_reads_back_as_it_was_written(state: State) -> None:
    record = a_record(state)
    assert Record.read(json.loads(json.dumps(record.to_json())), "here") == record


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"format {golden['format']}, {golden['state']}")
def test_records_of_every_format_so_far_are_read(golden: dict[str, Any]) -> None:
    record = Record.read(golden, "here")
    assert record.state == golden["state"]
    assert record.max_tries == golden["max_tries"]
    assert (record.order and record.order.generation_id) == (golden["order"] and golden["order"]["generation_id"])


def test_the_golden_records_hold_every_state_of_every_format() -> None:
    assert {(golden["format"], golden["state"]) for golden in GOLDEN} == {(1, state) for state in STATES}


def test_what_a_newer_version_adds_is_ignored() -> None:
    written = a_record("submitted").to_json() | {"colour": "blue"}
    written["order"] |= {"artifacts": ["a"]}
    assert Record.read(written, "here") == a_record("submitted")


def test_a_record_of_a_newer_format_says_what_to_install() -> None:
    with pytest.raises(SparkDanceRecordError, match=r"s3://bucket/x.json has format 2.*newer"):
        Record.read(a_record("submitted").to_json() | {"format": 2}, "s3://bucket/x.json")


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        "text",
        {},
        {"format": 1},
        a_record("submitted").to_json() | {"order": None},
        a_record("failed").to_json() | {"failure": None},
        a_record("intent").to_json() | {"state": "unheard of"},
        a_record("intent").to_json() | {"max_tries": "many"},
        a_record("submitted").to_json() | {"format": "1"},
        a_record("submitted").to_json() | {"order": {"generation_id": "sd-1"}},
    ],
)
def test_a_record_that_cannot_be_understood_is_an_error_that_names_its_place(broken: object) -> None:
    with pytest.raises(SparkDanceRecordError, match=r"(?s)s3://bucket/x.json.*a paid order.*remove the record"):
        Record.read(broken, "s3://bucket/x.json")


def test_the_later_revision_wins_whatever_it_says() -> None:
    older, newer = a_record("delivered", revision=4), a_record("intent", revision=5)
    assert newest([older, newer]) == newest([newer, older]) == newer


def test_of_equal_revisions_the_one_further_on_wins() -> None:
    before, after = a_record("intent", revision=4), a_record("submitted", revision=4)
    assert newest([before, after]) == newest([after, before]) == after


def test_no_records_make_no_record() -> None:
    assert newest([]) is None


@given(st.lists(st.tuples(st.sampled_from(STATES), st.integers(1, 5)), min_size=1))
def test_the_newest_record_is_not_behind_any_other(records: list[tuple[State, int]]) -> None:
    found = newest([a_record(state, revision=revision) for state, revision in records])
    assert found is not None
    for state, revision in records:
        assert (found.revision, STATES.index(found.state)) >= (revision, STATES.index(state))


def test_a_record_is_small() -> None:
    record = a_record("delivered", order=an_order("x" * 256), fingerprint={f"field_{n}": "0" * 16 for n in range(16)})
    assert len(json.dumps(record.to_json())) < 2048
