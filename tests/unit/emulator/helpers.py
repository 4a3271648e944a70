"""Requests and pictures to try the emulator with."""

from __future__ import annotations

import base64
import io
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
from PIL import Image

if TYPE_CHECKING:
    from airflow_provider_spark.emulator import RunningEmulator

SUBMIT = "/model/v1/generation"


def body(*content: dict[str, Any], **params: Any) -> dict[str, Any]:
    """A submit's body; a short text clip unless told otherwise."""
    merged = {"content": list(content) or [text("A paper kite")], "resolution": "480p", "duration": 2, **params}
    return {"model": "spark_dance_v1_0_pro", "input": [{"params": merged}]}


def text(prompt: str) -> dict[str, Any]:
    return {"type": "text", "text": prompt}


def image(url: str, role: str | None = None) -> dict[str, Any]:
    item: dict[str, Any] = {"type": "image_url", "image_url": {"url": url}}
    return item if role is None else {**item, "role": role}


def picture(width: int = 640, height: int = 360, form: str = "PNG", colour: str = "teal") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, form)
    return file.getvalue()


def data_uri(data: bytes, form: str = "png") -> str:
    return f"data:image/{form};base64,{base64.b64encode(data).decode()}"


class Vendor:
    """The two calls, as a client would make them."""

    def __init__(self, emulator: RunningEmulator) -> None:
        self.emulator = emulator
        self.http = httpx.Client(
            base_url=emulator.base_url,
            headers={"Authorization": f"Bearer {emulator.api_key}"},
            timeout=30,
            verify=False,
        )

    def submit(self, *content: dict[str, Any], **params: Any) -> httpx.Response:
        return self.http.post(SUBMIT, json=body(*content, **params))

    def order(self, *content: dict[str, Any], **params: Any) -> str:
        """The id of a new generation."""
        return str(self.submit(*content, **params).raise_for_status().json()["id"])

    def poll(self, generation: str) -> dict[str, Any]:
        reply: dict[str, Any] = self.http.get(f"{SUBMIT}/task/{generation}").json()
        return reply

    def finished(self, *content: dict[str, Any], **params: Any) -> dict[str, Any]:
        """The reply for a generation whose time has come."""
        generation = self.order(*content, **params)
        self.emulator.clock.advance(3600)
        return self.poll(generation)

    def film(self, *content: dict[str, Any], **params: Any) -> bytes:
        return httpx.get(self.finished(*content, **params)["output"][0]["content"][0]["url"], timeout=60).content

    def arm(self, **fault: Any) -> httpx.Response:
        return self.http.post("/_emulator/faults", json=fault)

    def stats(self) -> dict[str, Any]:
        reply: dict[str, Any] = self.http.get("/_emulator/stats").json()
        return reply


def raw_reply(base_url: str, request: bytes) -> bytes:
    """Everything that comes back on a connection until the other side ends it."""
    address = urlsplit(base_url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request)
        reply = b""
        try:
            while chunk := connection.recv(65_536):
                reply += chunk
        except ConnectionResetError:
            pass
        return reply
