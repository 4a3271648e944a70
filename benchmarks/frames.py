"""What does it take to make a data URI of a picture's file, checked, and how much memory?

    python -m benchmarks.frames [--rounds N]

Beside it, in the same run, the obvious way: Pillow opens the file, decodes it, opens it again to verify it, and base64
does the rest. Each measurement is a fresh process that has everything imported and has prepared a small picture; the
two ways take turns. Memory is the most that the process ever held, less what it held before.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

SIZES = ((1280, 720), (3840, 2160), (5900, 4400))
FORMATS: dict[str, dict[str, Any]] = {
    "jpeg": {"quality": 92},
    "png": {"compress_level": 1},
    "webp": {"quality": 80, "method": 2},
    "bmp": {},
    "tiff": {"compression": "tiff_lzw"},
    "gif": {},
}
LIMIT = 30_000_000

OURS = """
from airflow_provider_spark.media.frames import read_frame
def prepare(path):
    return read_frame(path).data_uri
"""
OBVIOUS = """
import base64
from io import BytesIO
from pathlib import Path
from PIL import Image
Image.init()
def prepare(path):
    data = Path(path).read_bytes()
    with Image.open(BytesIO(data)) as image:
        image.load()
        kind = image.format.lower()
    with Image.open(BytesIO(data)) as image:
        image.verify()
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
"""
MEASURED = """
import json, sys, time
from pathlib import Path
def most():
    # Of this program alone: getrusage counts in what the process was before it became it.
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))
prepare(sys.argv[1])
held, begun = most(), time.perf_counter()
prepare(sys.argv[2])
print(json.dumps([(time.perf_counter() - begun) * 1000, (most() - held) / 1024]))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    rounds = parser.parse_args().rounds
    print(f"Python {platform.python_version()}, Pillow {version('pillow')}; medians of {rounds}\n")
    print(f"{'':22}{'file':>8}{'ours':>18}{'open, load, verify':>22}{'of the time':>13}{'of the memory':>15}")
    with tempfile.TemporaryDirectory() as folder:
        for kind, options in FORMATS.items():
            small = save(Path(folder), kind, (400, 320), options)
            for size in SIZES:
                path = save(Path(folder), kind, size, options)
                if path.stat().st_size >= LIMIT:
                    print(
                        f"{title(kind, size):22}{path.stat().st_size / 1e6:5.1f} MB  (over the limit: refused unread)"
                    )
                else:
                    show(title(kind, size), path, small, rounds)


def save(folder: Path, kind: str, size: tuple[int, int], options: dict[str, Any]) -> Path:
    """Write a picture with about as much in it as a photo has: clouds, and some noise of the sensor."""
    path = folder / f"{size[0]}.{kind}"
    clouds = [Image.effect_noise((size[0] // 16, size[1] // 16), 90).resize(size) for _ in range(3)]
    image = Image.blend(Image.merge("RGB", clouds), Image.effect_noise(size, 30).convert("RGB"), 0.1)
    image.save(path, kind.upper(), **options)
    return path


def title(kind: str, size: tuple[int, int]) -> str:
    """Name a line of the table."""
    return f"{kind} {size[0]} x {size[1]}"


def show(name: str, path: Path, small: Path, rounds: int) -> None:
    """Measure both ways in turns, and print a line of the table."""
    found: dict[str, list[list[float]]] = {OURS: [], OBVIOUS: []}
    for _ in range(rounds):
        for way, measured in found.items():
            measured.append(measure(way, small, path))
    (ours, held), (theirs, their_held) = (
        [statistics.median(values) for values in zip(*measured, strict=True)] for measured in found.values()
    )
    print(
        f"{name:22}{path.stat().st_size / 1e6:5.1f} MB{ours:8.1f} ms{held:5.0f} MB{theirs:12.1f} ms{their_held:5.0f} MB"
        f"{ours / theirs:12.0%}{held / max(their_held, 1):14.0%}",
        flush=True,
    )


def measure(way: str, small: Path, path: Path) -> list[float]:
    """Return milliseconds, and the megabytes on top, of one picture in a fresh process."""
    code = way + MEASURED
    done = subprocess.run([sys.executable, "-c", code, small, path], capture_output=True, text=True, check=True)
    told: list[float] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    main()
