"""A picture's bytes from a path on this machine or from object storage, never more of them than wanted."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from airflow_provider_spark.api.errors import SparkDancePictureUnavailableError, SparkDanceRequestError
from airflow_provider_spark.api.picture import MAX_BYTES
from airflow_provider_spark.api.text import clean

# Asked for at a time of a file that doesn't tell its size, in bytes.
CHUNK = 1 << 20

_HOW = (
    " An object's address looks like s3://aws_default@bucket/key; s3:// needs "
    "apache-airflow-providers-amazon[s3fs], gs:// apache-airflow-providers-google[gcsfs]."
)


def read_stored(source: str, *, called: str, limit: int) -> bytes:
    """Read a file of less than so many bytes.

    :param source: a path, or a URI that Airflow's ``ObjectStoragePath`` takes.
    :param called: what to call it in messages.
    :raises SparkDanceRequestError: it isn't there, can't be opened, or is too large.
    :raises SparkDancePictureUnavailableError: it can't be read at the moment.
    """
    if "://" in source:
        with _said(called, how=_HOW), _opened_object(source) as file:
            return _read(file, getattr(file, "size", None), called, limit)
    path = _local(source, called)
    with _said(called, tried=f" Tried {clean(str(path))} on this worker."):
        status = path.stat()
        # A pipe would block, a device never end.
        if not stat.S_ISREG(status.st_mode):
            raise IsADirectoryError
        with path.open("rb") as file:
            return _read(file, status.st_size, called, limit)


def too_large(called: str, found: str, limit: int) -> SparkDanceRequestError:
    """Return the error for a picture of ``limit`` bytes or more.

    :param found: how many it has.
    """
    if limit > MAX_BYTES:
        return SparkDanceRequestError(f"{called} has {found}; from {limit / 1e6:.0f} MB on it isn't scaled down here.")
    return SparkDanceRequestError(
        f"{called} has {found} and must have less than {limit / 1e6:.0f} MB. fit_frames=True has it scaled down."
    )


def _local(source: str, called: str) -> Path:
    try:
        return Path(source).expanduser().absolute()
    except RuntimeError:  # ~someone, whom this machine doesn't know
        raise SparkDanceRequestError(f"{called} isn't there: no such user has a home on this worker.") from None


def _opened_object(source: str) -> BinaryIO:
    # It costs an import of fsspec, which a DAG file needn't pay.
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    path: Any = ObjectStoragePath(source)  # its own methods have no types
    opened: BinaryIO = path.open("rb")
    return opened


def _read(file: BinaryIO, size: Any, called: str, limit: int) -> bytes:
    known = isinstance(size, int)
    if known and size >= limit:
        raise too_large(called, f"{size:,} bytes", limit)
    parts: list[bytes] = []
    left = limit
    while left and (part := file.read(min(left, max(size + 1 if known else 0, CHUNK)))):
        parts.append(part)
        left -= len(part)
    if not left:
        raise too_large(called, f"{limit:,} bytes or more", limit)
    return b"".join(parts)


@contextmanager
def _said(called: str, *, tried: str = "", how: str = "") -> Iterator[None]:
    """Put what a file system raises into our terms, by whether a later try can mend it.

    :param tried: where it was looked for.
    :param how: what makes an address one that can be opened.
    """
    try:
        yield
    except (SparkDanceRequestError, MemoryError):
        raise
    except FileNotFoundError:
        text = f"{called} isn't there.{tried}"
    except (IsADirectoryError, NotADirectoryError):
        text = f"{called} is no plain file, and a picture is one.{tried}"
    except PermissionError as error:
        text = f"{called} may not be read: {_words(error)}.{tried}"
    except (ImportError, ValueError, TypeError, NotImplementedError) as error:
        # What fsspec raises for a scheme that no installed package knows, or for an address without a key.
        text = f"{called} can't be opened: {_words(error)}.{tried}{how}"
    except Exception as error:
        if not _is_undefined(error):
            text = f"{called} can't be read at the moment: {_words(error)}. Nothing was ordered."
            raise SparkDancePictureUnavailableError(text) from None
        text = f"{called} can't be opened: {_words(error)}."
    else:
        return
    raise SparkDanceRequestError(text)


def _is_undefined(error: Exception) -> bool:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    return isinstance(error, AirflowNotFoundException)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {clean(str(error), 200).rstrip('.')}" if str(error) else type(error).__name__
