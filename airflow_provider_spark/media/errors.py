"""What can go wrong with a file. None of it undoes a render: it is paid for, and a retry takes it up."""

from __future__ import annotations

from typing import ClassVar

from airflow_provider_spark.api.errors import SparkDanceError


class SparkDanceDownloadError(SparkDanceError):
    """A file couldn't be fetched whole, or isn't what it should be."""

    may_repeat: ClassVar[bool] = True


class SparkDanceUrlExpiredError(SparkDanceDownloadError):
    """Who holds the files doesn't give them out under this URL any more: the vendor must be asked for another."""

    may_repeat: ClassVar[bool] = False


class SparkDanceStorageError(SparkDanceError):
    """The folder that files are kept in can't be read or written at the moment."""

    may_repeat: ClassVar[bool] = True


class SparkDanceStorageRefusedError(SparkDanceStorageError):
    """The folder can't take the files as things are: no room, no permission, no such bucket, no such file system."""

    may_repeat: ClassVar[bool] = False


class SparkDanceManifestError(SparkDanceError):
    """A manifest is there and can't be understood."""
