"""VideoRequest and the emulator judge requests with no code in common; each can catch the other's mistakes.

Over the whole request space and its edges, the one must accept exactly what the other accepts,
but for the exceptions listed here.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_provider_spark.api.request import MODEL, VideoRequest
from airflow_provider_spark.emulator import RunningEmulator, running_emulator
from tests.unit.api.frame_files import data_uri, flat_picture

EXCEPTIONS = {
    "an unknown parameter": "the documents don't say what becomes of it; here it is most likely a slip of the pen",
    "a PNG with too few pixels": "here its chunks are checked but not decoded; a large picture costs little",
    "a picture behind a URL": "only who fetches it can judge it; here a public URL is passed on as it is",
}

PICTURE_PATH = "/picture.png"
PNG = flat_picture("png", 640, 480)


@pytest.fixture(scope="module")
def emulator() -> Iterator[RunningEmulator]:
    with running_emulator(seed=1) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def picture_url() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(PNG)))
            self.end_headers()
            self.wfile.write(PNG)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}{PICTURE_PATH}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def vendor(emulator: RunningEmulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    with httpx.Client(base_url=emulator.base_url, headers=headers, timeout=30) as client:
        yield client


def is_taken_by_the_emulator(vendor: httpx.Client, params: dict[str, Any]) -> bool:
    reply = vendor.post("/model/v1/generation", json={"model": MODEL, "input": [{"params": params}]})
    assert reply.status_code in {200, 400}, reply.text
    if reply.status_code == 400:
        assert reply.json()["error"]["code"].startswith("0030050")
    return reply.status_code == 200


def is_taken_here(params: dict[str, Any]) -> bool:
    try:
        request = VideoRequest.model_validate(params)
    except ValidationError:
        return False
    assert VideoRequest.model_validate(request.params()).params() == request.params()
    return True


def with_declared_size(width: int, height: int) -> bytes:
    """A PNG whose header declares a size that its few bytes of pixels don't fill."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return PNG[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + PNG[33:]


# Pictures at both sides of every limit: side lengths, ratio, formats, the declared format, truncation.
SIZES = [(301, 301), (300, 301), (301, 300), (5999, 2400), (6000, 2401), (5999, 2399), (400, 1000), (401, 1000)]
SIZES += [(1000, 400), (1000, 401), (749, 301), (752, 301), (753, 301), (2, 2)]
PICTURES = {f"{width}x{height}": data_uri(flat_picture("png", width, height)) for width, height in SIZES}
PICTURES |= {kind: data_uri(flat_picture(kind, 320, 320), kind) for kind in ("jpeg", "webp", "bmp", "tiff", "gif")}
PICTURES |= {
    "undeclared format": data_uri(flat_picture("ppm", 320, 320), "ppm"),
    "upper-case format": data_uri(PNG, "PNG"),
    "jpg": data_uri(flat_picture("jpeg", 320, 320), "jpg"),
    "another format than declared": data_uri(flat_picture("jpeg", 320, 320), "png"),
    "no base64": "data:image/png,abc",
    "broken base64": data_uri(PNG)[:-1] + "*",
    "unpadded base64": data_uri(PNG).rstrip("=")[:-1],
    "empty": "data:image/png;base64,",
    "no picture": data_uri(b"not a picture"),
    "cut in its end": data_uri(PNG[:-6]),
    "cut in the pixels": data_uri(PNG[: len(PNG) // 2]),
    "a bomb": data_uri(with_declared_size(50_000, 50_000)),
    "upper-case scheme": "DATA:" + data_uri(PNG).removeprefix("data:"),
}

URLS = [
    *("ftp://example.com/a.png", "example.com/a.png", "//example.com/a.png", "http://", "http:///a.png", "https://?"),
    *(
        "",
        " ",
        "http://exa mple.com/a.png",
        "http://example.com:0/",
        "http://example.com:99999/",
        "javascript:alert(1)",
    ),
    *("http://example.com/a\nb", "http://[::1", "file:///etc/hostname", "http:example.com"),
]
WRONG_TYPES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, "", "5", "true", 5, 5.0, 5.5, -1, 0, 1, 2**70, [], {}, ["480p"], {"a": 1}]
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "return_last_frame": st.booleans(),
    "camera_fixed": st.booleans(),
    "watermark": st.booleans(),
    "service_tier": st.sampled_from(["default", "flex"]),
    "execution_expires_after": st.sampled_from([3600, 3601, 172_800, 259_199, 259_200]),
    "resolution": st.sampled_from(["480p", "720p", "1080p"]),
    "ratio": st.sampled_from(["16:9", "4:3", "1:1", "3:4", "9:16", "21:9", "adaptive"]),
    "duration": st.integers(2, 12),
    "frames": st.integers(1, 66).map(lambda n: 25 + 4 * n),
    "seed": st.sampled_from([-1, 0, 1, 2**32 - 2, 2**32 - 1]),
    "callback_url": st.sampled_from(["http://127.0.0.1:9/done", "https://localhost:9/done?a=b"]),
}
EDGES: dict[str, st.SearchStrategy[Any]] = {
    "service_tier": st.sampled_from(["Default", "flex ", "batch"]),
    "execution_expires_after": st.sampled_from([3599, 259_201, 0, -1, 3600.0, "3600"]),
    "resolution": st.sampled_from(["480P", "4k", "1080", 720, "480p\n"]),
    "ratio": st.sampled_from(["16:10", "16/9", "Adaptive", "9:21", 1.0]),
    "duration": st.sampled_from([1, 13, 0, -5, 5.0, "5", True]),
    "frames": st.sampled_from([25, 28, 30, 287, 288, 290, 293, 29.0, "29", True]),
    "seed": st.sampled_from([-2, 2**32, 1.0, "1", False]),
    "callback_url": st.sampled_from(URLS),
}


