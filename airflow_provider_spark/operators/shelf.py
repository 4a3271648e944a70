"""Where one attempt puts the files of what was rendered, and where it finds those of an earlier one."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_spark.api.errors import SparkDanceError
from airflow_provider_spark.media.artifacts import LAST_FRAME, MANIFEST_ENDING, VIDEO, KeptFile, Kind, keep
from airflow_provider_spark.media.errors import (
    SparkDanceManifestError,
    SparkDanceStorageError,
    SparkDanceUrlExpiredError,
)
from airflow_provider_spark.media.manifest import Manifest, manifest_of
from airflow_provider_spark.media.names import default_name, index_name, stem
from airflow_provider_spark.media.storage import Storage
from airflow_provider_spark.operators.failures import reworded
from airflow_provider_spark.operators.in_place import in_place
from airflow_provider_spark.operators.interruption import InterruptedTaskError, Interruption
from airflow_provider_spark.operators.result import Paths, VideoResult, result_of, to_the_second

if TYPE_CHECKING:
    from airflow_provider_spark.api.generation import Generation
    from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
    from airflow_provider_spark.ledger.decision import Attempt
    from airflow_provider_spark.ledger.ledger import Log
    from airflow_provider_spark.ledger.order import Order
    from airflow_provider_spark.operators.keeping import Asked, Keeping

# Seconds after its end that a generation's URLs are good for, by the model family's public documentation.
URL_LIVES = 24 * 3600.0


class Shelf:
    """The task's folder for its files."""

    def __init__(self, keeping: Keeping, attempt: Attempt, interruption: Interruption, log: Log) -> None:
        self._keeping = keeping
        self._attempt = attempt
        self._interruption = interruption
        self._log = log
        self._storage = Storage(keeping.folder) if keeping.folder else None

    @property
    def keeps(self) -> bool:
        """Whether there is a folder."""
        return self._storage is not None

    @property
    def reuses(self) -> bool:
        """Whether a kept video takes the place of an order."""
        return self._keeping.reuses

    def check(self) -> None:
        """Look whether files can be kept, as far as that costs nothing. To be called before an order.

        :raises SparkDanceStorageRefusedError: they can't.
        """
        if self._storage is not None:
            self._storage.check()

    def keep(
        self,
        generation: Generation,
        order: Order | None,
        asked: Asked,
        *,
        hook: SparkDanceHook,
        advice: str,
    ) -> VideoResult:
        """Store a generation's files, and return the result that names them.

        What fails is repeated for three minutes; what is whole is never fetched again, by a later attempt neither.

        :param advice: what to do where they can't be stored, for the message.
        :raises SparkDanceError: they can't; the message says until when the vendor has them.
        """
        if self._storage is None:
            self._log.warning(
                "No copy of the video is kept, since neither the task nor its connection has save_to. It is at %s, %s.",
                generation.video_url,
                _until(generation),
            )
            return result_of(generation, order, map_index=self._attempt.map_index, now=time.time())
        saving = _Saving(self._storage, self._name, self._attempt, generation, order, asked, hook, self._check)
        sleep = partial(self._interruption.sleep, outcome=_outcome(generation))
        try:
            result = in_place(self._log, sleep)(saving.attempt, self._log)
        except InterruptedTaskError:
            raise
        except SparkDanceError as error:
            text = (
                f"Generation {generation.id} has ended, but its files couldn't be kept in {self._keeping.folder}: "
                f"{error} Its video is at {saving.generation.video_url}, {_until(generation)}. {advice}"
            )
            raise reworded(error, text) from error
        self._log.info("The video is kept at %s", result["video_path"])
        return result

    def find(self, fingerprint: dict[str, str] | None) -> VideoResult | None:
        """Return the result of a video that is kept for this task instance and request, ``None`` where none is.

        :raises SparkDanceStorageError: that can't be told, and ``on_existing`` is ``reuse``.
        :raises SparkDanceManifestError: its manifest can't be understood, and ``on_existing`` is ``reuse``.
        """
        if self._storage is None or fingerprint is None:
            return None
        try:
            return self._find(self._storage, fingerprint)
        except (SparkDanceStorageError, SparkDanceManifestError) as error:
            if not self.reuses:
                self._log.warning("Whether a video is kept already can't be told: %s", error)
                return None
            advice = (
                'Nothing was ordered, as on_existing="reuse" asks for the kept video where there is one. '
                'Remove the file, or set on_existing="render", to order anew.'
            )
            raise reworded(error, f"{error} {advice}") from error

    @property
    def _name(self) -> str:
        attempt = self._attempt
        return self._keeping.name or default_name(attempt.dag_id, attempt.run_id, attempt.task_id, attempt.map_index)

    def _check(self, generation: Generation) -> None:
        self._interruption.check(_outcome(generation))

    def _find(self, storage: Storage, fingerprint: dict[str, str]) -> VideoResult | None:
        pointer = storage.read(_index(self._attempt, fingerprint))
        if pointer is None:
            return None
        name = _pointed_at(pointer, storage.uri_of(_index(self._attempt, fingerprint)))
        content = storage.read(name)
        if content is None:
            self._log.warning("The manifest %s of an earlier video is gone.", storage.uri_of(name))
            return None
        manifest = Manifest.read(content, storage.uri_of(name))
        if not manifest.is_completed or manifest.fingerprint != fingerprint:
            return None
        for file in manifest.files.values():
            if not file.is_in(storage):
                self._log.warning(
                    "The manifest %s tells of generation %s, but %s isn't there as it was kept.",
                    storage.uri_of(name),
                    manifest.generation_id,
                    storage.uri_of(file.name),
                )
                return None
        paths = _paths(storage, manifest.files.get("video"), manifest.files.get("last_frame"), name)
        return cast("VideoResult", {**manifest.result, **paths, "map_index": self._attempt.map_index})


