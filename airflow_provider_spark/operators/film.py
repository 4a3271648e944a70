"""SparkDanceConcatenateVideosOperator: rendered clips become one film in the user's own storage."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_spark.api.errors import SparkDanceError, SparkDanceRequestError
from airflow_provider_spark.api.text import clean
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.operators import values
from airflow_provider_spark.operators.failures import failing_for_good

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_spark.media.film import Film
    from airflow_provider_spark.media.storage import Storage

# Bytes that are in memory at a time.
PIECE = 1 << 20


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
            name = film_name(values.text("name", self.name), context["ti"], clips)
        with tempfile.TemporaryDirectory(prefix="spark-dance-film-") as room:
            files = [Path(room) / f"{number:04}.mp4" for number in range(len(clips))]
            for clip, file in zip(clips, files, strict=True):
                self._fetch(clip, file)
            film = join(files, Path(room) / "film.mp4", [called(clip) for clip in clips])
            self._tell(film, len(clips))
            path = put(Path(room) / "film.mp4", folder, name)
        self.log.info("The film is at %s", path)
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
        from airflow_provider_spark.media.errors import SparkDanceUrlExpiredError

        if path := clip.get("video_path"):
            copy_stored(path, target)
            return
        if url := clip.get("video_url"):
            try:
                self._download(url, target)
                return
            except SparkDanceUrlExpiredError as error:
                self.log.warning("%s The vendor is asked for another.", error)
        if url := self.hook.get_generation(clip["generation_id"]).video_url:
            self._download(url, target)
            return
        raise SparkDanceError(
            f"The vendor has no video of {called(clip)} any more. With save_to set on the render, or on the "
            "connection, a copy is kept.",
            generation_id=clip["generation_id"],
        )

    def _download(self, url: str, target: Path) -> None:
        from airflow_provider_spark.media.download import download

        with download(url, self.hook.settings.endpoint) as pieces, target.open("wb") as file:
            for piece in pieces:
                file.write(piece)


def copy_stored(uri: str, target: Path) -> None:
    """Copy a file from object storage to this machine.

    :raises SparkDanceError: it can't be read.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    stored: Any = ObjectStoragePath(uri)
    try:
        with stored.open("rb") as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, PIECE)
    except Exception as error:  # each file system has errors of its own
        raise SparkDanceError(f"{uri} can't be read ({clean(f'{type(error).__name__}: {error}', 300)}).") from error


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


def film_folder(save_to: str | None, hook: SparkDanceHook) -> Storage:
    """Return the folder that a film goes to.

    :raises SparkDanceRequestError: none is set.
    :raises SparkDanceStorageRefusedError: nothing can be written there, as far as that can be told without trying.
    """
    from airflow_provider_spark.media.storage import Storage

    folder = values.text("save_to", save_to) or hook.settings.save_to
    if not folder:
        raise SparkDanceRequestError(
            "There is no folder for the film. Set save_to here, or in the extra of the connection "
            f"{hook.spark_dance_conn_id!r}, such as s3://aws_default@bucket/films."
        )
    storage = Storage(folder)
    storage.check()
    return storage


def film_name(name: str | None, ti: Any, clips: Sequence[dict[str, Any]]) -> str:
    """Return the film's file name: the same for the same clips, another for others."""
    from airflow_provider_spark.media.names import default_name, stem

    index = -1 if ti.map_index is None else ti.map_index
    checksum = hashlib.sha256("\n".join(str(clip["generation_id"]) for clip in clips).encode()).hexdigest()[:12]
    return f"{stem(name or default_name(ti.dag_id, ti.run_id, ti.task_id, index), checksum)}.mp4"


def called(clip: dict[str, Any]) -> str:
    """Return what to call a clip in a message."""
    return f"generation {clip['generation_id']}"


def sum_of(clips: Iterable[dict[str, Any]], key: str) -> float | None:
    """Add a price up over clips, in USD; ``None`` where one of them isn't known."""
    prices = [clip.get(key) for clip in clips]
    if any(price is None for price in prices):
        return None
    return float(sum(Decimal(str(price)) for price in prices))


def put(file: Path, storage: Storage, name: str) -> str:
    """Put a film into a folder, whole or not at all; return its URI."""
    from airflow_provider_spark.media.film import CONTENT_TYPE

    with file.open("rb") as source, storage.new_file(name, CONTENT_TYPE) as target:
        while piece := source.read(PIECE):
            target.write(piece)
    storage.sweep(name)
    return storage.uri_of(name)
