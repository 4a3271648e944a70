from __future__ import annotations

import pytest

from airflow_provider_spark.api.errors import SparkDanceConfigurationError
from tests.unit.hooks.helpers import settings

pytestmark = pytest.mark.parametrize("name", ["ledger_path", "save_to"])


@pytest.mark.parametrize("path", ["/srv/clips", "s3://aws_default@bucket/spark-dance", "file:///srv/clips"])
def test_a_folder_is_an_absolute_path_or_a_url(name: str, path: str) -> None:
    assert getattr(settings({name: f" {path} "}), name) == path


@pytest.mark.parametrize("path", [None, "", "  "])
def test_without_one_there_is_none(name: str, path: str | None) -> None:
    assert getattr(settings({name: path}), name) is None


@pytest.mark.parametrize("path", ["clips", "./clips", "C:\\clips", 5])
def test_a_path_that_depends_on_where_a_worker_was_started_is_refused(name: str, path: object) -> None:
    with pytest.raises(SparkDanceConfigurationError, match=f"{name} must be"):
        settings({name: path})


def test_a_path_that_fills_a_result_is_refused(name: str) -> None:
    with pytest.raises(SparkDanceConfigurationError, match=f"{name} must be at most"):
        settings({name: "/" + "茶" * 150})


def test_a_password_does_not_belong_there_and_is_not_shown(name: str) -> None:
    with pytest.raises(SparkDanceConfigurationError, match=f"{name} must not hold a password") as caught:
        settings({name: "s3://key:hush@bucket/clips"})
    assert "hush" not in str(caught.value)
