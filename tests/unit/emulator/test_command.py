"""The emulator as a process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from airflow_provider_spark.emulator import running_emulator
from tests.unit.emulator.helpers import SUBMIT, body

if TYPE_CHECKING:
    from pathlib import Path


def start(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "airflow_provider_spark.emulator", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def listening(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found is not None
    return found[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_one_line_serves_and_goes_quietly(number: signal.Signals) -> None:
    with start("--port", "0", "--api-key", "k", "--render-seconds", "0", "--duration-as-text") as process:
        url = listening(process)
        headers = {"Authorization": "Bearer k"}
        generation = httpx.post(url + SUBMIT, headers=headers, json=body()).json()["id"]
        reply = httpx.get(f"{url}{SUBMIT}/task/{generation}", headers=headers).json()
        assert reply["output"][0]["content"][0]["duration"] == "2"
        process.send_signal(number)
        rest, errors = process.communicate(timeout=10)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_a_kill_in_the_middle_of_a_render_is_survived(tmp_path: Path) -> None:
    options = ("--port", "0", "--state-dir", str(tmp_path), "--render-seconds", "3600")
    headers = {"Authorization": "Bearer emulator-key"}
    with start(*options) as process:
        url = listening(process)
        generation = httpx.post(url + SUBMIT, headers=headers, json=body()).json()["id"]
        process.send_signal(signal.SIGKILL)
    with start(*options) as process:
        url = listening(process)
        httpx.post(f"{url}/_emulator/clock", json={"advance": 3600})
        reply = httpx.get(f"{url}{SUBMIT}/task/{generation}", headers=headers).json()
        process.send_signal(signal.SIGTERM)
    assert reply["status"] == "completed"


def test_a_busy_port_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, start("--port", str(taken.getsockname()[1])) as process:
        out, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert out == ""
    assert errors.count("\n") == 1
    assert os.strerror(98) in errors or "in use" in errors


@pytest.mark.parametrize("options", [["--port", "70000"], ["--render-seconds", "-1"], ["--concurrency", "0"]])
def test_an_option_out_of_range_is_explained(options: list[str]) -> None:
    with start(*options) as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "must be a" in errors


def test_a_busy_port_is_an_os_error_in_process() -> None:
    with running_emulator() as emulator, pytest.raises(OSError, match="in use"):  # noqa: SIM117 - the second must fail
        with running_emulator(port=httpx.URL(emulator.base_url).port or 0):
            pass
