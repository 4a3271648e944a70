"""``python -m tests.chaos``: plays the long form and prints its table; exits with 1 where a scenario ends otherwise."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.scenarios import chosen
from tests.chaos.theatre import Report, table, theatre


def main() -> int:
    """Play, and say how it went."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("names", nargs="*", help="play only scenarios whose name holds one of these texts")
    parser.add_argument("--short", action="store_true", help="play the short form, as the test suite does")
    parser.add_argument("--home", type=Path, help="keep Airflow's folder here (default: a temporary one)")
    options = parser.parse_args()
    scenarios = chosen(short=options.short, names=options.names)
    begun = time.monotonic()

    def told(report: Report) -> None:
        print(f"[{time.monotonic() - begun:4.0f} s] {report.scenario.name}: {report.verdict}", flush=True)

    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as temporary,
        theatre(options.home or Path(temporary), scenarios) as stage,
    ):
        print(f"[{time.monotonic() - begun:4.0f} s] Airflow is up; {len(scenarios)} scenarios", flush=True)
        reports = stage.play(scenarios, told=told)
    print(table(reports))
    bad = sum(bool(report.problems) for report in reports)
    print(f"{len(reports)} scenarios, {bad} not as they should be, {time.monotonic() - begun:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
