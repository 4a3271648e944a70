"""The vendor's HTTP, and the emulator's own corner of it under `/_emulator/`."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from airflow_provider_spark.emulator import judge, model
from airflow_provider_spark.emulator.callbacks import Postman
from airflow_provider_spark.emulator.faults import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import Receive, Scope, Send

    from airflow_provider_spark.emulator.service import Service

MAX_BODY: Final = 100 * 1024 * 1024
"""Bytes of a submit: two pictures of 30 MB as base64, and room to spare."""

_INTERNAL_ERROR: Final = "003005095"
_MODERATED_PROMPT: Final = "InputTextSensitiveContentDetected: the request may contain sensitive content"
_PAGE: Final = b"<!DOCTYPE html><html><body>Sign in to go on</body></html>"
_GARBAGE: Final = b'{"id": "sd-\xff\xfe<html>\x00'


def create_app(service: Service) -> Starlette:
    """Build the ASGI application."""
    postman = Postman(service)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        for generation in service.generations.values():
            # Its earlier callbacks were delivered before the restart.
            postman.watch(generation, since=service.clock.now())
        yield
        await postman.close()
        await service.close()

    async def submit(request: Request) -> Response:
        service.received()
        fault = service.faults.take("submit")
        if fault and fault.kind == "refuse":
            return Cut()
        try:
            raw = await _body(request)
        except ClientDisconnect:
            return Cut()
        fault = fault or service.faults.take("submit", raw.decode(errors="replace"), picky=True)
        if fault and not _accepts(fault):
            return _faulty(fault)
        reply = await _judged(request, raw)
        return await _spoiled(fault, reply, service.closing) if fault else reply

    async def _judged(request: Request, raw: bytes) -> Response:
        _authenticate(request, service.settings.api_key)
        try:
            generation = await service.accept(_parsed(raw), str(request.base_url).rstrip("/"))
        except judge.Refusal as refusal:
            return _error(400, refusal.code, str(refusal))
        except RecursionError:
            return _error(400, judge.INVALID_CONTENT_FORMAT, "the body is nested too deeply")
        postman.watch(generation, since=generation.life.created_at)
        return _Json(
            {
                "id": generation.id,
                "status": generation.life.at(generation.life.created_at).status,
                "model": model.NAME,
                "created_at": int(generation.life.created_at),
            }
        )

    async def poll(request: Request) -> Response:
        service.counts.polls += 1
        generation = service.generations.get(request.path_params["id"])
        if generation is not None:
            service.polled(generation)
        fault = service.faults.take("poll")
        if fault and fault.kind in ("refuse", "drop_reply"):
            return Cut()
        if fault and fault.kind == "vendor_error" and fault.http_status is None:
            # The gateway's own look at a generation goes wrong: the render goes on all the same.
            error = {"code": fault.code, "error_message": fault.message or "The status can't be told"}
            return _Json({"id": request.path_params["id"], "status": "failed", "model": model.NAME, "error": error})
        if fault and fault.kind not in ("garbage", "slow"):
            return _faulty(fault)
        _authenticate(request, service.settings.api_key)
        if generation is None:
            raise HTTPException(404, "no such generation")
        reply = _Json(service.reply(generation, str(request.base_url).rstrip("/")))
        return await _spoiled(fault, reply, service.closing) if fault else reply

    async def download(request: Request) -> Response:
        if request.method == "GET":
            service.counts.downloads += 1
        fault = service.faults.take("download") if request.method == "GET" else None
        if fault and fault.kind == "refuse":
            return Cut()
        if fault and fault.kind in ("rate_limit", "server_error", "page", "redirect"):
            return _faulty(fault)
        name = request.path_params["name"]
        now = service.clock.now()
        if (fault and fault.kind == "expire") or not service.signer.is_good(request.path_params["token"], name, now):
            raise HTTPException(403, "the URL is not good or no longer so")
        generation = service.generations.get(name.rpartition(".")[0])
        if generation is None:
            raise HTTPException(404, "no such file")
        try:
            path = await service.darkroom.file(name, generation.clip)
        except InterruptedError:
            return Cut()
        media_type = "video/mp4" if path.suffix == ".mp4" else "image/png"
        if fault and fault.kind == "drop_reply":
            return Cut(path.read_bytes(), media_type)
        if fault and fault.kind == "truncate":
            data = path.read_bytes()
            return Response(data[: len(data) // 2], media_type=media_type)
        if fault and fault.kind == "trickle":
            data = path.read_bytes()
            drops = _drops(data, fault.seconds, service.closing)
            return StreamingResponse(drops, headers={"Content-Length": str(len(data))}, media_type=media_type)
        reply = FileResponse(path, media_type=media_type)
        return await _spoiled(fault, reply, service.closing) if fault else reply

    async def stats(_: Request) -> Response:
        return _Json(service.stats())

    async def faults(request: Request) -> Response:
        if request.method == "POST":
            with _answering_400():
                service.faults.arm(Fault.parse(_parsed(await request.body())))
        if request.method == "DELETE":
            service.faults.clear()
        return _Json({"faults": service.faults.armed()})

    async def move_clock(request: Request) -> Response:
        if request.method == "POST":
            with _answering_400():
                body = _parsed(await request.body())
                seconds = body.get("advance") if isinstance(body, dict) else None
                if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e10:
                    raise ValueError("advance must be a number of seconds, 0 or more")
                service.advance(seconds)
        return _Json({"now": service.clock.now()})

    async def about(_: Request) -> Response:
        return _Json(
            {
                "what": "A stand-in for the Spark Dance 1.0 Pro API. Renders here are made up and cost nothing.",
                "submit": "POST /model/v1/generation",
                "poll": "GET /model/v1/generation/task/{id}",
                "emulator": ["/_emulator/stats", "/_emulator/faults", "/_emulator/clock"],
            }
        )

    return Starlette(
        routes=[
            Route("/model/v1/generation", submit, methods=["POST"]),
            Route("/model/v1/generation/task/{id}", poll, methods=["GET"]),
            Route("/results/{token}/{name}", download, methods=["GET"]),
            Route("/_emulator/stats", stats, methods=["GET"]),
            Route("/_emulator/faults", faults, methods=["GET", "POST", "DELETE"]),
            Route("/_emulator/clock", move_clock, methods=["GET", "POST"]),
            Route("/", about, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _http_error},
        lifespan=lifespan,
    )


class Cut(Response):
    """No reply, or the first half of one, and the connection is gone."""

    def __init__(self, whole: bytes = b"", media_type: str | None = None) -> None:
        super().__init__(whole, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of the body under the headers of the whole, where there is one, and hang up."""
        if self.body:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            half = bytes(self.body[: len(self.body) // 2])
            await send({"type": "http.response.body", "body": half, "more_body": True})
        scope["state"]["hang_up"]()
        while (await receive())["type"] != "http.disconnect":
            pass


class _Json(JSONResponse):
    def render(self, content: Any) -> bytes:
        """Plain ASCII, as a request may hold what UTF-8 can't."""
        return json.dumps(content).encode()


def _accepts(fault: Fault) -> bool:
    """Tell whether a submit under this fault reaches the vendor all the same."""
    if fault.accepted is not None:
        return fault.accepted
    return fault.kind in ("drop_reply", "garbage", "slow")


def _faulty(fault: Fault) -> Response:
    """Answer for a fault that needs nothing from the vendor."""
    if fault.kind == "rate_limit":
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return _error(429, "429", "too many requests", headers)
    if fault.kind == "vendor_error":
        status = fault.http_status or (400 if fault.code <= judge.INVALID_IMAGE_URL else 500)
        return _error(status, fault.code, fault.message or f"The vendor refuses with {fault.code}")
    if fault.kind == "moderate":
        return _error(400, _INTERNAL_ERROR, _MODERATED_PROMPT)
    if fault.kind == "page":
        return Response(_PAGE, media_type="text/html")
    if fault.kind == "redirect":
        return Response(status_code=302, headers={"Location": fault.location or ""})
    if fault.kind == "garbage":
        return Response(_GARBAGE, media_type="application/json")
    return Response(status_code=fault.http_status or 502)


async def _drops(data: bytes, seconds: float, closing: asyncio.Event) -> AsyncIterator[bytes]:
    """Give a hundred bytes every so many seconds of real time, until the emulator closes."""
    for at in range(0, len(data), 100):
        yield data[at : at + 100]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), seconds)
            return


