"""A finished generation's files, streamed into a folder of the user's own, checked on their way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_spark.media.download import download
from airflow_provider_spark.media.errors import SparkDanceDownloadError
from airflow_provider_spark.media.structure import Mp4Check, PngCheck

if TYPE_CHECKING:
    from airflow_provider_spark.api.endpoint import Endpoint
    from airflow_provider_spark.media.storage import NewFile, Storage


@dataclass(frozen=True)
class Kind:
    """A kind of file, how to recognise it, and what to call it."""

    label: str
    ending: str
    content_type: str
    check: type[Mp4Check] | type[PngCheck]


VIDEO: Final = Kind("video", ".mp4", "video/mp4", Mp4Check)
LAST_FRAME: Final = Kind("last frame", ".png", "image/png", PngCheck)
MANIFEST_ENDING: Final = ".json"


@dataclass(frozen=True)
class KeptFile:
    """A file as it was stored: its name in the folder, its length in bytes and its checksum."""

    name: str
    bytes: int
    sha256: str
    content_type: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> KeptFile:
        """Read it from a manifest.

        :raises KeyError, TypeError, ValueError: it isn't as it was written.
        """
        name = str(value["name"])
        if "/" in name or "\\" in name or not name.strip("."):
            raise ValueError(f"{name!r} is no file of the manifest's own folder")
        return cls(name, int(value["bytes"]), str(value["sha256"]), str(value["content_type"]))

    def is_in(self, storage: Storage) -> bool:
        """Whether it is there with all its bytes.

        :raises SparkDanceStorageError: that can't be told.
        """
        return storage.size(self.name) == self.bytes


def keep(
    url: str, kind: Kind, stem: str, storage: Storage, endpoint: Endpoint, *, between: Callable[[], None]
) -> KeptFile:
    """Store the file at a result URL, and return it once it is whole and under its name.

    :param stem: its name without the ending.
    :param between: called after each piece; what it raises ends the download.
    :raises SparkDanceDownloadError: it can't be fetched, or isn't a whole file of its kind.
    :raises SparkDanceStorageError: it can't be stored.
    """
    name, check, checksum, length = f"{stem}{kind.ending}", kind.check(), hashlib.sha256(), 0
    # The answer comes first: where there is none, nothing need be written.
    with download(url, endpoint) as pieces, storage.new_file(name, kind.content_type) as file:
        try:
            for piece in pieces:
                check.feed(piece)
                checksum.update(piece)
                length += len(piece)
                file.write(piece)
                between()
            check.finish()
        except ValueError as error:
            raise _not_whole(kind, str(error)) from None
        if kind is VIDEO:
            _check_first_frame(file)
    storage.sweep(name)
    return KeptFile(name, length, checksum.hexdigest(), kind.content_type)


def _check_first_frame(file: NewFile) -> None:
    """Decode a picture of what was stored, where PyAV is installed."""
    try:
        import av
    except ImportError:
        return
    with file.read_back() as stored:
        try:
            with av.open(stored, format="mp4") as film:
                found = next(film.decode(film.streams.video[0]), None) if film.streams.video else None
        except av.FFmpegError as error:
            raise _not_whole(VIDEO, f"its first frame can't be decoded ({error})") from None
    if found is None:
        raise _not_whole(VIDEO, "it has no frame")


def _not_whole(kind: Kind, reason: str) -> SparkDanceDownloadError:
    return SparkDanceDownloadError(f"What came as the {kind.label} isn't a whole {kind.ending[1:].upper()}: {reason}.")
