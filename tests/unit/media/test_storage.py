from __future__ import annotations

import errno
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from airflow.sdk import ObjectStoragePath
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_spark.media.errors import SparkDanceStorageError, SparkDanceStorageRefusedError
from airflow_provider_spark.media.storage import Storage
from tests.s3 import BUCKET, CONNECTION, S3Server, s3_path


def write(storage: Storage, *pieces: bytes, end: type[BaseException] | None = None) -> None:
    """Write a clip, or break off."""
    with storage.new_file("clip.mp4", "video/mp4") as file:
        for piece in pieces:
            file.write(piece)
        if end is not None:
            raise end


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestANewFile:
    def test_is_there_whole_once_it_is_written(self, tmp_path: Path) -> None:
        storage = Storage(f"{tmp_path}/a/b")
        with storage.new_file("clip.mp4", "video/mp4") as file:
            file.write(b"abc")
            assert not (tmp_path / "a/b/clip.mp4").exists()
            file.write(memoryview(b"def"))
        assert names(tmp_path / "a/b") == ["clip.mp4"]
        assert storage.read("clip.mp4") == b"abcdef"
        assert storage.size("clip.mp4") == 6

    def test_leaves_nothing_where_its_writing_ends_badly(self, tmp_path: Path) -> None:
        storage = Storage(str(tmp_path))
        with pytest.raises(KeyboardInterrupt):
            write(storage, b"abc", end=KeyboardInterrupt)
        assert names(tmp_path) == []

    def test_takes_the_place_of_an_older_one(self, tmp_path: Path) -> None:
        storage = Storage(f"file://{tmp_path}")
        for content in (b"old", b"new"):
            with storage.new_file("clip.mp4", "video/mp4") as file:
                file.write(content)
        assert (tmp_path / "clip.mp4").read_bytes() == b"new"

    def test_is_never_a_mix_of_two_that_are_written_at_once(self, tmp_path: Path) -> None:
        storage = Storage(str(tmp_path))
        with storage.new_file("clip.mp4", "video/mp4") as one:
            with storage.new_file("clip.mp4", "video/mp4") as other:
                one.write(b"1" * 100_000)
                other.write(b"2" * 100_000)
                one.write(b"1" * 100_000)
            assert storage.read("clip.mp4") == b"2" * 100_000
        assert storage.read("clip.mp4") == b"1" * 200_000

    def test_can_be_read_back_before_it_is_there(self, tmp_path: Path) -> None:
        storage = Storage(str(tmp_path))
        with storage.new_file("clip.mp4", "video/mp4") as file:
            file.write(b"abc")
            with file.read_back() as stored:
                assert stored.read() == b"abc"
        assert storage.read("clip.mp4") == b"abc"


class TestCreating:
    def test_takes_a_free_name_and_no_other(self, tmp_path: Path) -> None:
        storage = Storage(f"{tmp_path}/a/b")
        assert storage.create("one.json", {"by": "us"})
        assert not storage.create("one.json", {"by": "them"})
        assert storage.create("one.json", {"by": "us"}), "what lies there is ours"
        assert json.loads(storage.read("one.json") or b"") == {"by": "us"}
        assert names(tmp_path / "a/b") == ["one.json"]

    def test_lets_one_of_many_through_at_the_same_moment(self, tmp_path: Path) -> None:
        starts = threading.Barrier(8)

        def create(number: int) -> bool:
            storage = Storage(str(tmp_path))
            starts.wait()
            return storage.create("one.json", {"by": number})

        with ThreadPoolExecutor(8) as pool:
            created = list(pool.map(create, range(8)))
        assert created.count(True) == 1
        assert json.loads((tmp_path / "one.json").read_bytes()) == {"by": created.index(True)}
        assert names(tmp_path) == ["one.json"]

    @pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
    def test_writes_over_what_is_there_on_a_disk_that_knows_no_better(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def no_links(*_: Any) -> None:
            raise OSError(number, "no links here")

        monkeypatch.setattr(os, "link", no_links)
        storage = Storage(str(tmp_path))
        assert storage.create("one.json", {"by": "us"})
        assert names(tmp_path) == ["one.json"]

    def test_says_so_where_nothing_can_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "a").touch()
        with pytest.raises(SparkDanceStorageRefusedError, match="a part of the path is a file"):
            Storage(f"{tmp_path}/a/b").create("one.json", {})


