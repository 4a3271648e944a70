"""Faults on demand, over a real socket."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from airflow_provider_spark.emulator import RunningEmulator, running_emulator
from tests.unit.emulator.helpers import SUBMIT, Vendor, body, raw_reply, text

REQUEST = json.dumps(body()).encode()
RAW_SUBMIT = (
    f"POST {SUBMIT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer emulator-key\r\nContent-Length: {len(REQUEST)}\r\n\r\n"
).encode() + REQUEST


def test_a_dropped_reply_leaves_an_accepted_order(vendor: Vendor) -> None:
    vendor.arm(on="submit", kind="drop_reply")
    assert raw_reply(vendor.emulator.base_url, RAW_SUBMIT) == b""
    assert vendor.stats()["submits_accepted"] == 1
    assert vendor.submit().status_code == 200


def test_a_refused_connection_leaves_no_order(vendor: Vendor) -> None:
    vendor.arm(on="submit", kind="refuse")
    assert raw_reply(vendor.emulator.base_url, RAW_SUBMIT) == b""
    stats = vendor.stats()
    assert (stats["submits_received"], stats["submits_accepted"]) == (1, 0)


def test_a_refusal_comes_before_the_body(vendor: Vendor) -> None:
    vendor.arm(on="submit", kind="refuse")
    head = RAW_SUBMIT[: -len(REQUEST)]
    assert raw_reply(vendor.emulator.base_url, head) == b""


@pytest.mark.parametrize("kind", ["drop_reply", "refuse"])
def test_a_poll_can_be_cut(vendor: Vendor, kind: str) -> None:
    generation = vendor.order()
    vendor.arm(on="poll", kind=kind)
    with pytest.raises(httpx.RemoteProtocolError):
        vendor.poll(generation)
    assert vendor.poll(generation)["status"] == "queued"


@pytest.mark.parametrize("wait", [7, "Wed, 21 Oct 2026 07:28:00 GMT", None])
@pytest.mark.parametrize("on", ["submit", "poll"])
def test_a_rate_limit_says_how_long_to_wait_where_told(vendor: Vendor, on: str, wait: float | str | None) -> None:
    generation = vendor.order()
    vendor.arm(on=on, kind="rate_limit", **({} if wait is None else {"retry_after": wait}))
    reply = vendor.submit() if on == "submit" else vendor.http.get(f"{SUBMIT}/task/{generation}")
    assert reply.status_code == 429
    assert reply.headers.get("retry-after") == (None if wait is None else str(wait))
    assert vendor.stats()["submits_accepted"] == 1


def test_a_server_error_is_bare(vendor: Vendor) -> None:
    vendor.arm(on="submit", kind="server_error")
    reply = vendor.submit()
    assert (reply.status_code, reply.content) == (502, b"")
    assert vendor.stats()["submits_accepted"] == 0
    vendor.arm(on="submit", kind="server_error", http_status=504, accepted=True)
    assert vendor.submit().status_code == 504
    assert vendor.stats()["submits_accepted"] == 1


def test_a_vendors_error_refuses_a_submit_with_its_code(vendor: Vendor) -> None:
    vendor.arm(on="submit", kind="vendor_error", code="003005099")
    reply = vendor.submit()
    assert reply.status_code == 500
    assert reply.json()["error"]["code"] == "003005099"
    vendor.arm(on="submit", kind="vendor_error", code="003005095", message="busy", http_status=200)
    reply = vendor.submit()
    assert (reply.status_code, reply.json()["error"]) == (200, {"code": "003005095", "error_message": "busy"})
    assert vendor.stats()["submits_accepted"] == 0


def test_a_vendors_error_on_a_poll_is_a_look_that_failed(vendor: Vendor) -> None:
    generation = vendor.order()
    vendor.arm(on="poll", kind="vendor_error", code="003005098")
    reply = vendor.poll(generation)
    assert (reply["status"], reply["error"]["code"]) == ("failed", "003005098")
    assert vendor.poll(generation)["status"] == "queued"
    vendor.arm(on="poll", kind="vendor_error", code="003005097", http_status=403)
    assert vendor.http.get(f"{SUBMIT}/task/{generation}").status_code == 403


@pytest.mark.parametrize("on", ["submit", "poll"])
def test_garbage_is_no_json(vendor: Vendor, on: str) -> None:
    generation = vendor.order()
    vendor.arm(on=on, kind="garbage")
    reply = vendor.submit() if on == "submit" else vendor.http.get(f"{SUBMIT}/task/{generation}")
    assert reply.status_code == 200
    with pytest.raises(UnicodeDecodeError):
        reply.json()
    assert vendor.stats()["submits_accepted"] == (2 if on == "submit" else 1)


def test_a_slow_reply_is_late_but_good(vendor: Vendor) -> None:
    vendor.arm(on="submit", kind="slow", seconds=0.2)
    begun = time.monotonic()
    assert vendor.submit().status_code == 200
    assert time.monotonic() - begun >= 0.2


def test_a_slow_reply_does_not_keep_an_emulator_from_closing() -> None:
    with running_emulator() as emulator:
        vendor = Vendor(emulator)
        emulator.arm("submit", "slow", seconds=3600)
        with vendor.http, pytest.raises(httpx.ReadTimeout):
            vendor.http.post(SUBMIT, json=body(), timeout=0.1)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2


def test_a_prompt_can_be_moderated_at_submit(vendor: Vendor) -> None:
    vendor.arm(on="submit", kind="moderate")
    reply = vendor.submit()
    assert reply.status_code == 400
    assert "SensitiveContent" in reply.json()["error"]["error_message"]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ({"kind": "fail", "code": "003005095"}, "003005095", "failed"),
        ({"kind": "fail", "code": "003005097", "message": "upstream"}, "003005097", "upstream"),
        ({"kind": "moderate"}, "003005095", "SensitiveContent"),
        ({"kind": "expire"}, "003005095", "expired"),
    ],
)
def test_a_render_can_fail_and_is_not_billed(vendor: Vendor, fault: dict[str, Any], code: str, words: str) -> None:
    vendor.arm(on="render", **fault)
    reply = vendor.finished()
    assert reply["status"] == "failed"
    assert reply["error"]["code"] == code
    assert words in reply["error"]["error_message"]
    assert not reply.keys() & {"output", "usage", "progress"}
    assert vendor.stats()["billed_usd"] == 0
    assert vendor.finished()["status"] == "completed"


def test_an_expiry_can_have_a_word_of_its_own(vendor: Vendor) -> None:
    vendor.arm(on="render", kind="expire", status="expired")
    assert vendor.finished()["status"] == "expired"


def test_a_stuck_render_goes_on_until_it_expires(vendor: Vendor) -> None:
    vendor.arm(on="render", kind="stick")
    generation = vendor.order(execution_expires_after=3600)
    vendor.emulator.clock.advance(3599)
    assert vendor.poll(generation)["progress"] == 0.99
    vendor.emulator.clock.advance(1)
    assert vendor.poll(generation)["status"] == "failed"


def test_a_render_fault_can_pick_its_clip_by_the_prompt(vendor: Vendor) -> None:
    vendor.arm(on="render", kind="fail", code="003005095", prompt="fox")
    assert vendor.finished(text("A kite"))["status"] == "completed"
    assert vendor.finished(text("A red fox"))["status"] == "failed"


def test_a_submit_fault_can_pick_its_order_by_the_prompt(vendor: Vendor) -> None:
    vendor.arm(on="submit", kind="rate_limit", prompt="fox", retry_after=7)
    assert vendor.submit(text("A kite")).status_code == 200
    assert vendor.submit(text("A red fox")).headers["retry-after"] == "7"
    assert vendor.submit(text("A red fox")).status_code == 200


def test_a_cut_before_the_body_is_read_can_not_pick_its_order(vendor: Vendor) -> None:
    with pytest.raises(ValueError, match="doesn't take prompt"):
        vendor.emulator.arm("submit", "refuse", prompt="fox")


def test_a_download_can_be_cut_half_way_and_be_had_again(vendor: Vendor) -> None:
    url = vendor.finished(frames=29)["output"][0]["content"][0]["url"]
    whole = httpx.get(url, timeout=60)
    vendor.arm(on="download", kind="drop_reply")
    path = httpx.URL(url).raw_path.decode()
    headers, _, received = raw_reply(url, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).partition(b"\r\n\r\n")
    assert f"content-length: {len(whole.content)}".encode() in headers
    assert received == whole.content[: len(whole.content) // 2]
    assert httpx.get(url).content == whole.content


def test_a_download_can_be_short_slow_refused_or_garbage(vendor: Vendor) -> None:
    url = vendor.finished(frames=29, return_last_frame=True)["output"][0]["content"][1]["url"]
    whole = httpx.get(url).content
    vendor.arm(on="download", kind="truncate")
    assert httpx.get(url).content == whole[: len(whole) // 2]
    vendor.arm(on="download", kind="garbage")
    assert not whole.startswith(httpx.get(url).content)
    vendor.arm(on="download", kind="slow", seconds=0.01)
    assert httpx.get(url).content == whole
    vendor.arm(on="download", kind="rate_limit", retry_after=1)
    assert httpx.get(url).status_code == 429
    vendor.arm(on="download", kind="server_error")
    assert httpx.get(url).status_code == 502
    vendor.arm(on="download", kind="expire")
    assert httpx.get(url).status_code == 403
    vendor.arm(on="download", kind="page")
    page = httpx.get(url)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    vendor.arm(on="download", kind="redirect", location="/elsewhere.png")
    assert httpx.get(url).headers["location"] == "/elsewhere.png"
    vendor.arm(on="download", kind="refuse")
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url)


def test_a_download_can_trickle_and_does_not_keep_an_emulator_from_closing() -> None:
    with running_emulator(render_seconds=0) as emulator:
        vendor = Vendor(emulator)
        url = vendor.finished(frames=29, return_last_frame=True)["output"][0]["content"][1]["url"]
        whole = httpx.get(url).content
        vendor.arm(on="download", kind="trickle", seconds=3600)
        with httpx.stream("GET", url) as reply:
            assert int(reply.headers["content-length"]) == len(whole)
            assert next(reply.iter_bytes()) == whole[:100]
        vendor.http.close()


def test_faults_strike_in_turn_as_often_as_asked_and_can_be_listed(vendor: Vendor) -> None:
    vendor.arm(on="submit", kind="rate_limit", count=2)
    vendor.arm(on="submit", kind="server_error")
    assert vendor.submit().status_code == 429
    assert vendor.http.get("/_emulator/faults").json() == {
        "faults": [
            {"on": "submit", "kind": "rate_limit", "count": 1},
            {"on": "submit", "kind": "server_error", "count": 1},
        ]
    }
    assert [vendor.submit().status_code for _ in range(3)] == [429, 502, 200]
    assert vendor.http.get("/_emulator/faults").json() == {"faults": []}


def test_faults_can_be_cleared(vendor: Vendor) -> None:
    vendor.arm(on="submit", kind="server_error", count=100)
    assert vendor.http.delete("/_emulator/faults").json() == {"faults": []}
    assert vendor.submit().status_code == 200


def test_a_rate_strikes_by_chance_and_repeats_with_the_seed() -> None:
    def run(seed: int) -> list[int]:
        with running_emulator(seed=seed) as emulator:
            emulator.arm("poll", "server_error", rate=0.3)
            vendor = Vendor(emulator)
            with vendor.http:
                return [vendor.http.get(f"{SUBMIT}/task/none").status_code for _ in range(60)]

    first = run(1)
    assert first == run(1) != run(2)
    assert 5 < first.count(502) < 35


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ([], "a fault is a JSON object"),
        ({}, "on must be one of"),
        ({"on": "lunch", "kind": "slow"}, "on must be one of"),
        ({"on": "submit"}, "kind must be one of"),
        ({"on": "render", "kind": "slow"}, "kind must be one of"),
        ({"on": "submit", "kind": "slow"}, "slow needs seconds"),
        ({"on": "submit", "kind": "vendor_error"}, "vendor_error needs code"),
        ({"on": "submit", "kind": "refuse", "seconds": 1}, "doesn't take seconds"),
        ({"on": "poll", "kind": "garbage", "accepted": True}, "doesn't take accepted"),
        ({"on": "submit", "kind": "refuse", "count": 0}, "count can't be 0"),
        ({"on": "submit", "kind": "refuse", "count": True}, "count can't be True"),
        ({"on": "submit", "kind": "refuse", "rate": 1.5}, "rate can't be 1.5"),
        ({"on": "submit", "kind": "slow", "seconds": "1"}, "seconds can't be"),
        ({"on": "submit", "kind": "rate_limit", "retry_after": "1\r\nX: y"}, "retry_after can't be"),
        ({"on": "download", "kind": "redirect"}, "redirect needs location"),
        ({"on": "download", "kind": "redirect", "location": "/\r\nX: y"}, "location can't be"),
        ({"on": "download", "kind": "trickle"}, "trickle needs seconds"),
        ({"on": "render", "kind": "fail", "code": 5}, "code can't be 5"),
        ({"on": ["submit"], "kind": {}}, "on must be one of"),
    ],
)
def test_a_fault_that_makes_no_sense_is_a_400_that_says_why(vendor: Vendor, fault: object, words: str) -> None:
    reply = vendor.http.post("/_emulator/faults", json=fault)
    assert reply.status_code == 400
    assert words in reply.json()["error"]["error_message"]


def test_faults_can_be_armed_in_process(emulator: RunningEmulator) -> None:
    emulator.arm("submit", "server_error", count=2)
    assert httpx.post(emulator.base_url + SUBMIT).status_code == 502
    emulator.clear_faults()
    assert httpx.post(emulator.base_url + SUBMIT).status_code == 401
    with pytest.raises(ValueError, match="kind must be"):
        emulator.arm("submit", "stick")
