"""Run everything side by side, print a table for each question and write ``benchmarks/RESULTS.md``."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import polls
from benchmarks.certificate import write_certificate
from benchmarks.contenders import CONTENDERS
from benchmarks.imports import MODULES

HERE = Path(__file__).parent
OURS, RAW = "spark_dance", "raw aiohttp"
# Of dbt Cloud the address is always https; all others are asked in the clear.
ONLY_TLS = {"dbt-cloud"}
PACKAGES = (
    "apache-airflow",
    "aiohttp",
    "httpx",
    "httpx-aiohttp",
    "apache-airflow-providers-anthropic",
    "apache-airflow-providers-openai",
    "apache-airflow-providers-databricks",
    "apache-airflow-providers-dbt-cloud",
    "apache-airflow-providers-http",
)

Row = dict[str, Any]
Rounds = dict[str, list[Row]]


class Bench:
    """Where the processes run, and what they need."""

    def __init__(self, folder: Path, contenders: list[str]) -> None:
        self.contenders = contenders
        cores = sorted(os.sched_getaffinity(0))
        self.contender_core, self.server_core = cores[0], cores[-1]
        self.folder = folder
        self.certificate = folder / "certificate.pem"
        write_certificate(self.certificate)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "AIRFLOW_HOME": str(folder / "airflow"),
            "PYTHONPATH": str(HERE.parent),
        }

    @contextlib.contextmanager
    def server(self, *, latency: float = 0.0, tls: bool = False) -> Iterator[tuple[Path, int]]:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        options = ["--latency", str(latency)] + (["--certificate", str(self.certificate)] if tls else [])
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server", str(folder), "--core", str(self.server_core), *options],
            env=self.environment,
        )
        try:
            while not (folder / "port").exists():
                if process.poll() is not None:
                    raise SystemExit("the server didn't start")
                time.sleep(0.02)
            yield folder, int((folder / "port").read_text())
        finally:
            process.terminate()
            process.wait(30)

    def run(self, module: str, *arguments: object, trust: bool = False) -> Row:
        # Only where there is no other way: it spares each client the hundreds of certificates that it would read.
        trusted = {"SSL_CERT_FILE": str(self.certificate)} if trust else {}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", f"benchmarks.{module}", *map(str, arguments)],
            env=self.environment | trusted,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            tail = "\n".join(done.stderr.splitlines()[-5:])
            print(f"  no result: {tail}", flush=True)
            return {"no_result": tail}
        row: Row = json.loads(lines[-1])
        return row

    def wait(self, contender: str, *, latency: float = 0.0, tls: bool = False, **options: object) -> Row:
        tls = tls or contender in ONLY_TLS
        arguments: list[object] = []
        for name, value in options.items():
            arguments += [f"--{name.replace('_', '-')}"] + ([] if value is True else [value])
        if tls:
            arguments += ["--verify", self.certificate]
        with self.server(latency=latency, tls=tls) as (folder, port):
            place = (folder, "--port", port, "--core", self.contender_core)
            return self.run("waiting", contender, *place, *arguments, trust=contender in ONLY_TLS)


def rounds(count: int, names: list[str], measure: Callable[[str], Row]) -> Rounds:
    """Measure all in turn, again and again, so that a busy moment of the machine meets them alike."""
    found: Rounds = {name: [] for name in names}
    for number in range(count):
        for name in names:
            row = measure(name)
            found[name].append(row)
            shown = "  ".join(f"{key} {value:.3g}" for key, value in row.items() if isinstance(value, int | float))
            print(f"  {number + 1}/{count} {name}: {shown}", flush=True)
    return found


def median(rows: list[Row], key: str) -> float:
    values = [row[key] for row in rows if key in row]
    return statistics.median(values) if values else float("nan")


def worst(rows: list[Row], key: str) -> float:
    return max((row[key] for row in rows if key in row), default=float("nan"))


def ratio(rows: list[Row], others: list[Row], key: str) -> float:
    """The median of the ratios round by round."""
    pairs = [one[key] / other[key] for one, other in zip(rows, others, strict=True) if key in one and key in other]
    return statistics.median(pairs) if pairs else float("nan")


def table(header: str, rows: list[list[str]]) -> str:
    titles = header.split("|")
    lines = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def cpu(bench: Bench, count: int) -> str:
    found = rounds(
        count, bench.contenders, lambda name: bench.wait(name, waiting=1000, interval=1, seconds=5, warm_up=1)
    )
    rows = [
        [
            name,
            f"{median(of, 'ms_per_poll'):.3f}",
            f"{ratio(of, found[OURS], 'ms_per_poll'):.2f}",
            f"{ratio(of, found[RAW], 'ms_per_poll'):.2f}",
            f"{median(of, 'lag_p99_ms'):.1f}",
            f"{median(of, 'kb_per_waiting'):.1f}",
            f"{median(of, 'pace_kept'):.0%}",
        ]
        for name, of in found.items()
    ]
    header = "who|CPU a poll, ms|of ours|of raw aiohttp|loop lag p99, ms|KB a waiting|pace kept"
    return (
        "## CPU for each poll: 1,000 waiting, one poll a second each\n\n"
        + table(header, rows)
        + "\n*Pace kept* is how many of the polls that were due were made: who falls behind has no CPU left, or waits"
        " for something else. The rows that begin with *hub* are our hub over the other transports that were tried:"
        " `httpx` transports handed requests without the client layer, one a worker; `httpx` clients, one a worker;"
        " one `httpx` client for all; `httpx-aiohttp` with and without httpx's client layer. `http` repeats each 404"
        " three times, a second apart, and `dbt-cloud` can only be asked over TLS and connects anew for each poll.\n"
    )


def ten_thousand(bench: Bench, count: int) -> str:
    cases = {f"{who}, {way}": (who, way == "TLS") for who in (OURS, RAW) for way in ("plain", "TLS")}

    def measure(name: str) -> Row:
        who, tls = cases[name]
        return bench.wait(
            who,
            tls=tls,
            latency=0.15,
            waiting=10_000,
            interval=15,
            spread=15,
            warm_up=2,
            seconds=15,
            to_the_end=True,
        )

    found = rounds(count, list(cases), measure)
    rows = [
        [
            name,
            f"{median(of, 'lag_p99_ms'):.1f}",
            f"{worst(of, 'lag_p99_ms'):.1f}",
            f"{median(of, 'kb_per_waiting'):.1f}",
            f"{worst(of, 'lost'):.0f}",
            f"{median(of, 'core_share'):.0%}",
            f"{median(of, 'ms_per_poll'):.3f}",
            f"{median(of, 'pace_kept'):.0%}",
        ]
        for name, of in found.items()
    ]
    header = "who|lag p99, ms|worst run's|KB a waiting|lost|of a core|CPU a poll, ms|pace kept"
    return (
        "## 10,000 waiting at 15 s, replies after 150 ms, one process\n\n"
        + table(header, rows)
        + "\nMost of the lag is Python's garbage collector, which goes through what is held for each poll under way and"
        " now and then through all that Airflow has loaded.\n"
    )


def triggerer(bench: Bench, count: int) -> str:
    def measure(name: str) -> Row:
        with bench.server() as (folder, port):
            return bench.run("triggerer", name, folder, "--port", port, "--core", bench.contender_core)

    found = rounds(count, [OURS, "databricks"], measure)
    rows = [
        [
            name,
            f"{median(of, 'core_share'):.0%}",
            f"{median(of, 'ms_per_poll'):.2f}",
            f"{ratio(of, found[OURS], 'ms_per_poll'):.2f}",
            f"{median(of, 'pace_kept'):.0%}",
            f"{median(of, 'idle_mb'):.0f}",
            f"{median(of, 'grown_mb'):.0f}",
            f"{worst(of, 'lost'):.0f}",
        ]
        for name, of in found.items()
    ]
    header = "who|of a core|CPU a poll, ms|of ours|pace kept|idle, MB|grown by, MB|lost"
    return (
        "## A real triggerer that holds 2,000 triggers to their end, one poll in 10 s each\n\n"
        + table(header, rows)
        + "\nAll processes of `airflow triggerer` together, Airflow's own work included; on SQLite.\n"
    )


def renders(bench: Bench, count: int) -> str:
    rows = []
    for kind in polls.KINDS:
        for tells_progress in (True, False):
            one = polls.compare(kind, tells_progress=tells_progress)
            rows.append(
                [
                    kind.name,
                    "told" if tells_progress else "never told",
                    f"{one.polls:.1f}",
                    f"{one.delay_median:.1f}",
                    f"{one.delay_p95:.1f}",
                    f"{one.fixed_interval:.1f}",
                    f"{one.fixed_polls:.1f}",
                    f"{one.share:.2f}",
                    f"{one.oracle_share:.2f}",
                ]
            )
    header = "render|progress|our polls|late by, s|p95|interval as late, s|its polls|our share of them|an oracle's"
    return (
        "## Polls for each render, at the same median delay\n\n"
        + table(header, rows)
        + f"\nSimulated, {polls.RENDERS:,} renders each; how they behave stands in `benchmarks/polls.py`. The oracle"
        " asks at the fixed interval from the moment on before which one render in twenty ends.\n"
    )


def in_any_second(moments: list[float]) -> int:
    most = start = 0
    for end, moment in enumerate(moments):
        while moment - moments[start] >= 1:
            start += 1
        most = max(most, end - start + 1)
    return most


def start(bench: Bench, count: int) -> str:
    def measure(_: str) -> Row:
        with bench.server() as (folder, port):
            row = bench.run("start", folder, "--port", port, "--core", bench.contender_core)
        moments = json.loads((folder / "times.json").read_text())
        return {**row, "most_in_a_second": in_any_second(moments), "polls": len(moments)}

    of = rounds(count, ["start"], measure)["start"]
    rows = [
        [
            f"{median(of, 'joined_within_s'):.2f}",
            f"{worst(of, 'look_ups'):.0f}",
            f"{worst(of, 'most_in_a_second'):.0f}",
            f"{median(of, 'polls') / 20:.1f}",
            f"{median(of, 'lag_max_ms'):.0f}",
            f"{median(of, 'collection_max_ms'):.0f}",
        ]
    ]
    header = (
        "joined within, s|look-ups|most polls in any second (limit 50)|polls a second|longest lag, ms|of it Python's"
    )
    return (
        "## 5,000 triggers start at once\n\n"
        + table(header, rows)
        + "\n*Of it Python's*: the longest collection of unused memory, which looks at all that Airflow has loaded.\n"
    )


def imports(bench: Bench, count: int) -> str:
    found = rounds(count, list(MODULES), lambda name: bench.run("imports", name))
    rows = [[name, f"{median(of, 'import_ms'):.0f}", f"{median(of, 'import_mb'):.1f}"] for name, of in found.items()]
    idle = statistics.median(row["triggerer_mb"] for of in found.values() for row in of if "triggerer_mb" in row)
    return (
        "## Loading a trigger\n\n"
        + table("who|CPU, ms|memory, MB", rows)
        + f"\nAbove a process that has loaded Airflow's triggerer ({idle:.0f} MB of its own) and nothing else.\n"
    )


def printed(title: str, module: str) -> Callable[[Bench, int], str]:
    """A section whose benchmark prints its own table."""

    def section(bench: Bench, count: int) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", module, "--rounds", str(count)],
            env=bench.environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=1800,
            check=True,
        )
        return f"## {title}\n\n```text\n{done.stdout.strip()}\n```\n"

    return section


SECTIONS: dict[str, Callable[[Bench, int], str]] = {
    "cpu": cpu,
    "ten_thousand": ten_thousand,
    "renders": renders,
    "start": start,
    "triggerer": triggerer,
    "imports": imports,
    "downloads": printed("Keeping a finished video, beside httpx that streams it to a file", "benchmarks.downloads"),
    "frames": printed("Making a picture ready to be sent, beside Pillow that decodes it", "benchmarks.frames"),
}


def versions() -> str:
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()} on {platform.system()}"
        f" {platform.machine()}, {len(os.sched_getaffinity(0))} cores; {found}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}; all unless told")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", action="append", default=[], choices=CONTENDERS, help="leave a contender out")
    arguments = parser.parse_args()
    contenders = [name for name in CONTENDERS if name not in arguments.without]
    parts_file = HERE / ".parts.json"
    parts = json.loads(parts_file.read_text()) if arguments.sections and parts_file.exists() else {}
    with tempfile.TemporaryDirectory(prefix="spark-dance-bench-") as folder:
        bench = Bench(Path(folder), contenders)
        for name in arguments.sections or SECTIONS:
            print(f"{name}:", flush=True)
            parts[name] = SECTIONS[name](bench, arguments.rounds)
            print(parts[name], flush=True)
            parts_file.write_text(json.dumps(parts))
    text = "\n".join(parts[name] for name in SECTIONS if name in parts)
    (HERE / "RESULTS.md").write_text(
        "# Figures\n\n"
        f"`make bench` wrote this: {versions()}\n\n"
        f"Medians of {arguments.rounds} rounds, in which all took turns; ratios are taken within a round. Each"
        " contender is a process of its own on one core; a local server that answers from memory has the other. What a"
        " trigger logs is left out for all.\n\n" + text
    )


if __name__ == "__main__":
    main()
