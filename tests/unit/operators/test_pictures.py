"""Frames as a task names them, and what becomes of them over its attempts."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, ObjectStoragePath

from airflow_provider_spark.api.errors import SparkDancePictureUnavailableError, SparkDanceRequestError
from airflow_provider_spark.api.picture import Picture
from airflow_provider_spark.operators import in_place
from airflow_provider_spark.operators.pictures import frame_source
from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator
from tests.unit.api.frame_files import data_uri, decoded, flat_picture, opened, picture, turned_picture
from tests.unit.hooks.helpers import deaf_port, every_text_of, stranger
from tests.unit.operators.paying import MODERATED, RENDERING, Task, Vendor, completed, killed, sleeps

__all__ = ["sleeps"]  # a fixture

ASKED = "before the vendor is asked"
URL = "https://results.example/last.png?signature=hush"
RESULT: dict[str, Any] = {
    "generation_id": "sd-7",
    "video_url": "https://results.example/a.mp4",
    "last_frame_url": URL,
    "last_frame_path": None,
}


def refusal_of(value: Any) -> str:
    with pytest.raises(SparkDanceRequestError) as refusal:
        frame_source("first_frame", value)
    return str(refusal.value)


class TestTheSource:
    @pytest.mark.parametrize("value", [None, "", " ", "None"])
    def test_may_be_left_out(self, value: Any) -> None:
        assert frame_source("first_frame", value) is None

    @pytest.mark.parametrize(
        "value", [URL, "/data/a.png", "a.png", "~/a.png", "s3://aws_default@bucket/a.png", "{a}.png"]
    )
    def test_is_an_address(self, value: str) -> None:
        assert frame_source("first_frame", value) == value

    def test_may_be_a_path_object(self) -> None:
        assert frame_source("first_frame", PurePosixPath("/data/a.png")) == "/data/a.png"
        assert frame_source("first_frame", ObjectStoragePath("file:///data/a.png")) == "file:///data/a.png"

    def test_may_be_an_earlier_render_by_its_kept_copy_or_else_by_its_url(self) -> None:
        assert frame_source("first_frame", RESULT) == URL
        kept = RESULT | {"last_frame_path": "s3://aws_default@bucket/last.png"}
        assert frame_source("first_frame", kept) == "s3://aws_default@bucket/last.png"

    def test_is_missing_where_the_earlier_render_kept_no_last_frame(self) -> None:
        text = refusal_of(RESULT | {"last_frame_url": None})
        assert "'sd-7'" in text
        assert "return_last_frame=True" in text

    @pytest.mark.parametrize("value", [{}, {"url": URL}])
    def test_is_no_other_object(self, value: Any) -> None:
        assert "neither a last_frame_path nor a last_frame_url" in refusal_of(value)

    @pytest.mark.parametrize("text", [repr(RESULT), f" {RESULT!r}\n", json.dumps(RESULT), repr([RESULT])])
    def test_is_no_result_as_text(self, text: str) -> None:
        told = refusal_of(text)
        assert "first_frame=task.output" in told
        assert "render_template_as_native_obj" in told
        assert "hush" not in told

    def test_is_one_and_not_many(self) -> None:
        assert "expand(first_frame=task.output)" in refusal_of([RESULT, RESULT])

    @pytest.mark.parametrize("value", [5, True, b"bytes", object()])
    def test_is_nothing_else(self, value: Any) -> None:
        assert "first_frame must be an http(s) URL, a path" in refusal_of(value)

    def test_is_no_picture(self) -> None:
        for value in (data_uri(picture()), RESULT | {"last_frame_path": data_uri(picture())}):
            text = refusal_of(value)
            assert "is a data URI" in text
            assert len(text) < 400


class TestAnOrder:
    def test_has_the_pictures_with_it(self, tmp_path: Path) -> None:
        first, last = picture("jpeg"), picture("png", 500, 500)
        (tmp_path / "a").write_bytes(first)
        (tmp_path / "b").write_bytes(last)
        task = Task()
        task.attempt(first_frame=str(tmp_path / "a"), last_frame=f"file://{tmp_path}/b", prompt=None)
        (request,) = task.vendor.orders.values()
        assert (request.first_frame, request.last_frame) == (data_uri(first, "jpeg"), data_uri(last))
        assert [item["role"] for item in request.params()["content"]] == ["first_frame", "last_frame"]

    def test_with_one_in_a_file_and_one_on_the_web_has_both(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(picture())
        task = Task()
        task.attempt(first_frame=RESULT, last_frame=str(tmp_path / "a"))
        (request,) = task.vendor.orders.values()
        assert request.first_frame == URL
        assert request.last_frame is not None
        assert request.last_frame.startswith("data:image/png;base64,")

    def test_is_estimated_by_the_picture_that_goes_with_it(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "wide").write_bytes(flat_picture("png", 2100, 900))
        Task().attempt(first_frame=str(tmp_path / "wide"))
        assert "Ordering 960x416" in capsys.readouterr().out
        Task().attempt(first_frame=URL)
        assert "Ordering at most 864x480" in capsys.readouterr().out

    def test_keeps_the_picture_out_of_all_that_is_stored_or_shown(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = picture()
        (tmp_path / "a").write_bytes(data)
        task = Task(ledger_path=str(tmp_path / "ledger"))
        operator = task.operator(first_frame=str(tmp_path / "a"))
        result = task.run(operator)
        assert task.store is not None
        kept = [path.read_text() for path in (tmp_path / "ledger").rglob("*.json")]
        rendered = [repr(getattr(operator, name)) for name in operator.template_fields]
        everything = [capsys.readouterr().out, repr(result), repr(task.ti.xcoms), *task.store.values.values()]
        for text in [*everything, *kept, *rendered, repr(vars(operator))]:
            assert "base64" not in text.replace("data:image/png;base64,<", "")
            assert data_uri(data)[100:160] not in text

    def test_is_refused_before_any_call_where_a_picture_breaks_a_limit(self, tmp_path: Path) -> None:
        (tmp_path / "small").write_bytes(flat_picture("png", 300, 300))
        task = Task()
        with pytest.raises(AirflowFailException, match=r"first_frame \(.*small\): the picture is 300 x 300 px"):
            task.attempt(first_frame=str(tmp_path / "small"))
        with pytest.raises(AirflowFailException, match=r"isn't there\. Tried"):
            task.retry().attempt(first_frame="none.png")
        assert task.orders == 0

    def test_that_breaks_another_limit_has_no_picture_read(self, tmp_path: Path) -> None:
        with pytest.raises(AirflowFailException, match="duration"):
            Task().attempt(first_frame=str(tmp_path / "none.png"), duration=13)

    def test_is_tried_again_where_the_storage_is_down(
        self, sleeps: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(in_place, "PATIENCE", 3.0)
        secret = "signature=" + "hush" * 3
        task = Task()
        with deaf_port() as port, pytest.raises(SparkDancePictureUnavailableError) as outage:
            task.attempt(first_frame=f"http://127.0.0.1:{port}/a.png?{secret}", embed_frames=True)
        assert sleeps, "first in place"
        assert secret not in every_text_of(outage.value)
        assert task.orders == 0
        with stranger(body=picture()) as host:
            assert task.retry().attempt(first_frame=f"{host.url}/a.png", embed_frames="true")
        assert task.orders == 1

    def test_has_a_picture_upright_where_that_is_asked_for(self, tmp_path: Path) -> None:
        (tmp_path / "phone.jpg").write_bytes(turned_picture())
        task = Task()
        with pytest.raises(AirflowFailException, match="fit_frames=True has it sent upright"):
            task.attempt(first_frame=str(tmp_path / "phone.jpg"))
        task.retry().attempt(first_frame=str(tmp_path / "phone.jpg"), fit_frames="True")
        (request,) = task.vendor.orders.values()
        assert request.first_frame_picture == Picture("jpeg", 480, 640)
        assert opened(decoded(request.first_frame or "")).size == (480, 640)

    def test_after_moderation_has_the_picture_again(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(picture())
        task = Task(Vendor(fates=[MODERATED]))
        task.attempt(first_frame=str(tmp_path / "a"), on_moderation="resubmit", deferrable=True)
        frames = [request.first_frame for request in task.vendor.orders.values()]
        assert len(frames) == 2
        assert frames[0] == frames[1]
        assert len({request.seed for request in task.vendor.orders.values()}) == 2


@pytest.fixture
def frame(tmp_path: Path) -> Path:
    path = tmp_path / "frame.png"
    path.write_bytes(picture())
    return path


def rendering(frame: Path) -> Task:
    """A task that has died after its order, whose clip is ready by now."""
    task = Task(Vendor(fates=[RENDERING]))
    killed(task, ASKED, first_frame=str(frame))
    task.vendor.renders["sd-1"] = completed()
    return task


class TestAPaidRender:
    @pytest.mark.parametrize("again", [Task.retry, Task.clear], ids=["retry", "clear"])
    @pytest.mark.parametrize("what", ["same", "gone", "a folder", "broken", "text of a result", "no last frame"])
    def test_is_taken_up_whatever_became_of_its_picture(self, again: Any, what: str, frame: Path) -> None:
        task = rendering(frame)
        value: Any = str(frame)
        if what in ("gone", "a folder"):
            frame.unlink()
        if what == "a folder":
            frame.mkdir()
        if what == "broken":
            frame.write_bytes(frame.read_bytes()[:500])
        if what == "text of a result":
            value = repr(RESULT)
        if what == "no last frame":
            value = RESULT | {"last_frame_url": None}
        assert again(task).attempt(first_frame=value)["generation_id"] == "sd-1"
        assert task.orders == 1

    @pytest.mark.parametrize("again", [Task.retry, Task.clear], ids=["retry", "clear"])
    def test_is_taken_up_while_the_storage_is_down(self, again: Any, sleeps: list[float]) -> None:
        with stranger(body=picture()) as host:
            task = Task(Vendor(fates=[RENDERING]))
            killed(task, ASKED, first_frame=f"{host.url}/a.png", embed_frames=True)
        task.vendor.renders["sd-1"] = completed()
        sleeps.clear()
        assert again(task).attempt(first_frame=f"{host.url}/a.png", embed_frames=True)["generation_id"] == "sd-1"
        assert not sleeps, "nothing is waited for"

    def test_has_no_picture_read_by_a_retry_or_when_it_is_delivered(self, frame: Path) -> None:
        with stranger(body=frame.read_bytes()) as host:
            task = Task(Vendor(fates=[RENDERING]))
            how: dict[str, Any] = {"first_frame": f"{host.url}/a.png", "embed_frames": True}
            killed(task, ASKED, **how)
            task.vendor.renders["sd-1"] = completed()
            task.retry().attempt(**how, deferrable=True)
            task.loses_kwargs = True
            task.retry().attempt(**how, deferrable=True)
            assert len(host.asked) == 1

    def test_is_the_same_order_by_the_bytes_of_its_picture(self, frame: Path, tmp_path: Path) -> None:
        task = rendering(frame)
        moved = frame.rename(tmp_path / "moved.jpg")
        assert task.clear().attempt(first_frame=str(moved))["generation_id"] == "sd-1"

    def test_makes_place_after_a_clear_with_another_picture(
        self, frame: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        task = rendering(frame)
        frame.write_bytes(flat_picture("png", 500, 500))
        assert task.clear().attempt(first_frame=str(frame))["generation_id"] == "sd-2"
        assert "its request has changed (first_frame)" in capsys.readouterr().out

    @pytest.mark.parametrize("change", ["added", "removed"])
    def test_makes_place_after_a_clear_with_a_frame_more_or_less(self, change: str, frame: Path) -> None:
        task = Task(Vendor(fates=[RENDERING]))
        one: dict[str, Any] = {"first_frame": str(frame)}
        two = one | {"last_frame": str(frame)}
        before, after = (one, two) if change == "added" else (two, one)
        killed(task, ASKED, **before)
        task.vendor.renders["sd-1"] = completed()
        assert task.clear().attempt(**after)["generation_id"] == "sd-2"

    def test_that_was_delivered_needs_its_picture_only_for_a_new_order(self, frame: Path) -> None:
        task = Task()
        task.attempt(first_frame=str(frame))
        frame.unlink()
        assert task.retry().attempt(first_frame=str(frame))["generation_id"] == "sd-1"
        with pytest.raises(AirflowFailException, match="isn't there"):
            task.clear().attempt(first_frame=str(frame))
        assert task.orders == 1


def test_the_output_of_another_task_is_its_result() -> None:
    class Instance:
        def xcom_pull(self, *, task_ids: str, **_: Any) -> Any:
            assert task_ids == "opening"
            return RESULT

    with DAG("shots", schedule=None):
        opening = SparkDanceGenerateVideoOperator(task_id="opening", prompt="tea", return_last_frame=True)
        closing = SparkDanceGenerateVideoOperator(task_id="closing", first_frame=opening.output)
    assert closing.upstream_task_ids == {"opening"}
    ti: Any = Instance()
    closing.render_template_fields({"ti": ti, "expanded_ti_count": None})
    assert frame_source("first_frame", closing.first_frame) == URL
