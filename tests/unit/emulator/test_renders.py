"""The life of a generation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.emulator.renders import Failure, Life

WAITS = st.floats(0, 1000)
LIVES = st.builds(
    lambda queued, rendering, expiry, stuck, failure: Life(0, queued, queued + rendering, expiry, stuck, failure),
    WAITS,
    WAITS,
    st.floats(1, 3000),
    st.booleans(),
    st.none() | st.just(Failure("003005095", "no")),
)
ORDER = ["queued", "in_progress", "completed", "failed"]


def test_a_generation_queues_renders_and_completes() -> None:
    life = Life(created_at=100, starts_at=101, ready_at=111, expires_at=4000)
    assert life.at(100).status == "queued"
    assert life.at(101).progress == 0
    assert life.at(106).progress == 0.5
    assert life.at(110.999).progress == 0.99
    assert life.at(111).status == "completed"
    assert life.changes() == (101, 111)


def test_what_is_not_ready_when_it_expires_fails_then() -> None:
    life = Life(created_at=0, starts_at=1, ready_at=5000, expires_at=3600)
    assert life.at(3599).status == "in_progress"
    failed = life.at(3600)
    assert failed.status == "failed"
    assert failed.failure is not None
    assert "expired" in failed.failure.message
    assert not life.billed


def test_what_is_ready_in_time_never_expires() -> None:
    assert Life(created_at=0, starts_at=1, ready_at=3600, expires_at=3600).at(10_000).status == "completed"


def test_a_render_without_length_is_completed_at_once() -> None:
    assert Life(created_at=5, starts_at=5, ready_at=5, expires_at=4000).at(5).status == "completed"


@given(LIVES, st.lists(st.floats(0, 4000), min_size=2))
def test_a_life_never_runs_backwards(life: Life, moments: list[float]) -> None:
    stages = [life.at(moment) for moment in sorted(moments)]
    places = [ORDER.index(stage.status) for stage in stages]
    assert places == sorted(places)
    progress = [stage.progress for stage in stages if stage.progress is not None]
    assert progress == sorted(progress)
    assert all(0 <= value < 1 for value in progress)


@given(LIVES, st.floats(0, 4000))
def test_progress_comes_while_in_progress_and_an_error_with_a_failure_only(life: Life, moment: float) -> None:
    stage = life.at(moment)
    assert (stage.progress is not None) == (stage.status == "in_progress")
    assert (stage.failure is not None) == (stage.status == "failed")
    assert life.billed == (life.at(life.ends_at).status == "completed")


@given(LIVES)
def test_each_change_of_status_is_one(life: Life) -> None:
    for moment in life.changes():
        before = life.at(max(0.0, moment - 1e-6))
        assert moment == 0 or before.status != "completed"
    assert life.at(life.changes()[-1]).status in ("completed", "failed")