class TestWhatKilledTriesHaveLeft:
    def test_is_swept_away_and_nothing_else(self, tmp_path: Path) -> None:
        for name in ("clip.mp4", "clip.mp4.1a2b3c4d.part", "clip.mp4.txt", "other.mp4.1a2b3c4d.part"):
            (tmp_path / name).touch()
        Storage(str(tmp_path)).sweep("clip.mp4")
        assert names(tmp_path) == ["clip.mp4", "clip.mp4.txt", "other.mp4.1a2b3c4d.part"]

    def test_is_not_what_someone_is_writing_at_this_moment(self, tmp_path: Path) -> None:
        storage = Storage(str(tmp_path))
        with storage.new_file("clip.mp4", "video/mp4") as file:
            file.write(b"abc")
            with file.read_back():
                storage.sweep("clip.mp4")
        assert storage.read("clip.mp4") == b"abc"

    def test_is_no_matter_where_the_folder_is_gone(self, tmp_path: Path) -> None:
        Storage(f"{tmp_path}/gone").sweep("clip.mp4")


class TestReading:
    def test_tells_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        storage = Storage(f"{tmp_path}/nowhere")
        assert (storage.read("a.json"), storage.size("a.json")) == (None, None)

    def test_never_takes_an_outage_for_a_file_that_is_not_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: Any, **__: Any) -> Any:
            raise TimeoutError("no answer")

        monkeypatch.setattr(LocalFileSystem, "open", broken)
        monkeypatch.setattr(LocalFileSystem, "info", broken)
        storage = Storage(str(tmp_path))
        with pytest.raises(SparkDanceStorageError, match="no answer"):
            storage.read("a.json")
        with pytest.raises(SparkDanceStorageError, match="no answer"):
            storage.size("a.json")


class TestADiskThatTakesNothing:
    @pytest.mark.parametrize(
        ("number", "words"),
        [
            (errno.ENOSPC, "no room left"),
            (errno.EDQUOT, "quota"),
            (errno.EACCES, "permission is denied"),
            (errno.EROFS, "read-only"),
        ],
    )
    def test_is_told_in_plain_words_and_has_no_part_of_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
    ) -> None:
        full = Filling(number, room=10)
        full.put_on(monkeypatch)
        storage = Storage(str(tmp_path))
        with pytest.raises(SparkDanceStorageRefusedError, match=words) as failure:
            write(storage, *[b"abcd"] * 10)
        assert f"{tmp_path}/clip.mp4" in str(failure.value)
        assert names(tmp_path) == []

    def test_that_fails_when_the_file_is_closed_is_told_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Filling(errno.ENOSPC, room=0, on="close").put_on(monkeypatch)
        with pytest.raises(SparkDanceStorageRefusedError, match="no room left"):
            write(Storage(str(tmp_path)), b"abcd")
        assert names(tmp_path) == []


class Filling:
    """Lets the local file system run full: what is beyond its room is refused, as a disk does."""

    def __init__(self, number: int, *, room: int, on: str = "write") -> None:
        self._number, self._room, self._on = number, room, on

    def put_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        opened = LocalFileSystem._open
        full = self

        def open_with_little_room(fs: Any, path: str, mode: str = "rb", **options: Any) -> Any:
            file = opened(fs, path, mode=mode, **options)
            return file if "r" in mode else full._around(file)

        monkeypatch.setattr(LocalFileSystem, "_open", open_with_little_room)

    def _around(self, file: Any) -> Any:
        full = self

        class Full:
            def write(self, data: bytes) -> int:
                full._room -= len(data)
                if full._on == "write" and full._room < 0:
                    raise OSError(full._number, os.strerror(full._number))
                return int(file.write(data))

            def close(self) -> None:
                file.close()
                if full._on == "close":
                    raise OSError(full._number, os.strerror(full._number))

        return Full()


