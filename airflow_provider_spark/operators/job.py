"""What a task asks for, checked: the render, what it may cost, and how it is waited for."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.operators.pictures import Pictures

if TYPE_CHECKING:
    from airflow_provider_spark.api.request import VideoRequest
    from airflow_provider_spark.operators.waiting import Waiting

ON_AMBIGUOUS_SUBMIT = ("fail", "resubmit")
ON_MODERATION = ("fail", "resubmit", "skip")
# How often a clip that moderation refused is ordered again, at most.
RESUBMITS = 2


@dataclass(frozen=True)
class Terms:
    """What may be spent without asking, and what follows where it can't be said or the content is refused."""

    max_cost_usd: Decimal | None = None
    on_ambiguous_submit: str = "fail"
    on_moderation: str = "fail"

    @property
    def resubmit_ambiguous(self) -> bool:
        """Whether an order may be repeated that the vendor may have taken."""
        return self.on_ambiguous_submit == "resubmit"


@dataclass(frozen=True)
class Job:
    """One clip.

    :param checked: the request as the task's author wrote it, or what is wrong with it: a retry may find
        that its template renders to nonsense by now, and still take up what was paid for. A picture that has to be
        read is not in it yet.
    :param pictures: the frames, of which those are still to be read.
    :param seed: what goes out in place of the author's seed.
    :param resubmits: how many orders for it the vendor's moderation has refused so far.
    """

    checked: VideoRequest | SparkDanceRequestError
    terms: Terms
    waiting: Waiting
    pictures: Pictures = field(default_factory=Pictures)
    seed: int | None = None
    resubmits: int = 0

    @property
    def asked(self) -> VideoRequest:
        """The request as the task's author wrote it, but for the pictures that have to be read.

        :raises SparkDanceRequestError: it breaks a documented limit.
        """
        if isinstance(self.checked, SparkDanceRequestError):
            raise self.checked
        return self.checked

    def outgoing(self, complete: VideoRequest) -> VideoRequest:
        """Return the request as it goes out.

        :param complete: what was asked, with all pictures.
        """
        return complete if self.seed is None else complete.model_copy(update={"seed": self.seed})

    def reseeded(self, *, resubmits: int) -> Job:
        """Return the job with another seed, since the same one would give a similar video."""
        return replace(self, seed=random.randrange(2**32), resubmits=resubmits)
