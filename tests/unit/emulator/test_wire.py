"""The vendor's HTTP: who may call, what is answered, what is counted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_spark.emulator import Clock, RunningEmulator, running_emulator
from tests.unit.emulator.conftest import NOON
from tests.unit.emulator.helpers import SUBMIT, Vendor, body, data_uri, image, picture, raw_reply, text

if TYPE_CHECKING:
    from pathlib import Path


def test_a_submit_is_answered_with_the_four_documented_keys(vendor: Vendor) -> None:
    reply = vendor.submit().json()
    assert reply.keys() == {"id", "status", "model", "created_at"}
    assert (reply["status"], reply["model"], reply["created_at"]) == ("queued", "spark_dance_v1_0_pro", int(NOON))


def test_progress_output_and_usage_come_when_their_time_has_come(vendor: Vendor) -> None:
    generation = vendor.order()
    always = {"id", "status", "model", "created_at", "metadata"}
    assert vendor.poll(generation).keys() == always
    vendor.emulator.clock.advance(5.5)
    rendering = vendor.poll(generation)
    assert rendering.keys() == always | {"progress"}
    assert rendering["progress"] == 0.5
    vendor.emulator.clock.advance(4.5)
    done = vendor.poll(generation)
    assert done.keys() == always | {"output", "usage"}
    assert done["usage"] == {"cost": "0.0486", "discount": 0}
    assert done["metadata"] == {"in_queue_at": int(NOON), "completed_at": int(NOON) + 10}


def test_a_finished_generation_tells_what_was_made(vendor: Vendor) -> None:
    (output,) = vendor.finished(frames=57, resolution="720p", ratio="21:9", return_last_frame=True)["output"]
    video, last = output.pop("content")
    assert output == {"duration": 2, "format": "mp4", "resolution": "720p", "ratio": "21:9", "fps": 24}
    assert (video["type"], video["duration"], last["type"]) == ("video", 2.375, "image")
    assert video["jobId"]
    assert video["url"].endswith(".mp4")
    assert last["url"].endswith(".png")


def test_a_whole_number_of_seconds_is_one() -> None:
    with running_emulator(render_seconds=0) as emulator:
        vendor = Vendor(emulator)
        with vendor.http:
            duration = vendor.finished(duration=3)["output"][0]["content"][0]["duration"]
    assert duration == 3
    assert isinstance(duration, int)


def test_a_duration_can_come_as_text() -> None:
    with running_emulator(render_seconds=0, duration_as_text=True) as emulator:
        vendor = Vendor(emulator)
        with vendor.http:
            assert vendor.finished(duration=3)["output"][0]["content"][0]["duration"] == "3"


def test_flex_costs_half(vendor: Vendor) -> None:
    assert vendor.finished(resolution="1080p", duration=5)["usage"]["cost"] == "0.612"
    assert vendor.finished(resolution="1080p", duration=5, service_tier="flex")["usage"]["cost"] == "0.306"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        "Bearer  emulator-key",
        "Bearer emulator-key\u00e9",
        "bearer emulator-key",
        "Basic emulator-key",
        "emulator-key",
        "Bearer Bearer emulator-key",
    ],
)
def test_only_the_key_behind_bearer_is_let_in(emulator: RunningEmulator, header: str | None) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    for method, path in (("POST", SUBMIT), ("GET", f"{SUBMIT}/task/none")):
        reply = httpx.request(method, emulator.base_url + path, headers=headers, json=body())
        assert reply.status_code == 401
        assert reply.json()["error"].keys() == {"code", "error_message"}
    assert emulator.stats()["submits_accepted"] == 0


def test_two_keys_are_none(emulator: RunningEmulator) -> None:
    headers = [("Authorization", "Bearer emulator-key"), ("Authorization", "Bearer emulator-key")]
    assert httpx.post(emulator.base_url + SUBMIT, headers=headers, json=body()).status_code == 401


def test_an_unknown_id_is_a_404_in_the_vendors_form(vendor: Vendor) -> None:
    reply = vendor.http.get(f"{SUBMIT}/task/none")
    assert reply.status_code == 404
    assert reply.json()["error"].keys() == {"code", "error_message"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", SUBMIT, 405),
        ("POST", f"{SUBMIT}/task/x", 405),
        ("GET", "/model/v1/generations", 404),
        ("GET", "/v1", 404),
    ],
)
def test_other_methods_and_paths_are_refused_in_the_same_form(
    vendor: Vendor, method: str, path: str, status: int
) -> None:
    reply = vendor.http.request(method, path)
    assert reply.status_code == status
    assert reply.json()["error"].keys() == {"code", "error_message"}


def test_a_broken_limit_is_a_400_with_its_code(vendor: Vendor) -> None:
    reply = vendor.submit(resolution="4k")
    assert reply.status_code == 400
    assert reply.json() == {
        "error": {"code": "003005005", "error_message": "resolution must be one of 480p, 720p, 1080p"}
    }
    stats = vendor.stats()
    assert (stats["submits_received"], stats["submits_accepted"]) == (1, 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"prompt=kite",
        b"\xff\xfe{}",
        b"[" * 200_000,
        b'{"model": NaN}',
        json.dumps(body()).encode("utf-16"),
        b'{"model": "spark_dance_v1_0_pro", "input": ' + b'{"a":' * 100_000,
    ],
)
def test_a_body_that_is_not_json_is_a_400(vendor: Vendor, raw: bytes) -> None:
    reply = vendor.http.post(SUBMIT, content=raw)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "003005002"


def test_a_parameter_nested_without_end_is_refused_or_ignored(vendor: Vendor) -> None:
    nested: Any = []
    for _ in range(400):
        nested = [nested]
    assert vendor.submit(extra=nested).status_code in (200, 400)
    assert vendor.stats()["submits_received"] == 1


def test_a_huge_body_is_refused_before_it_is_read(emulator: RunningEmulator) -> None:
    head = f"POST {SUBMIT} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\nConnection: close\r\n\r\n"
    assert b" 413 " in raw_reply(emulator.base_url, head.encode())


def test_a_body_needs_no_content_type_to_be_judged(vendor: Vendor) -> None:
    assert vendor.http.post(SUBMIT, content=json.dumps(body())).status_code == 200


def test_what_is_not_ready_when_it_expires_fails_and_is_not_billed() -> None:
    with running_emulator(render_seconds=5000, clock=Clock(frozen_at=NOON)) as emulator:
        vendor = Vendor(emulator)
        with vendor.http:
            generation = vendor.order(execution_expires_after=3600)
            emulator.clock.advance(3600)
            reply = vendor.poll(generation)
            emulator.clock.advance(3600)
    assert reply["status"] == "failed"
    assert "expired" in reply["error"]["error_message"]
    assert emulator.stats()["billed_usd"] == 0


def test_a_success_is_billed_once_polled_or_not(vendor: Vendor) -> None:
    vendor.order()
    polled = vendor.order()
    assert vendor.stats()["billed_usd"] == 0
    vendor.emulator.clock.advance(10)
    for _ in range(3):
        vendor.poll(polled)
    assert vendor.stats()["billed_usd"] == 0.0972


def test_stats_tell_what_was_ordered_and_how_it_stands(vendor: Vendor) -> None:
    uri = data_uri(picture())
    generation = vendor.order(text("A kite"), image(uri), seed=3)
    vendor.submit(seed="x")
    vendor.poll(generation)
    vendor.poll("none")
    stats = vendor.stats()
    assert (stats["submits_received"], stats["submits_accepted"], stats["polls"]) == (2, 1, 2)
    told = stats["generations"][generation]
    assert (told["status"], told["polls"], told["request"]["seed"]) == ("queued", 1, 3)
    assert told["request"]["content"][0]["text"] == "A kite"
    placeholder = told["request"]["content"][1]["image_url"]["url"]
    assert str(len(uri)) in placeholder
    assert "base64" not in placeholder
    assert vendor.emulator.stats() == stats


def test_the_clock_moves_over_http_too(vendor: Vendor) -> None:
    generation = vendor.order()
    assert vendor.http.post("/_emulator/clock", json={"advance": 10}).json() == {"now": NOON + 10}
    assert vendor.poll(generation)["status"] == "completed"
    for wrong in ("{}", '{"advance": -1}', '{"advance": "1"}', '{"advance": true}', "[]", '{"advance": 1e999}', "x"):
        assert vendor.http.post("/_emulator/clock", content=wrong).status_code == 400


def test_only_so_many_render_at_a_time_and_the_rest_queue() -> None:
    with running_emulator(render_seconds=10, concurrency=2, clock=Clock(frozen_at=NOON)) as emulator:
        vendor = Vendor(emulator)
        with vendor.http:
            ids = [vendor.order() for _ in range(5)]
            seen = []
            for _ in range(3):
                emulator.clock.advance(9)
                seen.append([vendor.poll(one)["status"] for one in ids])
                emulator.clock.advance(1)
    rendering, done, waiting = "in_progress", "completed", "queued"
    assert seen == [
        [rendering, rendering, waiting, waiting, waiting],
        [done, done, rendering, rendering, waiting],
        [done, done, done, done, rendering],
    ]


def test_renders_take_longer_the_longer_and_larger_the_clip() -> None:
    with running_emulator(clock=Clock(frozen_at=NOON), seed=1) as emulator:
        vendor = Vendor(emulator)
        with vendor.http:
            short = vendor.order(duration=2)
            long = vendor.order(duration=12, resolution="1080p")
            emulator.clock.advance(2)
            assert vendor.poll(short)["status"] == "completed"
            assert vendor.poll(long)["progress"] < 0.3


def test_the_same_seed_repeats_ids_and_times() -> None:
    def run() -> list[object]:
        with running_emulator(clock=Clock(frozen_at=NOON), seed=42) as emulator:
            vendor = Vendor(emulator)
            with vendor.http:
                ids = [vendor.order(duration=5) for _ in range(3)]
                emulator.clock.advance(2)
                return [vendor.poll(one) for one in ids]

    assert run() == run()


def test_a_render_nobody_downloads_makes_no_file(tmp_path: Path) -> None:
    with running_emulator(render_seconds=0, state_dir=tmp_path) as emulator:
        vendor = Vendor(emulator)
        with vendor.http:
            for _ in range(50):
                vendor.order()
    assert not list(tmp_path.rglob("*.mp4"))


def test_the_front_page_says_what_this_is(emulator: RunningEmulator) -> None:
    assert "stand-in" in httpx.get(emulator.base_url).json()["what"]


def test_pictures_are_fetched_and_judged(vendor: Vendor) -> None:
    base = vendor.emulator.base_url
    png = vendor.finished(return_last_frame=True)["output"][0]["content"][1]["url"]
    assert vendor.submit(image(png)).status_code == 200
    for url in (f"{base}/_emulator/stats", f"{base}/nothing", "http://127.0.0.1:1/x.png", "http://[bad/x.png"):
        reply = vendor.submit(image(url))
        assert reply.status_code == 400
        assert reply.json()["error"]["code"] in ("003005003", "003005014")


def test_a_data_uri_is_judged_over_the_wire(vendor: Vendor) -> None:
    assert vendor.submit(image(data_uri(picture()))).status_code == 200
    assert vendor.submit(image(data_uri(picture(), "PNG"))).json()["error"]["code"] == "003005014"
    assert vendor.submit(image(data_uri(picture(200, 200)))).json()["error"]["code"] == "003005003"
