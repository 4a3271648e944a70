from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_spark.api.errors import SparkDanceError
from airflow_provider_spark.api.request import VideoRequest
from airflow_provider_spark.emulator import Clock, RunningEmulator, running_emulator
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.media.film import SparkDanceFilmError
from airflow_provider_spark.operators.film import SparkDanceConcatenateVideosOperator
from tests.s3 import BUCKET, S3Server, s3_path
from tests.unit.hooks.helpers import CONN_ID, store_connection
from tests.unit.media.clips import clip, shades
from tests.unit.operators.test_generate_video import NOON, TaskInstance, context_of


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningEmulator]:
    with running_emulator(render_seconds=10, seed=7, clock=Clock(frozen_at=NOON)) as running:
        store_connection(monkeypatch, host=running.base_url, password=running.api_key)
        yield running


@pytest.fixture(autouse=True)
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, so that a test can see what is left of them."""
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(rooms))
    return rooms


def result(number: int, **known: Any) -> dict[str, Any]:
    facts = {"generation_id": f"sd-{number}", "status": "completed", "video_path": None, "video_url": None}
    return facts | {"cost_usd": 0.1, "estimated_cost_usd": 0.2, "map_index": -1} | known


def film(clips: Any, save_to: Any, **parameters: Any) -> SparkDanceConcatenateVideosOperator:
    return SparkDanceConcatenateVideosOperator(
        task_id="film", clips=clips, save_to=str(save_to), spark_dance_conn_id=CONN_ID, **parameters
    )


def context() -> Any:
    return context_of(TaskInstance(task_id="spot.film", run_id="scheduled__2027-01-15T00:00:00+00:00"))


def test_stored_clips_become_a_film_in_their_order_with_the_sum_of_their_costs(tmp_path: Path, rooms: Path) -> None:
    clips = [
        result(number, video_path=(clip(tmp_path / f"{number}.mp4", frames=frames, shade=shade)).as_uri())
        for number, (frames, shade) in enumerate([(29, 60), (33, 200), (37, 120)])
    ]
    told = film(clips, tmp_path / "films" / "new").execute(context())
    path = told.pop("film_path")  # type: ignore[misc]
    assert told == {
        "duration": pytest.approx(99 / 24, abs=0.001),
        "frames": 99,
        "fps": 24,
        "width": 96,
        "height": 64,
        "encoded": False,
        "clips": 3,
        "cost_usd": 0.3,
        "estimated_cost_usd": 0.6,
        "generation_ids": ["sd-0", "sd-1", "sd-2"],
    }
    (file,) = (tmp_path / "films" / "new").iterdir()
    assert Path(path) == file
    assert [shade for _, shade in shades(file)] == pytest.approx([60] * 29 + [200] * 33 + [120] * 37, abs=3)
    assert list(rooms.iterdir()) == []


def test_a_retry_writes_the_same_file_and_other_clips_another(tmp_path: Path) -> None:
    clips = [result(number, video_path=str(clip(tmp_path / f"{number}.mp4"))) for number in range(2)]
    films = tmp_path / "films"
    paths = [film(these, films).execute(context())["film_path"] for these in (clips, clips, clips[::-1])]
    assert paths[0] == paths[1] != paths[2]
    names = sorted(path.name for path in films.iterdir())
    assert len(names) == 2
    assert all(name.startswith("campaign.scheduled__2027-01-15T00-00-00-00-00.spot.film-") for name in names)


def test_a_name_is_made_safe_for_a_path(tmp_path: Path) -> None:
    clips = [result(1, video_path=str(clip(tmp_path / "1.mp4")))]
    path = film(clips, tmp_path, name="../Tea & 茶/ spot").execute(context())["film_path"]
    assert Path(path).name.startswith("Tea-spot-")
    assert Path(path).parent == tmp_path


def test_clips_that_differ_are_encoded_and_the_result_says_so(tmp_path: Path) -> None:
    clips = [
        result(1, video_path=str(clip(tmp_path / "1.mp4"))),
        result(2, video_path=str(clip(tmp_path / "2.mp4", size=(64, 96))), cost_usd=None),
    ]
    told = film(clips, tmp_path / "films").execute(context())
    assert (told["encoded"], told["frames"], told["cost_usd"]) == (True, 58, None)


def test_what_was_rendered_is_joined_frame_by_frame_from_its_urls(emulator: RunningEmulator, tmp_path: Path) -> None:
    hook = SparkDanceHook(CONN_ID)
    asked = [VideoRequest.compose(prompt="tea", resolution="480p", frames=frames) for frames in (29, 33)]
    ids = [hook.submit(request).id for request in asked]
    emulator.clock.advance(60)
    urls = [hook.get_generation(str(generation_id)).video_url for generation_id in ids]
    # The second URL has expired by now; it is asked for anew.
    clips = [
        result(1, generation_id=ids[0], video_url=urls[0]),
        result(2, generation_id=ids[1], video_url=f"{emulator.base_url}/results/gone.mp4"),
    ]
    told = film(clips, tmp_path).execute(context())
    assert (told["frames"], told["width"], told["height"], told["encoded"]) == (62, 864, 480, False)
    assert len(shades(Path(told["film_path"].removeprefix("file://")))) == 62
    assert emulator.stats()["submits_accepted"] == 2


def test_a_video_that_is_gone_is_named_and_how_to_keep_the_next(emulator: RunningEmulator, tmp_path: Path) -> None:
    gone = result(1, generation_id="sd-unheard-of", video_url=f"{emulator.base_url}/results/gone.mp4")
    with pytest.raises(SparkDanceError, match=r"sd-unheard-of"):
        film([gone], tmp_path).execute(context())


def test_a_damaged_clip_is_named_and_leaves_no_film(tmp_path: Path, rooms: Path) -> None:
    (tmp_path / "2.mp4").write_bytes(b"<html>Expired</html>" * 40)
    clips = [
        result(1, video_path=str(clip(tmp_path / "1.mp4"))),
        result(2, video_path=str(tmp_path / "2.mp4")),
    ]
    films = tmp_path / "films"
    with pytest.raises(SparkDanceFilmError, match="generation sd-2 is no video"):
        film(clips, films).execute(context())
    assert not films.exists()
    assert list(rooms.iterdir()) == []


def test_without_a_folder_nothing_is_fetched(tmp_path: Path, emulator: RunningEmulator) -> None:
    with pytest.raises(AirflowFailException, match="no folder for the film"):
        film([result(1, video_path=str(tmp_path / "none.mp4"))], "").execute(context())


@pytest.mark.parametrize(
    ("clips", "told"),
    [
        ([], "clips is empty"),
        ("a.mp4", "must be a list of render results, not str"),
        ([None], "number 1 isn't the result of a render: NoneType"),
        ([result(1, status="in_progress")], "generation sd-1 is in_progress: it wasn't waited for"),
    ],
)
def test_what_is_no_list_of_finished_clips_fails_for_good(tmp_path: Path, clips: Any, told: str) -> None:
    with pytest.raises(AirflowFailException, match=told):
        film(clips, tmp_path).execute(context())


def test_a_film_is_made_from_s3_to_s3_and_leaves_nothing_else_there(tmp_path: Path, s3_server: S3Server) -> None:
    clips = []
    for number in range(2):
        stored = s3_server.put(f"clips/{number}.mp4", clip(tmp_path / f"{number}.mp4").read_bytes())
        clips.append(result(number, video_path=stored))
    told = film(clips, s3_path("films"), name="spot").execute(context())
    (key,) = [key for key in s3_server.stored() if key.startswith("films/")]
    assert told["film_path"] == s3_path(key)
    kept = s3_server.client().get_object(Bucket=BUCKET, Key=key)
    assert kept["ContentType"] == "video/mp4"
    (tmp_path / "film.mp4").write_bytes(kept["Body"].read())
    assert len(shades(tmp_path / "film.mp4")) == told["frames"] == 58


def test_a_stored_clip_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = result(1, video_path=str(tmp_path / "gone.mp4"))
    with pytest.raises(SparkDanceError, match=r"gone\.mp4 can't be read \(FileNotFoundError"):
        film([gone], tmp_path).execute(context())
