from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException
from airflow.sdk import task, task_group
from airflow.serialization import serialized_objects

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator
from airflow_provider_spark.operators.storyboard import SparkDanceStoryboard
from tests.unit.hooks.helpers import CONN_ID, store_connection

BOAT = {"prompt": "A paper boat at the kerb, first drops of rain", "seconds": 4}
SAILS = {"prompt": "The boat is lifted by the water and sails off", "seconds": 2.4}
HARBOUR = {"scene": "harbour", "prompt": "A wide river mouth at dusk", "duration": 5}


@pytest.fixture
def dag() -> Iterator[DAG]:
    with DAG("campaign", schedule=None, start_date=datetime(2027, 1, 1, tzinfo=UTC)) as written:
        yield written


def problems(shots: Any, **parameters: Any) -> tuple[str, ...]:
    with pytest.raises(SparkDanceRequestError) as caught:
        SparkDanceStoryboard("film", shots=shots, **parameters)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def storyboard(*shots: dict[str, Any], **parameters: Any) -> SparkDanceStoryboard:
    return SparkDanceStoryboard("film", shots=shots, spark_dance_conn_id=CONN_ID, **parameters)


class TestItsTasks:
    def test_are_a_check_the_shots_in_their_order_and_the_film(self, dag: DAG) -> None:
        storyboard(BOAT, SAILS, HARBOUR)
        assert dag.task_ids == ["film.check", "film.shot_01", "film.shot_02", "film.shot_03", "film.film"]

    def test_wait_for_the_shot_before_them_in_their_scene_and_for_no_other_scene(self, dag: DAG) -> None:
        storyboard(BOAT, SAILS, HARBOUR, {"prompt": "A tanker passes"}, {"scene": None, "prompt": "Back at the kerb"})
        upstream = {task.task_id[-2:]: task.upstream_task_ids for task in dag.tasks if "shot" in task.task_id}
        assert upstream == {
            "01": {"film.check"},
            "02": {"film.shot_01"},
            "03": {"film.check"},
            "04": {"film.shot_03"},
            "05": {"film.shot_02"},
        }
        assert dag.get_task("film.film").upstream_task_ids == {f"film.shot_0{number}" for number in range(1, 6)}

    def test_leave_the_film_away_where_none_is_wanted(self, dag: DAG) -> None:
        board = storyboard(BOAT, SAILS, film=False)
        assert board.film is None
        with pytest.raises(SparkDanceRequestError, match=r"take shots\[-1\]\.output"):
            board.output  # noqa: B018
        assert dag.task_ids == ["film.check", "film.shot_01", "film.shot_02"]

    def test_can_come_after_and_before_others(self, dag: DAG) -> None:
        @task
        def other() -> None: ...

        before, after = other.override(task_id="before")(), other.override(task_id="after")()
        before >> storyboard(BOAT, SAILS) >> after
        assert dag.get_task("film.check").upstream_task_ids == {"before"}
        assert dag.get_task("after").upstream_task_ids == {"film.film"}

    def test_give_the_films_result_to_those_behind_them(self, dag: DAG) -> None:
        @task
        def premiere(film: Any) -> None: ...

        premiere(storyboard(BOAT, SAILS).output)
        assert dag.get_task("premiere").upstream_task_ids == {"film.film"}

    def test_survive_the_serialization_of_their_dag(self, dag: DAG) -> None:
        storyboard(BOAT, SAILS)
        found = vars(serialized_objects)
        serialization = found.get("DagSerialization") or found["SerializedDAG"]
        again = serialization.from_dict(json.loads(json.dumps(serialization.to_dict(dag))))
        assert set(again.task_dict) == set(dag.task_ids)
        assert again.get_task("film.shot_02").upstream_task_ids == {"film.shot_01"}


