"""SparkDanceStoryboard: shots that follow each other, each started at the last frame of the one before, in one film."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.providers.common.compat.sdk import BaseOperator, TaskGroup

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook
from airflow_provider_spark.operators import plan, values
from airflow_provider_spark.operators.failures import failing_for_good
from airflow_provider_spark.operators.film import SparkDanceConcatenateVideosOperator, film_folder
from airflow_provider_spark.operators.groups import sorted_out
from airflow_provider_spark.operators.pictures import STAND_IN
from airflow_provider_spark.operators.shots import Shot, read_shots, render_time_problems
from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_spark.api.pricing import Estimate


class SparkDanceStoryboard(TaskGroup):
    """A task group that renders a list of shots, and joins them into one film.

    ::

        SparkDanceStoryboard(
            "film",
            shots=[
                {"prompt": "A paper boat at the kerb, first drops of rain", "seconds": 4},
                {"prompt": "The boat is lifted by the water and sails off", "seconds": 2.5},
                {"scene": "harbour", "prompt": "A wide river mouth at dusk", "seconds": 5, "seed": 7},
            ],
            resolution="720p",
        )

    Its tasks: ``check`` looks at the whole storyboard on a worker before the first order is made (its price, the
    rendered templates, PyAV, where the film goes); ``shot_01``, ``shot_02``, … render; ``film`` joins them in the
    order of the list. A shot starts at the last frame of the shot before it in its scene; scenes don't wait for each
    other. A shot that failed is retried or cleared like any task, and nothing before it is ordered again.

    :param group_id: of the task group.
    :param shots: a list of dicts, known when the DAG file is read. Each has a ``prompt``; a length, as ``seconds``
        (fractions are put into the nearest legal number of ``frames``), ``duration`` or ``frames``; and any other
        parameter of :class:`~airflow_provider_spark.operators.spark_dance.SparkDanceGenerateVideoOperator` or of
        any Airflow task, for this shot. ``scene`` begins a scene, or goes on with an earlier one of that name; without
        it the shot belongs to the scene of the one before. The first shot of a scene may have a ``first_frame``.
        Values may be templates.
    :param film: ``False`` leaves the shots as they are, with no film made of them.
    :param save_to: the folder for the film and the shots; by default the connection's.
    :param name: what the film's file is called; by default after DAG, run and task.
    :param max_total_cost_usd: the most that all shots together may cost, in USD, by the estimate. Above it nothing is
        ordered.
    :param spark_dance_conn_id: the connection with the key.
    :param parameters: for every shot: any parameter of the render operator. Those of a task group (``default_args``,
        ``tooltip``) go to the group, and those of any Airflow task (``retries``) to all of its tasks.

    :raises SparkDanceRequestError: the storyboard can't be right; every problem is told.
    """

    def __init__(
        self,
        group_id: str = "storyboard",
        *,
        shots: Iterable[Mapping[str, Any]],
        film: bool = True,
        save_to: str | None = None,
        name: str | None = None,
        max_total_cost_usd: Decimal | float | str | None = None,
        spark_dance_conn_id: str = SparkDanceHook.default_conn_name,
        **parameters: Any,
    ) -> None:
        group, defaults = sorted_out(parameters)
        places = {} if save_to is None else {"save_to": save_to}
        read = read_shots(shots, defaults)
        super().__init__(group_id, **group)
        with self:
            self.check = SparkDanceCheckStoryboardOperator(
                task_id="check",
                shots=[described(shot) for shot in read],
                film=film,
                save_to=save_to,
                max_total_cost_usd=max_total_cost_usd,
                spark_dance_conn_id=spark_dance_conn_id,
                dag=self.dag,
            )
            self.shots: list[SparkDanceGenerateVideoOperator] = []
            for shot in read:
                task = SparkDanceGenerateVideoOperator(
                    task_id=f"shot_{shot.number:02}",
                    spark_dance_conn_id=spark_dance_conn_id,
                    dag=self.dag,
                    **places | shot.parameters | {"return_last_frame": True} | self._beginning(shot),
                )
                if shot.after is None:
                    self.check >> task
                self.shots.append(task)
            self.film: SparkDanceConcatenateVideosOperator | None = None
            if film:
                self.film = SparkDanceConcatenateVideosOperator(
                    task_id="film",
                    clips=[task.output for task in self.shots],
                    save_to=save_to,
                    name=name,
                    spark_dance_conn_id=spark_dance_conn_id,
                    dag=self.dag,
                )

    @property
    def output(self) -> XComArg:
        """The film's result, for the tasks behind it.

        :raises SparkDanceRequestError: the storyboard makes no film.
        """
        if self.film is None:
            raise SparkDanceRequestError(
                "A storyboard with film=False has no result of its own; take shots[-1].output."
            )
        return self.film.output

    def _beginning(self, shot: Shot) -> dict[str, Any]:
        if shot.after is None:
            return {}
        return {"first_frame": self.shots[shot.after - 1].output}


def described(shot: Shot) -> dict[str, Any]:
    """Return what the check needs to know of a shot."""
    orders = {name: value for name, value in shot.parameters.items() if name in plan.own_parameters()}
    return {"number": shot.number, "scene": shot.scene, "after": shot.after} | orders


class StoryboardCheck(TypedDict):
    """What a storyboard comes to: the length in seconds, the cost in USD; ``exact`` unless it is the most possible."""

    shots: int
    seconds: float
    frames: int
    estimated_cost_usd: float
    exact: bool


class SparkDanceCheckStoryboardOperator(BaseOperator):
    """Checks a storyboard before its first order: what would stop it half-way must stop it here, where nothing is paid.

    :param shots: as :func:`described` puts them.
    :param film: whether a film is to be made: then PyAV must be here, and a folder must be set.
    :param save_to: the folder for the film; by default the connection's.
    :param max_total_cost_usd: the most that all shots together may cost, in USD.
    :param spark_dance_conn_id: the connection with the price.

    :raises AirflowFailException: it can't be filmed like this, or costs too much.
    :raises SparkDanceFilmError: PyAV isn't installed on this worker.
    """

    template_fields: Sequence[str] = ("shots", "save_to", "max_total_cost_usd", "spark_dance_conn_id")
    ui_color = "#f6e2ff"

    def __init__(
        self,
        *,
        shots: list[dict[str, Any]],
        film: bool = True,
        save_to: str | None = None,
        max_total_cost_usd: Decimal | float | str | None = None,
        spark_dance_conn_id: str = SparkDanceHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shots = shots
        self.film = film
        self.save_to = save_to
        self.max_total_cost_usd = max_total_cost_usd
        self.spark_dance_conn_id = spark_dance_conn_id

    @cached_property
    def hook(self) -> SparkDanceHook:
        """The hook of the connection."""
        return SparkDanceHook(self.spark_dance_conn_id)

    def execute(self, context: Context) -> StoryboardCheck:
        """Check all of it, say what it costs, and return that."""
        with failing_for_good(ordered=False):
            cap = values.usd("max_total_cost_usd", self.max_total_cost_usd)
            if problem := render_time_problems((shot["number"], _rendered(shot)) for shot in self.shots):
                raise problem
            estimates = self._estimates()
            total = plan.Total.of(estimates)
            count = "1 shot" if len(estimates) == 1 else f"{len(estimates)} shots"
            self.log.info("%s, %g s: %s together.", count, total.seconds, total)
            total.check(count, cap)
            if self.film:
                film_folder(self.save_to, self.hook)
        if self.film:
            self._require_pyav()
        return StoryboardCheck(
            shots=len(estimates),
            seconds=round(total.seconds, 3),
            frames=total.frames,
            estimated_cost_usd=float(total.usd),
            exact=total.exact,
        )

    def _estimates(self) -> list[Estimate]:
        estimates: dict[int, Estimate] = {}
        ratios: dict[int, str] = {}
        for shot in self.shots:
            parameters = _rendered(shot)
            number, after = shot["number"], shot["after"]
            if parameters.get("ratio") in (None, "adaptive") and after in ratios:
                parameters["ratio"] = ratios[after]
            request = plan.request_of(parameters)
            for warning in request.warnings:
                self.log.warning("Shot %d: %s", number, warning)
            if request.effective_ratio != "adaptive":
                ratios[number] = request.effective_ratio
            estimates[number] = estimate = self.hook.estimate(request)
            self.log.info(
                "Shot %d%s%s: %dx%d, %d frames (%g s), %sabout %.4f USD.",
                number,
                f", scene {shot['scene']}" if shot["scene"] else "",
                f", after shot {after}" if after else "",
                estimate.width,
                estimate.height,
                estimate.frames,
                estimate.seconds,
                "" if estimate.exact else "at most ",
                estimate.usd,
            )
        return list(estimates.values())

    def _require_pyav(self) -> None:
        from airflow_provider_spark.media.film import require_pyav

        require_pyav()


def _rendered(shot: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {name: value for name, value in shot.items() if name not in ("number", "scene", "after")}
    if shot["after"] is not None:
        parameters["first_frame"] = STAND_IN
    return parameters
