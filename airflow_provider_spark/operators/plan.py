"""What orders will cost together, checked before any of them is made: by a storyboard's shots, by a batch's rows."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_spark.api.errors import SparkDanceError, SparkDanceRequestError
from airflow_provider_spark.api.request import FPS, VideoRequest, nearest_frames
from airflow_provider_spark.api.text import clean
from airflow_provider_spark.operators import values
from airflow_provider_spark.operators.job import ON_AMBIGUOUS_SUBMIT, ON_MODERATION
from airflow_provider_spark.operators.keeping import ON_EXISTING
from airflow_provider_spark.operators.pictures import FRAMES, STAND_IN, frame_source
from airflow_provider_spark.operators.spark_dance import SparkDanceGenerateVideoOperator

if TYPE_CHECKING:
    from airflow_provider_spark.api.pricing import Estimate

LENGTHS = ("seconds", "duration", "frames")
SHORTEST_DURATION, LONGEST_DURATION = 2, 12

_REQUEST: Mapping[str, Callable[[str, Any], Any]] = {
    "prompt": values.text,
    "resolution": values.text,
    "ratio": values.text,
    "duration": values.integer,
    "frames": values.integer,
    "seed": values.integer,
    "camera_fixed": values.boolean,
    "watermark": values.boolean,
    "return_last_frame": values.boolean,
    "service_tier": values.text,
    "execution_expires_after": values.integer,
    "callback_url": values.text,
}
_TERMS: Mapping[str, Callable[[str, Any], Any]] = {
    "wait_for_completion": values.boolean,
    "deferrable": values.boolean,
    "timeout": values.seconds,
    "poll_interval": values.seconds,
    "max_cost_usd": values.usd,
    "on_ambiguous_submit": partial(values.choice, choices=ON_AMBIGUOUS_SUBMIT),
    "on_existing": partial(values.choice, choices=ON_EXISTING),
    "save_to": values.text,
    "name": values.text,
    "fit_frames": values.boolean,
    "embed_frames": values.boolean,
    "on_moderation": partial(values.choice, choices=ON_MODERATION),
}


@cache
def own_parameters() -> frozenset[str]:
    """Return the render operator's parameters, without those of every Airflow task."""
    taken = set(inspect.signature(SparkDanceGenerateVideoOperator).parameters) - {"self", "kwargs"}
    return frozenset(taken - airflow_parameters())


@cache
def airflow_parameters() -> frozenset[str]:
    """Return the parameters of every Airflow task."""
    return frozenset(set(inspect.signature(BaseOperator).parameters) - {"self", "kwargs"})


def unknown(names: Iterable[object], known: frozenset[str]) -> list[str]:
    """Say of each name that isn't known what it may have been meant for; a sentence each."""
    told = []
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            told.append(f"{clean(str(name), 40)}: is not a parameter" + (f"; is {near[0]} meant?" if near else ""))
    return told


def over(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a row's or shot's own values over those for all; a length of its own replaces any for all."""
    own = {name: value for name, value in own.items() if not values.is_unset(value)}
    kept = {name: value for name, value in defaults.items() if not values.is_unset(value)}
    if any(name in own for name in LENGTHS):
        kept = {name: value for name, value in kept.items() if name not in LENGTHS}
    return kept | own


def in_vendors_terms(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Put ``seconds`` into what the vendor takes: ``duration`` where they are whole, else the nearest ``frames``.

    :raises SparkDanceRequestError: the length is out of range, or given twice.
    """
    given = dict(parameters)
    seconds = values.seconds("seconds", given.pop("seconds", None))
    if seconds is None:
        return given
    if twice := [name for name in ("duration", "frames") if not values.is_unset(given.get(name))]:
        raise SparkDanceRequestError(f"seconds: stands beside {twice[0]}; give one of the two.")
    if seconds.is_integer() and SHORTEST_DURATION <= seconds <= LONGEST_DURATION:
        return given | {"duration": int(seconds)}
    return given | {"frames": nearest_frames(seconds)}


def request_of(parameters: Mapping[str, Any]) -> VideoRequest:
    """Return what would be ordered, with a stand-in for each picture: its own task opens it, right before the order.

    :raises SparkDanceRequestError: a value breaks a documented limit or isn't what its field takes.
    """
    for name, read in _TERMS.items():
        read(name, parameters.get(name))
    given = {name: read(name, parameters.get(name)) for name, read in _REQUEST.items()}
    for role in FRAMES:
        if frame_source(role, parameters.get(role)) is not None:
            given[role] = STAND_IN
    if given["prompt"] is None and "first_frame" not in given:
        raise SparkDanceRequestError("prompt: is missing, and there is no first_frame either.")
    return VideoRequest.compose(**given)


def problems_of(error: SparkDanceError) -> tuple[str, ...]:
    """Return what is wrong with an order, a sentence each."""
    problems: tuple[str, ...] = getattr(error, "problems", ())
    return problems or (str(error),)


@dataclass(frozen=True)
class Total:
    """What orders cost together, in USD; ``exact`` is false where it is the most that they can cost."""

    usd: Decimal
    exact: bool
    frames: int

    @classmethod
    def of(cls, estimates: Iterable[Estimate]) -> Total:
        """Add estimates up. One that depends on a picture of unknown size counts as the most that it can cost."""
        known = list(estimates)
        return cls(
            usd=sum((estimate.usd for estimate in known), Decimal(0)),
            exact=all(estimate.exact for estimate in known),
            frames=sum(estimate.frames for estimate in known),
        )

    @property
    def seconds(self) -> float:
        """The length of all clips together."""
        return self.frames / FPS

    def __str__(self) -> str:
        return f"{'' if self.exact else 'at most '}about {self.usd:.4f} USD"

    def check(self, what: str, max_total_cost_usd: Decimal | None) -> None:
        """Refuse what costs too much.

        :param what: what is paid for, as "48 clips".
        :raises SparkDanceRequestError: it does; nothing was ordered.
        """
        if max_total_cost_usd is not None and self.usd > max_total_cost_usd:
            raise SparkDanceRequestError(
                f"{what} would cost {self} together, more than max_total_cost_usd = {max_total_cost_usd}. "
                "Nothing was ordered."
            )
