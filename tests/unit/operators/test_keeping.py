"""What becomes of the files, over the attempts of a task: a real socket on one side, a real folder on the other."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath
from structlog.testing import capture_logs

from airflow_provider_spark.api.errors import SparkDanceError, SparkDanceNotFoundError, SparkDanceVendorError
from airflow_provider_spark.media.download import PIECE
from airflow_provider_spark.media.errors import (
    SparkDanceDownloadError,
    SparkDanceStorageError,
    SparkDanceStorageRefusedError,
    SparkDanceUrlExpiredError,
)
from airflow_provider_spark.operators import interruption
from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator
from tests.results import Answer, Results, mp4, png, running_results
from tests.s3 import BUCKET, CONNECTION, S3Server, s3_path
from tests.unit.media.test_storage import Filling
from tests.unit.operators.paying import COST, StateStore, Task, TaskInstance, Vendor, failed, killed
from tests.unit.operators.test_generate_video import TaskInstance as MappedTaskInstance
from tests.unit.operators.test_generate_video import context_of, dag

VIDEO, FRAME = mp4(), png()
NOON = 1_800_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[Results]:
    with running_results() as results:
        yield results


@pytest.fixture
def results(server: Results) -> Results:
    server.answers.clear()
    server.asked.clear()
    for number in range(1, 5):
        server.put(f"/sd-{number}.mp4", VIDEO)
        server.put(f"/sd-{number}.png", FRAME)
    return server


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between two tries; time passes only in them, and between two polls."""
    slept: list[float] = []
    pauses: list[float] = []

    def sleep(self: Any, seconds: float, *, outcome: str) -> None:
        self.check(outcome)
        slept.append(seconds)
        if seconds > 0.1:
            pauses.append(seconds)

    monkeypatch.setattr(interruption.Interruption, "sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: sum(slept))
    return pauses


def finished(results: Results, number: int = 1, *, frame: bool = True, signature: int = 1) -> dict[str, Any]:
    """The vendor's reply for a render that is done."""
    content = [{"type": "video", "url": f"{results.base_url}/sd-{number}.mp4?signature={signature}", "duration": 5}]
    if frame:
        content.append({"type": "image", "url": f"{results.base_url}/sd-{number}.png?signature={signature}"})
    return {
        "status": "completed",
        "output": [{"content": content}],
        "usage": {"cost": COST},
        "metadata": {"completed_at": NOON, "note": "绿茶"},
    }


def task_of(results: Results, *, renders: int = 3, **facts: Any) -> Task:
    """A task whose renders are all done at once."""
    return Task(vendor=Vendor(fates=[finished(results, number) for number in range(1, renders + 1)]), **facts)


def files_in(folder: Path) -> list[str]:
    """The films, pictures and manifests in a folder."""
    return sorted(path.name for path in folder.iterdir() if path.suffix in {".mp4", ".png", ".json", ".part"})


def warnings_of(lines: Any) -> str:
    return "\n".join(str(line["event"]) for line in lines if line["log_level"] == "warning")


@pytest.fixture(params=[False, True], ids=["on the worker", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class TestAFinishedVideo:
    def test_is_kept_with_its_last_frame_and_a_manifest(
        self, results: Results, tmp_path: Path, deferrable: bool
    ) -> None:
        result = task_of(results).attempt(save_to=f"{tmp_path}/new/clips", deferrable=deferrable)
        folder = tmp_path / "new/clips"
        assert files_in(folder) == [f"campaign.manual__1.render-sd-1.{ending}" for ending in ("json", "mp4", "png")]
        assert Path(result["video_path"]).read_bytes() == VIDEO
        assert ObjectStoragePath(result["last_frame_path"]).read_bytes() == FRAME
        manifest = json.loads(Path(result["manifest_path"]).read_text())
        assert manifest["format"] == 1
        assert manifest["result"] == result
        assert manifest["task"]["dag_id"] == "campaign"
        assert manifest["request"]["prompt"] == "tea"
        assert manifest["request"]["resolution"] == "480p"
        assert manifest["cost"]["billed_usd"] == COST
        assert manifest["files"]["video"]["sha256"] == hashlib.sha256(VIDEO).hexdigest()
        assert manifest["files"]["last_frame"]["bytes"] == len(FRAME)
        assert manifest["vendor"]["output"][0]["content"][0]["duration"] == 5
        assert manifest["vendor"]["metadata"]["note"] == "绿茶"

    def test_goes_where_the_connection_says_unless_the_task_says_otherwise(
        self, results: Results, tmp_path: Path
    ) -> None:
        task = task_of(results, save_to=f"{tmp_path}/of the connection")
        assert task.attempt()["video_path"].startswith(f"{tmp_path}/of the connection/")
        assert task.clear().attempt(save_to=f"{tmp_path}/own")["video_path"].startswith(f"{tmp_path}/own/")

    def test_without_a_last_frame_has_none(self, results: Results, tmp_path: Path) -> None:
        task = Task(vendor=Vendor(fates=[finished(results, frame=False)]))
        result = task.attempt(save_to=str(tmp_path))
        assert result["last_frame_path"] is None
        assert json.loads(Path(result["manifest_path"]).read_text())["files"]["last_frame"] is None

    def test_has_a_receipt_of_its_order_beside_it(self, results: Results, tmp_path: Path) -> None:
        task_of(results).attempt(save_to=str(tmp_path))
        (receipt,) = (tmp_path / "orders").rglob("*.json")
        assert json.loads(receipt.read_text())["billed_usd"] == float(COST)

    def test_is_kept_before_the_ledger_says_that_it_was_delivered(self, results: Results, tmp_path: Path) -> None:
        task = killed(task_of(results), "before delivered is written", save_to=str(tmp_path))
        assert len(files_in(tmp_path)) == 3
        asked = len(results.asked)
        result = task.retry().attempt(save_to=str(tmp_path))
        assert (task.orders, len(results.asked)) == (1, asked), "what is whole isn't fetched again"
        assert Path(result["video_path"]).read_bytes() == VIDEO

    def test_that_nobody_keeps_is_told_once_with_the_end_of_its_url(self, results: Results) -> None:
        with capture_logs() as lines:
            result = task_of(results).attempt()
        told = [line for line in warnings_of(lines).splitlines() if "No copy" in line]
        assert len(told) == 1
        assert "2027-01-16 08:00:00 UTC" in told[0]
        assert (result["video_path"], result["manifest_path"]) == (None, None)
        assert results.asked == []

    def test_is_not_kept_where_no_one_waits_for_it_and_the_log_says_so(self, results: Results, tmp_path: Path) -> None:
        with capture_logs() as lines:
            result = task_of(results).attempt(save_to=str(tmp_path), wait_for_completion=False)
        assert "Nothing is kept in save_to" in warnings_of(lines)
        assert result["video_path"] is None
        assert files_in(tmp_path) == []

    def test_keeps_no_secret(self, results: Results, tmp_path: Path) -> None:
        fate = finished(results) | {"echo": {"authorization": "Bearer key", "frame": "data:image/png;base64,QUJD"}}
        result = Task(vendor=Vendor(fates=[fate])).attempt(
            save_to=str(tmp_path), first_frame="https://a.example.com/1.png?signature=hush", prompt="tea by key"
        )
        manifest = Path(result["manifest_path"]).read_text()
        assert "Bearer key" not in manifest
        assert "QUJD" not in manifest
        assert "hush" not in manifest
        assert json.loads(manifest)["request"]["first_frame"] == "https://a.example.com/1.png"
        assert json.loads(manifest)["request"]["prompt"] == "tea by ***"


class TestNames:
    def test_are_the_authors_own_made_safe(self, results: Results, tmp_path: Path) -> None:
        folder = tmp_path / "clips"
        result = task_of(results).attempt(save_to=str(folder), name="../../etc/春茶")
        assert Path(result["video_path"]).parent == folder
        assert [path.name for path in tmp_path.iterdir()] == ["clips"]

    def test_are_the_same_for_a_retry(self, results: Results, tmp_path: Path) -> None:
        task = task_of(results)
        first = task.attempt(save_to=str(tmp_path))
        assert task.retry().attempt(save_to=str(tmp_path)) == first
        assert len(files_in(tmp_path)) == 3

    def test_are_new_for_a_new_generation(self, results: Results, tmp_path: Path) -> None:
        task = task_of(results)
        task.attempt(save_to=str(tmp_path))
        task.clear().attempt(save_to=str(tmp_path))
        assert [name for name in files_in(tmp_path) if name.endswith(".mp4")] == [
            "campaign.manual__1.render-sd-1.mp4",
            "campaign.manual__1.render-sd-2.mp4",
        ]

    @pytest.mark.parametrize("name", [None, "clip"])
    def test_of_mapped_clips_never_collide(self, results: Results, tmp_path: Path, name: str | None) -> None:
        vendor = Vendor(fates=[finished(results, number) for number in (1, 2, 3)])
        paths = {
            Task(vendor=vendor, store=StateStore(), ti=TaskInstance(map_index=index)).attempt(
                save_to=str(tmp_path), name=name
            )["video_path"]
            for index in range(3)
        }
        assert len(paths) == 3
        assert len(files_in(tmp_path)) == 9

    def test_of_ids_that_hold_anything_stay_in_the_folder(self, results: Results, tmp_path: Path) -> None:
        task = task_of(results, ti=TaskInstance(dag_id="a/../..", run_id="scheduled__2026-11-22T00:00:00+00:00"))
        result = task.attempt(save_to=str(tmp_path))
        assert Path(result["video_path"]).parent == tmp_path

    def test_leave_the_result_below_4_kb_with_every_path(self, results: Results, tmp_path: Path) -> None:
        fate = finished(results)
        fate["output"][0]["content"][0]["url"] += "&long=" + "x" * 3000
        folder = f"{tmp_path}/{'y' * 200}/{'z' * 200}"
        result = Task(vendor=Vendor(fates=[fate])).attempt(save_to=folder, name="n" * 500)
        assert len(json.dumps(result)) < 4096
        assert Path(result["video_path"]).read_bytes() == VIDEO
        assert Path(result["last_frame_path"]).exists()
        assert Path(result["manifest_path"]).exists()


class TestADownload:
    @pytest.mark.parametrize(
        "broken",
        [
            Answer(VIDEO, cut_after=len(VIDEO) // 2),
            Answer(VIDEO, length=len(VIDEO) + 5),
            Answer(VIDEO[: len(VIDEO) // 2]),
            Answer(b"<html>Sign in</html>", headers={"Content-Type": "text/html"}),
            Answer(FRAME),
            Answer(b""),
            Answer(status=503),
        ],
    )
    def test_that_is_not_the_whole_film_is_repeated(
        self, results: Results, tmp_path: Path, sleeps: list[float], broken: Answer
    ) -> None:
        results.put("/sd-1.mp4", broken, broken, VIDEO)
        task = task_of(results)
        result = task.attempt(save_to=str(tmp_path))
        assert Path(result["video_path"]).read_bytes() == VIDEO
        assert (len(sleeps), task.orders) == (2, 1)
        assert len(files_in(tmp_path)) == 3

    def test_whose_first_frame_cannot_be_decoded_is_no_film(
        self, results: Results, tmp_path: Path, sleeps: list[float]
    ) -> None:
        at = VIDEO.index(b"mdat")
        hollow = VIDEO[: at + 4] + bytes(len(VIDEO) - at - 4) if at > VIDEO.index(b"moov") else b""
        if not hollow:  # the table of contents comes last here
            end = VIDEO.index(b"moov") - 4
            hollow = VIDEO[: at + 4] + bytes(end - at - 4) + VIDEO[end:]
        results.put("/sd-1.mp4", hollow, VIDEO)
        result = task_of(results).attempt(save_to=str(tmp_path))
        assert Path(result["video_path"]).read_bytes() == VIDEO
        assert len(sleeps) == 1

    def test_that_never_succeeds_names_the_generation_its_url_and_what_to_do(
        self, results: Results, tmp_path: Path, sleeps: list[float]
    ) -> None:
        results.put("/sd-1.mp4", b"<html></html>")
        task = task_of(results)
        with pytest.raises(SparkDanceDownloadError) as failure:
            task.attempt(save_to=str(tmp_path))
        for words in ("sd-1", "HTML", "/sd-1.mp4?signature=1", "until 2027-01-16 08:00:00 UTC", "The next retry takes"):
            assert words in str(failure.value)
        assert 100 < sum(sleeps) <= 180
        assert files_in(tmp_path) == []
        results.put("/sd-1.mp4", VIDEO)
        assert task.retry().attempt(save_to=str(tmp_path))["video_path"]
        assert task.orders == 1

    def test_of_a_last_frame_that_fails_does_not_fetch_the_video_again(
        self, results: Results, tmp_path: Path, sleeps: list[float]
    ) -> None:
        results.put("/sd-1.png", Answer(status=500), Answer(FRAME[:50]), FRAME)
        task_of(results).attempt(save_to=str(tmp_path))
        assert (results.times("/sd-1.mp4"), results.times("/sd-1.png")) == (1, 3)

    def test_whose_url_has_expired_asks_the_vendor_for_another(
        self, results: Results, tmp_path: Path, sleeps: list[float], deferrable: bool
    ) -> None:
        for status in (403, 404, 410):
            results.put("/sd-1.mp4", Answer(status=status), VIDEO)
            task = task_of(results)
            result = task.attempt(save_to=f"{tmp_path}/{status}", deferrable=deferrable)
            assert Path(result["video_path"]).read_bytes() == VIDEO
            assert (task.orders, sleeps) == (1, [])

    def test_whose_url_has_expired_asks_only_once(self, results: Results, tmp_path: Path, sleeps: list[float]) -> None:
        results.put("/sd-1.mp4", Answer(status=403))
        task = task_of(results)
        with pytest.raises(SparkDanceUrlExpiredError, match="sd-1"):
            task.attempt(save_to=str(tmp_path))
        assert (results.times("/sd-1.mp4"), len(task.vendor.polls), sleeps) == (2, 2, [])

    def test_asks_for_another_url_again_where_the_vendor_was_busy(
        self, results: Results, tmp_path: Path, sleeps: list[float]
    ) -> None:
        results.put("/sd-1.mp4", Answer(status=403), Answer(status=403), VIDEO)
        task = task_of(results)
        answers = iter([None, SparkDanceVendorError("busy"), None])

        def on_step(step: str) -> None:
            if step == "before the vendor is asked" and (fault := next(answers)):
                raise fault

        task.vendor.on_step = on_step
        assert Path(task.attempt(save_to=str(tmp_path))["video_path"]).read_bytes() == VIDEO

    def test_goes_on_where_the_vendor_knows_the_generation_no_more(
        self, results: Results, tmp_path: Path, sleeps: list[float]
    ) -> None:
        results.put("/sd-1.mp4", Answer(status=410))
        task = task_of(results)
        answers = iter([None, SparkDanceNotFoundError("not known")])

        def on_step(step: str) -> None:
            if step == "before the vendor is asked" and (fault := next(answers)):
                raise fault

        task.vendor.on_step = on_step
        with pytest.raises(SparkDanceNotFoundError, match=r"sd-1.*not known"):
            task.attempt(save_to=str(tmp_path))

    def test_ends_at_once_where_the_task_is_told_to_end(self, results: Results, tmp_path: Path) -> None:
        large = VIDEO + (8 * PIECE).to_bytes(4) + b"free" + bytes(8 * PIECE - 8)
        results.put("/sd-1.mp4", large)
        task = task_of(results)
        operator = task.operator(save_to=str(tmp_path))
        task.vendor.on_step = lambda step: operator.on_kill() if step == "before the vendor is asked" else None
        with pytest.raises(SparkDanceError, match=r"sd-1 has ended and not all of its files are kept"):
            task.run(operator)
        assert files_in(tmp_path) == []
        task.vendor.on_step = lambda step: None
        assert Path(task.retry().attempt(save_to=str(tmp_path))["video_path"]).read_bytes() == large
        assert task.orders == 1


class TestAFolderThatTakesNothing:
    def test_on_a_full_disk_is_told_at_once_and_has_no_part_of_a_file(
        self, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sleeps: list[float]
    ) -> None:
        task = task_of(results)
        with monkeypatch.context() as full:
            Filling(28, room=100).put_on(full)
            with pytest.raises(SparkDanceStorageRefusedError, match="no room left") as failure:
                task.attempt(save_to=str(tmp_path))
        assert "/sd-1.mp4?signature=1" in str(failure.value)
        assert "until 2027-01-16 08:00:00 UTC" in str(failure.value)
        assert files_in(tmp_path) == []
        assert sleeps == []
        assert Path(task.retry().attempt(save_to=str(tmp_path))["video_path"]).read_bytes() == VIDEO
        assert task.orders == 1

    @pytest.mark.parametrize("folder", ["nosuch://bucket/clips", "/dev/null/clips"])
    def test_is_found_before_the_order(self, results: Results, folder: str) -> None:
        task = task_of(results)
        with pytest.raises(AirflowFailException, match="Nothing was ordered"):
            task.attempt(save_to=folder)
        assert task.orders == 0

    @pytest.mark.parametrize("folder", ["relative/clips", "s3://user:hunter2@bucket/clips", f"/{'x' * 700}", 5])
    def test_is_no_folder_at_all(self, results: Results, folder: Any) -> None:
        task = task_of(results)
        with pytest.raises(AirflowFailException, match="save_to") as failure:
            task.attempt(save_to=folder)
        assert "hunter2" not in str(failure.value)
        assert task.orders == 0


class TestTwoWritersAtOnce:
    def test_leave_one_whole_set_of_files(self, results: Results, tmp_path: Path) -> None:
        task = killed(task_of(results), "before the vendor is asked", save_to=str(tmp_path))
        meeting = threading.Barrier(2, timeout=20)

        def meet(step: str) -> None:
            if step == "before the vendor is asked":
                meeting.wait()

        task.vendor.on_step = meet

        def attempt(_: int) -> Any:
            writer = Task(vendor=task.vendor, store=task.store, ti=TaskInstance(try_number=2))
            return writer.attempt(save_to=str(tmp_path))

        with ThreadPoolExecutor(2) as pool:
            one, other = pool.map(attempt, range(2))
        assert task.orders == 1
        assert one["video_path"] == other["video_path"]
        assert Path(one["video_path"]).read_bytes() == VIDEO
        assert Path(one["last_frame_path"]).read_bytes() == FRAME
        assert len(files_in(tmp_path)) == 3


class TestAFailedGenerationWithAVideo:
    def test_fails_but_its_files_are_kept_and_named(self, results: Results, tmp_path: Path, deferrable: bool) -> None:
        fate = finished(results) | {"error": {"code": "003005095", "error_message": "Watermarking failed"}}
        task = Task(vendor=Vendor(fates=[fate, finished(results, 2)]))
        with pytest.raises(SparkDanceError, match="Watermarking failed") as failure:
            task.attempt(save_to=str(tmp_path), deferrable=deferrable, on_existing="reuse")
        for ending in ("mp4", "png", "json"):
            assert f"{tmp_path}/campaign.manual__1.render-sd-1.{ending}" in str(failure.value)
        assert (tmp_path / "campaign.manual__1.render-sd-1.mp4").read_bytes() == VIDEO
        result = task.retry().attempt(save_to=str(tmp_path), deferrable=deferrable, on_existing="reuse")
        assert (result["generation_id"], task.orders) == ("sd-2", 2), "a failed one is never reused"

    def test_fails_with_its_own_reason_where_its_files_cannot_be_kept(
        self, results: Results, tmp_path: Path, sleeps: list[float]
    ) -> None:
        results.put("/sd-1.mp4", Answer(status=500))
        fate = finished(results) | {"error": {"code": "003005095", "error_message": "Watermarking failed"}}
        with capture_logs() as lines, pytest.raises(SparkDanceError, match="Watermarking failed"):
            Task(vendor=Vendor(fates=[fate])).attempt(save_to=str(tmp_path))
        assert "couldn't be kept" in warnings_of(lines)

    def test_without_one_keeps_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(SparkDanceError):
            Task(vendor=Vendor(fates=[failed()])).attempt(save_to=str(tmp_path))
        assert files_in(tmp_path) == []


class TestAClearWithAnotherRequest:
    def test_keeps_the_old_video_where_it_is_done(self, results: Results, tmp_path: Path) -> None:
        task = killed(task_of(results), "before the vendor is asked", save_to=str(tmp_path))
        result = task.clear().attempt(save_to=str(tmp_path), prompt="coffee")
        assert (result["generation_id"], task.orders) == ("sd-2", 2)
        assert (tmp_path / "campaign.manual__1.render-sd-1.mp4").read_bytes() == VIDEO
        manifest = json.loads((tmp_path / "campaign.manual__1.render-sd-1.json").read_text())
        assert manifest["request"] is None, "what was asked then isn't known any more"

    def test_orders_the_new_one_though_the_old_one_cannot_be_kept(
        self, results: Results, tmp_path: Path, sleeps: list[float]
    ) -> None:
        results.put("/sd-1.mp4", Answer(status=403))
        task = killed(task_of(results), "before the vendor is asked", save_to=str(tmp_path))
        assert task.clear().attempt(save_to=str(tmp_path), prompt="coffee")["generation_id"] == "sd-2"

    def test_finds_its_own_request_again_after_both(self, results: Results, tmp_path: Path) -> None:
        task = killed(task_of(results), "before the vendor is asked", save_to=str(tmp_path))
        task.clear().attempt(save_to=str(tmp_path), prompt="coffee")
        result = task.clear().attempt(save_to=str(tmp_path), on_existing="reuse")
        assert (result["generation_id"], task.orders) == ("sd-1", 2)


def test_a_retry_says_in_the_manifest_what_has_changed_since_the_order(results: Results, tmp_path: Path) -> None:
    task = killed(task_of(results), "before the vendor is asked", save_to=str(tmp_path))
    result = task.retry().attempt(save_to=str(tmp_path), prompt="coffee")
    request = json.loads(Path(result["manifest_path"]).read_text())["request"]
    assert request == {"resolution": "480p", "not_recorded": ["prompt"]}


class TestOnExisting:
    def test_reuse_orders_nothing_where_the_video_is_kept(
        self, results: Results, tmp_path: Path, deferrable: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = task_of(results)
        first = task.attempt(save_to=str(tmp_path), deferrable=deferrable)
        counted: list[Any] = []
        monkeypatch.setattr(
            "airflow_provider_spark.operators.receipts.Receipts.ended", lambda *a, **k: counted.append(a)
        )
        again = task.clear().attempt(save_to=str(tmp_path), deferrable=deferrable, on_existing="reuse")
        assert again == first
        assert (task.orders, counted) == (1, [])
        assert task.ti.xcoms["generation_id"] == "sd-1"

    def test_reuse_finds_it_whatever_the_files_are_called_now(self, results: Results, tmp_path: Path) -> None:
        task = task_of(results)
        first = task.attempt(save_to=str(tmp_path), name="spring")
        assert task.clear().attempt(save_to=str(tmp_path), name="summer", on_existing="reuse") == first

    def test_reuse_finds_it_in_a_folder_that_was_moved(self, results: Results, tmp_path: Path) -> None:
        task = task_of(results)
        task.attempt(save_to=f"{tmp_path}/old")
        (tmp_path / "old").rename(tmp_path / "new")
        result = task.clear().attempt(save_to=f"{tmp_path}/new", on_existing="reuse")
        assert Path(result["video_path"]).read_bytes() == VIDEO
        assert task.orders == 1

    def test_render_orders_anew_and_names_the_earlier_one_and_its_cost(self, results: Results, tmp_path: Path) -> None:
        task = task_of(results)
        task.attempt(save_to=str(tmp_path))
        with capture_logs() as lines:
            assert task.clear().attempt(save_to=str(tmp_path))["generation_id"] == "sd-2"
        assert "sd-1" in warnings_of(lines)
        assert "0.1215 USD" in warnings_of(lines)

    @pytest.mark.parametrize(
        "other",
        [{"ti": {"map_index": 1}}, {"ti": {"run_id": "manual__2"}}, {"ti": {"task_id": "other"}}, {"prompt": "coffee"}],
    )
    def test_reuse_never_takes_another_tasks_or_requests_video(
        self, results: Results, tmp_path: Path, other: dict[str, Any]
    ) -> None:
        vendor = task_of(results).vendor
        Task(vendor=vendor).attempt(save_to=str(tmp_path))
        task = Task(vendor=vendor, ti=TaskInstance(**other.get("ti", {})))
        parameters = {"prompt": other["prompt"]} if "prompt" in other else {}
        assert task.attempt(save_to=str(tmp_path), on_existing="reuse", **parameters)["generation_id"] == "sd-2"

    @pytest.mark.parametrize("ending", ["mp4", "png"])
    def test_reuse_orders_where_a_file_is_gone_or_not_as_it_was(
        self, results: Results, tmp_path: Path, ending: str
    ) -> None:
        task = task_of(results)
        task.attempt(save_to=str(tmp_path))
        file = tmp_path / f"campaign.manual__1.render-sd-1.{ending}"
        file.write_bytes(file.read_bytes()[:-1])
        with capture_logs() as lines:
            assert task.clear().attempt(save_to=str(tmp_path), on_existing="reuse")["generation_id"] == "sd-2"
        assert file.name in warnings_of(lines)
        file.unlink()
        assert task.clear().attempt(save_to=str(tmp_path), on_existing="reuse")["generation_id"] == "sd-2"
        assert task.orders == 2

    @pytest.mark.parametrize("content", ["{", '{"format": 2}', '{"format": 1}', "[]", ""])
    def test_reuse_pays_for_nothing_where_the_manifest_cannot_be_read(
        self, results: Results, tmp_path: Path, content: str
    ) -> None:
        task = task_of(results)
        manifest = Path(task.attempt(save_to=str(tmp_path))["manifest_path"])
        manifest.write_text(content)
        with pytest.raises(AirflowFailException, match="Nothing was ordered") as failure:
            task.clear().attempt(save_to=str(tmp_path), on_existing="reuse")
        assert str(manifest) in str(failure.value)
        assert task.orders == 1
        assert task.clear().attempt(save_to=str(tmp_path))["generation_id"] == "sd-2"

    def test_reuse_pays_for_nothing_while_the_folder_cannot_be_read(
        self, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = task_of(results)
        task.attempt(save_to=str(tmp_path))

        def broken(*_: Any, **__: Any) -> Any:
            raise TimeoutError("no answer")

        with monkeypatch.context() as outage:
            outage.setattr("fsspec.implementations.local.LocalFileSystem.open", broken)
            with pytest.raises(SparkDanceStorageError, match="Nothing was ordered"):
                task.clear().attempt(save_to=str(tmp_path), on_existing="reuse")
        assert task.orders == 1

    def test_a_paid_order_is_taken_up_before_anything_is_reused(self, results: Results, tmp_path: Path) -> None:
        task = task_of(results)
        task.attempt(save_to=str(tmp_path))
        killed(task.clear(), "before the vendor is asked", save_to=str(tmp_path))
        result = task.retry().attempt(save_to=str(tmp_path), on_existing="reuse")
        assert (result["generation_id"], task.orders) == ("sd-2", 2)

    def test_takes_no_other_word(self, results: Results) -> None:
        with pytest.raises(AirflowFailException, match="on_existing"):
            task_of(results).attempt(on_existing="maybe")


class TestOnS3:
    def test_a_video_is_kept_found_again_and_named_with_its_connection(
        self, results: Results, s3_server: S3Server, deferrable: bool
    ) -> None:
        task = task_of(results)
        folder = s3_path("campaign")
        result = task.attempt(save_to=folder, deferrable=deferrable)
        assert result["video_path"] == f"{folder}/campaign.manual__1.render-sd-1.mp4"
        assert ObjectStoragePath(result["video_path"]).read_bytes() == VIDEO
        kinds = {
            Path(key).suffix: s3_server.client().head_object(Bucket=BUCKET, Key=key)["ContentType"]
            for key in s3_server.stored()
            if key.startswith("campaign/campaign.")
        }
        assert kinds == {".mp4": "video/mp4", ".png": "image/png", ".json": "application/json"}
        assert not [key for key in s3_server.stored() if key.endswith(".part")]
        assert task.clear().attempt(save_to=folder, on_existing="reuse") == result
        assert task.orders == 1

    def test_a_bucket_that_is_not_there_loses_no_video(self, results: Results, s3_server: S3Server) -> None:
        task = task_of(results)
        with pytest.raises(SparkDanceStorageRefusedError, match="bucket") as failure:
            task.attempt(save_to=f"s3://{CONNECTION}@no-such-bucket/clips")
        assert "/sd-1.mp4?signature=1" in str(failure.value)
        assert task.retry().attempt(save_to=s3_path(""))["video_path"]
        assert task.orders == 1


def test_folder_and_name_of_a_mapped_clip_are_templates() -> None:
    written = dag(folder="/srv/clips")
    with written:
        mapped = SparkDanceGenerateVideoOperator.partial(
            task_id="render", save_to="{{ params.folder }}/{{ ds }}", name="{{ '%02d' | format(ti.map_index) }}"
        ).expand(prompt=["tea", "coffee"])
    ti = MappedTaskInstance(map_index=1, task=mapped)
    facts = {"dag": written, "dag_run": SimpleNamespace(conf={}), "params": {"folder": "/srv/clips"}}
    mapped.render_template_fields(context_of(ti, **facts))
    assert (ti.task.save_to, ti.task.name, ti.task.prompt) == ("/srv/clips/2027-01-15", "01", "coffee")