class TestTheLookBeforeAnOrder:
    def test_finds_nothing_wrong_with_a_folder_that_can_be_made(self, tmp_path: Path) -> None:
        Storage(f"{tmp_path}/a/b/c").check()
        assert names(tmp_path) == []

    @pytest.mark.parametrize("uri", ["nosuch://bucket/folder", "gs://bucket/folder"])
    def test_finds_a_file_system_that_is_not_there(self, uri: str) -> None:
        with pytest.raises(SparkDanceStorageRefusedError, match="provider installed"):
            Storage(uri).check()

    def test_finds_a_file_in_the_place_of_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "taken").touch()
        with pytest.raises(SparkDanceStorageRefusedError, match="no folder"):
            Storage(f"{tmp_path}/taken/a").check()

    def test_finds_a_folder_that_is_not_writable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
        with pytest.raises(SparkDanceStorageRefusedError, match="isn't writable"):
            Storage(str(tmp_path)).check()


class TestOnS3:
    def test_a_file_is_there_whole_with_its_content_type(self, s3_server: S3Server) -> None:
        storage = Storage(s3_path("campaign/today"))
        storage.check()
        with storage.new_file("clip.mp4", "video/mp4") as file:
            file.write(b"abc")
            with file.read_back() as stored:
                assert stored.read() == b"abc"
        assert s3_server.stored() == ["campaign/today/clip.mp4"]
        stored = s3_server.client().get_object(Bucket=BUCKET, Key="campaign/today/clip.mp4")
        assert (stored["ContentType"], stored["Body"].read()) == ("video/mp4", b"abc")
        assert storage.uri_of("clip.mp4") == f"s3://{CONNECTION}@{BUCKET}/campaign/today/clip.mp4"
        assert (storage.read("clip.mp4"), storage.size("clip.mp4")) == (b"abc", 3)
        assert (storage.read("other.mp4"), storage.size("other.mp4")) == (None, None)

    def test_a_large_file_is_sent_in_parts(self, s3_server: S3Server) -> None:
        piece = os.urandom(1 << 20)
        storage = Storage(s3_path("[2026] campaign*"))
        with storage.new_file("clip.mp4", "video/mp4") as file:
            for _ in range(20):
                file.write(memoryview(piece))
        assert storage.size("clip.mp4") == 20 << 20
        assert storage.read("clip.mp4") == piece * 20
        head = s3_server.client().head_object(Bucket=BUCKET, Key="[2026] campaign*/clip.mp4")
        assert head["ContentType"] == "video/mp4"

    @pytest.mark.parametrize("size", [10, 20 << 20])
    def test_a_file_whose_writing_ends_badly_leaves_nothing(self, s3_server: S3Server, size: int) -> None:
        with pytest.raises(KeyboardInterrupt):
            write(Storage(s3_path("")), bytes(size), end=KeyboardInterrupt)
        assert s3_server.stored() == []
        assert not s3_server.client().list_multipart_uploads(Bucket=BUCKET).get("Uploads")

    def test_a_list_of_the_folder_from_before_hides_no_file(self, s3_server: S3Server) -> None:
        folder = s3_path("campaign")
        s3_server.put("campaign/other.mp4", b"x")
        assert len(list(ObjectStoragePath(folder).iterdir())) == 1
        s3_server.put("campaign/clip.mp4", b"abc")  # as another worker does
        storage = Storage(folder)
        assert (storage.size("clip.mp4"), storage.read("clip.mp4")) == (3, b"abc")

    def test_a_bucket_that_is_not_there_is_told_and_not_made(self, s3_server: S3Server) -> None:
        storage = Storage(f"s3://{CONNECTION}@no-such-bucket/clips")
        with pytest.raises(SparkDanceStorageRefusedError, match="bucket or the folder"):
            write(storage, b"abc")
        assert [bucket["Name"] for bucket in s3_server.client().list_buckets()["Buckets"]] == [BUCKET]


def test_a_file_system_without_folders_of_its_own_is_written_to_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import airflow.sdk.io.fs as airflow_fs

    memory = fsspec.filesystem("memory", skip_instance_cache=True)
    monkeypatch.setitem(airflow_fs._register_filesystems(), "memory", lambda _: memory)
    # With an id of its own, for Airflow keeps what it has once opened for one.
    storage = Storage("memory://of_this_test@clips")
    with storage.new_file("clip.mp4", "video/mp4") as file:
        file.write(b"abc")
    assert storage.read("clip.mp4") == b"abc"
    assert storage.create("one.json", {})
    assert storage.read("one.json") == b"{}"
