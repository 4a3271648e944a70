"""The stand-in for the vendor: takes orders, knows where each generation is, and counts what was paid."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import random
import secrets
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import httpx

from airflow_provider_spark.emulator import model, pictures
from airflow_provider_spark.emulator.faults import Fault, Faults
from airflow_provider_spark.emulator.judge import Order, judge
from airflow_provider_spark.emulator.renders import EXPIRED, Failure, Life
from airflow_provider_spark.emulator.results import Darkroom, Signer
from airflow_provider_spark.emulator.store import Clip, Generation, Store

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_spark.emulator.clock import Clock

RENDER_SCALE: Final = 1 / 15
"""A render takes this much of the vendor's typical time: a clip of 5 seconds in 1080p takes 4 seconds, not a minute."""

MODERATED_VIDEO: Final = "OutputVideoSensitiveContentDetected: the generated video may contain sensitive content"

_QUEUES_FOR: Final = 0.1
"""Part of a render's time that it spends queued where nothing else holds it up."""


@dataclass(frozen=True)
class Settings:
    """How the emulator behaves. See `python -m airflow_provider_spark.emulator --help`."""

    api_key: str = "emulator-key"
    render_seconds: float | None = None
    seed: int | None = None
    duration_as_text: bool = False
    concurrency: int | None = None
    state_dir: Path | None = None


@dataclass
class Counts:
    """What came in since this process started, but `submits_*`, which the journal keeps."""

    submits_received: int = 0
    polls: int = 0
    downloads: int = 0
    polls_by_id: dict[str, int] = field(default_factory=dict)