async def _spoiled(fault: Fault, reply: Response, closing: asyncio.Event) -> Response:
    """Spoil a good reply on its way back."""
    if fault.kind == "drop_reply":
        return Cut()
    if fault.kind == "slow":
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), fault.seconds)
        return reply
    return _faulty(fault)


def _authenticate(request: Request, key: str) -> None:
    """Exactly one header, and exactly `Bearer KEY` in it.

    Raises:
        HTTPException: 401, for anything else.
    """
    given = [value for name, value in request.headers.raw if name == b"authorization"]
    if len(given) != 1 or not hmac.compare_digest(given[0], b"Bearer " + key.encode()):
        raise HTTPException(401, "the API key is missing or not valid")


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > MAX_BODY:
        raise HTTPException(413, "the body is too large")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise HTTPException(413, "the body is too large")
    return bytes(data)


def _parsed(raw: bytes) -> object:
    """Read the JSON in a body, by the letter of RFC 8259.

    Raises:
        Refusal: it isn't JSON.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(raw.decode(), parse_constant=refuse)
    except ValueError as error:
        raise judge.Refusal(judge.INVALID_CONTENT_FORMAT, "the body is not JSON") from error


@contextlib.contextmanager
def _answering_400() -> Iterator[None]:
    try:
        yield
    except (ValueError, RecursionError, judge.Refusal) as error:
        raise HTTPException(400, str(error)) from error


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return _Json({"error": {"code": code, "error_message": message}}, status, headers)


def _http_error(_: Request, error: Exception) -> Response:
    """Answer with an HTTP status that none of the nineteen codes fits, itself the code."""
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette hands over what was registered
    headers = dict(error.headers) if error.headers else None
    return _error(error.status_code, str(error.status_code), error.detail, headers)
