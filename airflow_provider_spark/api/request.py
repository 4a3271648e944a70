"""An order for a video: every parameter of the vendor with its limits and defaults, and the body it becomes."""

import base64
import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    ValidationError,
    field_validator,
)
from pydantic_core import PydanticCustomError

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.api.picture import FORMATS, MAX_BYTES, Picture, PictureError, inspect_picture
from airflow_provider_spark.api.text import clean, is_data_uri, is_web_url, show, show_url

MODEL = "spark_dance_v1_0_pro"
FPS = 24
"""Frames a second; the model renders no other rate."""

MIN_FRAMES, MAX_FRAMES = 29, 289
RECOMMENDED_PROMPT_LENGTH = 500
"""Characters; in longer prompts the model loses details."""

Resolution = Literal["480p", "720p", "1080p"]
Ratio = Literal["16:9", "4:3", "1:1", "3:4", "9:16", "21:9"]
AskedRatio = Literal[Ratio, "adaptive"]
ServiceTier = Literal["default", "flex"]
Mode = Literal["text", "first_frame", "first_and_last_frame"]

RESOLUTIONS: tuple[Resolution, ...] = get_args(Resolution)
RATIOS: tuple[Ratio, ...] = get_args(Ratio)

_PROMPT_FLAG = re.compile(
    r"(?<![\w-])--(?:rs|resolution|rt|ratio|dur|duration|frames|fps|frames?per_?second|wm|watermark|seed|cf|camera_?fixed)"
    r"(?![\w-])",
    re.IGNORECASE,
)
_DATA_URI_HEAD = re.compile(r"data:image/([^;,]{0,40});base64,")


def _broken(limit: str) -> PydanticCustomError:
    return PydanticCustomError("limit", "{limit}", {"limit": limit})


def _legal_frames(frames: int) -> int:
    if (frames - 25) % 4:
        raise ValueError
    return frames


def _web_url(url: str) -> str:
    if not is_web_url(url):
        raise ValueError
    return url


def _prompt(text: str) -> str:
    if not text.strip():
        raise ValueError
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _broken("must be whole Unicode text, without half a surrogate pair: no UTF-8 can carry it") from None
    return text


def _not_null(value: object) -> object:
    if value is None:
        raise ValueError("null")
    return value


def _picture_url(url: str) -> str:
    if is_data_uri(url):
        open_data_uri(url)
    else:
        _web_url(url)
    return url


def open_data_uri(uri: str) -> Picture:
    """Open the picture in a data URI and hold it to the vendor's limits.

    The declared format must be the picture's own: the vendor's code 003005003 doesn't say which of the two it trusts.

    Raises pydantic's PydanticCustomError (a ValueError) that names the limit.
    """
    head = _DATA_URI_HEAD.match(uri)
    if not head or head[1] not in FORMATS:
        raise _broken(f"must begin with data:image/<format>;base64, where <format> is one of {', '.join(FORMATS)}")
    encoded = uri[head.end() :]
    if len(encoded) // 4 * 3 - 2 >= MAX_BYTES:
        raise _broken(f"must hold less than 30 MB ({MAX_BYTES:,} bytes) once decoded")
    try:
        data = _decoded(encoded)
    except ValueError:
        raise _broken("must hold padded base64 without white space after the comma") from None
    try:
        picture = inspect_picture(data)
    except PictureError as error:
        raise _broken(f"is refused: {error}") from None
    if picture.format != head[1]:
        raise _broken(f"must declare the format that its bytes have: it says {head[1]}, they are {picture.format}")
    return picture


def _decoded(encoded: str) -> bytes:
    # Python's strict decoder takes superfluous padding.
    if len(encoded) % 4 or "=" in encoded[:-2]:
        raise ValueError
    return base64.b64decode(encoded, validate=True)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class ImageUrl(_Strict):
    """Where a picture is: an http(s) URL that the vendor can read, or the picture itself as a data URI."""

    url: Annotated[str, AfterValidator(_picture_url)] = Field(
        description="must be an absolute http or https URL, or a data URI data:image/<format>;base64,<data>"
    )

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return [("url", show_url(self.url))]