class TestAShot:
    def test_has_its_own_values_over_those_for_all_and_returns_its_last_frame(self, dag: DAG) -> None:
        one, two = storyboard(BOAT, SAILS | {"resolution": "480p", "seed": 7}, resolution="720p", timeout=900).shots
        assert (one.prompt, one.resolution, one.timeout, one.return_last_frame) == (BOAT["prompt"], "720p", 900, True)
        assert (two.resolution, two.seed, two.timeout, two.return_last_frame) == ("480p", 7, 900, True)

    def test_of_whole_seconds_asks_for_a_duration_and_of_others_for_the_nearest_frames(self, dag: DAG) -> None:
        one, two, three = storyboard(BOAT, SAILS, {"prompt": "tea", "seconds": "12.04"}, duration=9).shots
        assert (one.duration, one.frames) == (4, None)
        assert (two.duration, two.frames) == (None, 57)
        assert (three.duration, three.frames) == (None, 289)

    def test_without_a_length_has_the_length_for_all(self, dag: DAG) -> None:
        (one,) = storyboard({"prompt": "tea"}, seconds=2.4).shots
        assert (one.duration, one.frames) == (None, 57)

    def test_starts_with_what_the_one_before_has_left(self, dag: DAG) -> None:
        one, two = storyboard(BOAT | {"first_frame": "https://example.com/kerb.png"}, SAILS).shots
        assert one.first_frame == "https://example.com/kerb.png"
        assert [source.task_id for source, _ in two.first_frame.iter_references()] == [one.task_id]  # type: ignore[union-attr]

    def test_may_have_templates_and_other_tasks_outputs_in_its_fields(self, dag: DAG) -> None:
        @task
        def write() -> str:
            return "A paper boat"

        written = write()
        shot = {"prompt": written, "seconds": "{{ params.seconds }}", "resolution": "{{ params.resolution }}"}
        board = storyboard(shot, SAILS)
        assert board.shots[0].duration == "{{ params.seconds }}"
        assert board.shots[0].upstream_task_ids == {"film.check", "write"}
        assert board.check.upstream_task_ids == {"write"}

    def test_and_every_other_task_takes_what_any_airflow_task_takes(self, dag: DAG) -> None:
        board = storyboard(BOAT, SAILS | {"retries": 7}, retries=3, default_args={"owner": "marketing"})
        assert board.film is not None
        assert [task.retries for task in (board.check, *board.shots, board.film)] == [3, 3, 7, 3]
        assert {task.owner for task in dag.tasks} == {"marketing"}


class TestIsRefusedWhereItIsWritten:
    @pytest.mark.parametrize(
        ("shot", "told"),
        [
            ({}, "shot 2: prompt: is missing; say what happens in the shot"),
            ({"prompt": " "}, "shot 2: prompt: is missing; say what happens in the shot"),
            ({"prompt": "tea", "seconds": 13}, "shot 2: seconds = 13.0: must be from 1.21 to 12.04"),
            ({"prompt": "tea", "seconds": 1}, "shot 2: seconds = 1.0: must be from 1.21 to 12.04"),
            ({"prompt": "tea", "seconds": "long"}, "shot 2: seconds must be a number of seconds"),
            ({"prompt": "tea", "seconds": 4, "frames": 97}, "shot 2: seconds: stands beside frames"),
            ({"prompt": "tea", "duration": 1}, "shot 2: duration = 1: must be a whole number of seconds from 2 to 12"),
            ({"prompt": "tea", "resoluton": "480p"}, "shot 2: resoluton: is not a parameter; is resolution meant?"),
            ({"prompt": "tea", "resolution": "4k"}, "shot 2: resolution = '4k': must be 480p, 720p or 1080p"),
            ({"prompt": "tea", "timeout": "soon"}, "shot 2: timeout must be a number of seconds"),
            (
                {"prompt": "tea", "first_frame": "https://e.com/a.png"},
                "shot 2: first_frame: is set, but the shot starts",
            ),
            ({"prompt": "tea", "return_last_frame": False}, "shot 2: return_last_frame: every shot"),
            ({"prompt": "tea", "wait_for_completion": False}, "shot 2: wait_for_completion: a shot starts at"),
            ({"prompt": "tea", "on_moderation": "skip"}, 'shot 2: on_moderation: is "skip"'),
            ({"prompt": "tea", "task_id": "mine"}, "shot 2: task_id: the storyboard names its tasks"),
            ({"prompt": "tea", "scene": 2}, "shot 2: scene must be text"),
            ("a prompt", "shot 2: must be a dict with a prompt, not str"),
            (
                {"scene": "b", "prompt": "tea", "first_frame": "data:image/png;base64,QUJD"},
                "shot 2: first_frame is a data URI",
            ),
        ],
    )
    def test_a_shot_that_cant_be_right(self, dag: DAG, shot: Any, told: str) -> None:
        (problem,) = problems([BOAT, shot])
        assert problem.startswith(told)

    def test_with_every_problem_at_once(self, dag: DAG) -> None:
        found = problems([{"seconds": 99}, {"prompt": "tea", "ratio": "2:1"}, SAILS], resoluton="480p")
        assert [problem.partition(":")[0] for problem in found] == ["every shot", "shot 1", "shot 1", "shot 2"]

    @pytest.mark.parametrize("name", ["first_frame", "last_frame"])
    def test_a_picture_for_every_shot(self, dag: DAG, name: str) -> None:
        assert problems([BOAT], **{name: "https://example.com/a.png"})[0].startswith(f"every shot: {name}: belongs to")

    @pytest.mark.parametrize(
        ("shots", "told"),
        [
            ([], "shots: is empty"),
            ("{{ params.shots }}", "shots: is a template, and must be a list"),
            (BOAT, "shots: is a dict, and must be a list"),
            (None, "shots: is a NoneType, and must be a list"),
        ],
    )
    def test_what_is_no_list(self, dag: DAG, shots: Any, told: str) -> None:
        assert problems(shots)[0].startswith(told)

    def test_a_list_that_another_task_makes(self, dag: DAG) -> None:
        @task
        def write() -> list[dict[str, str]]:
            return [{"prompt": "tea"}]

        (problem,) = problems(write())
        assert problem.startswith("shots: is the output of another task, and must be a list of dicts in the DAG file")
        assert "before any of them runs" in problem

    def test_a_list_that_a_task_group_is_mapped_over(self, dag: DAG) -> None:
        @task_group
        def films(shots: Any) -> None:
            assert problems(shots)[0].startswith("shots: is a mapped argument")
            SparkDanceGenerateVideoOperator(task_id="render", prompt="tea")

        films.expand(shots=[[BOAT], [SAILS]])

    def test_and_leaves_no_half_of_it_in_the_dag(self, dag: DAG) -> None:
        problems([BOAT, {}])
        assert dag.task_ids == []


