"""A first or last frame from where it lies: read within bounds, held to the vendor's limits, made a data URI."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.api.picture import MAX_BYTES, Picture, PictureError, PictureTooLargeError, inspect_picture
from airflow_provider_spark.api.text import clean, is_data_uri, means_web_url, show_url
from airflow_provider_spark.media.stored import read_stored

if TYPE_CHECKING:
    import ssl

FIT_MAX_BYTES = 100_000_000
"""What `fit_frames` still takes in hand: the largest photos of today's cameras stay below."""

FETCH_SECONDS = 60.0
"""How long fetching one picture may take in all, redirects included."""

_PASSWORD = re.compile(r"(://[^/@:]*):[^/@]*@")


@dataclass(frozen=True)
class Frame:
    """A picture that the vendor takes, ready to be sent."""

    data_uri: str = field(repr=False)
    picture: Picture
    """As it is sent."""
    size: int
    """Bytes of the picture as it is sent."""
    notes: tuple[str, ...] = ()
    """What was changed, or may not be meant; a sentence each."""


def read_frame(
    source: str,
    *,
    fit_frames: bool = False,
    name: str = "The picture",
    verify: ssl.SSLContext | bool = True,
) -> Frame:
    """Read a picture and make it what ``VideoRequest`` takes for a first or last frame.

    At most 30 MB are read (100 MB with ``fit_frames``), and a pixel is decoded only where ``fit_frames`` has to.

    :param source: an http(s) URL, a path on this machine, or any URI that Airflow's ``ObjectStoragePath`` takes, such
        as ``s3://aws_default@bucket/key``. A URL is fetched without any key.
    :param fit_frames: turn a picture upright whose EXIF data says that it lies on its side, and scale down one that
        is only too large.
    :param name: what to call it in messages.
    :param verify: for an https URL; as httpx takes it.
    :raises SparkDanceRequestError: there is no such file, it can't be opened, or it breaks a limit of the vendor.
    :raises SparkDancePictureUnavailableError: it can't be read at the moment; a later try may.
    """
    called = f"{name} ({show_source(source)})"
    limit = FIT_MAX_BYTES if fit_frames else MAX_BYTES
    if is_data_uri(source):
        raise SparkDanceRequestError(f"{called} is a picture itself, not the place of one.")
    if means_web_url(source):
        # It brings httpx along.
        from airflow_provider_spark.media.fetched import fetch

        data = fetch(source, called=called, limit=limit, seconds=FETCH_SECONDS, verify=verify)
    else:
        data = read_stored(source, called=called, limit=limit)
    return frame_of(data, called=called, fit_frames=fit_frames)


def frame_of(data: bytes, *, called: str, fit_frames: bool) -> Frame:
    """Make a frame of a picture's bytes; as :func:`read_frame`.

    :raises SparkDanceRequestError: it breaks a limit of the vendor.
    """
    notes: list[str] = []
    try:
        data, picture = _checked(data, notes, fit_frames=fit_frames)
    except PictureError as error:
        raise SparkDanceRequestError(f"{called}: {error}.{_hint(error, data, fit_frames)}") from None
    if picture.is_animated:
        notes.append("more than one picture is in the file; which of them the vendor takes isn't documented.")
    return Frame(
        data_uri=f"data:image/{picture.format};base64,{base64.b64encode(data).decode('ascii')}",
        picture=picture,
        size=len(data),
        notes=tuple(f"{called}: {note}" for note in notes),
    )


def show_source(source: str) -> str:
    """Show where a picture lies: a path as it is; no password of a URI, no query of a URL, nothing of a data URI."""
    if means_web_url(source) or is_data_uri(source):
        return show_url(source)
    return clean(_PASSWORD.sub(r"\1:***@", source.partition("?")[0]), 300)


def _checked(data: bytes, notes: list[str], *, fit_frames: bool) -> tuple[bytes, Picture]:
    try:
        picture = inspect_picture(data)
        if picture.orientation == 1:
            return data, picture
        if not fit_frames:
            raise PictureError(
                f"its EXIF data says that it is to be turned for showing (orientation {picture.orientation}), and "
                "whether the vendor does so isn't documented"
            )
    except PictureTooLargeError:
        if not fit_frames:
            raise
    from airflow_provider_spark.media.fitting import fitted

    fit = fitted(data)
    picture = inspect_picture(fit.data)
    notes.append(f"{fit.told}; {picture.width} x {picture.height} px and {len(fit.data):,} bytes are sent.")
    return fit.data, picture


def _hint(error: PictureError, data: bytes, fit_frames: bool) -> str:
    if "EXIF" in str(error):
        return " fit_frames=True has it sent upright."
    if isinstance(error, PictureTooLargeError):
        return " fit_frames=True has it scaled down."
    return f" {guess}" if (guess := _guess(data)) else ""


def _guess(data: bytes) -> str | None:
    """Say what a file is that is no picture of the vendor's, where its first bytes tell."""
    start = data[:512].lstrip().lower()
    if not data:
        return "There is nothing in it: an empty file, or a folder."
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis"):
        return "It is a HEIC file, as iPhones write them: save it as JPEG."
    if data[4:8] == b"ftyp":
        return "It is an AVIF or a video file: save the picture as JPEG or PNG."
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "It is a web page: perhaps the address leads to a log-in or to an error."
    if b"<svg" in start:
        return "It is an SVG drawing: save it as PNG."
    if start.startswith(b"%pdf"):
        return "It is a PDF: save the page as PNG."
    if start.startswith((b"<?xml", b"<error", b"{", b"[")):
        return "It is XML or JSON, as a storage answers with an error."
    if not start.translate(None, bytes(range(32, 127)) + b"\t\r\n\f"):
        return "It is a text file."
    return None
