"""The first command of a newcomer: it ends with films, and leaves nothing running whatever happens."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import av
import psutil
import pytest

from demo.processes import free_port

CHECKOUT = Path(__file__).parents[2]


class Demo:
    """A run of the demo, and whatever it has started."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.airflow_port, self.emulator_port = free_port(), free_port()
        self._mark = uuid.uuid4().hex

    def start(self) -> subprocess.Popen[str]:
        ports = ["--airflow-port", str(self.airflow_port), "--emulator-port", str(self.emulator_port)]
        return subprocess.Popen(
            [sys.executable, "-m", "demo", *ports, "--output", str(self.output)],
            cwd=CHECKOUT,
            env={**os.environ, "DEMO_MARK": self._mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def processes(self) -> list[str]:
        """Everything on this machine that came of this run."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("DEMO_MARK") == self._mark:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path / "films")


def test_the_demo_ends_with_a_table_and_films_of_the_asked_pixels_and_length(demo: Demo) -> None:
    process = demo.start()
    shown, _ = process.communicate(timeout=280)
    assert process.returncode == 0, shown
    assert demo.processes() == []
    manifests = [path for path in demo.output.glob("*/*.json") if path.parent.name.isdecimal()]
    assert len(manifests) == 3
    for manifest in manifests:
        clip = json.loads(manifest.read_text())["result"]
        path = Path(clip["video_path"])
        assert path == manifest.with_suffix(".mp4")
        assert Path(clip["last_frame_path"]).stat().st_size > 1000
        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            assert (stream.width, stream.height) == (clip["width"], clip["height"])
            assert sum(1 for _ in film.decode(stream)) == clip["duration"] * 24
        assert re.search(rf"completed .* {clip['width']}x{clip['height']} .* {path.name}", shown)


def test_an_interrupted_demo_leaves_nothing_running(demo: Demo) -> None:
    process = demo.start()
    assert process.stdout is not None
    for line in process.stdout:
        if "The scheduler has started" in line:
            break
    assert len(demo.processes()) > 5
    process.send_signal(signal.SIGINT)
    shown, _ = process.communicate(timeout=60)
    assert process.returncode == 130, shown
    assert demo.processes() == []


@pytest.mark.parametrize("variable", ["AIRFLOW_PORT", "EMULATOR_PORT"])
def test_a_busy_port_is_said_before_anything_is_started(demo: Demo, variable: str) -> None:
    port = demo.airflow_port if variable == "AIRFLOW_PORT" else demo.emulator_port
    with socket.create_server(("127.0.0.1", port)):
        process = demo.start()
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"port {port}" in shown
    assert f"make demo {variable}={port + 1}" in shown
