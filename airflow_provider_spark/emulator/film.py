"""The MP4 of a clip and its last frame."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import av
from av.video.reformatter import Colorspace
from PIL import Image

from airflow_provider_spark.emulator import captions, model, scenery

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_spark.emulator.store import Clip

_BT709: Final = 1
_FADE_FRAMES: Final = 10
"""Frames over which the caption comes and goes, so that the first and the last one show the picture alone."""


def write_mp4(clip: Clip, picture: Callable[[str], Path], path: Path, cancelled: Callable[[], bool]) -> None:
    """Write the whole film, H.264 in MP4; give up where `cancelled` says so.

    Raises:
        InterruptedError: it was given up.
    """
    reel = _Reel(clip, picture)
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(
            "libx264", rate=model.FPS, options={"preset": "ultrafast", "crf": "20", "bf": "0"}
        )
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, model.FPS)
        # Said and done alike: players guess the colours of a film that doesn't name them, each its own way.
        stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = _BT709
        for number in range(clip.frames):
            if cancelled():
                raise InterruptedError("the film was given up")
            image = reel.frame(number, watermark=clip.watermark)
            drawn: av.VideoFrame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
            frame = drawn.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_last_frame(clip: Clip, picture: Callable[[str], Path], path: Path) -> None:
    """Write the film's last frame as PNG, without the watermark."""
    _Reel(clip, picture).frame(clip.frames - 1, watermark=False).save(path, "PNG", compress_level=3)


class _Reel:
    """The frames of a clip, the same for the same clip."""

    def __init__(self, clip: Clip, picture: Callable[[str], Path]) -> None:
        self._clip = clip
        chance = random.Random(f"{clip.seed}/{clip.prompt}")
        size = clip.width, clip.height
        first = _opened(clip.first_frame, picture)
        if first is None:
            self._scene: scenery.Scene = scenery.Landscape(*size, chance, camera_fixed=clip.camera_fixed)
        else:
            last = _opened(clip.last_frame, picture)
            self._scene = scenery.Pictures(first, last, *size, chance, camera_fixed=clip.camera_fixed)
        label = f"Spark Dance 1.0 Pro · emulated · {clip.resolution} · {clip.ratio} · seed {clip.seed}"
        self._caption = _Overlay(captions.caption(clip.prompt, label, *size)) if clip.prompt else None
        self._watermark = _Overlay(captions.watermark(*size)) if clip.watermark else None

    def frame(self, number: int, *, watermark: bool) -> Image.Image:
        last = self._clip.frames - 1
        image = self._scene.at(number / last)
        if self._caption:
            self._caption.draw(image, min(1.0, number / _FADE_FRAMES, (last - number) / _FADE_FRAMES))
        if watermark and self._watermark:
            self._watermark.draw(image, 1.0)
        return image


class _Overlay:
    """A partly clear picture, to be laid over many others: only the part of it that shows is touched."""

    def __init__(self, picture: Image.Image) -> None:
        self._box = picture.getchannel("A").getbbox() or (0, 0, 1, 1)
        part = picture.crop(self._box)
        self._colours, self._mask = part.convert("RGB"), part.getchannel("A")

    def draw(self, image: Image.Image, strength: float) -> None:
        if strength <= 0:
            return
        mask = self._mask if strength >= 1 else self._mask.point([int(value * strength) for value in range(256)])
        image.paste(self._colours, self._box, mask)


def _opened(name: str | None, picture: Callable[[str], Path]) -> Image.Image | None:
    if name is None:
        return None
    with Image.open(picture(name)) as image:
        return image.convert("RGB")
