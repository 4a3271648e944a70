from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.api.errors import (
    SparkDanceAccountError,
    SparkDanceAuthenticationError,
    SparkDanceConfigurationError,
    SparkDanceError,
    SparkDanceHostError,
    SparkDanceNotFoundError,
    SparkDanceRateLimitError,
    SparkDanceTimeoutError,
    SparkDanceUnreachableError,
    SparkDanceVendorError,
)
from airflow_provider_spark.api.generation import Generation
from airflow_provider_spark.polling.schedule import Pace, Shape
from airflow_provider_spark.polling.wait import Ask, GaveUp, Note, Settled, Wait

NOW = 1_800_000_000.0
MINUTE = 60.0
HOUR = 3600.0
ID = "sd-1"
CLIP = Shape(pixels=864 * 480, frames=48, tier="default")

Answer = Generation | SparkDanceError
Vendor = Callable[[float], Answer]


def waiting(timeout: float = 2 * HOUR, *, shape: Shape = CLIP, pace: Pace | None = None) -> Wait:
    """A wait for an order made now."""
    return Wait(ID, NOW, NOW + timeout, shape, pace or Pace())


def generation(status: str | None = "in_progress", **reply: Any) -> Generation:
    return Generation.model_validate({"id": ID, "status": status, **reply})


def completed(**reply: Any) -> Generation:
    content = [{"type": "video", "url": "https://results.example.com/1.mp4"}]
    return generation("completed", output=[{"content": content}], **reply)


def failed(code: str = "003005095") -> Generation:
    return generation("failed", error={"code": code, "error_message": "no"})


@dataclass
class Story:
    """What became of a wait: when it asked (seconds since the submit), and how it ended."""

    end: Settled | GaveUp
    polls: list[float]
    reloads: list[float] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def error(self) -> SparkDanceError:
        assert isinstance(self.end, GaveUp)
        return self.end.error

    @property
    def generation(self) -> Generation:
        assert isinstance(self.end, Settled)
        return self.end.generation

    @property
    def log(self) -> str:
        return "\n".join(note.text for note in self.notes)


def tell(wait: Wait, vendor: Vendor, *, begins: float = 0, spread: float = 0.5) -> Story:
    """Play a wait to its end on a clock of its own, against a vendor that answers by a generation's age."""
    now = NOW + begins
    polls: list[float] = []
    reloads: list[float] = []
    notes: list[Note] = []
    decision: Ask | Settled | GaveUp = Ask(wait.first_ask(now, spread))
    while isinstance(decision, Ask):
        assert decision.after >= 0
        now += decision.after
        age = round(now - NOW, 3)
        polls.append(age)
        if decision.reload_connection:
            reloads.append(age)
        assert len(polls) < 100_000
        answer = vendor(age)
        if isinstance(answer, Generation):
            wait, decision = wait.after_reply(answer, now, spread)
        else:
            wait, decision = wait.after_fault(answer, now, spread)
        if not isinstance(decision, GaveUp) and decision.note:
            notes.append(decision.note)
    return Story(decision, polls, reloads, notes)


def until(age: float, before: Answer, then: Answer) -> Vendor:
    """A vendor that changes its answer at an age."""
    return lambda now: before if now < age else then


def always(answer: Answer) -> Vendor:
    return lambda _: answer


def steps_of(polls: list[float]) -> list[float]:
    return [later - sooner for sooner, later in pairwise(polls)]


def limited(retry_after: float | None = None) -> SparkDanceRateLimitError:
    error = SparkDanceRateLimitError("Too many calls.", http_status=429)
    error.retry_after = retry_after
    return error


TRANSIENT = [
    limited(),
    SparkDanceUnreachableError("Can't connect."),
    SparkDanceVendorError("HTTP 502.", http_status=502),
]
REFUSALS = [
    SparkDanceAuthenticationError("The key is refused.", http_status=401, generation_id=ID),
    SparkDanceAccountError("No balance.", http_status=402, generation_id=ID),
    SparkDanceAccountError("No permission.", http_status=403, generation_id=ID),
    SparkDanceConfigurationError("The connection can't be read."),
]
NOT_FOUND = SparkDanceNotFoundError(f"The vendor doesn't know generation {ID}.", http_status=404, generation_id=ID)
GATEWAY_CODES = ["003005096", "003005097", "003005098"]
NO_VIDEO = generation("completed")


