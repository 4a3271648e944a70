"""Clips one behind the other in one film: files in, a file out.

Where the clips' streams are alike, the film holds their very bytes: nothing is decoded, no quality is lost. Where
they aren't (another size, rate or codec), all of them are encoded anew.

Every frame of every clip is in the film, at its own pace: a film has as many frames as its clips together. A clip
that was started at the last frame of the one before begins with a picture much like that one's last; both are kept.

Memory stays the same however long the film is; PyAV (the extra ``film``) is imported where it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_spark.api.errors import SparkDanceError

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

CONTENT_TYPE = "video/mp4"

# H.264 near to what the eye can't tell from the source, for the films that must be encoded.
ENCODING = {"preset": "medium", "crf": "17"}
# Ticks a second of an encoded film: exact for 24, 25, 30, 50 and 60 frames a second, so that clips of different rates
# keep their pace.
TICKS = 90_000
# How FFmpeg's filters call the colour spaces that its streams have as numbers.
_MATRICES = {1: "bt709", 5: "bt470", 6: "smpte170m", 9: "bt2020"}


class SparkDanceFilmError(SparkDanceError):
    """The clips can't be joined: one is no readable video, or PyAV isn't there."""


@dataclass(frozen=True)
class Film:
    """What was written. Sizes in pixels."""

    frames: int
    seconds: float
    width: int
    height: int
    fps: float
    """Frames a second; the mean where clips of different rates were joined."""
    encoded_because: str | None = None
    """Why the clips were encoded anew; ``None`` where they were copied as they are."""
    notes: tuple[str, ...] = ()
    """What else its maker should know; a sentence each."""


@dataclass(frozen=True)
class _Clip:
    """A clip as its packets tell it."""

    path: Path
    name: str
    alike: dict[str, Any]
    """What must be the same for the packets of two clips to be one stream, by the name to call it in a log."""
    start: int
    """Of the first picture, in ticks of ``time_base``."""
    time_base: Fraction
    rate: Fraction
    frames: int
    seconds: Fraction
    uneven: str | None
    """Why its packets can't be copied, whatever the others are."""
    has_sound: bool


def require_pyav() -> None:
    """Make sure that films can be joined here.

    :raises SparkDanceFilmError: PyAV isn't installed.
    """
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise SparkDanceFilmError(
            "Joining shots into a film needs PyAV, which isn't installed here: "
            f"pip install 'airflow-provider-spark[film]' on every worker. ({error})"
        ) from error


def join(clips: Sequence[Path], target: Path, names: Sequence[str] = ()) -> Film:
    """Write clips into one MP4 file, in their order, and check that each of their frames is in it.

    :param target: is overwritten; where this fails, what is there is no film.
    :param names: what to call the clips in a message; by default their file names.
    :raises SparkDanceFilmError: a clip can't be read to its end, there is none, or PyAV isn't installed.
    :raises OSError: the film can't be written (the disk is full, say).
    """
    require_pyav()
    if not clips:
        raise SparkDanceFilmError("There is no clip to make a film of.")
    known = [_look_at(path, name) for path, name in zip(clips, names or [path.name for path in clips], strict=True)]
    because = _why_not_copied(known)
    if because is None:
        _copy(known, target)
    else:
        _encode(known, target)
    written = _look_at(target, "the film")
    frames = sum(clip.frames for clip in known)
    if written.frames != frames:
        raise SparkDanceFilmError(
            f"The film has {written.frames} frames where its {len(known)} clips have {frames}; it was thrown away."
        )
    silenced = [clip.name for clip in known if clip.has_sound]
    return Film(
        frames=frames,
        seconds=float(sum(clip.seconds for clip in known)),
        width=written.alike["width"],
        height=written.alike["height"],
        fps=round(float(frames / sum(clip.seconds for clip in known)), 3),
        encoded_because=because,
        notes=(f"The sound of {', '.join(silenced)} isn't in the film.",) if silenced else (),
    )


