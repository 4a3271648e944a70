"""The way of one generation through a running emulator."""

from __future__ import annotations

import httpx

from airflow_provider_spark.emulator import Clock, running_emulator


def test_an_order_is_taken_rendered_billed_and_downloaded() -> None:
    body = {
        "model": "spark_dance_v1_0_pro",
        "input": [{"params": {"content": [{"type": "text", "text": "A kite"}], "duration": 2, "resolution": "480p"}}],
    }
    with (
        running_emulator(render_seconds=10, clock=Clock(frozen_at=1_800_000_000)) as emulator,
        httpx.Client(base_url=emulator.base_url, headers={"Authorization": f"Bearer {emulator.api_key}"}) as client,
    ):
        submitted = client.post("/model/v1/generation", json=body).json()
        assert submitted["status"] == "queued"
        assert submitted["created_at"] == 1_800_000_000
        emulator.clock.advance(5)
        poll = f"/model/v1/generation/task/{submitted['id']}"
        assert client.get(poll).json()["progress"] == 0.44
        emulator.clock.advance(5)
        done = client.get(poll).json()
        assert done["usage"]["cost"] == "0.0486"
        (content,) = done["output"][0]["content"]
        film = httpx.get(content["url"])
        assert film.headers["content-type"] == "video/mp4"
        assert emulator.stats()["billed_usd"] == 0.0486
