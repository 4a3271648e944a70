"""A server that answers every poll of every contender with a canned reply, at a few microseconds each.

It counts its replies in a file that others map into their memory, and writes down when each came.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import mmap
import os
import re
import signal
import ssl
import struct
import time
from pathlib import Path

# In the shared file: how many polls were answered, and whether generations are done (set by who measures).
COUNT = struct.Struct("<q")
DONE_AT = 8
SHARED_BYTES = 16
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def reply(status: str, body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


DATABRICKS = reply(
    "200 OK", {"job_id": 1, "run_id": 1, "state": {"life_cycle_state": "RUNNING", "state_message": "In run"}}
)
DATABRICKS_DONE = reply(
    "200 OK",
    {"job_id": 1, "run_id": 1, "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}, "tasks": []},
)
ANTHROPIC = reply(
    "200 OK",
    {
        "id": "msgbatch_1",
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": {"processing": 100, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
        "created_at": "2026-11-01T00:00:00Z",
        "expires_at": "2026-11-02T00:00:00Z",
    },
)
OPENAI = reply(
    "200 OK",
    {
        "id": "batch_1",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file_1",
        "completion_window": "24h",
        "status": "in_progress",
        "created_at": 1800000000,
    },
)
DBT = reply("200 OK", {"status": {"code": 200}, "data": {"id": 1, "status": 3}})
ABSENT = reply("404 Not Found", {"error": "not yet"})


def spark_dance(generation_id: str, is_done: bool) -> bytes:
    told: dict[str, object] = {
        "id": generation_id,
        "model": "spark-dance-1.0-pro",
        "status": "completed" if is_done else "in_progress",
        "created_at": 1800000000,
    }
    if is_done:
        told["output"] = [{"content": [{"type": "video", "url": "https://results.example.com/1.mp4"}]}]
    else:
        told["progress"] = 0.4
    return reply("200 OK", told)


class Answers(asyncio.Protocol):
    shared: mmap.mmap
    latency = 0.0
    times: list[float] = []  # noqa: RUF012 - one for all connections
    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = LENGTH.search(head)
            ends = end + 4 + (int(length[1]) if length else 0)  # some ask with a body
            if len(self.buffer) < ends:
                return
            self.buffer = self.buffer[ends:]
            path = head[: head.index(b"\r\n")].split()[1].decode()
            if self.latency:
                asyncio.get_running_loop().call_later(self.latency, self.answer, path)
            else:
                self.answer(path)

    def answer(self, path: str) -> None:
        if self.transport.is_closing():
            return
        if path.startswith("/model/v1/generation/task/"):
            body = spark_dance(path.rpartition("/")[2], self.shared[DONE_AT] == 1)
        elif path.startswith("/api/v2/"):
            body = DBT
        elif path.startswith("/api/2"):
            body = DATABRICKS_DONE if self.shared[DONE_AT] == 1 else DATABRICKS
        elif path.startswith("/v1/messages/"):
            body = ANTHROPIC
        elif path.startswith("/v1/batches/"):
            body = OPENAI
        else:
            body = ABSENT
        self.transport.write(body)
        Answers.count += 1
        COUNT.pack_into(self.shared, 0, Answers.count)
        self.times.append(time.monotonic())


async def serve(port_file: Path, times_file: Path, tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answers, "127.0.0.1", 0, ssl=tls, backlog=4096)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    port_file.with_suffix(".part").write_text(str(server.sockets[0].getsockname()[1]))
    port_file.with_suffix(".part").rename(port_file)
    await ended.wait()
    times_file.write_text(json.dumps(Answers.times))  # noqa: ASYNC240 - the end
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--certificate", type=Path)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})
    signal.alarm(900)
    folder = arguments.folder
    with (folder / "shared").open("w+b") as file:
        file.write(bytes(SHARED_BYTES))
        file.flush()
        Answers.shared = mmap.mmap(file.fileno(), SHARED_BYTES)
    Answers.latency = arguments.latency
    tls = None
    if arguments.certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments.certificate)
    gc.freeze()
    asyncio.run(serve(folder / "port", folder / "times.json", tls))


if __name__ == "__main__":
    main()
