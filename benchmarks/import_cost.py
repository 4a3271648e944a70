"""What does importing the operator add to what a DAG file pays for Airflow anyway?

    python benchmarks/import_cost.py [--rounds N]

Each round starts two fresh Pythons, one after the other: the first imports what any DAG file with a plain operator of
Airflow's needs, the second the same and then our operator's module. Airflow parses every DAG file again and again, so
the difference is paid all day; at most 50 ms are meant to be.

Time is the processor's, which a busy machine doesn't stretch as it does the clock's (shown beside it). Compiled files
go to a folder of their own, filled by a first run that doesn't count.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from typing import Any

LIMIT = 0.050
PLAIN = "from airflow.sdk import DAG; from airflow.providers.standard.operators.empty import EmptyOperator"
OURS = "from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator"
TIMED = """
import json, sys, time
def read():
    return time.process_time(), time.perf_counter()
begin = read()
{plain}
middle, known = read(), set(sys.modules)
{ours}
end = read()
print(json.dumps({{
    "plain": [after - before for before, after in zip(begin, middle)],
    "ours": [after - before for before, after in zip(middle, end)],
    "new": len(set(sys.modules) - known),
}}))
"""
TRACED = f"""
import sys
{PLAIN}
print("OURS", file=sys.stderr)
{OURS}
"""
LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|\s+(\S+)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="how many pairs of Pythons are measured (9)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "AIRFLOW_HOME": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def timed(ours: str) -> dict[str, Any]:
            found: dict[str, Any] = json.loads(
                run(TIMED.format(plain=PLAIN, ours=ours), environment).stdout.splitlines()[-1]
            )
            return found

        timed(OURS)
        plain, both = [], []
        for _ in range(rounds):
            plain.append(timed("pass"))
            both.append(timed(OURS))
        traces = [traced(environment) for _ in range(5)]
    print(f"Python {sys.version.split()[0]}, {rounds} rounds; milliseconds: median (least to most)\n")
    print(f"{'':46}{'processor':>24}{'clock':>24}")
    show("Airflow and a plain operator, alone", [one["plain"] for one in plain])
    show("Airflow and a plain operator, before ours", [one["plain"] for one in both])
    show("our operator's module on top", [one["ours"] for one in both])
    added = statistics.median(one["ours"][0] for one in both)
    share = added / statistics.median(one["plain"][0] for one in both)
    verdict = "within" if added <= LIMIT else "ABOVE"
    print(
        f"\n{added * 1000:.0f} ms of the processor's time on top ({share:.1%} of what Airflow takes): "
        f"{verdict} the {LIMIT * 1000:.0f} ms."
    )
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load > processors:
        print(f"The machine is busy (load {load:.1f} on {processors} processors): the least is nearer to the truth.")
    print(f"\nWhat it consists of ({both[-1]['new']} modules; each alone, least of {len(traces)} traced runs):")
    modules = {name for trace in traces for name in trace}
    least = {name: min(trace[name] for trace in traces if name in trace) for name in modules}
    for name in sorted(modules, key=lambda name: -least[name])[:12]:
        print(f"{least[name] / 1000:8.1f}  {name}")
    print(f"{sum(least.values()) / 1000:8.1f}  in all")


def run(code: str, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run a fresh Python to its end."""
    return subprocess.run(
        [sys.executable, *options, "-c", code], env=environment, capture_output=True, text=True, check=True
    )


def traced(environment: dict[str, str]) -> dict[str, int]:
    """Give the microseconds that each module of ours, and what it brings along, takes without those it imports."""
    _, _, told = run(TRACED, environment, "-X", "importtime").stderr.partition("OURS")
    return {name: int(alone) for alone, _, name in LINE.findall(told)}


def show(what: str, measured: list[list[float]]) -> None:
    """Print a line of the table."""
    cells = []
    for values in zip(*measured, strict=True):
        low, middle, high = (1000 * pick(values) for pick in (min, statistics.median, max))
        cells.append(f"{middle:8.0f} ({low:.0f} to {high:.0f})")
    print(f"{what:46}{cells[0]:>24}{cells[1]:>24}")


if __name__ == "__main__":
    main()
