"""The emulator on a real socket, in a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_provider_spark.emulator.clock import Clock
from airflow_provider_spark.emulator.faults import Fault
from airflow_provider_spark.emulator.service import Service, Settings
from airflow_provider_spark.emulator.wire import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class RunningEmulator:
    """An emulator that listens. Safe to use from any thread of the process that runs it."""

    def __init__(self, base_url: str, service: Service) -> None:
        self.base_url = base_url
        self.api_key = service.settings.api_key
        self.clock = service.clock
        self._service = service

    def stats(self) -> dict[str, Any]:
        """Do what `GET /_emulator/stats` does."""
        return self._service.stats()

    def arm(self, on: str, kind: str, **options: object) -> None:
        """Do what `POST /_emulator/faults` does.

        Raises:
            ValueError: there is no such fault.
        """
        self._service.faults.arm(Fault.parse({"on": on, "kind": kind, **options}))

    def armed(self) -> list[dict[str, Any]]:
        """Do what `GET /_emulator/faults` does."""
        return self._service.faults.armed()

    def clear_faults(self) -> None:
        """Do what `DELETE /_emulator/faults` does."""
        self._service.faults.clear()


@contextlib.contextmanager
def running_emulator(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str = "emulator-key",
    render_seconds: float | None = None,
    seed: int | None = None,
    duration_as_text: bool = False,
    concurrency: int | None = None,
    state_dir: Path | None = None,
    clock: Clock | None = None,
) -> Iterator[RunningEmulator]:
    """Run an emulator for the length of a `with` block.

    `port=0` takes a free one. `render_seconds` is what every render takes; by default it is the model's typical time,
    scaled down. `concurrency` is how many render at a time, by default all. With a `state_dir`, an emulator started
    later on the same folder knows the generations of this one.

    Raises:
        OSError: the port can't be had.
    """
    settings = Settings(
        api_key=api_key,
        render_seconds=render_seconds,
        seed=seed,
        duration_as_text=duration_as_text,
        concurrency=concurrency,
        state_dir=state_dir,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=2048) as listener:
        name = f"[{host}]" if ":" in host else host
        service = Service(settings, clock or Clock())
        thread = _Thread(service, listener)
        thread.start()
        try:
            # Who connects before the first line of the application runs waits in the socket's backlog.
            yield RunningEmulator(f"http://{name}:{listener.getsockname()[1]}", service)
        finally:
            thread.stop()
            thread.join()


class _Thread(threading.Thread):
    def __init__(self, service: Service, listener: socket.socket) -> None:
        super().__init__(name="spark-dance-emulator", daemon=True)
        self._service = service
        self._listener = listener
        self._ready = threading.Event()

    def run(self) -> None:
        asyncio.run(self._serve())

    def stop(self) -> None:
        self._ready.wait()
        with contextlib.suppress(RuntimeError):  # it is gone already
            self._loop.call_soon_threadsafe(self._stop)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        config = uvicorn.Config(
            create_app(self._service),
            http=_Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            # Longer than a client waits between two polls, so that no poll meets a connection that is just ending.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._ready.set()
        await self._server.serve(sockets=[self._listener])

    def _stop(self) -> None:
        self._service.stop()
        self._server.stopping.set()


class _Server(uvicorn.Server):
    """A server that sleeps until it is told to stop, where uvicorn's own looks ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    async def main_loop(self) -> None:
        await self.stopping.wait()


class _Protocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, whose connections an application can end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio leaves it to us on a listener made by hand; without it each reply waits 40 ms for an acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "hang_up": transport.close}

    def shutdown(self) -> None:
        if self.conn.our_state is h11.ERROR:  # a reply that ended too soon has no proper end
            self.transport.close()
        else:
            super().shutdown()