class Service:
    """Everything behind the wire. Lives on one event loop."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.counts = Counts()
        self.store = Store(settings.state_dir)
        self.generations: dict[str, Generation] = {}
        self._slots: list[float] = []
        seed = settings.seed
        for entry in self.store.replay():
            if "seed" in entry:
                seed = entry["seed"] if seed is None else seed
            elif "advanced" in entry:
                clock.advance(entry["advanced"])
            elif "received" in entry:
                self.counts.submits_received += entry["received"]
            else:
                self._remember(Generation.parse(entry["generation"]))
        self._seed = secrets.randbits(64) if seed is None else seed
        # Written down, as URLs that were handed out before a restart stay good.
        self.store.write(seed=self._seed)
        self.faults = Faults(self._seed)
        self.signer = Signer(f"{self._seed}/results")
        self.darkroom = Darkroom(self.store)
        self.closing = asyncio.Event()
        self._fetching: httpx.AsyncClient | None = None

    def received(self) -> None:
        """Count a submit, whatever becomes of it."""
        self.counts.submits_received += 1
        self.store.write(received=1)

    def advance(self, seconds: float) -> float:
        """Move the clock, also for a restarted emulator. The time it then is."""
        now = self.clock.advance(seconds)
        self.store.write(advanced=seconds)
        return now

    async def accept(self, body: object, base_url: str) -> Generation:
        """Take an order.

        Raises:
            Refusal: the request or one of its pictures breaks a documented limit.
        """
        order = judge(body)
        first = await self._open(order.first_frame)
        last = await self._open(order.last_frame)
        # From here on without a pause, so that orders are numbered and queued one after the other.
        chance = random.Random(f"{self._seed}/{len(self.generations)}")
        clip = self._clip(order, first, last, chance)
        generation = Generation(
            id=f"sd-{chance.getrandbits(96):024x}",
            job_id=f"job-{chance.getrandbits(64):016x}",
            request=_without_data(_params(body)),
            clip=clip,
            life=self._life(order, chance),
            service_tier=order.service_tier,
            return_last_frame=order.return_last_frame,
            callback_url=order.callback_url,
            base_url=base_url,
        )
        self.store.write(generation=generation)
        self._remember(generation)
        return generation

    def reply(self, generation: Generation, base_url: str, now: float | None = None) -> dict[str, Any]:
        """Answer a poll at a moment (now, unless told), in the vendor's form."""
        now = self.clock.now() if now is None else now
        life, clip = generation.life, generation.clip
        stage = life.at(now)
        reply: dict[str, Any] = {
            "id": generation.id,
            "status": stage.status,
            "model": model.NAME,
            "created_at": int(life.created_at),
            "metadata": {"in_queue_at": int(life.created_at)},
        }
        if stage.progress is not None:
            reply["progress"] = stage.progress
        if stage.failure is not None:
            reply["error"] = {"code": stage.failure.code, "error_message": stage.failure.message}
        if now >= life.ends_at:
            reply["metadata"]["completed_at"] = int(life.ends_at)
        if stage.status == "completed":
            seconds = clip.frames / model.FPS
            length = int(seconds) if seconds.is_integer() else seconds
            content: list[dict[str, Any]] = [
                {
                    "type": "video",
                    "url": base_url + self.signer.path(f"{generation.id}.mp4", now),
                    "duration": str(length) if self.settings.duration_as_text else length,
                    "jobId": generation.job_id,
                }
            ]
            if generation.return_last_frame:
                content.append({"type": "image", "url": base_url + self.signer.path(f"{generation.id}.png", now)})
            reply["output"] = [
                {
                    "content": content,
                    "duration": round(seconds),
                    "format": "mp4",
                    "resolution": clip.resolution,
                    "ratio": clip.ratio,
                    "fps": model.FPS,
                }
            ]
            reply["usage"] = {"cost": _money(_cost(generation)), "discount": 0}
        return reply

    def polled(self, generation: Generation) -> None:
        """Count a poll of a generation."""
        self.counts.polls_by_id[generation.id] = self.counts.polls_by_id.get(generation.id, 0) + 1

    def stats(self) -> dict[str, Any]:
        """Sum up what came in and what was paid."""
        now = self.clock.now()
        generations = list(self.generations.values())
        return {
            "submits_received": self.counts.submits_received,
            "submits_accepted": len(generations),
            "polls": self.counts.polls,
            "downloads": self.counts.downloads,
            "billed_usd": float(sum((_cost(one) for one in generations if _is_billed(one, now)), Decimal(0))),
            "generations": {
                one.id: {
                    "request": one.request,
                    "status": one.life.at(now).status,
                    "polls": self.counts.polls_by_id.get(one.id, 0),
                    "created_at": one.life.created_at,
                    "billed_usd": float(_cost(one)) if _is_billed(one, now) else 0.0,
                }
                for one in generations
            },
        }

    def stop(self) -> None:
        """Let nothing keep the server waiting: films are given up, slow replies come at once."""
        self.closing.set()
        self.darkroom.give_up()

    async def close(self) -> None:
        """Let go of threads, connections and files."""
        self.darkroom.close()
        if self._fetching is not None:
            await self._fetching.aclose()
        self.store.close()

    async def _open(self, url: str | None) -> pictures.Picture | None:
        if url is None:
            return None
        # In a thread, as thirty megabytes take their time to decode.
        if url[:5].lower() == "data:":
            return await asyncio.to_thread(pictures.open_data_uri, url)
        if self._fetching is None:
            # Pictures on this machine, the emulator's own results among them, are no matter for a proxy.
            direct = {f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")}
            self._fetching = httpx.AsyncClient(mounts=direct, max_redirects=3)
        return await asyncio.to_thread(pictures.open_picture, await pictures.fetch(self._fetching, url))

    def _clip(
        self, order: Order, first: pictures.Picture | None, last: pictures.Picture | None, chance: random.Random
    ) -> Clip:
        ratio = order.ratio
        if ratio == "adaptive":
            ratio = model.nearest_ratio(first.width, first.height) if first else "16:9"
        width, height = model.PIXELS[order.resolution][ratio]
        return Clip(
            prompt=order.prompt,
            first_frame=self.store.keep_picture(first.data) if first else None,
            last_frame=self.store.keep_picture(last.data) if last else None,
            resolution=order.resolution,
            ratio=ratio,
            width=width,
            height=height,
            frames=order.frames,
            seed=chance.randrange(2**32) if order.seed == -1 else order.seed,
            camera_fixed=order.camera_fixed,
            watermark=order.watermark,
        )

    def _life(self, order: Order, chance: random.Random) -> Life:
        now = self.clock.now()
        seconds = self.settings.render_seconds
        if seconds is None:
            typical = model.typical_seconds(order.resolution, order.frames, order.service_tier)
            seconds = typical * RENDER_SCALE * chance.uniform(0.9, 1.1)
        free_at = max(now, self._slots[0]) if self._is_busy() else now
        fault = self.faults.take("render", order.prompt)
        kind = fault.kind if fault else None
        ready_at = free_at + seconds
        return Life(
            created_at=now,
            starts_at=free_at + seconds * _QUEUES_FOR,
            ready_at=ready_at,
            expires_at=now + order.execution_expires_after,
            stuck=kind == "stick",
            failure=_failure(fault) if fault else None,
        )

    def _is_busy(self) -> bool:
        return self.settings.concurrency is not None and len(self._slots) >= self.settings.concurrency

    def _remember(self, generation: Generation) -> None:
        self.generations[generation.id] = generation
        if self.settings.concurrency is not None:
            if self._is_busy():
                heapq.heapreplace(self._slots, max(self._slots[0], generation.life.ends_at))
            else:
                heapq.heappush(self._slots, generation.life.ends_at)


def _failure(fault: Fault) -> Failure | None:
    if fault.kind == "fail":
        return Failure(fault.code, fault.message or "The render failed")
    if fault.kind == "moderate":
        return Failure("003005095", MODERATED_VIDEO)
    if fault.kind == "expire":
        return Failure(EXPIRED.code, EXPIRED.message, fault.status)
    return None


def _is_billed(generation: Generation, now: float) -> bool:
    return generation.life.billed and now >= generation.life.ends_at


def _cost(generation: Generation) -> Decimal:
    clip = generation.clip
    return model.cost_usd(clip.width, clip.height, clip.frames, generation.service_tier)


def _money(usd: Decimal) -> str:
    return format(usd.normalize(), "f")


def _params(body: Any) -> dict[str, Any]:
    params: dict[str, Any] = body["input"][0]["params"]
    return params


def _without_data(value: Any) -> Any:
    """Replace each data URI in a request by its size and checksum."""
    if isinstance(value, dict):
        return {key: _without_data(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_data(item) for item in value]
    if isinstance(value, str) and value[:5].lower() == "data:":
        checksum = hashlib.sha256(value.encode(errors="replace")).hexdigest()
        return f"data URI, {len(value)} characters, sha256 {checksum}"
    return value
