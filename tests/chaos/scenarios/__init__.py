"""Everything that may go wrong around an order, and what must come of it.

Each scenario has a vendor of its own. The expectation is the design's: an order is paid once, or its user is told
that no one can say whether it was taken. Never both, never twice without being asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.scenarios.airflow_parts import CRASHES
from tests.chaos.scenarios.attempts import ATTEMPTS
from tests.chaos.scenarios.crowds import CROWDS
from tests.chaos.scenarios.kills import kills
from tests.chaos.scenarios.ledgers import LEDGERS
from tests.chaos.scenarios.scenario import HAS_TASK_STATE_STORE, Scenario
from tests.chaos.scenarios.secrets import SECRETS
from tests.chaos.scenarios.sleepers import SLEEPERS
from tests.chaos.scenarios.vendor import OUTAGES, faults

__all__ = ["HAS_TASK_STATE_STORE", "SCENARIOS", "Scenario", "chosen"]

SCENARIOS: tuple[Scenario, ...] = (
    *kills(),
    *faults(),
    *OUTAGES,
    *ATTEMPTS,
    *LEDGERS,
    *SECRETS,
    *SLEEPERS,
    *CRASHES,
    *CROWDS,
)


def chosen(*, short: bool, names: Sequence[str] = ()) -> list[Scenario]:
    """Return the scenarios of the short or the long form, or those whose name holds one of ``names``."""
    if names:
        return [one for one in SCENARIOS if any(name in one.name for name in names)]
    return [one for one in SCENARIOS if not (short and one.long)]
