"""What a download costs: ours, with its checks and its checksum, beside plain httpx streaming to a file.

``python -m benchmarks.downloads``. A server of its own process gives a film from memory on one core; each download is
a process of its own on the other. All take turns, ratios are taken within a round. Then one download of 1 GB, whose
peak memory is read off the process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MB = 1 << 20
CLIENT_CORE, SERVER_CORE = 0, 1
WAYS = ("plain httpx", "ours, to a path", "ours, to file://")
CHILD_TIMEOUT = 300


def film(megabytes: int) -> tuple[bytes, int]:
    """Return the beginning of a film whose last box has so many megabytes of anything, and that box's length."""
    ftyp = (16).to_bytes(4) + b"ftypisom0000"
    return ftyp + (8).to_bytes(4) + b"moov" + (1).to_bytes(4) + b"mdat" + (16 + megabytes * MB).to_bytes(8), megabytes


def serve(megabytes: int) -> None:
    """Answer each connection with the film, forever."""
    os.sched_setaffinity(0, {SERVER_CORE % (os.cpu_count() or 1)})
    start, count = film(megabytes)
    piece = os.urandom(MB)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                length = len(start) + count * MB
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                try:
                    connection.sendall(head.encode() + start)
                    for _ in range(count):
                        connection.sendall(piece)
                except OSError:  # who is warming up hangs up
                    continue


def fetch(way: str, url: str, folder: Path) -> dict[str, float]:
    """Download once in this process."""
    os.sched_setaffinity(0, {CLIENT_CORE})
    sys.modules["av"] = None  # type: ignore[assignment]  # what lies in the film's boxes is no film
    import httpx

    from airflow_provider_spark.api.endpoint import Endpoint
    from airflow_provider_spark.media.artifacts import VIDEO, keep
    from airflow_provider_spark.media.storage import Storage

    endpoint = Endpoint(api_key="sk-benchmark")
    storage = Storage(str(folder) if way != "ours, to file://" else f"file://{folder}")
    storage.check()  # Airflow's file systems are loaded by then
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, at = time.process_time(), time.perf_counter()
    if way == "plain httpx":
        with (
            httpx.Client(trust_env=False) as client,
            client.stream("GET", url) as response,
            (folder / "clip-1.mp4").open("wb") as file,
        ):
            for piece in response.iter_bytes():
                file.write(piece)
    else:
        keep(url, VIDEO, "clip-1", storage, endpoint, between=lambda: None)
    return {
        "seconds": time.perf_counter() - at,
        "cpu_seconds": time.process_time() - cpu,
        "bytes": (folder / "clip-1.mp4").stat().st_size,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "peak_above_start_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024,
    }


def measured(way: str, port: int) -> dict[str, float]:
    """Download once in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="spark-dance-downloads-") as folder:
        command = [sys.executable, "-m", "benchmarks.downloads", "--fetch", way, "--port", str(port), "--to", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=CHILD_TIMEOUT)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def compare(megabytes: int, rounds: int) -> None:
    """Print a table: megabytes a second, CPU, and our share of plain httpx, round by round."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.downloads", "--serve", str(megabytes)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            port = int(server.stdout.readline()) if server.stdout else 0
            runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for number in range(rounds):
                for way in WAYS if number % 2 else reversed(WAYS):
                    runs[way].append(measured(way, port))
        finally:
            server.kill()
    print(f"{megabytes} MB, medians of {rounds} rounds")
    for way, figures in runs.items():
        pairs = list(zip(runs[WAYS[0]], figures, strict=True))
        print(
            f"  {way:17}",
            f"{statistics.median(megabytes / one['seconds'] for one in figures):6.0f} MB/s",
            f"CPU {statistics.median(one['cpu_seconds'] for one in figures):.3f} s",
            f"{statistics.median(plain['seconds'] / one['seconds'] for plain, one in pairs):5.2f} of plain httpx",
            f"(from {min(plain['seconds'] / one['seconds'] for plain, one in pairs):.2f})",
            f"peak {max(one['peak_mb'] for one in figures):.0f} MB,",
            f"{max(one['peak_above_start_mb'] for one in figures):.1f} MB above the start",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--fetch", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
    elif arguments.fetch:
        url = f"http://127.0.0.1:{arguments.port}/clip.mp4"
        print(json.dumps(fetch(arguments.fetch, url, arguments.to)))
    else:
        compare(30, arguments.rounds)
        compare(256, arguments.rounds)
        compare(1024, 5)


if __name__ == "__main__":
    main()