class TestAnEnd:
    def test_that_is_good_is_believed_at_once(self) -> None:
        story = tell(waiting(), until(20, generation(), completed()))
        assert story.generation == completed()

    @pytest.mark.parametrize("status", ["failed", "cancelled", "canceled", "EXPIRED"])
    def test_that_is_bad_is_believed_at_once(self, status: str) -> None:
        story = tell(waiting(), always(generation(status, error={"code": "003005095"})))
        assert story.generation.is_failed
        assert len(story.polls) == 1

    def test_that_comes_with_an_error_beside_a_video_is_a_failure(self) -> None:
        story = tell(waiting(), always(completed(error={"code": "003005095", "message": "no"})))
        assert story.generation.is_failed

    def test_is_not_an_unknown_status(self) -> None:
        story = tell(waiting(), until(300, generation("on_hold"), completed()))
        assert story.generation == completed()
        warnings = [note.text for note in story.notes if note.level == logging.WARNING]
        assert len(warnings) == 1
        assert "on_hold" in warnings[0]
        assert ID in warnings[0]

    def test_is_not_a_reply_without_a_status(self) -> None:
        story = tell(waiting(), until(30, generation(None), completed()))
        assert story.generation == completed()
        assert "None" not in story.log


class TestADoubtfulEnd:
    @pytest.mark.parametrize("code", GATEWAY_CODES)
    def test_of_the_gateway_is_asked_again_for_five_minutes_and_then_believed(self, code: str) -> None:
        story = tell(waiting(), always(failed(code)))
        assert story.generation.error_code == code
        assert story.polls[-1] - story.polls[0] == pytest.approx(5 * MINUTE)

    @pytest.mark.parametrize("code", GATEWAY_CODES)
    def test_of_the_gateway_that_clears_up_is_forgotten(self, code: str) -> None:
        story = tell(waiting(), until(4 * MINUTE, failed(code), completed()))
        assert story.generation == completed()

    @pytest.mark.parametrize("code", ["003005095", "003005099", "003005001", "some_other"])
    def test_is_none_with_another_code(self, code: str) -> None:
        assert len(tell(waiting(), always(failed(code))).polls) == 1

    def test_without_a_video_is_asked_again_for_two_minutes(self) -> None:
        story = tell(waiting(), always(NO_VIDEO))
        assert story.generation == NO_VIDEO
        assert story.polls[-1] - story.polls[0] == pytest.approx(2 * MINUTE)

    def test_without_a_video_that_gets_one_is_good(self) -> None:
        assert tell(waiting(), until(MINUTE, NO_VIDEO, completed())).generation == completed()

    def test_is_asked_again_at_growing_distances(self) -> None:
        polls = tell(waiting(), always(failed("003005098"))).polls
        assert polls[1] - polls[0] < 10
        assert len(polls) < 20

    def test_is_looked_at_at_least_twice_even_at_a_slow_pace(self) -> None:
        for pace in (Pace(interval=HOUR), Pace(floor=HOUR, ceiling=HOUR)):
            story = tell(waiting(10 * HOUR, pace=pace), always(failed("003005098")))
            assert story.polls == [HOUR, HOUR + 5 * MINUTE]

    def test_has_a_time_of_its_own_for_each_kind_of_doubt(self) -> None:
        story = tell(waiting(), until(4 * MINUTE, failed("003005098"), NO_VIDEO))
        assert story.generation == NO_VIDEO
        assert story.polls[-1] >= 6 * MINUTE

    def test_keeps_its_time_where_one_gateway_code_follows_another(self) -> None:
        story = tell(waiting(), until(3 * MINUTE, failed("003005096"), failed("003005098")))
        assert story.polls[-1] - story.polls[0] == pytest.approx(5 * MINUTE)

    def test_begins_anew_after_a_good_answer(self) -> None:
        def vendor(age: float) -> Answer:
            return generation() if 4 * MINUTE < age < 6 * MINUTE else failed("003005098")

        story = tell(waiting(pace=Pace(interval=10)), vendor)
        assert story.generation.is_failed
        assert 11 * MINUTE <= story.polls[-1] < 12 * MINUTE

    def test_is_not_believed_for_the_deadline_being_there(self) -> None:
        # A failure that is believed may be ordered anew; a wait that ran out is taken up again.
        story = tell(waiting(MINUTE), always(failed("003005098")))
        assert isinstance(story.error, SparkDanceTimeoutError)
        assert "003005098" in str(story.error)
        assert story.polls[-1] == MINUTE

    def test_is_warned_of_once(self) -> None:
        story = tell(waiting(), always(NO_VIDEO))
        warnings = [note.text for note in story.notes if note.level == logging.WARNING]
        assert len(warnings) == 1
        assert "no video" in warnings[0]


