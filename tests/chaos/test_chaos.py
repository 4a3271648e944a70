"""The short form of the chaos suite: all scenarios at once on one real Airflow. ``make chaos`` plays the long one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.scenarios import Scenario, chosen
from tests.chaos.theatre import Report, Theatre, set_stages, theatre

SCENARIOS = chosen(short=True)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    home = tmp_path_factory.mktemp("chaos")
    with theatre(home, set_stages(home, SCENARIOS)) as stage:
        yield stage


@pytest.fixture(scope="module")
def reports(stage: Theatre) -> dict[str, Report]:
    return {report.scenario.name: report for report in stage.play(SCENARIOS)}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_an_order_is_paid_once_or_reported(reports: dict[str, Report], scenario: Scenario) -> None:
    report = reports[scenario.name]
    assert report.problems == (), report.outcome


def test_no_secret_is_in_anything_that_was_written_or_is_shown(stage: Theatre, reports: dict[str, Report]) -> None:
    assert len(reports) == len(SCENARIOS)
    assert stage.leaks() == []
