"""SparkDanceConcatenateVideosOperator: rendered clips become one film in the user's own storage."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_spark.api.errors import SparkDanceError, SparkDanceRequestError
from airflow_provider_spark.api.text import show_url
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.operators import values
from airflow_provider_spark.operators.failures import failing_for_good

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_spark.media.film import Film

# Seconds for each step of a download: connect, read, write.
FETCH_TIMEOUT = 60.0
# HTTP answers of a URL that has expired, by the habits of the storages there are.
EXPIRED = frozenset({400, 401, 403, 404, 410})


class FilmResult(TypedDict):
    """The result of joining clips; ``None`` where a value isn't known.

    ``duration`` is seconds, ``width`` and ``height`` pixels. ``cost_usd`` and ``estimated_cost_usd`` are the sums over
    the clips; joining itself costs nothing. ``encoded`` tells whether the clips had to be encoded anew.
    """

    film_path: str
    duration: float
    frames: int
    fps: float
    width: int
    height: int
    encoded: bool
    clips: int
    cost_usd: float | None
    estimated_cost_usd: float | None
    generation_ids: list[str]


class SparkDanceConcatenateVideosOperator(BaseOperator):
    """Join rendered clips into one MP4 film, in their order, and keep it in object storage.

    Clips that are alike (as the vendor's are, of one resolution and ratio) are copied as they are; others are encoded
    anew at the size of the first, with bars where the shape differs. Every frame of every clip is in the film. Each
    attempt writes the same file; nothing is ever ordered here.

    Needs PyAV, the extra ``film``, on the worker, and room for the clips and the film in its temporary folder.

    :param clips: the results of :class:`~airflow_provider_spark.operators.spark_dance.SparkDanceGenerateVideoOperator`
        in order: a list of dicts. A clip is read from its ``video_path``, or where there is none, from its
        ``video_url`` (a URL that has expired is asked for anew once).
    :param save_to: the folder for the film, as Airflow's ``ObjectStoragePath`` takes it; by default the connection's.
    :param name: what the file is called, before the checksum of its clips; by default after DAG, run and task.
    :param spark_dance_conn_id: the connection that the clips were ordered with.

    :raises AirflowFailException: there is no clip, or no folder.
    :raises SparkDanceFilmError: a clip can't be read, or PyAV isn't installed; a retry costs nothing.
    """

    template_fields: Sequence[str] = ("clips", "save_to", "name", "spark_dance_conn_id")
    ui_color = "#f6e2ff"

    def __init__(
        self,
        *,
        clips: Any,
        save_to: str | None = None,
        name: str | None = None,
        spark_dance_conn_id: str = SparkDanceHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.clips = clips
        self.save_to = save_to
        self.name = name
        self.spark_dance_conn_id = spark_dance_conn_id

    @cached_property
    def hook(self) -> SparkDanceHook:
        """The hook of the connection."""
        return SparkDanceHook(self.spark_dance_conn_id)

    def execute(self, context: Context) -> FilmResult:
        """Fetch the clips, join them, keep the film."""
        # PyAV is heavy, and the DAG processor needn't have it.
        from airflow_provider_spark.media.film import join, require_pyav

        require_pyav()
        with failing_for_good(ordered=False):
            clips = checked_clips(self.clips)
            folder = film_folder(self.save_to, self.hook)
            name = film_name(values.text("name", self.name) or default_name(context["ti"]), clips)
        with tempfile.TemporaryDirectory(prefix="spark-dance-film-") as room:
            files = [Path(room) / f"{number:04}.mp4" for number in range(len(clips))]
            for clip, file in zip(clips, files, strict=True):
                self._fetch(clip, file)
            film = join(files, Path(room) / "film.mp4", [called(clip) for clip in clips])
            self._tell(film, len(clips))
            path = keep(Path(room) / "film.mp4", folder, name)
        self.log.info("The film is at %s.", path)
        return FilmResult(
            film_path=path,
            duration=round(film.seconds, 3),
            frames=film.frames,
            fps=film.fps,
            width=film.width,
            height=film.height,
            encoded=film.encoded_because is not None,
            clips=len(clips),
            cost_usd=sum_of(clips, "cost_usd"),
            estimated_cost_usd=sum_of(clips, "estimated_cost_usd"),
            generation_ids=[str(clip["generation_id"]) for clip in clips],
        )

    def _tell(self, film: Film, clips: int) -> None:
        size = f"{film.width}x{film.height}, {film.frames} frames ({film.seconds:g} s)"
        if film.encoded_because is None:
            self.log.info("Joined %d clips as they are: %s.", clips, size)
        else:
            self.log.warning("Joined %d clips by encoding them anew, since %s: %s.", clips, film.encoded_because, size)
        for note in film.notes:
            self.log.warning(note)

    def _fetch(self, clip: dict[str, Any], target: Path) -> None:
        if path := clip.get("video_path"):
            from airflow.providers.common.compat.sdk import ObjectStoragePath

            opened: Any = ObjectStoragePath(path)
            with opened.open("rb") as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            return
        url = clip.get("video_url")
        status = download(url, target) if url else None
        if url is None or status in EXPIRED:
            url = self.hook.get_generation(clip["generation_id"]).video_url
            status = download(url, target) if url else None
        if url is None or status is not None:
            told = f"answers HTTP {status}" if url else "isn't known any more"
            raise SparkDanceError(
                f"The video of {called(clip)} can't be fetched: its URL {told}. Result URLs end within a day; with "
                "save_to set on the render, or on the connection, a copy is kept.",
                generation_id=clip["generation_id"],
            )


def checked_clips(clips: Any) -> list[dict[str, Any]]:
    """Return the clips' results.

    :raises SparkDanceRequestError: there are none, or one of them isn't a render's result with a video.
    """
    if isinstance(clips, str | dict) or not isinstance(clips, Iterable):
        raise SparkDanceRequestError(f"clips must be a list of render results, not {type(clips).__name__}.")
    listed = list(clips)
    for number, clip in enumerate(listed, 1):
        if not isinstance(clip, dict) or not clip.get("generation_id"):
            raise SparkDanceRequestError(f"clips: number {number} isn't the result of a render: {type(clip).__name__}.")
        if clip.get("status", "completed") != "completed":
            raise SparkDanceRequestError(f"clips: {called(clip)} is {clip['status']}: it wasn't waited for.")
    if not listed:
        raise SparkDanceRequestError("clips is empty: there is nothing to make a film of.")
    return listed


def film_folder(save_to: str | None, hook: SparkDanceHook) -> str:
    """Return the folder that a film goes to.

    :raises SparkDanceRequestError: none is set.
    """
    folder = values.text("save_to", save_to) or getattr(hook.settings, "save_to", None)
    if not folder:
        raise SparkDanceRequestError(
            "There is no folder for the film. Set save_to here, or in the extra of the connection "
            f"{hook.spark_dance_conn_id!r}, such as s3://aws_default@bucket/films."
        )
    return str(folder)


def default_name(ti: Any) -> str:
    """Return what a file is called after its task instance."""
    index = "" if ti.map_index is None or ti.map_index < 0 else f"-{ti.map_index}"
    return f"{ti.dag_id}-{ti.run_id}-{ti.task_id}{index}"


def film_name(name: str, clips: Sequence[dict[str, Any]]) -> str:
    """Return the film's file name: the same for the same clips, another for others."""
    checksum = hashlib.sha256("\n".join(str(clip["generation_id"]) for clip in clips).encode()).hexdigest()[:12]
    safe = re.sub(r"[^\w.-]+", "-", name).strip(".-")[:150] or "film"
    return f"{safe}-{checksum}.mp4"


def called(clip: dict[str, Any]) -> str:
    """Return what to call a clip in a message."""
    return f"generation {clip['generation_id']}"


def sum_of(clips: Iterable[dict[str, Any]], key: str) -> float | None:
    """Add a price up over clips, in USD; ``None`` where one of them isn't known."""
    prices = [clip.get(key) for clip in clips]
    if any(price is None for price in prices):
        return None
    return float(sum(Decimal(str(price)) for price in prices))


def download(url: str, target: Path) -> int | None:
    """Stream a URL into a file; return the HTTP status where it isn't 200.

    :raises SparkDanceError: it can't be reached, or the connection broke.
    """
    import httpx

    try:
        with httpx.stream("GET", url, timeout=FETCH_TIMEOUT, follow_redirects=True) as response:
            if response.status_code != httpx.codes.OK:
                return response.status_code
            with target.open("wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
    except httpx.HTTPError as error:
        raise SparkDanceError(f"The download of {show_url(url)} broke off ({type(error).__name__}).") from None
    return None


def keep(file: Path, folder: str, name: str) -> str:
    """Put a file into a folder in object storage, whole or not at all; return its URI."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    place = ObjectStoragePath(folder)
    place.mkdir(parents=True, exist_ok=True)
    part: Any = place / f"{name}.{secrets.token_hex(4)}.part"
    try:
        with file.open("rb") as source, part.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        target = place / name
        part.rename(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return str(target)
