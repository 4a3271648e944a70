"""The documented limits, judged from the raw JSON of a submit.

Written from the vendor's parameter page and from nothing else in this package, so that a mistake here or in the
client's own validation shows as a disagreement between the two. JSON types are taken at their word: `5.0`, `"5"` and
`true` are no integers, and `null` is a value of the wrong type, not an absent one (but for a role, which may be
empty). Parameters that the page does not name are ignored.

The page gives nineteen codes. Four of its limits have none of their own: `frames` answers with the code for the frame
rate, and `callback_url`, `service_tier` and `execution_expires_after` with the one for a wrong format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from airflow_provider_spark.emulator import model

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MISSING_CONTENT: Final = "003005001"
INVALID_CONTENT_FORMAT: Final = "003005002"
INVALID_IMAGE_FORMAT: Final = "003005003"
INVALID_IMAGE_COUNT: Final = "003005004"
INVALID_RESOLUTION: Final = "003005005"
INVALID_RATIO: Final = "003005006"
INVALID_DURATION: Final = "003005007"
INVALID_FRAME_RATE: Final = "003005008"
INVALID_SEED: Final = "003005009"
INVALID_BOOLEAN: Final = "003005010"
MISSING_CONTENT_TYPE: Final = "003005011"
MISSING_TEXT: Final = "003005012"
MISSING_IMAGE_URL: Final = "003005013"
INVALID_IMAGE_URL: Final = "003005014"

DURATIONS: Final = range(2, 12 + 1)
FRAME_COUNTS: Final = range(29, 289 + 1, 4)
SEEDS: Final = range(-1, 2**32)
EXPIRIES: Final = range(3600, 259_200 + 1)


class Refusal(Exception):  # noqa: N818 - the vendor's answer, not a fault of this program
    """The request breaks a documented limit. Carries the vendor's code; the text is the vendor's `error_message`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Order:
    """A request that keeps every limit that can be told without opening its pictures; defaults filled in."""

    prompt: str | None
    first_frame: str | None
    last_frame: str | None
    resolution: str
    ratio: str
    frames: int
    seed: int
    camera_fixed: bool
    watermark: bool
    return_last_frame: bool
    service_tier: str
    execution_expires_after: int
    callback_url: str | None


def judge(body: object) -> Order:
    """Find the order in the parsed JSON body of a submit.

    Raises:
        Refusal: the first documented limit that the body breaks.
    """
    params = _params(body)
    prompt, pictures = _content(params)
    first_frame, last_frame = _frames_by_role(pictures)
    duration = _integer(params, "duration", 5, DURATIONS, INVALID_DURATION)
    # The page calls the two exclusive and lets `frames` win: both given is no error.
    frames = _integer(params, "frames", duration * model.FPS, FRAME_COUNTS, INVALID_FRAME_RATE)
    return Order(
        prompt=prompt,
        first_frame=first_frame,
        last_frame=last_frame,
        resolution=_choice(params, "resolution", "1080p", model.RESOLUTIONS, INVALID_RESOLUTION),
        ratio=_choice(
            params, "ratio", "adaptive" if first_frame else "16:9", (*model.RATIOS, "adaptive"), INVALID_RATIO
        ),
        frames=frames,
        seed=_integer(params, "seed", -1, SEEDS, INVALID_SEED),
        camera_fixed=_boolean(params, "camera_fixed"),
        watermark=_boolean(params, "watermark"),
        return_last_frame=_boolean(params, "return_last_frame"),
        service_tier=_choice(params, "service_tier", "default", ("default", "flex"), INVALID_CONTENT_FORMAT),
        execution_expires_after=_integer(params, "execution_expires_after", 172_800, EXPIRIES, INVALID_CONTENT_FORMAT),
        callback_url=_callback_url(params),
    )


def is_web_address(text: str) -> bool:
    """Tell whether a text is an absolute http or https URL that names a host."""
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port beyond 65535, a bracket left open
        return False


def _params(body: object) -> Mapping[str, object]:
    if not isinstance(body, dict):
        raise Refusal(INVALID_CONTENT_FORMAT, "the body must be a JSON object")
    if body.get("model") != model.NAME:
        raise Refusal(INVALID_CONTENT_FORMAT, f"model must be {model.NAME}")
    items = body.get("input")
    if not isinstance(items, list) or len(items) != 1 or not isinstance(items[0], dict):
        raise Refusal(MISSING_CONTENT, "input must be a list of one object")
    params = items[0].get("params")
    if not isinstance(params, dict):
        raise Refusal(MISSING_CONTENT, "input[0].params must be an object")
    return params


