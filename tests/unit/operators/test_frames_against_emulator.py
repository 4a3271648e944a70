"""Frames on their way to the vendor's stand-in, which opens every picture that it is sent."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_spark.api.picture import Picture
from airflow_provider_spark.api.request import VideoRequest
from airflow_provider_spark.emulator import RunningEmulator
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator
from tests.s3 import S3Server
from tests.unit.api.frame_files import data_uri, flat_picture, picture, turned_picture
from tests.unit.hooks.helpers import CONN_ID, KEY, stranger
from tests.unit.operators.test_generate_video import (
    calls,
    context_of,
    dag,
    emulator,
    never_called,
    operator,
    request_of,
    run_mapped,
    untouched,
)

__all__ = ["emulator", "never_called", "untouched"]  # fixtures


def run(**parameters: Any) -> Any:
    return operator(wait_for_completion=False, resolution="480p", **parameters).execute(context_of())


def told(uri: str) -> str:
    """What the emulator tells of a picture that was sent."""
    return f"data URI, {len(uri)} characters, sha256 {hashlib.sha256(uri.encode()).hexdigest()}"


def frames_of(running: RunningEmulator) -> list[str]:
    return [item["image_url"]["url"] for item in request_of(running)["content"] if item["type"] == "image_url"]


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "bmp", "tiff", "gif"])
def test_a_file_of_each_format_arrives_as_it_is(kind: str, emulator: RunningEmulator, tmp_path: Path) -> None:
    data = picture(kind)
    (tmp_path / "frame").write_bytes(data)
    run(first_frame=str(tmp_path / "frame"))
    assert frames_of(emulator) == [told(data_uri(data, kind))]


def test_an_object_in_s3_arrives_as_it_is(emulator: RunningEmulator, s3_server: S3Server) -> None:
    data = picture()
    run(first_frame=s3_server.put("catalogue/kite.png", data), last_frame=s3_server.put("catalogue/sky.png", data))
    assert frames_of(emulator) == [told(data_uri(data))] * 2


def test_an_earlier_render_goes_on_where_it_ended(emulator: RunningEmulator, tmp_path: Path) -> None:
    data = picture()
    (tmp_path / "last.png").write_bytes(data)
    earlier = {"generation_id": "sd-1", "last_frame_path": f"file://{tmp_path}/last.png", "last_frame_url": None}
    with dag() as written:
        mapped = SparkDanceGenerateVideoOperator.partial(
            task_id="render", wait_for_completion=False, resolution="480p", spark_dance_conn_id=CONN_ID
        )
        shots = mapped.expand(first_frame=[earlier, earlier])
    assert isinstance(written, DAG)
    run_mapped(shots, written, 1)
    assert frames_of(emulator) == [told(data_uri(data))]


def test_a_url_is_fetched_here_without_the_key(emulator: RunningEmulator) -> None:
    data = picture("webp")
    with stranger(body=data) as host:
        run(first_frame=f"{host.url}/private/kite.webp?token=1", embed_frames=True)
    assert frames_of(emulator) == [told(data_uri(data, "webp"))]
    ((_, headers),) = host.asked
    assert KEY not in repr(headers)
    assert emulator.api_key not in repr(headers)
    assert "authorization" not in {name.lower() for name in headers}


def test_a_phones_picture_arrives_upright(emulator: RunningEmulator, tmp_path: Path) -> None:
    (tmp_path / "phone.jpg").write_bytes(turned_picture())
    run(first_frame=str(tmp_path / "phone.jpg"), fit_frames=True)
    upright = SparkDanceHook(CONN_ID).read_frame(str(tmp_path / "phone.jpg"), fit_frames=True)
    picture_sent = VideoRequest.compose(first_frame=upright).first_frame_picture
    assert picture_sent == Picture("jpeg", 480, 640)
    assert frames_of(emulator) == [told(upright)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (flat_picture("png", 200, 200), "over 300"),
        (flat_picture("gif", 6001, 4000), "scaled down"),
        (turned_picture(), "upright"),
        (b"<html>", "web page"),
        (None, "isn't there"),
    ],
)
def test_what_the_vendor_would_not_take_is_refused_before_any_call(
    data: bytes | None, reason: str, untouched: RunningEmulator, tmp_path: Path
) -> None:
    if data is not None:
        (tmp_path / "frame.jpg").write_bytes(data)
    with pytest.raises(AirflowFailException, match=reason):
        run(first_frame=str(tmp_path / "frame.jpg"))
    assert calls(untouched) == 0


def test_the_hook_reads_a_picture_for_ones_own_code(
    emulator: RunningEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    hook = SparkDanceHook(CONN_ID)
    with caplog.at_level(logging.DEBUG):
        uri = hook.read_frame(str(tmp_path / "a.png"))
        hook.submit(VideoRequest.compose(first_frame=uri))
    assert frames_of(emulator) == [told(uri)]
    assert uri[100:200] not in caplog.text
