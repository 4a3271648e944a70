"""The short form of the chaos suite: all scenarios at once on one real Airflow. ``make chaos`` plays the long one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.scenarios import Scenario, chosen
from tests.chaos.theatre import Report, theatre

SCENARIOS = chosen(short=True)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Report]]:
    with theatre(tmp_path_factory.mktemp("chaos"), SCENARIOS) as stage:
        yield {report.scenario.name: report for report in stage.play(SCENARIOS)}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_an_order_is_paid_once_or_reported(reports: dict[str, Report], scenario: Scenario) -> None:
    report = reports[scenario.name]
    assert report.problems == (), report.outcome