def _content(params: Mapping[str, object]) -> tuple[str | None, list[tuple[str, str]]]:
    """Split the content into the prompt, if any, and the pictures as (role, url)."""
    if "content" not in params or params["content"] == []:
        raise Refusal(MISSING_CONTENT, "content is required")
    content = params["content"]
    if not isinstance(content, list):
        raise Refusal(INVALID_CONTENT_FORMAT, "content must be a list")
    texts: list[str] = []
    pictures: list[tuple[str, str]] = []
    for item in content:
        if not isinstance(item, dict):
            raise Refusal(INVALID_CONTENT_FORMAT, "each item of content must be an object")
        if "type" not in item:
            raise Refusal(MISSING_CONTENT_TYPE, "each item of content needs a type")
        if item["type"] == "text":
            texts.append(_text(item))
        elif item["type"] == "image_url":
            pictures.append((_role(item), _picture_url(item)))
        else:
            raise Refusal(INVALID_CONTENT_FORMAT, "the type of a content item is text or image_url")
    if len(texts) > 1:
        raise Refusal(INVALID_CONTENT_FORMAT, "content takes one text")
    return (texts[0] if texts else None), pictures


def _text(item: Mapping[str, object]) -> str:
    if "text" not in item:
        raise Refusal(MISSING_TEXT, "a text item needs its text")
    text = _string(item["text"], "text", INVALID_CONTENT_FORMAT)
    if not text.strip():
        raise Refusal(MISSING_TEXT, "the text is blank")
    return text


def _role(item: Mapping[str, object]) -> str:
    """Take the role: "" where there is none, as the page lets the role of a single picture be empty.

    Empty is what is left out, `""` and, here alone, `null`.
    """
    role = item.get("role")
    if role not in (None, "", "first_frame", "last_frame"):
        raise Refusal(INVALID_CONTENT_FORMAT, "role must be first_frame or last_frame")
    return str(role or "")


def _picture_url(item: Mapping[str, object]) -> str:
    if "image_url" not in item:
        raise Refusal(MISSING_IMAGE_URL, "an image item needs its image_url")
    image_url = item["image_url"]
    if not isinstance(image_url, dict) or "url" not in image_url:
        raise Refusal(INVALID_IMAGE_URL, "image_url must be an object with a url")
    url = _string(image_url["url"], "image_url.url", INVALID_IMAGE_URL)
    if not url[:5].lower() == "data:" and not is_web_address(url):
        raise Refusal(INVALID_IMAGE_URL, "image_url.url must be an http or https URL or a data URI")
    return url


def _frames_by_role(pictures: list[tuple[str, str]]) -> tuple[str | None, str | None]:
    """Tell the first from the last frame by their roles, in whichever order they come."""
    if len(pictures) > 2:
        raise Refusal(INVALID_IMAGE_COUNT, "content takes two images at most")
    if not pictures:
        return None, None
    if len(pictures) == 1:
        ((role, url),) = pictures
        if role == "last_frame":
            raise Refusal(INVALID_IMAGE_COUNT, "a last frame needs a first frame")
        return url, None
    by_role = dict(pictures)
    if by_role.keys() != {"first_frame", "last_frame"}:
        raise Refusal(INVALID_CONTENT_FORMAT, "of two images, one is the first_frame and one the last_frame")
    return by_role["first_frame"], by_role["last_frame"]


def _callback_url(params: Mapping[str, object]) -> str | None:
    if "callback_url" not in params:
        return None
    url = _string(params["callback_url"], "callback_url", INVALID_CONTENT_FORMAT)
    if not is_web_address(url):
        raise Refusal(INVALID_CONTENT_FORMAT, "callback_url must be an http or https URL")
    return url


def _string(value: object, name: str, code: str) -> str:
    if not isinstance(value, str):
        raise Refusal(code, f"{name} must be a string")
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can spell half of a surrogate pair, which is no character
        raise Refusal(code, f"{name} must be Unicode text") from None
    return value


def _choice(params: Mapping[str, object], name: str, default: str, options: Collection[str], code: str) -> str:
    value = params.get(name, default)
    if not isinstance(value, str) or value not in options:
        raise Refusal(code, f"{name} must be one of {', '.join(options)}")
    return value


def _integer(params: Mapping[str, object], name: str, default: int, allowed: range, code: str) -> int:
    if name not in params:
        return default
    value = params[name]
    # `type`, as bool is a subclass of int.
    if type(value) is not int or value not in allowed:
        step = f" in steps of {allowed.step}" if allowed.step > 1 else ""
        raise Refusal(code, f"{name} must be an integer from {allowed[0]} to {allowed[-1]}{step}")
    return value


def _boolean(params: Mapping[str, object], name: str) -> bool:
    value = params.get(name, False)
    if not isinstance(value, bool):
        raise Refusal(INVALID_BOOLEAN, f"{name} must be true or false")
    return value
