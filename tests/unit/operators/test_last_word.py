from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    Asset,
    AssetAlias,
    TaskDeferred,
)
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_spark.api.errors import (
    SparkDanceAmbiguousSubmitError,
    SparkDanceAuthenticationError,
    SparkDanceContentRefusedError,
)
from airflow_provider_spark.polling.wait import Settled
from airflow_provider_spark.triggers.events import to_event
from tests.unit.operators.paying import MODERATED, RENDERING, Task, TaskInstance, Vendor, failed


def word_of(task: Task, **parameters: Any) -> dict[str, Any]:
    """Let an attempt fail, and return what it leaves in XCom."""
    with pytest.raises((Exception, AirflowSkipException)):
        task.attempt(**parameters)
    word: dict[str, Any] = task.ti.xcoms["failure"]
    return word


def test_a_bad_parameter_leaves_its_reason_and_nothing_that_may_be_billed() -> None:
    word = word_of(Task(), duration=99)
    assert word["reason"].startswith("The order breaks the vendor's limits; nothing was sent. - duration = 99")
    assert (word["map_index"], word["outcome"], word["generation_id"], word["may_be_billed"]) == (
        -1,
        "failed",
        None,
        False,
    )


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_failed_render_leaves_its_code_and_generation_and_isnt_billed(deferrable: bool) -> None:
    task = Task(Vendor(fates=[failed()]), ti=TaskInstance(map_index=3))
    word = resumed(task) if deferrable else word_of(task)
    assert (word["map_index"], word["code"], word["generation_id"], word["may_be_billed"]) == (
        3,
        "003005095",
        "sd-1",
        False,
    )


def resumed(task: Task) -> dict[str, Any]:
    """Let an attempt fail after its deferral, as Airflow calls it; return what it leaves in XCom."""
    operator = task.operator(deferrable=True)
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(task.context)
    event = to_event(Settled(task.vendor.get("sd-1")))
    with pytest.raises(Exception, match="003005095"):
        operator.resume_execution("execute_complete", dict(deferral.value.kwargs or {}, event=event), task.context)
    word: dict[str, Any] = task.ti.xcoms["failure"]
    return word


def test_a_moderated_clip_that_is_skipped_says_so() -> None:
    word = word_of(Task(Vendor(fates=[MODERATED])), on_moderation="skip")
    assert (word["outcome"], word["may_be_billed"]) == ("skipped", False)
    assert "SensitiveContent" in word["reason"]


def test_a_prompt_that_is_refused_after_another_order_was_moderated_isnt_billed() -> None:
    vendor = Vendor(fates=[MODERATED])
    task = Task(vendor)

    def refuse_the_second(step: str) -> None:
        if vendor.orders:
            vendor.submit_faults[:] = [SparkDanceContentRefusedError("InputTextSensitiveContent")]

    vendor.on_step = refuse_the_second
    assert word_of(task, on_moderation="resubmit")["may_be_billed"] is False


@pytest.mark.parametrize(
    ("fault", "billed"),
    [
        (SparkDanceAmbiguousSubmitError("The reply was lost."), True),
        (SparkDanceAuthenticationError("The key is refused."), False),
    ],
)
def test_what_no_one_can_tell_of_may_be_billed_and_what_was_refused_not(fault: Exception, billed: bool) -> None:
    assert word_of(Task(Vendor(submit_faults=[fault])))["may_be_billed"] is billed


def test_a_render_that_isnt_waited_for_to_its_end_may_be_billed() -> None:
    word = word_of(Task(Vendor(fates=[RENDERING])), timeout=0.05, poll_interval=0.01)
    assert (word["generation_id"], word["may_be_billed"]) == ("sd-1", True)
    assert len(word["reason"]) <= 600


def test_what_a_stranger_raises_isnt_quoted() -> None:
    word = word_of(Task(Vendor(submit_faults=[ValueError("with a key sk-123 in it")])))
    assert word["reason"] == "ValueError; see the task's log"


def test_a_word_that_cant_be_left_changes_nothing_about_how_the_task_ends() -> None:
    class Mute(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            raise ConnectionError

    with pytest.raises(AirflowFailException, match="duration = 99"):
        Task(ti=Mute()).attempt(duration=99)


def test_the_result_is_in_the_event_of_each_asset() -> None:
    clip, poster = Asset("s3://shop/clip"), Asset("poster")
    task, events = Task(), OutletEventAccessors()
    context: Any = {**task.context, "outlet_events": events}
    result = task.operator(outlets=[clip, poster, AssetAlias("whatever")]).execute(context)
    assert [events[outlet].extra for outlet in (clip, poster)] == [dict(result)] * 2
    assert len(events) == 2
