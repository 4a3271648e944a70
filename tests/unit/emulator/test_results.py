"""Result URLs: readable without a key, not to be guessed, and not for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from tests.unit.emulator.helpers import Vendor


def link(vendor: Vendor) -> str:
    reply = vendor.finished(frames=29, return_last_frame=True)
    return str(reply["output"][0]["content"][1]["url"])


def test_a_result_needs_no_key_and_counts_as_a_download(vendor: Vendor) -> None:
    reply = httpx.get(link(vendor))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "image/png"
    assert int(reply.headers["content-length"]) == len(reply.content)
    assert vendor.stats()["downloads"] == 1


def test_a_result_can_be_asked_for_in_parts_and_by_its_headers(vendor: Vendor) -> None:
    url = link(vendor)
    whole = httpx.get(url).content
    part = httpx.get(url, headers={"Range": "bytes=100-"})
    assert part.status_code == 206
    assert part.content == whole[100:]
    head = httpx.head(url)
    assert int(head.headers["content-length"]) == len(whole)
    assert vendor.stats()["downloads"] == 2


def test_a_url_lives_for_a_day_and_a_poll_hands_out_a_new_one(vendor: Vendor) -> None:
    generation = vendor.order(frames=29, return_last_frame=True)
    vendor.emulator.clock.advance(10)
    first = vendor.poll(generation)["output"][0]["content"][1]["url"]
    vendor.emulator.clock.advance(24 * 3600 - 1)
    assert httpx.get(first).status_code == 200
    vendor.emulator.clock.advance(1)
    assert httpx.get(first).status_code == 403
    assert httpx.get(vendor.poll(generation)["output"][0]["content"][1]["url"]).status_code == 200


def test_a_url_can_be_neither_guessed_nor_turned_into_another(vendor: Vendor) -> None:
    url = link(vendor)
    start, token, name = url.rsplit("/", 2)
    expires, signature = token.split("-")
    for wrong in (
        f"{start}/{token}/{name.replace('.png', '.mp4')}",
        f"{start}/{int(expires) + 1}-{signature}/{name}",
        f"{start}/{expires}-{signature[:-1]}0x/{name}",
        f"{start}/{expires}/{name}",
        f"{start}/x-{signature}/{name}",
        f"{start}/-{signature}/{name}",
        f"{start}/\u0661-{signature}/{name}",
        f"{start}/{token}/..%2f{name}",
    ):
        assert httpx.get(wrong).status_code in (403, 404)