class TextContent(_Strict):
    """The prompt."""

    type: Literal["text"]
    text: Annotated[str, AfterValidator(_prompt)] = Field(description="must be text that says something")


class ImageContent(_Strict):
    """A first or last frame."""

    type: Literal["image_url"]
    image_url: ImageUrl = Field(description="must be an object with a url")
    role: Literal["first_frame", "last_frame", ""] | None = Field(
        default=None, description="must be first_frame or last_frame (or left out where there is one picture)"
    )


def _content_type(item: object) -> object:
    kind = item.get("type") if isinstance(item, Mapping) else getattr(item, "type", None)
    return kind if kind in ("text", "image_url") else None


Content = Annotated[
    Annotated[TextContent, Tag("text")] | Annotated[ImageContent, Tag("image_url")],
    Discriminator(
        _content_type,
        custom_error_type="limit",
        custom_error_message="{limit}",
        custom_error_context={"limit": "must be an object whose type is text or image_url"},
    ),
]


def _a_list(value: object) -> object:
    if isinstance(value, list | tuple):
        return value
    raise ValueError("no list")


class VideoRequest(_Strict):
    """An order as it stands in `input[0].params`: the vendor's names, strictly typed, with the vendor's defaults.

    A field that was not set reads as its documented default and stays off the wire. Explicit nulls are refused: on
    the wire an unset parameter is one that isn't there. The source of every limit is the vendor's parameter page.

    `compose` builds one from a prompt and frames; `model_validate` and `from_params` read the vendor's own form.
    """

    content: Annotated[tuple[Content, ...], Strict(False), BeforeValidator(_a_list)] = Field(
        description="must be a list of a text, an image, or a text with one or two images"
    )
    callback_url: Annotated[str | None, AfterValidator(_web_url), BeforeValidator(_not_null)] = Field(
        default=None, description="must be an absolute http or https URL"
    )
    return_last_frame: bool = Field(default=False, description="must be true or false")
    service_tier: ServiceTier = Field(default="default", description="must be default or flex")
    execution_expires_after: int = Field(
        default=172_800, ge=3600, le=259_200, description="must be a whole number of seconds from 3600 to 259200"
    )
    resolution: Resolution = Field(default="1080p", description="must be 480p, 720p or 1080p")
    ratio: Annotated[AskedRatio | None, BeforeValidator(_not_null)] = Field(
        default=None, description="must be 16:9, 4:3, 1:1, 3:4, 9:16, 21:9 or adaptive"
    )
    duration: int = Field(default=5, ge=2, le=12, description="must be a whole number of seconds from 2 to 12")
    frames: Annotated[int | None, AfterValidator(_legal_frames), BeforeValidator(_not_null)] = Field(
        default=None, ge=MIN_FRAMES, le=MAX_FRAMES, description="must be 25 + 4n from 29 to 289"
    )
    seed: int = Field(default=-1, ge=-1, le=2**32 - 1, description="must be a whole number from -1 to 4294967295")
    camera_fixed: bool = Field(default=False, description="must be true or false")
    watermark: bool = Field(default=False, description="must be true or false")

    @field_validator("content")
    @classmethod
    def _combination(cls, content: tuple[TextContent | ImageContent, ...]) -> tuple[TextContent | ImageContent, ...]:
        images = [item for item in content if isinstance(item, ImageContent)]
        if not content:
            raise _broken("must hold a text or an image")
        if len(content) - len(images) > 1:
            raise _broken("must hold at most one text: the documents know one prompt an order")
        if len(images) > 2:
            raise _broken(f"must hold at most two images, a first and a last frame, and holds {len(images)}")
        roles = [image.role for image in images]
        if len(images) == 2 and sorted(role or "" for role in roles) != ["first_frame", "last_frame"]:
            raise _broken("must give one of its two images the role first_frame and the other the role last_frame")
        if roles == ["last_frame"]:
            raise _broken("must hold a first frame where it holds a last frame")
        return content

    @classmethod
    def compose(
        cls,
        *,
        prompt: str | None = None,
        first_frame: str | None = None,
        last_frame: str | None = None,
        **parameters: Any,
    ) -> Self:
        """Build an order from a prompt and frames (URLs or data URIs) and the vendor's other parameters.

        What is None counts as not set. With a last frame, both frames get their roles.

        Raises SparkDanceRequestError, which names each field, its value and the limit it breaks.
        """
        content: list[dict[str, Any]] = []
        names: list[str] = []
        if prompt is not None:
            names.append("prompt")
            content.append({"type": "text", "text": prompt})
        for role, url in (("first_frame", first_frame), ("last_frame", last_frame)):
            if url is not None:
                names.append(role)
                item = {"type": "image_url", "image_url": {"url": url}}
                content.append(item if last_frame is None else item | {"role": role})
        if "content" in parameters:
            raise _request_error(("content: is built from prompt, first_frame and last_frame",))
        given = {name: value for name, value in parameters.items() if value is not None}
        return cls._checked({"content": content, **given}, names)

    def with_pictures(self, pictures: Mapping[str, str]) -> Self:
        """Return the order with other pictures, URLs or data URIs by `first_frame` and `last_frame`, for those it has.

        Raises SparkDanceRequestError.
        """
        params, names = self.params(), []
        for item in params["content"]:
            name = (item.get("role") or "first_frame") if item["type"] == "image_url" else "prompt"
            names.append(name)
            if name in pictures:
                item["image_url"] = {"url": pictures[name]}
        return self._checked(params, names)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Read the vendor's own form, `input[0].params`; as `model_validate`, but raises SparkDanceRequestError."""
        return cls._checked(dict(params), ())

    @classmethod
    def _checked(cls, params: dict[str, Any], names: Sequence[str]) -> Self:
        try:
            return cls.model_validate(params)
        except ValidationError as error:
            problems = tuple(_problem(dict(detail), names) for detail in error.errors(include_url=False))
        # Raised outside the handler: pydantic's error carries the rejected values, data URIs included.
        raise _request_error(problems)

    def params(self) -> dict[str, Any]:
        """Give what goes on the wire: what was set, and `content`, which the vendor requires."""
        params = self.model_dump(mode="json", exclude_unset=True)
        for item in params["content"]:
            if not item.get("role"):
                item.pop("role", None)
        return params

    def body(self) -> dict[str, Any]:
        """Give the whole body of a submit."""
        return {"model": MODEL, "input": [{"params": self.params()}]}

    @property
    def prompt(self) -> str | None:
        """The text, where there is one."""
        return next((item.text for item in self.content if isinstance(item, TextContent)), None)

    @property
    def first_frame(self) -> str | None:
        """The first frame's URL or data URI."""
        return next((item.image_url.url for item in self._images if item.role != "last_frame"), None)

    @property
    def last_frame(self) -> str | None:
        """The last frame's URL or data URI."""
        return next((item.image_url.url for item in self._images if item.role == "last_frame"), None)

    @property
    def _images(self) -> tuple[ImageContent, ...]:
        return tuple(item for item in self.content if isinstance(item, ImageContent))

    @property
    def mode(self) -> Mode:
        """What the video starts from."""
        modes: tuple[Mode, ...] = ("text", "first_frame", "first_and_last_frame")
        return modes[len(self._images)]

    @property
    def effective_ratio(self) -> AskedRatio:
        """The ratio with the default of the mode: 16:9 for text, adaptive (to the first frame) with an image."""
        if self.mode == "text":
            return "16:9" if self.ratio in (None, "adaptive") else self.ratio
        return self.ratio or "adaptive"

    @property
    def frame_count(self) -> int:
        """How many frames are rendered: `frames` where set, else `duration` times 24."""
        return self.frames or self.duration * FPS

    @property
    def seconds(self) -> float:
        """The video's length in seconds."""
        return self.frame_count / FPS

    @cached_property
    def first_frame_picture(self) -> Picture | None:
        """The first frame's format and size where it came as a data URI; of a URL nothing is known here."""
        return open_data_uri(self.first_frame) if self.first_frame and is_data_uri(self.first_frame) else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the vendor takes, but the author may not have meant; a sentence each."""
        prompt = self.prompt or ""
        found: list[str] = []
        if len(prompt) > RECOMMENDED_PROMPT_LENGTH:
            found.append(
                f"prompt has {len(prompt)} characters; beyond {RECOMMENDED_PROMPT_LENGTH} the model may skip details."
            )
        if flags := sorted({flag.lower() for flag in _PROMPT_FLAG.findall(prompt)}):
            found.append(
                f"prompt contains {', '.join(flags)}: the model may read it as a setting, which can override"
                " a parameter and change the price."
            )
        if self.ratio == "adaptive" and self.mode == "text":
            found.append("ratio is adaptive, but there is no image to adapt to; 16:9 is rendered.")
        if {"frames", "duration"} <= self.model_fields_set:
            found.append(f"frames and duration are both set; frames wins: {self.frames} frames, {self.seconds:g} s.")
        return tuple(found)

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        shown = [(name, getattr(self, name)) for name in type(self).model_fields if name in self.model_fields_set]
        return [(name, show_url(value) if name == "callback_url" else value) for name, value in shown]


def nearest_frames(seconds: float) -> int:
    """Give the legal number of frames (25 + 4n, 29 to 289) nearest to a length in seconds: 2.4 gives 57.

    Never more than two frames away; of two as near, the smaller, which costs less.

    Raises SparkDanceRequestError for lengths that no legal number is near to, about 1.2 to 12.1 seconds.
    """
    wanted = seconds * FPS
    if not MIN_FRAMES - 2 <= wanted <= MAX_FRAMES + 2:
        limit = f"{MIN_FRAMES / FPS:.2f} to {MAX_FRAMES / FPS:.2f} ({MIN_FRAMES} to {MAX_FRAMES} frames)"
        raise _request_error((f"seconds = {show(seconds)}: must be from {limit}",))
    return min(max(25 + 4 * math.ceil((wanted - 27) / 4), MIN_FRAMES), MAX_FRAMES)


def _request_error(problems: tuple[str, ...]) -> SparkDanceRequestError:
    lines = "\n".join(f"  - {problem}" for problem in problems)
    error = SparkDanceRequestError(f"The order breaks the vendor's limits; nothing was sent.\n{lines}")
    error.problems = problems
    return error


def _problem(detail: dict[str, Any], names: Sequence[str]) -> str:
    """Put one of pydantic's findings as `field = value: limit`."""
    loc = list(detail["loc"])
    field = ".".join(clean(str(part), 40) for part in loc)
    model: type[BaseModel] = VideoRequest
    if loc[0] == "content" and len(loc) > 1:
        # After the index pydantic names the branch of the union, which is no part of the vendor's path.
        index, path = loc[1], loc[3:]
        field = "".join([f"content[{index}]", *(f".{clean(str(part), 40)}" for part in path)])
        if index < len(names):
            field = f"{names[index]} ({field})"
        model = ImageContent if loc[2:3] == ["image_url"] else TextContent
        if path[:1] == ["image_url"] and len(path) > 1:
            model = ImageUrl
    if detail["type"] == "missing":
        return f"{field}: is missing"
    if detail["type"] == "extra_forbidden":
        return f"{field}: is not a parameter of this model" + (
            f" (it renders {FPS} a second)" if field == "fps" else ""
        )
    shown = show(detail["input"])
    if detail["type"] == "limit":
        return f"{field} = {shown}: {detail['ctx']['limit']}"
    known = model.model_fields.get(str(loc[-1]))
    limit = known.description if known else None
    return f"{field} = {shown}: {limit or detail['msg']}"
