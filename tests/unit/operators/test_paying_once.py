"""What is ordered, and how often, over the attempts of one task instance."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_spark.api.errors import (
    SparkDanceAmbiguousSubmitError,
    SparkDanceAuthenticationError,
    SparkDanceContentRefusedError,
    SparkDanceError,
    SparkDanceGenerationFailedError,
    SparkDanceNotFoundError,
    SparkDanceRateLimitError,
    SparkDanceTimeoutError,
    SparkDanceUnreachableError,
    SparkDanceVendorError,
)
from airflow_provider_spark.ledger.record import SparkDanceLedgerError, SparkDanceOvertakenError
from airflow_provider_spark.ledger.stores import Folder
from airflow_provider_spark.operators import in_place
from airflow_provider_spark.polling.schedule import Shape
from airflow_provider_spark.triggers.spark_dance import SparkDanceGenerationTrigger
from tests.unit.operators.paying import (
    MODERATED,
    RENDERING,
    Killed,
    StateStore,
    Task,
    TaskInstance,
    Vendor,
    completed,
    failed,
    kill_at,
    killed,
    revive,
    sleeps,
    watch,
)

__all__ = ["sleeps"]  # a fixture

ASKED = "before the vendor is asked"
LOST = SparkDanceAmbiguousSubmitError("The order was sent, and its answer was lost.")


@pytest.fixture(params=[False, True], ids=["on the worker", "deferred"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class TestRetry:
    def test_a_failed_generation_is_ordered_anew(self, deferrable: bool) -> None:
        task = Task(Vendor(fates=[failed()]))
        with pytest.raises(SparkDanceGenerationFailedError):
            task.attempt(deferrable=deferrable)
        assert task.retry().attempt(deferrable=deferrable)["generation_id"] == "sd-2"

    def test_a_generation_whose_request_is_at_fault_is_not_ordered_anew(self, deferrable: bool) -> None:
        task = Task(Vendor(fates=[failed(code="003005005")]))
        for _ in range(2):
            with pytest.raises(AirflowFailException, match="003005005"):
                task.attempt(deferrable=deferrable)
            task.retry()
        assert task.orders == 1

    def test_a_wait_that_ran_out_is_taken_up(self, deferrable: bool) -> None:
        task = Task(Vendor(fates=[RENDERING]))
        killed(task, ASKED)
        task.vendor.renders["sd-1"] = completed()
        assert task.retry().attempt(deferrable=deferrable)["generation_id"] == "sd-1"
        assert task.orders == 1

    def test_a_paid_render_is_taken_up_whatever_the_request_renders_to(self, caplog: pytest.LogCaptureFixture) -> None:
        task = Task(Vendor(fates=[RENDERING]))
        killed(task, ASKED)
        task.vendor.renders["sd-1"] = completed()
        assert task.retry().attempt(prompt="coffee", seed=4)["generation_id"] == "sd-1"
        assert task.retry().attempt(duration="ninety")["generation_id"] == "sd-1"
        assert task.orders == 1

    def test_a_delivered_one_is_delivered_again(self) -> None:
        task = Task()
        first = task.attempt()
        again = task.retry().attempt()
        assert again["generation_id"] == first["generation_id"]
        assert again["video_url"] == first["video_url"]
        assert task.orders == 1

    def test_an_order_is_polled_with_the_connection_that_made_it(self) -> None:
        task = Task()
        task.attempt()
        operator = task.retry().operator(spark_dance_conn_id="another", timeout=0.05)
        hook = operator.hook
        hook.spark_dance_conn_id = "another"
        with pytest.raises(SparkDanceTimeoutError, match="connection 'spark_dance_default' isn't defined"):
            task.run(operator)
        assert task.orders == 1


class TestClear:
    def test_after_a_success_a_new_one_is_ordered(self) -> None:
        task = Task()
        task.attempt()
        assert task.clear().attempt()["generation_id"] == "sd-2"

    def test_while_it_renders_the_same_request_is_taken_up(self) -> None:
        task = Task(Vendor(fates=[RENDERING]))
        killed(task, ASKED)
        task.vendor.renders["sd-1"] = completed()
        assert task.clear().attempt()["generation_id"] == "sd-1"

    def test_while_it_renders_another_request_is_ordered_and_the_old_video_named(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        task = Task(Vendor(fates=[RENDERING]))
        killed(task, ASKED)
        task.vendor.renders["sd-1"] = completed()
        assert task.clear().attempt(prompt="coffee")["generation_id"] == "sd-2"
        assert task.vendor.polls.count("sd-1") == 1
        assert "https://results.example/sd-1.mp4" in capsys.readouterr().out

    def test_a_retry_after_a_clear_takes_up_what_the_clear_has_ordered(self) -> None:
        task = Task()
        task.attempt()
        task.vendor.fates = [RENDERING]
        killed(task.clear(), ASKED, prompt="coffee")
        task.vendor.renders["sd-2"] = completed("sd-2")
        assert task.retry().attempt(prompt="milk")["generation_id"] == "sd-2"

    def test_a_retry_after_a_clear_that_took_up_takes_up_too(self) -> None:
        task = Task(Vendor(fates=[RENDERING]))
        killed(task, ASKED)
        killed(task.clear(), ASKED)
        task.vendor.renders["sd-1"] = completed()
        assert task.retry().attempt(prompt="coffee")["generation_id"] == "sd-1"
        assert task.orders == 1


class TestAmbiguousSubmit:
    def test_it_is_reported_and_not_repeated(self) -> None:
        task = Task(Vendor(submit_faults=[LOST]))
        with pytest.raises(AirflowFailException) as caught:
            task.attempt()
        assert re.search(r"sent at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", str(caught.value))
        assert "about 0.1215 USD" in str(caught.value)
        assert "Clearing this task orders again" in str(caught.value)
        assert isinstance(caught.value.__cause__, SparkDanceAmbiguousSubmitError)
        with pytest.raises(AirflowFailException, match="no one can tell"):
            task.retry().attempt()
        assert task.orders == 1

    def test_a_clear_accepts_the_second_charge(self) -> None:
        task = Task(Vendor(submit_faults=[LOST]))
        with pytest.raises(AirflowFailException):
            task.attempt()
        assert task.clear().attempt()["generation_id"] == "sd-2"

    def test_an_order_that_no_one_heard_of_is_reported_even_after_a_clear(self) -> None:
        task = Task()
        killed(task, "after the vendor took the order")
        with pytest.raises(AirflowFailException, match="An earlier try"):
            task.clear().attempt()
        assert task.orders == 1
        assert task.clear().attempt()["generation_id"] == "sd-2"

    def test_where_the_user_asks_for_it_airflows_retry_orders_again(self) -> None:
        task = Task(Vendor(submit_faults=[LOST]))
        with pytest.raises(SparkDanceAmbiguousSubmitError, match="next retry orders again"):
            task.attempt(on_ambiguous_submit="resubmit")
        assert task.orders == 1, "never in place"
        assert task.retry().attempt(on_ambiguous_submit="resubmit")["generation_id"] == "sd-2"


class TestInPlace:
    @pytest.mark.parametrize(
        "fault",
        [SparkDanceUnreachableError("no route"), SparkDanceVendorError("busy"), SparkDanceRateLimitError("429")],
    )
    def test_what_cannot_have_ordered_is_repeated(self, fault: SparkDanceError, sleeps: list[float]) -> None:
        task = Task(Vendor(submit_faults=[fault] * 3))
        task.attempt()
        assert task.orders == 1
        assert len(sleeps) >= 3

    def test_a_rate_limit_is_waited_out_as_the_vendor_asks(self, sleeps: list[float]) -> None:
        fault = SparkDanceRateLimitError("429")
        fault.retry_after = 40.0
        Task(Vendor(submit_faults=[fault])).attempt()
        assert 40 <= sleeps[0] <= 45

    def test_a_pause_beyond_the_bounds_is_left_to_airflow(self, sleeps: list[float]) -> None:
        fault = SparkDanceRateLimitError("429")
        fault.retry_after = in_place.PATIENCE + 1
        task = Task(Vendor(submit_faults=[fault]))
        with pytest.raises(SparkDanceRateLimitError):
            task.attempt()
        assert not sleeps
        assert task.retry().attempt()["generation_id"] == "sd-1"

    def test_it_ends_after_a_few_minutes(self, sleeps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.monotonic", lambda: sum(sleeps))
        task = Task(Vendor(submit_faults=[SparkDanceVendorError("busy")] * 1000))
        with pytest.raises(SparkDanceVendorError, match="busy"):
            task.attempt()
        assert in_place.PATIENCE - in_place.LONGEST_PAUSE <= sum(sleeps) <= in_place.PATIENCE
        assert len(set(sleeps)) == len(sleeps), "each pause is random"

    def test_a_refusal_is_not_repeated_and_leaves_nothing_to_report(self, sleeps: list[float]) -> None:
        task = Task(Vendor(submit_faults=[SparkDanceAuthenticationError("the key")]))
        with pytest.raises(AirflowFailException, match="the key"):
            task.attempt()
        assert not sleeps
        assert task.retry().attempt()["generation_id"] == "sd-1"


class TestModeration:
    def test_by_default_the_task_fails_for_good(self, deferrable: bool) -> None:
        task = Task(Vendor(fates=[MODERATED]))
        with pytest.raises(AirflowFailException, match="moderation"):
            task.attempt(deferrable=deferrable)
        assert task.orders == 1
        with pytest.raises(AirflowFailException, match="moderation"):
            task.retry().attempt(deferrable=deferrable)
        assert task.orders == 1

    def test_a_refused_video_is_ordered_again_with_another_seed(self, deferrable: bool) -> None:
        task = Task(Vendor(fates=[MODERATED, MODERATED]))
        result = task.attempt(on_moderation="resubmit", seed=7, deferrable=deferrable)
        assert result["generation_id"] == "sd-3"
        seeds = [request.seed for request in task.vendor.orders.values()]
        assert seeds[0] == 7
        assert len(set(seeds)) == 3
        assert result["seed"] == seeds[2]

    def test_it_is_ordered_again_only_twice(self, deferrable: bool) -> None:
        task = Task(Vendor(fates=[MODERATED] * 9))
        with pytest.raises(AirflowFailException, match="moderation"):
            task.attempt(on_moderation="resubmit", deferrable=deferrable)
        assert task.orders == 3

    def test_a_refused_order_counts_the_same(self, deferrable: bool) -> None:
        refusal = SparkDanceContentRefusedError("The vendor's moderation refused the order")
        task = Task(Vendor(submit_faults=[refusal], fates=[MODERATED]))
        assert task.attempt(on_moderation="resubmit", deferrable=deferrable)["generation_id"] == "sd-2"
        task = Task(Vendor(submit_faults=[refusal] * 9))
        with pytest.raises(AirflowFailException, match="moderation"):
            task.attempt(on_moderation="resubmit", deferrable=deferrable)
        assert len(task.vendor.submit_faults) == 6

    @pytest.mark.parametrize("at_submit", [True, False])
    def test_it_may_skip_the_task(self, deferrable: bool, at_submit: bool) -> None:
        vendor = Vendor(fates=[MODERATED])
        if at_submit:
            vendor.submit_faults = [SparkDanceContentRefusedError("refused")]
        with pytest.raises(AirflowSkipException):
            Task(vendor).attempt(on_moderation="skip", deferrable=deferrable)

    def test_the_seed_of_a_repetition_is_no_change_of_the_request(self) -> None:
        task = Task(Vendor(fates=[MODERATED, RENDERING]))
        killed(task, ASKED, times=2, on_moderation="resubmit")
        task.vendor.renders["sd-2"] = completed("sd-2")
        assert task.clear().attempt(on_moderation="resubmit")["generation_id"] == "sd-2"


class TestMoney:
    def test_an_order_above_the_limit_is_refused_before_any_call(self) -> None:
        task = Task()
        with pytest.raises(AirflowFailException, match=r"about 0\.1215 USD, more than max_cost_usd = 0\.1\b"):
            task.attempt(max_cost_usd="0.1")
        assert not task.orders
        assert not task.vendor.polls

    def test_an_order_at_the_limit_is_made(self) -> None:
        assert Task().attempt(max_cost_usd=0.1215)["cost_usd"] == 0.1215

    def test_a_paid_render_is_taken_up_though_the_limit_was_lowered(self) -> None:
        task = Task()
        task.attempt()
        assert task.retry().attempt(max_cost_usd=0)["generation_id"] == "sd-1"

    @pytest.mark.parametrize("limit", ["much", -1, "nan", "inf", True])
    def test_a_limit_that_is_no_amount_is_refused(self, limit: Any) -> None:
        with pytest.raises(AirflowFailException, match="max_cost_usd"):
            Task().attempt(max_cost_usd=limit)

    def test_each_order_leaves_a_file_that_no_retry_and_no_clear_takes_away(self, tmp_path: Path) -> None:
        task = Task(Vendor(fates=[failed()]), ledger_path=str(tmp_path), ti=TaskInstance(map_index=4))
        with pytest.raises(SparkDanceGenerationFailedError):
            task.attempt()
        task.retry().attempt()
        task.clear().attempt()
        receipts = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("orders/*/*.json"))]
        assert [(r["generation_id"], r["try_number"], r["status"], r["billed_usd"]) for r in receipts] == [
            ("sd-1", 1, "failed", None),
            ("sd-2", 2, "completed", 0.1215),
            ("sd-3", 3, "completed", 0.1215),
        ]
        assert set(receipts[0]) == {
            "dag_id",
            "run_id",
            "task_id",
            "map_index",
            "try_number",
            "generation_id",
            "connection_id",
            "submitted_at",
            "completed_at",
            "status",
            "estimated_cost_usd",
            "billed_usd",
        }
        assert receipts[0]["map_index"] == 4

    def test_each_order_leaves_a_line_when_it_is_accepted_and_when_it_ends(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Task().attempt()
        lines = re.findall(r"Spark Dance order: (\{.*?\})", capsys.readouterr().out)
        assert [json.loads(line)["status"] for line in lines] == ["queued", "completed"]

    def test_the_sums_are_metrics_and_a_second_delivery_counts_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        counted: list[tuple[str, float]] = []
        from airflow.providers.common.compat.sdk import Stats

        monkeypatch.setattr(Stats, "incr", lambda name, usd, tags: counted.append((name, usd)), raising=False)
        task = Task()
        task.attempt()
        task.retry().attempt()
        assert counted == [("spark_dance.estimated_usd", 0.1215), ("spark_dance.billed_usd", 0.1215)]

    def test_a_receipt_that_cannot_be_written_fails_no_task(self, tmp_path: Path) -> None:
        (tmp_path / "orders").write_text("a file where the folder should be")
        assert Task(ledger_path=str(tmp_path)).attempt()["status"] == "completed"


class TestPlaces:
    def test_without_any_a_warning_says_what_a_retry_costs(self, capsys: pytest.CaptureFixture[str]) -> None:
        task = Task(store=None)
        task.attempt()
        assert "a retry orders, and pays, again" in capsys.readouterr().out
        task.retry().attempt()
        assert task.orders == 2

    def test_a_folder_alone_is_enough(self, tmp_path: Path) -> None:
        task = Task(store=None, ledger_path=str(tmp_path))
        task.attempt()
        task.retry().attempt()
        assert task.orders == 1

    def test_a_record_from_before_an_upgrade_of_airflow_is_found(self, tmp_path: Path) -> None:
        task = Task(store=None, ledger_path=str(tmp_path))
        task.attempt()
        task.store = StateStore()
        task.retry().attempt()
        assert task.orders == 1

    def test_a_folder_that_was_set_later_is_no_blank_page(self, tmp_path: Path) -> None:
        task = Task()
        task.attempt()
        task.ledger_path = str(tmp_path)
        task.retry().attempt()
        assert task.orders == 1

    def test_nothing_is_ordered_where_a_place_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "ledger").write_text("a file where the folder should be")
        task = Task(ledger_path=f"{tmp_path}/ledger")
        with pytest.raises(SparkDanceLedgerError, match=r"can't be .*ledger.*Nothing was ordered\."):
            task.attempt()
        assert not task.orders

    def test_of_two_tries_at_the_same_moment_one_orders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        task = Task(store=None, ledger_path=str(tmp_path))
        another = Task(vendor=task.vendor, store=None, ledger_path=str(tmp_path), ti=TaskInstance(try_number=2))
        create, claims = Folder.create, 0

        def claim(*claim: Any) -> bool:
            nonlocal claims
            claims += 1
            if claims == 1:  # the first try has looked twice, and found nothing
                another.attempt()
            return create(*claim)

        monkeypatch.setattr(Folder, "create", claim)
        with pytest.raises(SparkDanceOvertakenError, match="claimed"):
            task.attempt()
        assert task.orders == 1
        assert task.retry().retry().attempt()["generation_id"] == "sd-1"
        assert task.orders == 1

    def test_a_try_that_wakes_up_after_another_has_ordered_orders_nothing(self, sleeps: list[float]) -> None:
        task = Task()
        another = Task(vendor=task.vendor, store=task.store, ti=TaskInstance(try_number=2))
        reads = 0

        def on_step(step: str) -> None:
            nonlocal reads
            reads += step == "before the ledger is read"
            if reads == 2:  # the first try has found nothing, and is about to order
                revive(task)
                another.attempt()
                sleeps.clear()

        watch(task, on_step)
        with pytest.raises(SparkDanceOvertakenError, match=r"Try 2 of this task has written.*Nothing was ordered\."):
            task.attempt()
        assert task.orders == 1
        assert not sleeps
        assert another.retry().attempt()["generation_id"] == "sd-1"
        assert task.orders == 1

    @pytest.mark.parametrize("another_came", [True, False])
    def test_a_try_that_slept_between_intent_and_order_looks_once_more(
        self, monkeypatch: pytest.MonkeyPatch, another_came: bool
    ) -> None:
        task = Task()
        another = Task(vendor=task.vendor, store=task.store, ti=TaskInstance(try_number=2))

        def on_step(step: str) -> None:
            if step == "after intent was written":
                revive(task)
                if another_came:
                    with pytest.raises(AirflowFailException, match="no one can tell"):
                        another.attempt()
                clock = time.time
                monkeypatch.setattr(time, "time", lambda: clock() + 60)

        watch(task, on_step)
        if another_came:
            with pytest.raises(SparkDanceOvertakenError, match="has written 'ambiguous'"):
                task.attempt()
            assert task.orders == 0
        else:
            task.attempt()
            assert task.orders == 1

    def test_a_broken_record_ends_the_task_for_good(self) -> None:
        task = Task(store=StateStore(values={"spark_dance_ledger": '{"format": 1}'}))
        with pytest.raises(AirflowFailException, match=r"remove the record.*clear the task.*Nothing was ordered"):
            task.attempt()
        assert not task.orders


class TestWithoutWaiting:
    def test_the_order_itself_is_what_is_delivered(self) -> None:
        task = Task(Vendor(fates=[RENDERING]))
        assert task.attempt(wait_for_completion=False)["status"] == "queued"
        assert task.retry().attempt(wait_for_completion=False)["status"] == "in_progress"
        assert task.orders == 1
        task.clear().attempt(wait_for_completion=False)
        assert task.orders == 2


class TestFailedWait:
    def test_with_a_retry_left_it_says_that_the_retry_takes_it_up(self) -> None:
        task = Task(Vendor(fates=[RENDERING]))
        with pytest.raises(SparkDanceError, match=r"sd-1 ran out.*The next retry takes the paid render up again"):
            task.attempt(timeout=1e-9)

    def test_without_one_it_says_that_a_clear_does(self) -> None:
        task = Task(Vendor(fates=[RENDERING]), ti=TaskInstance(max_tries=0))
        with pytest.raises(SparkDanceError, match=r"sd-1 ran out.*clear the task, and it takes the paid"):
            task.attempt(timeout=1e-9)
        task.vendor.renders["sd-1"] = completed()
        assert task.clear().attempt()["generation_id"] == "sd-1"

    def test_the_time_of_one_that_is_taken_up_late_is_one_more_timeout(self) -> None:
        task = Task(Vendor(fates=[RENDERING]))
        with pytest.raises(SparkDanceError, match="ran out"):
            task.attempt(timeout=1e-9)
        polls = len(task.vendor.polls)
        with pytest.raises(SparkDanceError, match="ran out"):
            task.retry().attempt(timeout=0.001)
        assert len(task.vendor.polls) > polls
        assert task.orders == 1

    def test_an_unknown_generation_keeps_its_ledger(self) -> None:
        task = Task(Vendor(fates=[RENDERING]))
        with pytest.raises(SparkDanceError, match="ran out"):
            task.attempt(timeout=1e-9)
        task.vendor.poll_faults = [SparkDanceNotFoundError("unknown")] * 3
        task.vendor.renders["sd-1"] = completed()
        assert task.retry().attempt()["generation_id"] == "sd-1"


class TestResume:
    @pytest.mark.parametrize("with_ledger", [True, False])
    def test_dag_test_which_loses_what_was_deferred_gets_the_result_too(self, with_ledger: bool) -> None:
        usual = Task().attempt(deferrable=True, seed=5)
        task = Task(loses_kwargs=True) if with_ledger else Task(store=None, loses_kwargs=True)
        result = task.attempt(deferrable=True, seed=5)
        times = {"submitted_at", "completed_at", "elapsed_seconds"}
        assert {key: result[key] for key in result if key not in times} == {
            key: usual[key] for key in usual if key not in times
        }

    def test_a_video_that_was_too_long_for_the_event_is_asked_for_again(self) -> None:
        url = "https://results.example/sd-1.mp4?signature=" + "x" * 5000
        task = Task(Vendor(fates=[{"status": "completed", "output": [{"content": [{"type": "video", "url": url}]}]}]))
        assert task.attempt(deferrable=True)["status"] == "completed"
        assert task.vendor.polls == ["sd-1", "sd-1"]

    @pytest.mark.parametrize(
        ("reason", "kind"), [("Trigger timeout", SparkDanceTimeoutError), ("Trigger failure", SparkDanceError)]
    )
    def test_a_trigger_that_died_is_reported_with_its_generation_and_taken_up(
        self, reason: str, kind: type[SparkDanceError]
    ) -> None:
        task = Task(Vendor(fates=[RENDERING]))
        operator = task.operator(deferrable=True)
        with pytest.raises(TaskDeferred):
            operator.execute(task.context)
        with pytest.raises(kind, match=r"generation sd-1.*next retry takes the paid render up"):
            operator.resume_execution("__fail__", {"error": reason, "traceback": None}, task.context)
        task.vendor.renders["sd-1"] = completed()
        assert task.retry().attempt(deferrable=True)["generation_id"] == "sd-1"
        assert task.orders == 1


class TestKill:
    def test_while_nothing_is_ordered_there_is_nothing_to_say(self, capsys: pytest.CaptureFixture[str]) -> None:
        Task().operator().on_kill()
        assert "cancel" not in capsys.readouterr().out

    async def test_a_user_who_ends_a_waiting_task_is_told_that_the_render_goes_on(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        task = Task()
        with pytest.raises(TaskDeferred) as deferral:
            task.operator(deferrable=True).execute(task.context)
        _, arguments = deferral.value.trigger.serialize()
        await SparkDanceGenerationTrigger(**arguments).on_kill()
        told = capsys.readouterr()
        assert "no cancel: generation sd-1 goes on, and about 0.1215 USD is billed" in told.out + told.err

    async def test_a_wait_from_before_the_upgrade_has_no_price_to_tell(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shape = Shape(pixels=1, frames=1, tier="default")
        trigger = SparkDanceGenerationTrigger(
            generation_id="sd-9", spark_dance_conn_id="c", submitted_at=0, deadline=1, shape=shape, poll={}
        )
        await trigger.on_kill()
        told = capsys.readouterr()
        assert "generation sd-9 goes on, and what it costs is billed" in told.out + told.err


def steps_of(task: Task, **parameters: Any) -> list[str]:
    steps = kill_at(task, 10_000)
    task.attempt(**parameters)
    return steps


WHOLE_LIFE = steps_of(Task())
# From here to there the order may be out and no one has written it down.
UNHEARD_OF = range(WHOLE_LIFE.index("after intent was written"), WHOLE_LIFE.index("before submitted is written") + 1)


@pytest.mark.parametrize("step", range(len(WHOLE_LIFE)), ids=lambda step: f"{step}: {WHOLE_LIFE[step]}")
@pytest.mark.parametrize("in_folder", [False, True], ids=["state store", "both places"])
def test_whenever_the_task_is_killed_it_pays_once_or_reports(
    step: int, in_folder: bool, tmp_path: Path, deferrable: bool
) -> None:
    task = Task(ledger_path=str(tmp_path) if in_folder else None)
    kill_at(task, step)
    with pytest.raises(Killed):
        task.attempt(deferrable=deferrable)
    revive(task)
    if step in UNHEARD_OF:
        for _ in range(2):
            with pytest.raises(AirflowFailException, match="no one can tell"):
                task.retry().attempt(deferrable=deferrable)
        assert task.orders <= 1
    else:
        assert task.retry().attempt(deferrable=deferrable)["generation_id"] == "sd-1"
        assert task.orders == 1


@settings(max_examples=400)
@given(
    attempts=st.lists(
        st.tuples(
            st.sampled_from(["retry", "retry", "clear"]),
            st.sampled_from(["tea", "coffee"]),
            st.sampled_from(["done", "done", "failed", "moderated", "lost", "refused", "busy"]),
            st.none() | st.integers(0, 14),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_over_any_course_of_attempts_no_retry_pays_for_what_is_out(
    attempts: list[tuple[str, str, str, int | None, bool]],
) -> None:
    task = Task(ti=TaskInstance(try_number=0, max_tries=3))
    for kind, prompt, fate, killed_at, deferrable in attempts:
        before, open_render, unheard_of = task.orders, last_open(task), is_unheard_of(task)
        task.clear() if kind == "clear" else task.retry()
        # A clear whose attempt died before its first word leaves the next attempt to be the cleared one.
        is_retry = record_of(task).get("max_tries") == task.ti.max_tries
        faults: dict[str, list[Exception]] = {
            "lost": [LOST],
            "refused": [SparkDanceAuthenticationError("the key")],
            "busy": [SparkDanceVendorError("busy")],
        }
        task.vendor.submit_faults = faults.get(fate, [])
        task.vendor.fates = {"failed": [failed()], "moderated": [MODERATED]}.get(fate, [])
        revive(task) if killed_at is None else kill_at(task, killed_at)
        result = None
        with suppress(Killed, AirflowFailException, SparkDanceError):
            result = task.attempt(prompt=prompt, deferrable=deferrable)
        assert task.orders - before <= 1, "an attempt orders at most once"
        if is_retry and (open_render or unheard_of):
            assert task.orders == before, "a retry doesn't order beside what is, or may be, out"
        if is_retry and open_render and result:
            assert result["generation_id"] == open_render


def record_of(task: Task) -> dict[str, Any]:
    assert task.store is not None
    record: dict[str, Any] = json.loads(task.store.values.get("spark_dance_ledger", "{}"))
    return record


def last_open(task: Task) -> str | None:
    record = record_of(task)
    return record["order"]["generation_id"] if record.get("state") in ("submitted", "delivered") else None


def is_unheard_of(task: Task) -> bool:
    return record_of(task).get("state") in ("intent", "ambiguous")
