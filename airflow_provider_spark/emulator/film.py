"""The MP4 of a clip and its last frame."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
from PIL import Image

from airflow_provider_spark.emulator import model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_spark.emulator.store import Clip


def write_mp4(clip: Clip, picture: Callable[[str], Path], path: Path, cancelled: Callable[[], bool]) -> None:
    """Write the whole film, unless `cancelled` says to stop."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=model.FPS, options={"preset": "veryfast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, model.FPS)
        for number in range(clip.frames):
            if cancelled():
                return
            image = Image.new("RGB", (clip.width, clip.height), (number % 256, 40, 90))
            frame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_last_frame(clip: Clip, picture: Callable[[str], Path], path: Path) -> None:
    """Write the film's last frame as PNG, without the watermark."""
    Image.new("RGB", (clip.width, clip.height), (clip.frames % 256, 40, 90)).save(path, "PNG")