class _Saving:
    """One generation on its way into the folder. What is stored stays so over the attempts in place."""

    def __init__(
        self,
        storage: Storage,
        name: str,
        attempt: Attempt,
        generation: Generation,
        order: Order | None,
        asked: Asked,
        hook: SparkDanceHook,
        check: Any,
    ) -> None:
        self.generation = generation
        self._storage = storage
        self._id = order.generation_id if order is not None else str(generation.id)
        self._stem = stem(name, self._id)
        self._attempt = attempt
        self._order = order
        self._asked = asked
        self._hook = hook
        self._between = partial(check, generation)
        self._is_renewed = False
        self._kept: dict[str, KeptFile] = {}

    def attempt(self, log: Log) -> VideoResult:
        if (known := self._kept_before(log)) is not None:
            log.info("The files of generation %s are kept already.", self._id)
            self._kept = known
            return self._result()
        try:
            self._fetch()
        except SparkDanceUrlExpiredError as error:
            if self._is_renewed:
                raise
            log.warning("%s The vendor is asked for another.", error)
            fresh = self._hook.get_generation(self._id)
            self._is_renewed = True
            if fresh.video_url is None:
                raise
            self.generation = fresh
            self._fetch()
        return self._write_manifest()

    @property
    def _manifest_name(self) -> str:
        return f"{self._stem}{MANIFEST_ENDING}"

    def _kept_before(self, log: Log) -> dict[str, KeptFile] | None:
        """Return what an earlier attempt, or another one at this moment, has kept of this generation."""
        content = self._storage.read(self._manifest_name)
        if content is None:
            return None
        place = self._storage.uri_of(self._manifest_name)
        try:
            manifest = Manifest.read(content, place)
        except SparkDanceManifestError as error:
            log.warning("%s It is written anew.", error)
            return None
        if manifest.generation_id != self._id:
            raise SparkDanceManifestError(
                f"{place} belongs to generation {manifest.generation_id}. Give the task another name for its files."
            )
        wanted = {"video"} | ({"last_frame"} if self.generation.last_frame_url else set())
        whole = wanted <= manifest.files.keys() and all(file.is_in(self._storage) for file in manifest.files.values())
        return manifest.files if whole else None

    def _fetch(self) -> None:
        self._fetch_one("video", VIDEO, self.generation.video_url)
        self._fetch_one("last_frame", LAST_FRAME, self.generation.last_frame_url)

    def _fetch_one(self, label: str, kind: Kind, url: str | None) -> None:
        if url is not None and label not in self._kept:
            endpoint = self._hook.settings.endpoint
            self._kept[label] = keep(url, kind, self._stem, self._storage, endpoint, between=self._between)

    def _result(self) -> VideoResult:
        paths = _paths(self._storage, self._kept.get("video"), self._kept.get("last_frame"), self._manifest_name)
        return result_of(self.generation, self._order, map_index=self._attempt.map_index, now=time.time(), paths=paths)

    def _write_manifest(self) -> VideoResult:
        generation, order, asked, attempt = self.generation, self._order, self._asked, self._attempt
        result = self._result()
        manifest = manifest_of(
            task={
                "dag_id": attempt.dag_id,
                "run_id": attempt.run_id,
                "task_id": attempt.task_id,
                "map_index": attempt.map_index,
                "try_number": attempt.try_number,
            },
            generation={
                "id": self._id,
                "model": result["model"],
                "connection_id": self._hook.spark_dance_conn_id,
                "status": generation.status,
                "error": {"code": generation.error_code, "message": generation.error_message}
                if generation.error
                else None,
                "submitted_at": result["submitted_at"],
                "completed_at": result["completed_at"],
            },
            request=None if asked.request is None else {**asked.request, "not_recorded": list(asked.unknown)},
            fingerprint=asked.fingerprint,
            result=result,
            cost={
                "estimated_usd": order.estimated_cost_usd if order is not None else None,
                "billed_usd": str(generation.cost) if generation.cost is not None else None,
                "discount": generation.discount,
            },
            files={"video": self._kept.get("video"), "last_frame": self._kept.get("last_frame")},
            vendor=generation.raw,
            secrets=self._hook.settings.secrets,
            now=time.time(),
        )
        self._storage.write(self._manifest_name, manifest)
        self._storage.sweep(self._manifest_name)
        if asked.fingerprint is not None and generation.is_completed:
            self._storage.write(_index(attempt, asked.fingerprint), {"format": 1, "manifest": self._manifest_name})
        return result


def _index(attempt: Attempt, fingerprint: dict[str, str]) -> str:
    return index_name(attempt.dag_id, attempt.run_id, attempt.task_id, attempt.map_index, fingerprint)


def _pointed_at(pointer: bytes, place: str) -> str:
    import json

    with suppress(ValueError, KeyError, TypeError):
        name = json.loads(pointer)["manifest"]
        if isinstance(name, str) and "/" not in name and name.endswith(MANIFEST_ENDING):
            return name
    raise SparkDanceManifestError(f"{place} can't be read.")


def _paths(storage: Storage, video: KeptFile | None, last_frame: KeptFile | None, manifest: str) -> Paths:
    return {
        "video_path": storage.uri_of(video.name) if video else None,
        "last_frame_path": storage.uri_of(last_frame.name) if last_frame else None,
        "manifest_path": storage.uri_of(manifest),
    }


def _until(generation: Generation) -> str:
    if generation.completed_at is None:
        return "for less than a day"
    return f"until {to_the_second(generation.completed_at + URL_LIVES)}"


def _outcome(generation: Generation) -> str:
    return (
        f"Generation {generation.id} has ended and not all of its files are kept yet; the next attempt of this task "
        "keeps them and orders nothing."
    )
