from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from airflow_provider_spark.api.errors import SparkDancePictureUnavailableError, SparkDanceRequestError
from airflow_provider_spark.api.picture import FORMATS, MAX_BYTES, Picture
from airflow_provider_spark.api.request import VideoRequest
from airflow_provider_spark.media.frames import FIT_MAX_BYTES, read_frame
from tests.s3 import CONNECTION, SECRET, S3Server, s3_path
from tests.unit.api.frame_files import data_uri, decoded, flat_picture, opened, picture, turned_picture
from tests.unit.hooks.helpers import every_text_of

HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(400)

READ_THEM = """
import json, sys
from pathlib import Path
from airflow_provider_spark.media.frames import read_frame
def most():
    # Of this program alone: getrusage counts in what the process was before it became it.
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))
folder, grown = Path(sys.argv[1]), {}
for side in ("-400", "-5900"):
    for path in sorted(folder.glob("*" + side)):
        before = most()
        read_frame(str(path))
        grown[path.name] = most() - before
print(json.dumps({name: size for name, size in grown.items() if name.endswith("-5900")}))
"""


def refusal_of(source: str | Path, **options: bool) -> str:
    with pytest.raises(SparkDanceRequestError) as refusal:
        read_frame(str(source), name="first_frame", **options)
    # With its traceback, whose length is the Python version's; of a picture's bytes it would be far more.
    assert len(every_text_of(refusal.value)) < 20_000
    return str(refusal.value)


