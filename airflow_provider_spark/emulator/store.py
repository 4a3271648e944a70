"""What the stand-in remembers: every generation and picture, in memory or across restarts in a folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_spark.emulator.renders import Failure, Life


@dataclass(frozen=True)
class Clip:
    """What is to be rendered, every choice made. Pictures are named by the checksum under which they are kept."""

    prompt: str | None
    first_frame: str | None
    last_frame: str | None
    resolution: str
    ratio: str
    width: int
    height: int
    frames: int
    seed: int
    camera_fixed: bool
    watermark: bool


@dataclass(frozen=True)
class Generation:
    """One accepted order. `request` is its `params`, with a placeholder for each data URI."""

    id: str
    job_id: str
    request: dict[str, Any]
    clip: Clip
    life: Life
    service_tier: str
    return_last_frame: bool
    callback_url: str | None
    base_url: str

    @classmethod
    def parse(cls, entry: dict[str, Any]) -> Generation:
        """Read a generation from its entry in the journal."""
        life = entry["life"]
        failure = Failure(**life["failure"]) if life["failure"] else None
        return cls(**{**entry, "clip": Clip(**entry["clip"]), "life": Life(**{**life, "failure": failure})})


class Store:
    """A folder with a journal (one JSON object a line) and the input pictures.

    Without a folder of its own it takes a temporary one, which goes with it.
    """

    def __init__(self, folder: Path | None) -> None:
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="spark-dance-emulator-")
        self.folder = folder or Path(self._temporary.name if self._temporary else "")
        self._pictures = self.folder / "pictures"
        self._pictures.mkdir(parents=True, exist_ok=True)
        self._journal = (self.folder / "journal.jsonl").open("a+b", buffering=0)

    def replay(self) -> list[dict[str, Any]]:
        """Read what was written so far, in order. A last line that a kill cut short never happened."""
        self._journal.seek(0)
        written = self._journal.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._journal.truncate(len(whole))
        return [json.loads(line) for line in whole.splitlines()]

    def write(self, **entry: object) -> None:
        """Add an entry. It is with the operating system when this returns, so a kill of the process keeps it."""
        self._journal.write(json.dumps(entry, default=_as_json).encode() + b"\n")

    def keep_picture(self, data: bytes) -> str:
        """Keep a picture. Returns the name to find it by."""
        name = hashlib.sha256(data).hexdigest()
        if not self.picture(name).exists():
            self.picture(name).write_bytes(data)
        return name

    def picture(self, name: str) -> Path:
        """Locate a kept picture."""
        return self._pictures / name

    def close(self) -> None:
        """Close the journal, and drop the folder if it was a temporary one."""
        self._journal.close()
        if self._temporary is not None:
            self._temporary.cleanup()


def _as_json(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} doesn't go into the journal")