class TestATransientFault:
    @pytest.mark.parametrize("fault", TRANSIENT, ids=lambda fault: type(fault).__name__)
    def test_never_ends_a_wait_before_its_deadline(self, fault: SparkDanceError) -> None:
        story = tell(waiting(48 * HOUR), always(fault))
        assert isinstance(story.error, SparkDanceTimeoutError)
        assert story.polls[-1] == 48 * HOUR
        assert str(fault) in str(story.error)

    @pytest.mark.parametrize("fault", TRANSIENT, ids=lambda fault: type(fault).__name__)
    def test_is_over_when_it_is_over(self, fault: SparkDanceError) -> None:
        story = tell(waiting(48 * HOUR), until(20 * HOUR, fault, completed()))
        assert story.generation == completed()
        assert story.polls[-1] < 20 * HOUR + 2 * MINUTE
        assert story.reloads == []

    def test_is_asked_again_soon_at_first_and_then_more_rarely(self) -> None:
        steps = steps_of(tell(waiting(), always(TRANSIENT[1])).polls[:-1])
        assert steps[0] < 5
        assert steps == pytest.approx(sorted(steps))
        assert 30 <= steps[-1] <= 60

    def test_forgotten_by_one_good_answer_begins_anew(self) -> None:
        def vendor(age: float) -> Answer:
            return generation() if 600 < age < 700 else TRANSIENT[2]

        polls = tell(waiting(), vendor).polls
        after = [age for age in polls if age >= 700]
        assert after[1] - after[0] < 5

    def test_goes_at_the_pace_that_was_asked_for(self) -> None:
        quick = tell(waiting(MINUTE, pace=Pace(floor=0.1, ceiling=0.4)), always(TRANSIENT[1])).polls
        assert max(steps_of(quick)) <= 0.41
        slow = tell(waiting(HOUR, pace=Pace(interval=300)), always(TRANSIENT[1])).polls
        assert slow == [300.0 * n for n in range(1, 13)]

    @pytest.mark.parametrize("seconds", [0, 7, 120, 1800])
    def test_of_too_many_calls_waits_as_long_as_the_vendor_says(self, seconds: float) -> None:
        polls = tell(waiting(), always(limited(seconds))).polls
        assert min(steps_of(polls[:-1])) >= seconds - 1e-6
        assert polls[1] - polls[0] < seconds + 5

    def test_of_too_many_calls_is_not_put_off_by_a_day(self) -> None:
        polls = tell(waiting(48 * HOUR), always(limited(10 * 24 * HOUR))).polls
        assert polls[1] - polls[0] == HOUR

    def test_is_in_the_log_with_its_reason(self) -> None:
        story = tell(waiting(), until(30, TRANSIENT[2], completed()))
        assert any(note.level == logging.WARNING and "HTTP 502" in note.text for note in story.notes)