def stored(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", FORMATS)
class TestEachFormat:
    def test_is_sent_byte_by_byte_under_the_name_of_its_content(self, kind: str, tmp_path: Path) -> None:
        data = picture(kind)
        frame = read_frame(str(stored(tmp_path, "frame.jpg", data)))
        assert frame.data_uri == data_uri(data, kind)
        assert (frame.picture, frame.size, frame.notes) == (Picture(kind, 640, 480), len(data), ())  # type: ignore[arg-type]

    def test_is_what_an_order_takes(self, kind: str, tmp_path: Path) -> None:
        frame = read_frame(str(stored(tmp_path, "frame", picture(kind))))
        assert VideoRequest.compose(first_frame=frame.data_uri).first_frame_picture == frame.picture

    def test_that_is_cut_short_is_refused(self, kind: str, tmp_path: Path) -> None:
        data = picture(kind)
        for length in (40, len(data) // 2, len(data) - 40):
            assert "picture" in refusal_of(stored(tmp_path, "cut", data[:length]))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a program's memory")
def test_no_room_is_made_for_pixels_that_a_small_file_claims(tmp_path: Path) -> None:
    for name, kind, options in (
        ("jpeg", "jpeg", {}),
        ("progressive", "jpeg", {"progressive": True}),
        ("png", "png", {}),
        ("webp", "webp", {"lossless": True, "method": 0}),
        ("gif", "gif", {}),
        ("tiff", "tiff", {"compression": "tiff_lzw"}),
    ):
        for side in (400, 5900):
            Image.new("RGB", (side, side), "red").save(tmp_path / f"{name}-{side}", kind.upper(), **options)
    for side in (400, 5900):
        moving = [Image.new("L", (side, side), grey) for grey in (0, 9)]
        moving[0].save(tmp_path / f"moving-{side}", "GIF", save_all=True, append_images=moving[1:])
    # A process of its own, since the most memory that one has ever had is all that can be asked for.
    done = subprocess.run(
        [sys.executable, "-c", READ_THEM, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    grown = json.loads(done.stdout)
    assert max(grown.values()) < 12_000, f"KB of memory for a picture whose pixels take 34,000 to 140,000: {grown}"


class TestWhereItLies:
    def test_may_be_a_file_uri(self, tmp_path: Path) -> None:
        path = stored(tmp_path, "a b#1.png", picture())
        assert read_frame(f"file://{path}").picture == Picture("png", 640, 480)

    def test_may_be_a_relative_path_or_one_in_the_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stored(tmp_path, "frame.png", picture())
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert read_frame("frame.png") == read_frame("~/frame.png")

    def test_is_told_in_full_where_nothing_is_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert f"first_frame (frames/a.png) isn't there. Tried {tmp_path}/frames/a.png" in refusal_of("frames/a.png")
        assert f"Tried {Path.home()}/none.png" in refusal_of("~/none.png")
        assert "no such user" in refusal_of("~no_one_of_that_name/a.png")

    def test_is_no_folder_no_device_and_no_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for source in (tmp_path, tmp_path / "pipe", "/dev/zero", f"file://{tmp_path}"):
            assert "no plain file" in refusal_of(source)

    @pytest.mark.parametrize(
        ("fault", "told"),
        [
            (PermissionError("Access Denied"), "may not be read: PermissionError: Access Denied"),
            (AirflowNotFoundException("The conn_id `gone` isn't defined"), "can't be opened: .* isn't defined"),
            (ImportError("Install gcsfs"), "can't be opened: .*gcsfs"),
        ],
    )
    def test_must_be_open_to_the_task(self, fault: Exception, told: str, faults: list[Exception]) -> None:
        faults.append(fault)
        assert re.search(told, refusal_of("memory://faulty@frames/a.png"))

    @pytest.mark.parametrize("fault", [OSError(5, "Input/output error"), TimeoutError(), RuntimeError("503 Slow down")])
    def test_may_be_out_of_reach_for_a_while(self, fault: Exception, faults: list[Exception]) -> None:
        faults.append(fault)
        with pytest.raises(SparkDancePictureUnavailableError, match="can't be read at the moment"):
            read_frame("memory://faulty@frames/a.png")

    @pytest.mark.parametrize("source", ["nosuch://bucket/key", "gs-typo://x/y.png", "a\0b.png"])
    def test_must_be_an_address_that_can_be_understood(self, source: str) -> None:
        assert "can't be opened" in refusal_of(source)

    def test_is_shown_without_a_password(self) -> None:
        text = refusal_of("nosuch://user:pa55word@host/key.png?signature=hush")
        assert "nosuch://user:***@host/key.png" in text
        assert "pa55word" not in text
        assert "hush" not in text

    def test_is_not_the_picture_itself(self) -> None:
        text = refusal_of(data_uri(picture()))
        assert "is a picture itself" in text
        assert len(text) < 200


class TestWhatIsNoPicture:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "nothing in it"),
            (b"a frame\nof words\n", "text file"),
            (b"\n<!DOCTYPE html><html><title>Sign in</title></html>", "web page"),
            (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML or JSON"),
            (b'{"error": "expired"}', "XML or JSON"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
            (b"%PDF-1.7\n", "PDF"),
            (HEIC, "HEIC"),
            (HEIC.replace(b"heic", b"avif"), "AVIF"),
            (bytes(5000), "one of the formats jpeg, png, webp, bmp, tiff, gif"),
        ],
    )
    def test_is_called_by_its_name_whatever_the_file_is_called(self, data: bytes, reason: str, tmp_path: Path) -> None:
        text = refusal_of(stored(tmp_path, "frame.jpg", data))
        assert "must be a picture in one of the formats" in text
        assert reason in text


class TestLimits:
    @pytest.mark.parametrize(
        ("width", "height", "reason"),
        [(300, 400, "over 300"), (400, 1000, "over 0.4"), (1000, 400, "under 2.5"), (6000, 5000, "under 6000")],
    )
    def test_on_the_sides_are_named(self, width: int, height: int, reason: str, tmp_path: Path) -> None:
        text = refusal_of(stored(tmp_path, "frame.png", flat_picture("png", width, height)))
        assert f"{width} x {height} px" in text
        assert reason in text
        assert ("fit_frames=True has it scaled down" in text) == (reason == "under 6000")

    def test_on_the_bytes_are_told_before_one_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "frame.png"
        with path.open("wb") as file:
            file.truncate(10_000_000_000)
        for source in (path, f"file://{path}"):
            text = refusal_of(source)
            assert "10,000,000,000 bytes and must have less than 30 MB. fit_frames=True" in text
            assert f"{FIT_MAX_BYTES / 1e6:.0f} MB on it isn't scaled" in refusal_of(source, fit_frames=True)

    def test_on_the_bytes_hold_where_the_size_is_not_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = stored(tmp_path, "frame.png", bytes(MAX_BYTES))
        # A file that grows while it is read.
        real = Path.stat
        small = stored(tmp_path, "small", b"x").stat()
        monkeypatch.setattr(Path, "stat", lambda self, **how: small if self == path else real(self, **how))
        assert "30,000,000 bytes or more" in refusal_of(path)

    @pytest.mark.parametrize("kind", ["gif", "webp"])
    def test_let_an_animation_pass_with_a_word_of_warning(self, kind: str, tmp_path: Path) -> None:
        frames = [opened(flat_picture("png", 400, 400)), opened(picture("png", 400, 400))]
        path = tmp_path / "moving"
        frames[0].save(path, kind.upper(), save_all=True, append_images=frames[1:])
        frame = read_frame(str(path), name="first_frame")
        assert frame.picture == Picture(kind, 400, 400, is_animated=True)  # type: ignore[arg-type]
        assert [note for note in frame.notes if "first_frame" in note and "more than one picture" in note]

    def test_refuse_a_picture_that_is_meant_to_be_turned(self, tmp_path: Path) -> None:
        text = refusal_of(stored(tmp_path, "phone.jpg", turned_picture()))
        assert "orientation 6" in text
        assert "fit_frames=True has it sent upright" in text


@pytest.fixture(scope="module")
def storage() -> list[Exception]:
    """What a storage raises when a file is opened there; it has a connection of its own, since Airflow keeps it."""
    raised: list[Exception] = []

    class Storage(MemoryFileSystem):  # type: ignore[misc]
        cachable = False

        def open(self, *_: object, **__: object) -> NoReturn:
            raise raised[0]

    attach("memory", conn_id="faulty", fs=Storage())
    return raised


@pytest.fixture
def faults(storage: list[Exception]) -> list[Exception]:
    storage.clear()
    return storage


class TestObjectStorage:
    def test_is_read_over_an_airflow_connection(self, s3_server: S3Server) -> None:
        data = picture("webp")
        frame = read_frame(s3_server.put("campaign/été 1.png", data))
        assert decoded(frame.data_uri) == data

    def test_without_the_object_is_a_matter_for_the_author(self, s3_server: S3Server) -> None:
        assert f"first_frame ({s3_path('none.png')}) isn't there" in refusal_of(s3_path("none.png"))
        assert "isn't there" in refusal_of(f"s3://{CONNECTION}@no-bucket/a.png")
        s3_server.put("folder/a.png", picture())
        assert "a folder" in refusal_of(s3_path("folder/"))

    def test_with_too_large_an_object_is_not_read(self, s3_server: S3Server) -> None:
        s3_server.put("large.png", bytes(MAX_BYTES))
        assert "30,000,000 bytes and must have less" in refusal_of(s3_path("large.png"))

    def test_that_is_down_is_a_matter_of_time(self, s3_server: S3Server) -> None:
        s3_server.stop()
        try:
            with pytest.raises(SparkDancePictureUnavailableError, match="can't be read at the moment") as outage:
                read_frame(s3_path("a.png"))
        finally:
            s3_server.start()
        assert outage.value.may_repeat
        assert SECRET not in every_text_of(outage.value)
