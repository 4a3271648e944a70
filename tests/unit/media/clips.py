"""Short clips of plain colours, to be joined."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image


def clip(
    path: Path,
    *,
    frames: int = 29,
    size: tuple[int, int] = (96, 64),
    rate: int | Fraction = 24,
    shade: int = 128,
    codec: str = "libx264",
    sound: bool = False,
    **options: str,
) -> Path:
    """Write an MP4 whose pictures are of one shade of grey, 0 to 255."""
    write(path, [Image.new("L", size, shade)] * frames, rate=rate, codec=codec, sound=sound, **options)
    return path


def noise(path: Path, *, frames: int) -> Path:
    """Write an MP4 that hardly compresses."""
    pictures = [Image.effect_noise((320, 240), 100) for _ in range(frames)]
    write(path, pictures, preset="ultrafast", crf="12")
    return path


def write(
    path: Path,
    pictures: Sequence[Image.Image],
    *,
    rate: int | Fraction = 24,
    codec: str = "libx264",
    sound: bool = False,
    **options: str,
) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *pictures[0].size, "yuv420p"
        stream.codec_context.time_base = 1 / Fraction(rate)
        beep = container.add_stream("aac", rate=44_100, layout="mono") if sound else None
        for number, picture in enumerate(pictures):
            frame: av.VideoFrame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if beep is not None:
            silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            silence.sample_rate = 44_100
            silence.planes[0].update(bytes(silence.planes[0].buffer_size))
            container.mux(beep.encode(silence))
            container.mux(beep.encode(None))


def shades(path: Path, column: int | None = None) -> list[tuple[float, int]]:
    """Decode a film: of each frame its time in seconds and the shade of its middle (of a column at half height)."""
    seen = []
    with av.open(str(path)) as container:
        for picture in container.decode(video=0):
            image = picture.to_image().convert("L")  # type: ignore[no-untyped-call]
            middle = image.getpixel((image.width // 2 if column is None else column, image.height // 2))
            assert picture.time is not None
            seen.append((picture.time, middle))
    return seen


def bytes_of_frames(path: Path) -> list[bytes]:
    """Each frame as it is encoded."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]