class TestARefusal:
    @pytest.mark.parametrize("refusal", REFUSALS, ids=str)
    def test_is_held_out_for_fifteen_minutes(self, refusal: SparkDanceError) -> None:
        story = tell(waiting(), always(refusal))
        assert type(story.error) is type(refusal)
        assert str(refusal) in str(story.error)
        assert story.polls[-1] - story.polls[0] == pytest.approx(15 * MINUTE)

    @pytest.mark.parametrize("refusal", REFUSALS, ids=str)
    def test_has_the_connection_read_anew_before_each_next_poll(self, refusal: SparkDanceError) -> None:
        story = tell(waiting(), always(refusal))
        assert story.reloads == story.polls[1:]

    @pytest.mark.parametrize("refusal", REFUSALS, ids=str)
    def test_that_is_mended_in_time_costs_nothing(self, refusal: SparkDanceError) -> None:
        story = tell(waiting(), until(14 * MINUTE, refusal, completed()))
        assert story.generation == completed()
        assert story.polls[-1] < 16 * MINUTE

    @pytest.mark.parametrize("refusal", [*REFUSALS, NOT_FOUND], ids=str)
    def test_that_ends_a_wait_names_the_generation(self, refusal: SparkDanceError) -> None:
        error = tell(waiting(), always(refusal)).error
        assert ID in str(error)
        assert error.generation_id == ID

    def test_counts_from_its_own_beginning(self) -> None:
        def vendor(age: float) -> Answer:
            return generation() if 10 * MINUTE < age < 20 * MINUTE else REFUSALS[0]

        story = tell(waiting(pace=Pace(interval=30)), vendor)
        assert 35 * MINUTE <= story.polls[-1] < 36 * MINUTE

    def test_is_not_hurried_by_an_unknown_id_before_it(self) -> None:
        story = tell(waiting(pace=Pace(interval=30)), until(9 * MINUTE, NOT_FOUND, REFUSALS[0]))
        assert 24 * MINUTE <= story.polls[-1] < 25 * MINUTE

    def test_at_the_deadline_is_a_wait_that_ran_out(self) -> None:
        story = tell(waiting(MINUTE), always(REFUSALS[0]))
        assert isinstance(story.error, SparkDanceTimeoutError)
        assert "key is refused" in str(story.error)


class TestAnUnknownId:
    def test_may_be_unknown_until_ten_minutes_after_the_submit(self) -> None:
        story = tell(waiting(), always(NOT_FOUND))
        assert story.error is NOT_FOUND
        assert story.polls[-1] == pytest.approx(10 * MINUTE)
        assert story.reloads == []

    def test_that_becomes_known_costs_nothing(self) -> None:
        assert tell(waiting(), until(9 * MINUTE, NOT_FOUND, completed())).generation == completed()

    def test_is_doubted_for_two_minutes_when_it_comes_later(self) -> None:
        story = tell(waiting(), until(30 * MINUTE, generation(), NOT_FOUND))
        assert story.error is NOT_FOUND
        first = next(poll for poll in story.polls if poll >= 30 * MINUTE)
        assert story.polls[-2] < first + 2 * MINUTE <= story.polls[-1]

    def test_that_was_a_stray_answer_ends_no_wait(self) -> None:
        answers: list[Answer] = [generation(), NOT_FOUND, generation(), NOT_FOUND, completed()]
        assert tell(waiting(), lambda _: answers.pop(0), begins=HOUR).generation == completed()


def test_a_redirect_ends_a_wait_at_once() -> None:
    moved = SparkDanceHostError("The host redirects.", http_status=302)
    story = tell(waiting(), until(30, generation(), moved))
    assert isinstance(story.error, SparkDanceHostError)
    assert "The host redirects." in str(story.error)
    assert ID in str(story.error)
    assert len([age for age in story.polls if age >= 30]) == 1


class TestTheDeadline:
    @pytest.mark.parametrize("timeout", [1, 5, 90, HOUR, 48 * HOUR + 10 * MINUTE])
    def test_is_asked_at_and_never_passed(self, timeout: float) -> None:
        story = tell(waiting(timeout), always(generation()))
        assert isinstance(story.error, SparkDanceTimeoutError)
        assert story.polls[-1] == timeout

    def test_names_the_generation_its_status_and_what_goes_on(self) -> None:
        error = tell(waiting(90), always(generation("in_queue"))).error
        assert error.generation_id == ID
        for told in (ID, "90 s", "in_queue", "billed"):
            assert told in str(error)

    def test_says_so_where_no_status_was_ever_read(self) -> None:
        assert "no status" in str(tell(waiting(90), always(TRANSIENT[1])).error)

    @pytest.mark.parametrize("pace", [Pace(), Pace(interval=50), Pace(interval=5000)])
    @pytest.mark.parametrize("answer", [generation(), TRANSIENT[0], REFUSALS[0], NOT_FOUND, NO_VIDEO])
    def test_that_has_passed_lets_a_wait_ask_once_at_once(self, answer: Answer, pace: Pace) -> None:
        story = tell(waiting(HOUR, pace=pace), always(answer), begins=3 * HOUR)
        assert story.polls == [3 * HOUR]
        assert isinstance(story.end, GaveUp)

    def test_that_has_passed_still_takes_a_good_end(self) -> None:
        assert tell(waiting(HOUR), always(completed()), begins=3 * HOUR).generation == completed()

    def test_at_the_very_moment_still_takes_a_good_end(self) -> None:
        assert tell(waiting(HOUR), until(HOUR, generation(), completed())).generation == completed()

    def test_cuts_what_the_vendor_asks_to_wait(self) -> None:
        assert tell(waiting(90), always(limited(600))).polls[-1] == 90


