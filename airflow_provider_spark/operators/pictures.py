"""The first and last frame as a task names them: which are sent as a URL, and which have to be read first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.api.text import means_web_url, show
from airflow_provider_spark.operators import values

if TYPE_CHECKING:
    import ssl

    from airflow_provider_spark.ledger.ledger import Log

FRAMES = ("first_frame", "last_frame")

STAND_IN = "https://picture.invalid/not-read-yet"
"""Stands in a request for a picture that isn't read yet, so that all else can be checked, compared and estimated."""

# The repr of a result, or its JSON.
_RESULT_AS_TEXT = re.compile(r"\s*[\[{].*['\"](generation_id|video_url|last_frame_(url|path))['\"]\s*:", re.DOTALL)
_ADDRESS = "an http(s) URL, a path, an object storage URI, or the result of another render"


@dataclass(frozen=True)
class Pictures:
    """The frames of one job, by their field.

    :param urls: what goes out with the request as it is, or :data:`STAND_IN`.
    :param unread: where the others lie, or what is wrong with how they are named. Only an order needs them, so
        neither is looked into before: what was paid for is taken up also where a picture is gone by then.
    """

    urls: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, str | SparkDanceRequestError] = field(default_factory=dict)
    fit: bool = False

    @classmethod
    def named(cls, given: Mapping[str, Any], *, fit: bool, embed: bool) -> Pictures:
        """Sort what a task has in its fields.

        :param embed: read http(s) URLs too, which the vendor would otherwise read itself.
        """
        urls: dict[str, str] = {}
        unread: dict[str, str | SparkDanceRequestError] = {}
        for name, value in given.items():
            try:
                source = frame_source(name, value)
            except SparkDanceRequestError as error:
                unread[name] = error
            else:
                if source is None:
                    continue
                if means_web_url(source) and not embed:
                    urls[name] = source
                else:
                    unread[name] = source
            urls.setdefault(name, STAND_IN)
        return cls(urls, unread, fit)

    def read(self, *, tls: Callable[[], ssl.SSLContext], log: Log) -> dict[str, str]:
        """Read what has to be read; return it as data URIs, which belong into the order and nowhere else.

        :param tls: gives what to check the certificate of an https URL with.
        :raises SparkDanceRequestError: a frame is named wrongly, isn't there, or breaks a limit.
        :raises SparkDancePictureUnavailableError: one can't be read at the moment.
        """
        # A DAG file needs nothing of it.
        from airflow_provider_spark.media.frames import read_frame, show_source

        found: dict[str, str] = {}
        for name, source in self.unread.items():
            if isinstance(source, SparkDanceRequestError):
                raise source
            verify = tls() if means_web_url(source) else True
            frame = read_frame(source, fit_frames=self.fit, name=name, verify=verify)
            picture = frame.picture
            log.info(
                "%s (%s) is read here: %s, %d x %d px, %s bytes.",
                name,
                show_source(source),
                picture.format,
                picture.width,
                picture.height,
                f"{frame.size:,}",
            )
            for note in frame.notes:
                log.warning(note)
            found[name] = frame.data_uri
        if self.fit and (passed := sorted(self.urls.keys() - self.unread.keys())):
            log.warning(
                "fit_frames has no effect on %s: the vendor reads the URL itself. embed_frames=True reads it here.",
                " and ".join(passed),
            )
        return found


def frame_source(field: str, value: Any) -> str | None:
    """Return where a frame lies.

    :param value: text, a path object, or the result of another render as its XCom gives it.
    :raises SparkDanceRequestError: it is none of them, or a result without a last frame, or a picture itself.
    """
    if isinstance(value, Mapping):
        return _last_frame_of(field, value)
    if isinstance(value, str):
        if _RESULT_AS_TEXT.match(value):
            raise SparkDanceRequestError(
                f"{field} is the text of a result, as a template gives it. Pass the result itself: "
                f"{field}=task.output, or set render_template_as_native_obj=True for the DAG; "
                f"or name one value: \"{{{{ ti.xcom_pull('task')['last_frame_url'] }}}}\"."
            )
        return values.picture_url(field, value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        raise SparkDanceRequestError(
            f"{field} must be one picture, not a list of {len(value)}. The results of a mapped task are mapped in "
            f"turn: expand({field}=task.output)."
        )
    if value is None:
        return None
    if hasattr(value, "as_posix"):  # pathlib's, and Airflow's ObjectStoragePath, which is none of pathlib's everywhere
        return str(value)
    raise SparkDanceRequestError(f"{field} must be {_ADDRESS}, not {show(value)} ({type(value).__name__}).")


def _last_frame_of(field: str, result: Mapping[str, Any]) -> str | None:
    for name in ("last_frame_path", "last_frame_url"):
        if source := values.picture_url(f"{name} of the result in {field}", result.get(name)):
            return source
    if "generation_id" not in result:
        raise SparkDanceRequestError(
            f"{field} must be {_ADDRESS}; this object has neither a last_frame_path nor a last_frame_url."
        )
    raise SparkDanceRequestError(
        f"{field} is the result of generation {show(result['generation_id'])}, which has no last frame: it is kept "
        "only where the task that renders it has return_last_frame=True (and waits for completion)."
    )
