"""A folder of the user's own, on whatever file system: files appear there whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import inspect
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_spark.api.errors import SparkDanceError
from airflow_provider_spark.api.text import clean
from airflow_provider_spark.media.errors import SparkDanceStorageError, SparkDanceStorageRefusedError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath
    from fsspec import AbstractFileSystem

BLOCK: Final = 8 << 20
"""Bytes that a file system may gather before it sends them on: what bounds memory where it can't stream."""

# How a file's content type is told to those that keep one; the others would refuse a word that they don't know.
_CONTENT_TYPE: Final = {"s3": "ContentType", "s3a": "ContentType", "gs": "content_type", "gcs": "content_type"}
# They have no folders; asked to make one, some would make a bucket.
_WITHOUT_FOLDERS: Final = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"}
# How each is told to create what isn't there and to leave what is.
_CREATING: Final[dict[str, tuple[str, object]]] = {
    **dict.fromkeys(("s3", "s3a", "gs", "gcs"), ("mode", "create")),
    **dict.fromkeys(("abfs", "abfss", "az"), ("overwrite", False)),
}
# What is sent to them in one piece appears whole or not at all.
_WHOLE_OR_NOT_AT_ALL: Final = _CREATING.keys()
_LOCAL: Final = {"file", "local"}
# What a server says that knows no such condition, and a disk without links.
_NO_SUCH_WAY: Final = {errno.ENOSYS, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP}
_REFUSALS: Final = {
    errno.ENOSPC: "there is no room left",
    errno.EDQUOT: "the quota is used up",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EROFS: "it is read-only",
    errno.ENOTDIR: "a part of the path is a file",
    errno.ENAMETOOLONG: "the path is too long",
    errno.EFBIG: "the file is too large for it",
}


