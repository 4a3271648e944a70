"""The files of finished generations: signed, expiring URLs, and the files made when they are first asked for."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from airflow_provider_spark.emulator import film

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_spark.emulator.store import Clip, Store

URL_LIVES: Final = 24 * 3600
"""Seconds that a result URL is good for, from the poll that handed it out."""


class Signer:
    """Makes and checks the part of a result URL that can't be guessed and that ends."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def path(self, file_name: str, now: float) -> str:
        """Make the path of a file, good for a day from `now`."""
        expires = int(now) + URL_LIVES
        return f"/results/{expires}-{self._sign(file_name, expires)}/{file_name}"

    def is_good(self, token: str, file_name: str, now: float) -> bool:
        """Tell whether a path's token is ours, for this file, and not yet expired."""
        expires, _, signature = token.partition("-")
        if not (expires.isascii() and expires.isdecimal() and len(expires) < 16):
            return False
        good = hmac.compare_digest(signature.encode(), self._sign(file_name, int(expires)).encode())
        return good and now < int(expires)

    def _sign(self, file_name: str, expires: int) -> str:
        return hmac.new(self._secret, f"{expires}/{file_name}".encode(), hashlib.sha256).hexdigest()[:40]


class Darkroom:
    """Makes each file once, when it is first asked for, without holding up the event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._files = store.folder / "results"
        self._files.mkdir(exist_ok=True)
        self._closing = threading.Event()
        self._threads: dict[str, ThreadPoolExecutor] = {
            # Apart, so that a last frame, which is quick, never waits behind the films.
            ".mp4": ThreadPoolExecutor(2, thread_name_prefix="film"),
            ".png": ThreadPoolExecutor(1, thread_name_prefix="last-frame"),
        }
        self._making: dict[str, asyncio.Future[Path]] = {}

    async def file(self, name: str, clip: Clip) -> Path:
        """Have the MP4 or PNG of a clip under its file name, made now or earlier."""
        path = self._files / name
        if path.exists():
            return path
        if name not in self._making:
            loop = asyncio.get_running_loop()
            work = self._film if path.suffix == ".mp4" else self._last_frame
            making = loop.run_in_executor(self._threads[path.suffix], _whole, work, clip, path)
            making.add_done_callback(lambda _: self._making.pop(name))
            self._making[name] = making
        # One who hangs up doesn't take the file from the others.
        return await asyncio.shield(self._making[name])

    def give_up(self) -> None:
        """Break off the films that are being made. Who waits for one gets an `InterruptedError`."""
        self._closing.set()

    def close(self) -> None:
        """End the threads."""
        self.give_up()
        for threads in self._threads.values():
            threads.shutdown(cancel_futures=True)

    def _film(self, clip: Clip, path: Path) -> None:
        film.write_mp4(clip, self._store.picture, path, self._closing.is_set)

    def _last_frame(self, clip: Clip, path: Path) -> None:
        film.write_last_frame(clip, self._store.picture, path)


def _whole(work: Callable[[Clip, Path], None], clip: Clip, path: Path) -> Path:
    """Let nobody see half a file."""
    part = path.with_name(f"part-{path.name}")
    work(clip, part)
    return part.replace(path)
