"""An emulator started again on the folder of an earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from airflow_provider_spark.emulator import Clock, running_emulator
from tests.unit.emulator.conftest import NOON
from tests.unit.emulator.helpers import Vendor, data_uri, image, picture, text

if TYPE_CHECKING:
    from pathlib import Path


def test_a_restart_in_the_middle_of_a_render_forgets_nothing(tmp_path: Path) -> None:
    with running_emulator(render_seconds=10, state_dir=tmp_path, clock=Clock(frozen_at=NOON)) as emulator:
        vendor = Vendor(emulator)
        with vendor.http:
            emulator.arm("render", "moderate")
            failing = vendor.order()
            generation = vendor.order(text("On"), image(data_uri(picture())), return_last_frame=True, frames=29)
            vendor.http.post("/_emulator/clock", json={"advance": 5.5})
            vendor.submit(seed="x")
    with running_emulator(render_seconds=99, state_dir=tmp_path, clock=Clock(frozen_at=NOON)) as emulator:
        vendor = Vendor(emulator)
        with vendor.http:
            assert vendor.poll(generation)["progress"] == 0.5
            emulator.clock.advance(5)
            assert vendor.poll(failing)["status"] == "failed"
            done = vendor.poll(generation)
            stats = vendor.stats()
            assert httpx.get(done["output"][0]["content"][1]["url"]).status_code == 200
            assert vendor.order() not in (generation, failing)
    assert (stats["submits_received"], stats["submits_accepted"], stats["billed_usd"]) == (3, 2, 0.029363)


def test_a_url_stays_good_over_a_restart(tmp_path: Path) -> None:
    with running_emulator(render_seconds=0, state_dir=tmp_path) as emulator:
        vendor = Vendor(emulator)
        with vendor.http:
            url = httpx.URL(vendor.finished(return_last_frame=True)["output"][0]["content"][1]["url"])
    with running_emulator(state_dir=tmp_path) as emulator:
        assert httpx.get(emulator.base_url + url.path).status_code == 200


def test_a_kill_in_the_middle_of_writing_costs_one_entry_at_most(tmp_path: Path) -> None:
    with running_emulator(state_dir=tmp_path) as emulator:
        vendor = Vendor(emulator)
        with vendor.http:
            kept = vendor.order()
    (journal,) = tmp_path.glob("*.jsonl")
    with journal.open("ab") as file:
        file.write(b'{"generation": {"id": "half')
    for _ in range(2):
        with running_emulator(state_dir=tmp_path) as emulator:
            vendor = Vendor(emulator)
            with vendor.http:
                assert kept in emulator.stats()["generations"]
                vendor.order()
    assert emulator.stats()["submits_accepted"] == 3
