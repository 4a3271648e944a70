"""One contender waiting for many things in a process of its own; prints what that cost as one line of JSON."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import mmap
import os
import signal
import sys
import time
from pathlib import Path

from benchmarks.contenders import CONTENDERS
from benchmarks.server import COUNT, DONE_AT, SHARED_BYTES

PROBE = 0.01
# Some build a client for each trigger, which takes a while.
LONGEST_START = 90.0


def memory() -> int:
    """Bytes that belong to this process alone."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty"):
            return int(line.split()[1]) * 1024
    raise AssertionError


async def lags(into: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        wanted = loop.time() + PROBE
        await asyncio.sleep(PROBE)
        into.append(loop.time() - wanted)


async def measure(arguments: argparse.Namespace, shared: mmap.mmap) -> dict[str, float]:
    scheme = "https" if arguments.verify else "http"
    run = CONTENDERS[arguments.contender](f"{scheme}://127.0.0.1:{arguments.port}", arguments.verify)
    count: int = arguments.waiting
    interval: float = arguments.interval
    errors: list[BaseException] = []

    async def waits(number: int) -> object:
        try:
            return await run(number, interval)
        except Exception as error:
            errors.append(error)
            if len(errors) == 1:
                print(f"{arguments.contender}: {type(error).__name__}: {error}", file=sys.stderr)
            raise

    # The first takes what is needed once with it: imports, the certificates, the connection.
    first = asyncio.create_task(waits(-1))
    while COUNT.unpack_from(shared)[0] < 1:
        if first.done():
            raise SystemExit(f"{arguments.contender} ended at once: {first.result()}")
        await asyncio.sleep(0.01)
    gc.collect()
    before = memory()
    tasks = []
    loop = asyncio.get_running_loop()
    starts = loop.time()
    for number in range(count):
        tasks.append(asyncio.create_task(waits(number)))
        # Polls are spread over the interval for all contenders alike.
        await asyncio.sleep(max(0.0, starts + arguments.spread * number / count - loop.time()))
    while COUNT.unpack_from(shared)[0] < count and loop.time() < starts + LONGEST_START:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    await asyncio.sleep(arguments.warm_up)
    delays: list[float] = []
    probe = asyncio.create_task(lags(delays))
    polls, cpu, at = COUNT.unpack_from(shared)[0], time.process_time(), time.monotonic()
    await asyncio.sleep(arguments.seconds)
    polls = COUNT.unpack_from(shared)[0] - polls
    cpu, took = time.process_time() - cpu, time.monotonic() - at
    probe.cancel()
    gc.collect()
    grown = memory() - before
    delays.sort()
    result = {
        "polls": polls,
        "ms_per_poll": 1000 * cpu / max(1, polls),
        "core_share": cpu / took,
        "lag_p99_ms": 1000 * delays[int(len(delays) * 0.99)],
        "lag_max_ms": 1000 * delays[-1],
        "kb_per_waiting": grown / count / 1024,
        "pace_kept": polls / (took * (count + 1) / interval),
        "failed": len(errors),
        "ended_early": sum(task.done() for task in tasks),
    }
    if arguments.to_the_end:
        shared[DONE_AT] = 1
        done, _ = await asyncio.wait(tasks, timeout=interval * 3 + 30)
        result["ended_well"] = sum(task.exception() is None for task in done)
        result["lost"] = count - int(result["ended_well"])
    return result


def quiet() -> None:
    """Leave out what a triggerer writes into its tasks' logs: that is Airflow's cost, not a contender's."""
    logging.disable(logging.WARNING)
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    import structlog

    structlog.reset_defaults()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR), cache_logger_on_first_use=False
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--waiting", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--spread", type=float, default=1.0)
    parser.add_argument("--warm-up", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--verify")
    parser.add_argument("--to-the-end", action="store_true")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})
    signal.alarm(
        int(arguments.spread + arguments.warm_up + arguments.seconds + 4 * arguments.interval + LONGEST_START + 300)
    )
    quiet()
    with (arguments.folder / "shared").open("r+b") as file:
        shared = mmap.mmap(file.fileno(), SHARED_BYTES)
    loop = asyncio.new_event_loop()
    result = loop.run_until_complete(measure(arguments, shared))
    print(json.dumps(result), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
