"""A storyboard's shots as a DAG file gives them: read, checked as far as a DAG file can tell, put into scenes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_spark.api.errors import SparkDanceError, SparkDanceRequestError
from airflow_provider_spark.operators import plan, values
from airflow_provider_spark.operators.pictures import FRAMES, STAND_IN

# What a template or another task's output may render to, for a check that can't know it.
_ANY = {"prompt": "a template"}
_NOT_A_SHOTS_TO_SAY: Mapping[str, str] = {
    "task_id": "the storyboard names its tasks, shot_01 and so on",
    "return_last_frame": "every shot of a storyboard returns its last frame",
    "wait_for_completion": "a shot starts at the last frame of a finished one",
    "task_group": "a shot is in the storyboard's own group",
    "dag": "a shot is in the storyboard's own DAG",
}


@dataclass(frozen=True)
class Shot:
    """One shot.

    :param number: its place in the film, from 1.
    :param scene: the name of its scene; shots without one are a scene of their own.
    :param after: the number of the shot of the same scene before it, ``None`` for the first.
    :param parameters: of the render operator, in the vendor's terms.
    """

    number: int
    scene: str | None
    after: int | None
    parameters: dict[str, Any]


def read_shots(shots: Any, defaults: Mapping[str, Any]) -> list[Shot]:
    """Read and check a list of shots.

    A shot that names no scene belongs to the scene of the one before. What is a template, or another task's output,
    is checked when it is rendered.

    :param defaults: the parameters for every shot.
    :raises SparkDanceRequestError: it isn't a list that is known here, or a shot can't be right; all problems are told.
    """
    given = _known_here(shots)
    problems = [
        f"every shot: {problem}"
        for problem in [
            *plan.unknown(defaults, plan.own_parameters() | {"seconds"}),
            *(f"{name}: {_NOT_A_SHOTS_TO_SAY[name]}" for name in defaults if name in _NOT_A_SHOTS_TO_SAY),
            *(f"{name}: belongs to one shot; give it to that one" for name in defaults if name in FRAMES),
        ]
    ]
    read: list[Shot] = []
    last_of: dict[str | None, int] = {}
    for number, said in enumerate(given, 1):
        if not isinstance(said, Mapping):
            problems.append(f"shot {number}: must be a dict with a prompt, not {type(said).__name__}")
            continue
        own = dict(said)
        before = read[-1].scene if read else None
        scene = own.pop("scene", before)
        if scene is not None and not isinstance(scene, str):
            problems.append(f"shot {number}: scene must be text")
            continue
        shot = Shot(number, scene, last_of.get(scene), plan.over(defaults, own))
        shot, found = _checked(shot, own)
        problems += [f"shot {number}: {problem}" for problem in found]
        read.append(shot)
        last_of[scene] = number
    if problems:
        raise _refusal(problems)
    return read


def render_time_problems(shots: Iterable[tuple[int, Mapping[str, Any]]]) -> SparkDanceRequestError | None:
    """Return what is wrong with shots whose templates are rendered, ``None`` where nothing is."""
    problems = [f"shot {number}: {problem}" for number, shot in shots for problem in _order_problems(shot)]
    return _refusal(problems) if problems else None


def _known_here(shots: Any) -> list[Any]:
    if hasattr(shots, "iter_references"):  # what Airflow resolves when a task runs
        kind = "the output of another task" if hasattr(shots, "operator") else "a mapped argument"
    elif isinstance(shots, str):
        kind = "a template" if _is_open(shots) else "text"
    elif isinstance(shots, Mapping) or not isinstance(shots, Iterable):
        kind = f"a {type(shots).__name__}"
    elif listed := list(shots):
        return listed
    else:
        raise _refusal(["shots: is empty"])
    reason = (
        f"shots: is {kind}, and must be a list of dicts in the DAG file: each shot is a task that starts with the last "
        "frame of another, and Airflow must know its tasks and their order before any of them runs. A shot's fields "
        "may be templates; clips that don't follow each other can be mapped over at run time instead, as a batch"
    )
    raise _refusal([reason])


def _checked(shot: Shot, own: Mapping[str, Any]) -> tuple[Shot, list[str]]:
    problems = plan.unknown(own, plan.own_parameters() | plan.airflow_parameters() | {"seconds"})
    problems += [f"{name}: {reason}" for name, reason in _NOT_A_SHOTS_TO_SAY.items() if name in own]
    if own.get("on_moderation") == "skip" or shot.parameters.get("on_moderation") == "skip":
        problems.append('on_moderation: is "skip", but what follows needs this shot; "fail" or "resubmit" may be set')
    if shot.after is not None and not values.is_unset(own.get("first_frame")):
        problems.append(
            f"first_frame: is set, but the shot starts with the last frame of shot {shot.after}, of the same scene; "
            "give it a scene of its own to start elsewhere"
        )
        return shot, problems
    parameters = dict(shot.parameters)
    if _is_open(parameters.get("seconds")):
        if isinstance(parameters["seconds"], str):
            parameters["duration"] = parameters.pop("seconds")
        else:
            problems.append("seconds: is known only at run time; give it as duration (whole seconds) or frames")
            return shot, problems
    known = {name: value for name, value in parameters.items() if not _is_open(value)}
    hidden = {name: _ANY[name] for name in _ANY if name in parameters and name not in known}
    if _is_open(parameters.get("first_frame")):
        hidden["first_frame"] = STAND_IN
    try:
        known = plan.in_vendors_terms(known)
    except SparkDanceError as error:
        problems += plan.problems_of(error)
        known = {name: value for name, value in known.items() if name not in plan.LENGTHS}
    problems += _order_problems(known | hidden | ({"first_frame": STAND_IN} if shot.after else {}))
    still_open = {name: value for name, value in parameters.items() if _is_open(value)}
    return Shot(shot.number, shot.scene, shot.after, known | still_open), problems


def _order_problems(parameters: Mapping[str, Any]) -> list[str]:
    problems = []
    if values.is_unset(parameters.get("prompt")):
        problems.append("prompt: is missing; say what happens in the shot")
    try:
        plan.request_of({**parameters, "prompt": "a stand-in"} if problems else parameters)
    except SparkDanceError as error:
        problems += plan.problems_of(error)
    return problems


def _is_open(value: Any) -> bool:
    """Whether a value is known only when the task runs: a template, or the output of another task."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    return hasattr(value, "iter_references")


def _refusal(problems: list[str]) -> SparkDanceRequestError:
    lines = "\n".join(f"  - {problem}" for problem in problems)
    error = SparkDanceRequestError(f"The storyboard can't be filmed like this; nothing was ordered.\n{lines}")
    error.problems = tuple(problems)
    return error
