from __future__ import annotations

import pytest

from airflow_provider_spark.api.errors import SparkDanceConfigurationError
from tests.unit.hooks.helpers import settings


@pytest.mark.parametrize("path", ["/srv/ledger", "s3://aws_default@bucket/spark-dance", "file:///srv/ledger"])
def test_a_ledger_lies_at_an_absolute_path_or_a_url(path: str) -> None:
    assert settings({"ledger_path": f" {path} "}).ledger_path == path


@pytest.mark.parametrize("path", [None, "", "  "])
def test_without_one_there_is_none(path: str | None) -> None:
    assert settings({"ledger_path": path}).ledger_path is None


@pytest.mark.parametrize("path", ["ledger", "./ledger", "C:\\ledger", 5])
def test_a_path_that_depends_on_where_a_worker_was_started_is_refused(path: object) -> None:
    with pytest.raises(SparkDanceConfigurationError, match="ledger_path must be"):
        settings({"ledger_path": path})


def test_a_password_does_not_belong_there_and_is_not_shown() -> None:
    with pytest.raises(SparkDanceConfigurationError, match="ledger_path must not hold a password") as caught:
        settings({"ledger_path": "s3://key:hush@bucket/ledger"})
    assert "hush" not in str(caught.value)