def _look_at(path: Path, name: str) -> _Clip:
    """Read a clip's packets, without decoding them."""
    with _opened(path, name) as (container, video):
        rate = video.average_rate
        time_base = video.time_base
        if rate is None or time_base is None or not video.width:
            raise SparkDanceFilmError(f"{name} doesn't tell its size or its frame rate.")
        frames, uneven, starts_whole = 0, None, None
        first = last = None
        for packet in container.demux(video):
            if packet.size == 0:  # the end
                continue
            if packet.is_corrupt:
                raise SparkDanceFilmError(f"{name} is damaged at its frame {frames}.")
            if packet.is_discard:
                uneven = "is cut in a way that only a player understands"
                continue
            frames += 1
            starts_whole = packet.is_keyframe if starts_whole is None else starts_whole
            if packet.pts is None or packet.dts is None:
                uneven = "doesn't say when its frames are shown"
                continue
            first = packet.pts if first is None else min(first, packet.pts)
            last = packet.pts if last is None else max(last, packet.pts)
        if not frames:
            raise SparkDanceFilmError(f"{name} has no frames.")
        if video.frames and uneven is None and frames != video.frames:
            raise SparkDanceFilmError(f"{name} is damaged: {frames} of its {video.frames} frames can be read.")
        start, end = first or 0, last or 0
        # MP4 rounds times to ticks; half a frame is more than all of that, and less than a frame that is missing.
        if uneven is None and abs((end - start) * time_base - (frames - 1) / rate) > 1 / (2 * rate):
            uneven = "has frames that aren't evenly spaced"
        if uneven is None and not starts_whole:
            uneven = "doesn't begin with a whole picture"
        context = video.codec_context
        return _Clip(
            path=path,
            name=name,
            alike={
                "codec": context.name,
                "width": context.width,
                "height": context.height,
                "frame rate": rate,
                "pixel format": context.pix_fmt,
                "pixel shape": video.sample_aspect_ratio or Fraction(1),
                "colours": (context.colorspace, context.color_primaries, context.color_trc, context.color_range),
                "encoder settings": bytes(context.extradata or b""),
            },
            start=start,
            time_base=time_base,
            rate=rate,
            frames=frames,
            seconds=(end - start) * time_base + 1 / rate,
            uneven=uneven,
            has_sound=bool(container.streams.audio),
        )


def _why_not_copied(clips: Sequence[_Clip]) -> str | None:
    first = clips[0]
    for clip in clips:
        if clip.uneven:
            return f"{clip.name} {clip.uneven}"
        for what, value in clip.alike.items():
            if value != first.alike[what]:
                if not isinstance(value, int | str | Fraction):
                    return f"{clip.name} has other {what} than {first.name}"
                return f"{clip.name} has {what} {value} where {first.name} has {first.alike[what]}"
    return None


def _copy(clips: Sequence[_Clip], target: Path) -> None:
    with _writing(target) as film:
        stream: VideoStream | None = None
        begin = Fraction(0)
        for clip in clips:
            with _opened(clip.path, clip.name) as (container, video):
                if stream is None:
                    stream = film.add_stream_from_template(video)
                shift = round(begin / clip.time_base) - clip.start
                for packet in container.demux(video):
                    if packet.size == 0 or packet.pts is None or packet.dts is None:
                        continue
                    packet.pts += shift
                    packet.dts += shift
                    packet.stream = stream
                    film.mux(packet)
            begin += clip.frames / clip.rate


def _encode(clips: Sequence[_Clip], target: Path) -> None:
    """Encode the clips at the size of the first: another shape gets bars, nothing is cut off or stretched."""
    first = clips[0].alike
    with _writing(target) as film:
        stream = film.add_stream("libx264", rate=clips[0].rate, options=ENCODING)
        stream.width, stream.height, stream.pix_fmt = first["width"] // 2 * 2, first["height"] // 2 * 2, "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = Fraction(1, TICKS)
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = first["colours"]
        begin = Fraction(0)
        for clip in clips:
            pictures = _pictures(clip, stream.width, stream.height, first["colours"][0])
            for number, (picture, time) in enumerate(pictures):
                picture.pts = round((begin + (number / clip.rate if time is None else time)) * TICKS)
                picture.time_base = Fraction(1, TICKS)
                film.mux(stream.encode(picture))
            begin += clip.seconds
        film.mux(stream.encode(None))


def _pictures(clip: _Clip, width: int, height: int, matrix: int) -> Iterator[tuple[av.VideoFrame, Fraction | None]]:
    """Yield a clip's pictures at a size, each with its time from the clip's start in seconds."""
    from av.filter import Graph

    scale = f"w={width}:h={height}:force_original_aspect_ratio=decrease:force_divisible_by=2"
    own = clip.alike["colours"][0]
    if own != matrix and own in _MATRICES and matrix in _MATRICES:
        scale += f":out_color_matrix={_MATRICES[matrix]}"
    graph = None
    with _opened(clip.path, clip.name) as (container, video):
        for picture in container.decode(video):
            if graph is None:
                graph = Graph()
                graph.link_nodes(
                    graph.add_buffer(template=video),
                    graph.add("scale", scale),
                    graph.add("pad", f"w={width}:h={height}:x=-1:y=-1"),
                    graph.add("setsar", "1"),
                    graph.add("format", "yuv420p"),
                    graph.add("buffersink"),
                ).configure()
            time = None if picture.pts is None else (picture.pts - clip.start) * clip.time_base
            graph.vpush(picture)
            yield graph.vpull(), time


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[av.container.InputContainer, VideoStream]]:
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise SparkDanceFilmError(f"{name} has no picture.")
            yield container, container.streams.video[0]
    except av.error.InvalidDataError as error:
        raise SparkDanceFilmError(f"{name} is no video that can be read ({error.strerror}).") from error


@contextmanager
def _writing(target: Path) -> Iterator[av.container.OutputContainer]:
    import av

    # The index to the front, so that a player can begin before it has all.
    with av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as film:
        yield film