class TestAFixedInterval:
    def test_is_kept(self) -> None:
        story = tell(waiting(100, pace=Pace(interval=30)), always(generation()))
        assert story.polls == [30, 60, 90, 100]

    @given(begins=st.floats(0, 10_000), interval=st.floats(1, 3000))
    def test_goes_on_in_step_after_a_restart(self, begins: float, interval: float) -> None:
        # A triggerer that restarts more often than the interval would else never ask.
        wait = waiting(48 * HOUR, pace=Pace(interval=interval))
        first = begins + wait.first_ask(NOW + begins, 0.5)
        assert begins <= first <= begins + interval
        assert first / interval == pytest.approx(round(first / interval), abs=1e-3)


class TestTheLog:
    def test_has_every_change_of_status_once(self) -> None:
        def vendor(age: float) -> Answer:
            if age < 20:
                return generation("in_queue")
            return generation("in_progress") if age < 40 else completed()

        notes = tell(waiting(pace=Pace(interval=2)), vendor).notes
        assert [note.level for note in notes] == [logging.INFO] * 3
        for note, status in zip(notes, ["in_queue", "in_progress", "completed"], strict=True):
            assert status in note.text
            assert ID in note.text

    def test_has_progress_at_a_decent_pace(self) -> None:
        def vendor(age: float) -> Answer:
            return generation(progress=min(1, age / 1000)) if age < 1000 else completed()

        story = tell(waiting(pace=Pace(interval=1)), vendor)
        assert len(story.polls) == 1000
        assert 10 <= len(story.notes) <= 25
        assert "% done" in story.log

    def test_has_a_sign_of_life_where_no_progress_is_told(self) -> None:
        story = tell(waiting(HOUR, pace=Pace(interval=1)), always(generation()))
        assert 55 <= len(story.notes) <= 65

    def test_says_nothing_of_progress_at_the_end(self) -> None:
        assert "%" not in tell(waiting(), always(completed(progress=0.99))).log


ANSWERS = st.sampled_from(
    [
        generation("queued"),
        generation("in_progress", progress=0.4),
        generation("odd"),
        NO_VIDEO,
        failed("003005097"),
        *TRANSIENT,
        limited(600),
        *REFUSALS,
        NOT_FOUND,
    ]
)


@given(
    answers=st.lists(ANSWERS, min_size=1, max_size=12),
    timeout=st.floats(1, 4 * HOUR),
    begins=st.floats(0, 5 * HOUR),
    pace=st.sampled_from([Pace(), Pace(interval=7), Pace(floor=0.5, ceiling=5), Pace(floor=400, ceiling=900)]),
    spread=st.floats(0, 1),
)
def test_whatever_the_vendor_answers_a_wait_ends_by_its_deadline(
    answers: list[Answer], timeout: float, begins: float, pace: Pace, spread: float
) -> None:
    turn = iter(range(10**9))
    story = tell(
        waiting(timeout, pace=pace), lambda _: answers[next(turn) % len(answers)], begins=begins, spread=spread
    )
    assert story.polls[-1] <= max(timeout, begins) + 1e-3
    if isinstance(story.end, GaveUp):
        assert ID in str(story.error)
        assert story.error.generation_id == ID


def test_a_wait_is_never_changed_only_replaced() -> None:
    wait = waiting()
    copy = replace(wait)
    tell(wait, until(300, TRANSIENT[0], completed()))
    assert wait == copy
