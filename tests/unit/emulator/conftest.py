from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_spark.emulator import Clock, RunningEmulator, running_emulator
from tests.unit.emulator.helpers import Vendor

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = 1_800_000_000.0


@pytest.fixture
def emulator() -> Iterator[RunningEmulator]:
    """An emulator whose clock stands still, and whose renders take ten seconds of it."""
    with running_emulator(render_seconds=10, seed=7, clock=Clock(frozen_at=NOON)) as running:
        yield running


@pytest.fixture
def vendor(emulator: RunningEmulator) -> Iterator[Vendor]:
    vendor = Vendor(emulator)
    with vendor.http:
        yield vendor