class Storage:
    """A folder, given as a path or URL that Airflow's ``ObjectStoragePath`` takes.

    :param uri: such as ``s3://aws_default@bucket/clips``; the connection's id in it is kept in all that is returned.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._opened: ObjectStoragePath | None = None

    def uri_of(self, name: str) -> str:
        """Return a file's URI."""
        return f"{self.uri}/{name}"

    def check(self) -> None:
        """Look whether files can be written, as far as that can be told without writing or asking anyone.

        The scheme must be known and its file system installed. On this machine the folder, or the one that it would
        be made in, must be writable. What a bucket allows shows only when it is written to.

        :raises SparkDanceStorageRefusedError: they can't.
        """
        self._file_system()
        if not self._is_local:
            return
        place = Path(self._root)
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise SparkDanceStorageRefusedError(f"Nothing can be kept in {self.uri}: {place} is no folder.")
        if not os.access(place, os.W_OK | os.X_OK):
            raise SparkDanceStorageRefusedError(f"Nothing can be kept in {self.uri}: {place} isn't writable.")

    @contextmanager
    def new_file(self, name: str, content_type: str) -> Iterator[NewFile]:
        """Write a file that appears under its name when the block has ended well, and not at all where it hasn't.

        What is written goes to a name of its own, so that two who write the same file don't mix.

        :raises SparkDanceStorageError: it couldn't be written, or moved.
        """
        part = f"{name}.{secrets.token_hex(4)}.part"
        with self._translating("written to", name):
            file_system = self._file_system()
            self._make_folder(name)
            file = file_system.open(self._path(part), "wb", block_size=BLOCK, **self._typed(content_type))
        with self._held(part):
            try:
                with self._translating("written to", name):
                    yield NewFile(self, file, part)
                    file.close()
                    self._move(part, name)
            except BaseException:
                self._drop(file, part)
                raise

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write JSON.

        :raises SparkDanceStorageError: it couldn't be written.
        """
        data = _json(content)
        if self._protocol in _WHOLE_OR_NOT_AT_ALL:
            with self._translating("written to", name):
                self._file_system().pipe_file(self._path(name), data, **self._typed("application/json"))
            return
        with self.new_file(name, "application/json") as file:
            file.write(data)

    def create(self, name: str, content: Mapping[str, Any]) -> bool:
        """Write JSON where there is no file of that name; return whether it is this content that lies there now.

        Of several who do so at the same moment one gets its way: in S3, Google's and Azure's storage, and on this
        machine. Elsewhere, and where a server knows no such condition, what is there is written over.

        :raises SparkDanceStorageError: it couldn't be written.
        """
        data = _json(content)
        with self._translating("written to", name):
            try:
                self._create(name, data)
            except Exception as error:
                # Each file system has an error of its own for it, and it comes as well where the first of two requests
                # was answered and the answer lost: what lies there decides.
                found = self.read(name)
                if found is not None:
                    return found == data
                if not isinstance(error, NotImplementedError) and getattr(error, "errno", None) not in _NO_SUCH_WAY:
                    raise
                self.write(name, content)
        return True

    def _create(self, name: str, data: bytes) -> None:
        file_system, path = self._file_system(), self._path(name)
        if self._protocol in _CREATING:
            word, value = _CREATING[self._protocol]
            if word not in inspect.signature(file_system._pipe_file).parameters:
                raise NotImplementedError  # an older library, which would pay no heed to it
            file_system.pipe_file(path, data, **{word: value}, **self._typed("application/json"))
        elif self._is_local:
            self._make_folder(name)
            part = Path(f"{path}.{secrets.token_hex(4)}.part")
            try:
                part.write_bytes(data)
                os.link(part, path)
            finally:
                part.unlink(missing_ok=True)
        else:
            raise NotImplementedError

    def read(self, name: str) -> bytes | None:
        """Return a small file's bytes, ``None`` where there certainly is none.

        :raises SparkDanceStorageError: it can't be read.
        """
        with self._translating("read from", name):
            try:
                # Neither exists() nor open() is asked: fsspec's first answers False to an outage too, and its second
                # believes a list of the folder that this process may have seen long ago. So does cat_file() of s3fs,
                # unless it is told where to start.
                content: bytes = self._file_system().cat_file(self._path(name), start=0)
                return content
            except FileNotFoundError:
                return None

    def size(self, name: str) -> int | None:
        """Return how many bytes a file has, ``None`` where there certainly is none.

        :raises SparkDanceStorageError: that can't be told.
        """
        with self._translating("read from", name):
            try:
                file_system, path = self._file_system(), self._path(name)
                file_system.invalidate_cache(path)  # as above
                size: int = file_system.info(path)["size"]
                return size
            except FileNotFoundError:
                return None

    def open(self, name: str) -> Any:
        """Open a file for reading."""
        return self._file_system().open(self._path(name), "rb")

    def sweep(self, name: str) -> None:
        """Remove what killed tries have left of a file that is whole by now; only this machine's disks keep such."""
        if not self._is_local:
            return
        with suppress(OSError):
            path = Path(self._path(name))
            for left in path.parent.iterdir():
                if left.name.startswith(f"{path.name}.") and left.suffix == ".part":
                    with suppress(OSError), left.open("rb") as file:
                        # It is still held by who lives.
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        left.unlink()

    @contextmanager
    def _held(self, part: str) -> Iterator[None]:
        """Show that a file is being written, which the system takes back when the process dies."""
        with ExitStack() as held:
            if self._is_local:
                with suppress(OSError):  # a network's file system may know no locks
                    file = held.enter_context(Path(self._path(part)).open("rb"))
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield

    def _typed(self, content_type: str) -> dict[str, Any]:
        word = _CONTENT_TYPE.get(self._protocol)
        return {word: content_type} if word else {}

    @property
    def _is_local(self) -> bool:
        return self._protocol in _LOCAL

    @property
    def _protocol(self) -> str:
        return self.uri.partition("://")[0].lower() if "://" in self.uri else "file"

    @property
    def _root(self) -> str:
        return str(self._folder().path).rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _folder(self) -> ObjectStoragePath:
        if self._opened is None:
            # It costs an import of fsspec, which a DAG file needn't pay.
            from airflow.providers.common.compat.sdk import ObjectStoragePath

            self._opened = ObjectStoragePath(self.uri)
        return self._opened

    def _file_system(self) -> AbstractFileSystem:
        try:
            return self._folder().fs
        except (ValueError, ImportError) as error:
            reason = clean(str(error), 300)
        raise SparkDanceStorageRefusedError(
            f"Nothing can be kept in {self.uri}: {reason.rstrip('.')}. "
            "Is the provider installed that brings this file system (s3: apache-airflow-providers-amazon[s3fs])?"
        )

    def _make_folder(self, name: str) -> None:
        if self._protocol not in _WITHOUT_FOLDERS:
            self._file_system().makedirs(self._path(name).rpartition("/")[0], exist_ok=True)

    def _move(self, part: str, name: str) -> None:
        from fsspec import AbstractFileSystem

        file_system, source, target = self._file_system(), self._path(part), self._path(name)
        if self._is_local:
            Path(source).replace(target)
        elif type(file_system).mv is not AbstractFileSystem.mv:
            file_system.mv(source, target)
        else:  # fsspec's own way would look for wildcards in the names
            file_system.cp_file(source, target)
            file_system.rm_file(source)

    def _drop(self, file: Any, part: str) -> None:
        if hasattr(file, "buffer"):  # what it has gathered must not be sent on by close()
            with suppress(Exception):
                file.discard()
            with suppress(Exception):
                file.closed = True
        with suppress(Exception):
            file.close()
        with suppress(Exception):
            self._file_system().rm_file(self._path(part))

    @contextmanager
    def _translating(self, verb: str, name: str) -> Iterator[None]:
        try:
            yield
        except SparkDanceError:
            raise
        except Exception as error:  # each file system has errors of its own: botocore's, google's, azure's
            raise self._error(verb, name, error) from error

    def _error(self, verb: str, name: str, error: Exception) -> SparkDanceStorageError:
        said = clean(f"{type(error).__name__}: {error}", 400)
        reason = _REFUSALS.get(error.errno or 0) if isinstance(error, OSError) else None
        if reason is None and isinstance(error, PermissionError):
            reason = "permission is denied"
        # On a disk someone has taken the file away, and it can be written again.
        if reason is None and isinstance(error, FileNotFoundError) and not self._is_local:
            reason = "the bucket or the folder isn't there"
        if reason is None:
            return SparkDanceStorageError(f"{self.uri_of(name)} can't be {verb} at the moment ({said}).")
        return SparkDanceStorageRefusedError(f"{self.uri_of(name)} can't be {verb}: {reason} ({said}).")


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False).encode(errors="replace")


class NewFile:
    """A file that is being written, not yet under its name."""

    def __init__(self, storage: Storage, file: Any, part: str) -> None:
        self._storage = storage
        self._file = file
        self.part = part
        """What it is called so far."""

    def write(self, piece: bytes | memoryview) -> None:
        """Write the next bytes."""
        self._file.write(piece)

    @contextmanager
    def read_back(self) -> Iterator[Any]:
        """Read what was written, which ends the writing."""
        self._file.close()
        with self._storage.open(self.part) as file:
            yield file