def text_items() -> st.SearchStrategy[Any]:
    good = st.sampled_from(["a cat", "一只猫", "x" * 501, "a cat --rs 480p"])
    bad: st.SearchStrategy[Any] = st.sampled_from(["", " ", "\n\t", None, 5, [], "\u3000"])
    return st.one_of(
        good.map(lambda text: {"type": "text", "text": text}),
        good.map(lambda text: {"type": "text", "text": text}),
        bad.map(lambda text: {"type": "text", "text": text}),
        st.sampled_from([{"type": "text"}, {"text": "a cat"}, {"type": "Text", "text": "a cat"}, "a cat", None, 5, []]),
    )


def image_items(picture_url: str) -> st.SearchStrategy[Any]:
    urls = st.one_of(
        st.just(picture_url),
        st.just(picture_url),
        st.sampled_from(sorted(PICTURES.values())),
        st.sampled_from([*URLS, None, 5, {"a": 1}]),
    )
    roles: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        [{}, {"role": "first_frame"}, {"role": "last_frame"}, {"role": ""}, {"role": "middle"}]
    )
    odd_roles: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        [{"role": None}, {"role": 1}, {"role": "First_Frame"}]
    )
    no_urls: list[Any] = [picture_url, {}, None]
    odd: list[Any] = [{"type": "image_url", "image_url": url} for url in no_urls]
    odd += [{"type": "image_url"}, {"type": "image", "image_url": {"url": picture_url}}, {"type": "video", "text": "x"}]
    items = st.tuples(urls, st.one_of(roles, roles, odd_roles)).map(
        lambda pair: {"type": "image_url", "image_url": {"url": pair[0]}, **pair[1]}
    )
    return st.one_of(items, items, items, st.sampled_from(odd))


def contents(picture_url: str) -> st.SearchStrategy[Any]:
    text = st.just({"type": "text", "text": "a cat"})
    first = st.just({"type": "image_url", "image_url": {"url": picture_url}, "role": "first_frame"})
    last = st.just({"type": "image_url", "image_url": {"url": picture_url}, "role": "last_frame"})
    items = st.one_of(text, first, last, text_items(), image_items(picture_url))
    return st.one_of(
        text.map(lambda item: [item]),
        st.tuples(text, first).map(list),
        st.tuples(first, last, text).map(list),
        st.lists(items, max_size=4),
        st.sampled_from([None, {}, "a cat", 5, True, [[]]]),
    )


@st.composite
def requests(draw: st.DrawFn, picture_url: str) -> dict[str, Any]:
    """A request that is right, or wrong in a place or two."""
    params = draw(st.fixed_dictionaries({}, optional=VALUES))
    params["content"] = draw(contents(picture_url))
    for name in draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=2, unique=True)):
        params[name] = draw(st.one_of(EDGES.get(name, WRONG_TYPES), WRONG_TYPES))
    if draw(st.integers(0, 19)) == 0:
        del params["content"]
    return params


@given(data=st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_request_is_taken_by_both_or_by_neither(
    data: st.DataObject, vendor: httpx.Client, picture_url: str
) -> None:
    params = data.draw(requests(picture_url))
    assert is_taken_here(params) == is_taken_by_the_emulator(vendor, params)


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_taken_by_both_or_by_neither(name: str, vendor: httpx.Client) -> None:
    params = picture_from(PICTURES[name])
    assert is_taken_here(params) == is_taken_by_the_emulator(vendor, params)


@given(name=st.sampled_from(sorted(VALUES)), value=st.one_of(WRONG_TYPES, st.integers(), st.floats(-10, 10), st.text()))
@example(name="seed", value=2**32)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_value_of_each_parameter_is_taken_by_both_or_by_neither(
    name: str, value: object, vendor: httpx.Client
) -> None:
    params = {"content": [{"type": "text", "text": "a cat"}], name: value}
    assert is_taken_here(params) == is_taken_by_the_emulator(vendor, params)


def test_the_exceptions_are_as_they_are_listed(vendor: httpx.Client) -> None:
    text = {"type": "text", "text": "a cat"}
    cases = {
        "an unknown parameter": {"content": [text], "fps": 24},
        "a PNG with too few pixels": picture_from(data_uri(with_declared_size(5000, 5000))),
        "a picture behind a URL": picture_from("http://127.0.0.1:9/nothing-listens-here.png"),
    }
    taken = {name: (is_taken_here(params), is_taken_by_the_emulator(vendor, params)) for name, params in cases.items()}
    assert taken.keys() == EXCEPTIONS.keys()
    assert taken == {
        "an unknown parameter": (False, True),
        "a PNG with too few pixels": (True, False),
        "a picture behind a URL": (True, False),
    }


def picture_from(url: str) -> dict[str, Any]:
    return {"content": [{"type": "image_url", "image_url": {"url": url}}]}
