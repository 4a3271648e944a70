"""5,000 triggers join within a second, as after a restart of the triggerer; prints what came of it as JSON."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from benchmarks.waiting import lags, quiet

TRIGGERS = 5000
LATEST = 20.0


class Collections:
    """How long Python's collector of unused memory has stopped everything: it looks at all that Airflow has loaded."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._started = 0.0
        gc.callbacks.append(self._notice)

    def _notice(self, phase: str, _: object) -> None:
        if phase == "start":
            self._started = time.monotonic()
        else:
            self.longest = max(self.longest, time.monotonic() - self._started)


async def measure(port: int) -> dict[str, float]:
    import airflow.jobs.triggerer_job_runner  # noqa: F401 - what a triggerer has loaded before any trigger comes

    from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
    from airflow_provider_spark.triggers.spark_dance import SparkDanceGenerationTrigger

    look_ups = 0
    areload = SparkDanceHook.areload

    async def counted(self: Any) -> Any:
        nonlocal look_ups
        look_ups += 1
        return await areload(self)

    SparkDanceHook.areload = counted  # type: ignore[method-assign]
    os.environ["AIRFLOW_CONN_WAITS"] = json.dumps(
        {"conn_type": "spark_dance", "host": f"http://127.0.0.1:{port}", "password": "sk-benchmark"}
    )

    async def run(number: int) -> None:
        ordered = time.time() - 600 - number % 60
        trigger = SparkDanceGenerationTrigger(
            generation_id=f"sd-{number}",
            spark_dance_conn_id="waits",
            submitted_at=ordered,
            deadline=ordered + 86_400,
            shape={"pixels": 1920 * 1088, "frames": 240, "tier": "default"},
            poll={"floor": 2.0, "ceiling": 60.0},
        )
        async for _ in trigger.run():
            pass

    collections = Collections()
    delays: list[float] = []
    probe = asyncio.create_task(lags(delays))
    cpu, at = time.process_time(), time.monotonic()
    tasks = []
    for number in range(TRIGGERS):
        tasks.append(asyncio.create_task(run(number)))
        if number % 50 == 49:
            await asyncio.sleep(0)
    joined = time.monotonic() - at
    await asyncio.sleep(LATEST)
    probe.cancel()
    return {
        "triggers": TRIGGERS,
        "joined_within_s": joined,
        "look_ups": look_ups,
        "core_share": (time.process_time() - cpu) / (time.monotonic() - at),
        "lag_max_ms": 1000 * max(delays),
        "collection_max_ms": 1000 * collections.longest,
        "ended_early": sum(task.done() for task in tasks),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--core", type=int, required=True)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})
    signal.alarm(120)
    quiet()
    print(json.dumps(asyncio.new_event_loop().run_until_complete(measure(arguments.port))), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
