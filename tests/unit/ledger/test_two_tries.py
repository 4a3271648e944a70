"""Two tries of one task at the same moment: their steps may follow each other in any order."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.ledger.decision import Step, decide
from airflow_provider_spark.ledger.ledger import Ledger
from airflow_provider_spark.ledger.record import Record, SparkDanceOvertakenError
from airflow_provider_spark.ledger.stores import Folder, FolderStore
from tests.unit.ledger.helpers import FINGERPRINT, a_record, an_attempt

ORDERS = st.lists(st.integers(0, 1), min_size=24, max_size=24)
BEFORE = st.sampled_from([None, a_record("refused"), a_record("failed")])

Wait = Callable[[], None]


def taking_turns(tries: list[Callable[[Wait], Any]], order: Iterable[int]) -> None:
    """Run each try in a thread, one step of one of them at a time; a try waits before each of its steps."""
    may_go = [threading.Semaphore(0) for _ in tries]
    has_stepped = threading.Semaphore(0)
    unfinished = set(range(len(tries)))

    def run(at: int) -> None:
        def wait() -> None:
            has_stepped.release()
            may_go[at].acquire()

        may_go[at].acquire()
        try:
            tries[at](wait)
        finally:
            unfinished.discard(at)
            has_stepped.release()

    threads = [threading.Thread(target=run, args=(at,)) for at in unfinished]
    for thread in threads:
        thread.start()
    turns = iter(order)
    while unfinished:
        at = next(turns, min(unfinished))
        may_go[at if at in unfinished else min(unfinished)].release()
        has_stepped.acquire()
    for thread in threads:
        thread.join()


class Slow(FolderStore):
    """A folder whose every access is a step of its own; from one of them on it is never heard of again."""

    def __init__(self, path: Path, try_number: int, wait: Wait, last_step: int = 1000) -> None:
        super().__init__(Folder(str(path)), an_attempt(try_number))
        self._wait = wait
        self._steps_left = last_step

    def _step(self) -> None:
        self._wait()
        if not self._steps_left:
            raise KeyboardInterrupt
        self._steps_left -= 1

    def read(self) -> Record | None:
        self._step()
        return super().read()

    def read_claim(self, revision: int) -> Record | None:
        self._step()
        return super().read_claim(revision)

    def intend(self, record: Record) -> bool:
        self._step()
        return super().intend(record)

    def write(self, record: Record) -> None:
        self._step()
        super().write(record)


def attempts(path: Path, try_number: int, wait: Wait, ordered: list[int], last_step: int = 1000) -> None:
    """Do what a try of the operator does up to its order."""
    attempt = an_attempt(try_number)
    ledger = Ledger([Slow(path, try_number, wait, last_step)], attempt, logging.getLogger("test"))
    try:
        if decide(ledger.record, attempt, FINGERPRINT, resubmit_ambiguous=False).step is Step.ORDER:
            ledger.intend(fingerprint=FINGERPRINT, estimated_cost_usd=0.1, now=float(try_number))
            ordered.append(try_number)
    except (SparkDanceOvertakenError, KeyboardInterrupt):
        return


@given(order=ORDERS, before=BEFORE)
def test_only_one_of_them_orders(order: list[int], before: Record | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        if before is not None:
            FolderStore(Folder(folder), an_attempt()).write(before)
        ordered: list[int] = []
        taking_turns([lambda wait, at=at: attempts(path, at, wait, ordered) for at in (2, 3)], order)  # type: ignore[misc]
        assert len(ordered) == 1


@given(order=ORDERS, before=BEFORE, last_step=st.integers(0, 7))
def test_one_that_dies_on_its_way_lets_no_second_order_follow_unseen(
    order: list[int], before: Record | None, last_step: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        if before is not None:
            FolderStore(Folder(folder), an_attempt()).write(before)
        ordered: list[int] = []
        taking_turns(
            [
                lambda wait: attempts(path, 2, wait, ordered, last_step),
                lambda wait: attempts(path, 3, wait, ordered),
            ],
            order,
        )
        attempts(path, 4, lambda: None, ordered)
        assert len(ordered) <= 1
        found = Ledger([FolderStore(Folder(folder), an_attempt(5))], an_attempt(5), logging.getLogger("test")).record
        assert found is not None
        assert found.state == "intent", "whoever comes next sees that an order may be out"