class TestItsCheck:
    @pytest.fixture(autouse=True)
    def connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store_connection(monkeypatch, password="key", extra={"price_per_million_tokens": 2.5})

    def test_adds_the_estimates_up_before_anything_is_ordered(self, dag: DAG, tmp_path: Any) -> None:
        board = storyboard(BOAT, SAILS, HARBOUR, resolution="480p", save_to=str(tmp_path))
        total = board.check.execute({})
        frames = 96 + 57 + 120
        assert total == {
            "shots": 3,
            "seconds": frames / 24,
            "frames": frames,
            # The later shots have the first one's ratio, so that the sum is exact.
            "estimated_cost_usd": pytest.approx(864 * 480 * frames / 1024 * 2.5 / 1_000_000),
            "exact": True,
        }

    def test_counts_a_shot_that_starts_with_a_picture_at_the_most_it_can_cost(self, dag: DAG, tmp_path: Any) -> None:
        pictured = BOAT | {"first_frame": "https://example.com/kerb.png"}
        total = storyboard(pictured, SAILS, save_to=str(tmp_path)).check.execute({})
        assert not total["exact"]
        assert total["estimated_cost_usd"] == pytest.approx(1920 * 1088 * 153 / 1024 * 2.5 / 1_000_000)

    def test_refuses_what_costs_too_much_together(self, dag: DAG, tmp_path: Any) -> None:
        board = storyboard(BOAT, SAILS, save_to=str(tmp_path), max_total_cost_usd="0.5")
        with pytest.raises(AirflowFailException, match=r"2 shots would cost about 0\.7803 USD together, more than"):
            board.check.execute({})

    def test_refuses_a_film_that_has_no_folder_to_go_to(self, dag: DAG) -> None:
        with pytest.raises(AirflowFailException, match="no folder for the film"):
            storyboard(BOAT, SAILS).check.execute({})
        assert storyboard(BOAT, SAILS, film=False, add_suffix_on_collision=True).check.execute({})

    def test_looks_at_rendered_templates_too(self, dag: DAG, tmp_path: Any) -> None:
        check = storyboard(BOAT, SAILS | {"seconds": "{{ seconds }}"}, save_to=str(tmp_path)).check
        check.render_template_fields({"seconds": 13})  # type: ignore[typeddict-unknown-key]
        with pytest.raises(AirflowFailException, match="shot 2: duration = 13: must be a whole number"):
            check.execute({})

    def test_wants_pyav_before_the_first_order_and_not_before(
        self, dag: DAG, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "av", None)
        board = storyboard(BOAT, SAILS, save_to=str(tmp_path))
        with pytest.raises(Exception, match=r"airflow-provider-spark\[film\]"):
            board.check.execute({})
