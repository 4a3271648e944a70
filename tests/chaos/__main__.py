"""``python -m tests.chaos``: plays the long form and prints its table; exits with 1 where a scenario ends otherwise."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.scenarios import chosen
from tests.chaos.theatre import Report, set_stages, table, theatre
from tests.chaos.upgrade import play_upgrades


def main() -> int:
    """Play, and say how it went."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = _options()
    scenarios = chosen(short=options.short, names=options.names)
    begun = time.monotonic()
    reports: list[Report] = []
    leaks: list[str] = []

    def tell(text: str) -> None:
        # In one piece: scenarios end at the same time.
        print(f"[{time.monotonic() - begun:4.0f} s] {text}\n", end="", flush=True)

    def told(report: Report) -> None:
        tell(f"{report.scenario.name}: {report.verdict}")

    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        home = options.home or Path(temporary)
        if scenarios:
            with theatre(home / "one", set_stages(home / "one", scenarios)) as stage:
                tell(f"Airflow is up; {len(scenarios)} scenarios")
                reports += stage.play(scenarios, told=told)
                leaks = stage.leaks()
        if options.airflow_3_1:
            tell("Airflow 3.1 is started, to be upgraded")
            reports += play_upgrades(home / "upgraded", str(options.airflow_3_1.absolute()), told=told)
    print(table(reports))
    print(
        "Secrets got out:\n" + "\n".join(leaks) if leaks else "No secret is in anything that was written or is shown."
    )
    bad = sum(bool(report.problems) for report in reports)
    print(f"{len(reports)} scenarios, {bad} not as they should be, {time.monotonic() - begun:.0f} s")
    return 1 if bad or leaks else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("names", nargs="*", help="play only scenarios whose name holds one of these texts")
    parser.add_argument("--short", action="store_true", help="play the short form, as the test suite does")
    parser.add_argument("--home", type=Path, help="keep Airflow's folders here (default: a temporary one)")
    parser.add_argument(
        "--airflow-3-1", type=Path, metavar="PYTHON", help="also upgrade from the Airflow 3.1 of this Python"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
