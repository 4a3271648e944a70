"""`python -m airflow_provider_spark.emulator`."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import threading
from pathlib import Path

from airflow_provider_spark.emulator.server import running_emulator


def main(arguments: list[str] | None = None) -> int:
    """Listen until SIGINT or SIGTERM. The exit code: 0, or 2 where there is no listening."""
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with running_emulator(**vars(options)) as emulator:
            print(f"The Spark Dance emulator listens on {emulator.base_url}", flush=True)  # noqa: T201
            stop.wait()
    except OSError as error:
        print(f"The emulator can't start on {options.host}:{options.port}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_spark.emulator",
        description="A stand-in for the Spark Dance 1.0 Pro API on this machine. Nothing here costs money.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=8765, help="port to listen on, 0 for a free one (%(default)s)")
    parser.add_argument("--api-key", default="emulator-key", metavar="KEY", help="key to ask for (%(default)s)")
    parser.add_argument(
        "--render-seconds",
        type=_seconds,
        metavar="SECONDS",
        help="how long every render takes (default: a fifteenth of the model's typical time)",
    )
    parser.add_argument("--seed", type=int, help="makes ids, times and pictures repeatable")
    parser.add_argument(
        "--duration-as-text", action="store_true", help="give a video's duration as text, as some replies have it"
    )
    parser.add_argument(
        "--concurrency", type=_count, metavar="N", help="how many render at a time, the rest queue (default: all)"
    )
    parser.add_argument(
        "--state-dir", type=Path, metavar="FOLDER", help="remember generations here across restarts (default: forget)"
    )
    return parser


def _port(text: str) -> int:
    return int(_number(text, 0, 65_535, whole=True))


def _seconds(text: str) -> float:
    return _number(text, 0, 1e9, whole=False)


def _count(text: str) -> int:
    return int(_number(text, 1, 1e9, whole=True))


def _number(text: str, low: float, high: float, *, whole: bool) -> float:
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        kind = "a whole number" if whole else "a number"
        raise argparse.ArgumentTypeError(f"must be {kind} from {low:.0f} to {high:.0f}, not {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
