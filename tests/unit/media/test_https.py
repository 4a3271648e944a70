"""Files and pictures over https: whom we trust, and that nothing leads from there into the clear."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_spark.api.endpoint import Endpoint
from airflow_provider_spark.api.errors import SparkDancePictureUnavailableError, SparkDanceRequestError
from airflow_provider_spark.media.download import download
from airflow_provider_spark.media.errors import SparkDanceDownloadError
from airflow_provider_spark.media.frames import read_frame
from tests.results import Answer, Results, running_results
from tests.unit.api.frame_files import decoded, picture

FILE = os.urandom(100_000)


@pytest.fixture(scope="module")
def results(certificate: Path) -> Iterator[Results]:
    with running_results(certificate) as results:
        yield results


def fetch(url: str, verify: bool | str) -> bytes:
    with download(url, Endpoint(api_key="sk-1", verify=verify)) as pieces:
        return b"".join(bytes(piece) for piece in pieces)


class TestAVideo:
    def test_comes_from_a_host_that_the_connection_vouches_for(self, results: Results, certificate: Path) -> None:
        assert fetch(results.put("/a.mp4", FILE), str(certificate)) == FILE

    def test_comes_from_any_host_where_no_certificate_is_looked_at(self, results: Results) -> None:
        assert fetch(results.put("/b.mp4", FILE), verify=False) == FILE

    def test_comes_from_no_stranger(self, results: Results) -> None:
        with pytest.raises(SparkDanceDownloadError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch(results.put("/c.mp4?signature=1", FILE), verify=True)
        assert results.times("/c.mp4") == 0

    def test_does_not_come_by_a_redirect_into_the_clear(self, results: Results, certificate: Path) -> None:
        with running_results() as plain:
            target = plain.put("/d.mp4", FILE)
            url = results.put("/d.mp4", Answer(status=302, headers={"Location": target}))
            with pytest.raises(SparkDanceDownloadError, match="isn't followed"):
                fetch(url, str(certificate))
            assert plain.asked == []


class TestAPicture:
    def test_comes_from_a_host_that_the_connection_vouches_for(self, results: Results, certificate: Path) -> None:
        tls = Endpoint(api_key="sk-1", verify=str(certificate)).tls()
        data = picture()
        assert decoded(read_frame(results.put("/a.png", data), verify=tls).data_uri) == data

    def test_comes_from_no_stranger(self, results: Results) -> None:
        with pytest.raises(SparkDancePictureUnavailableError, match="can't be fetched at the moment"):
            read_frame(results.put("/b.png", picture()))
        assert results.times("/b.png") == 0

    def test_does_not_come_by_a_redirect_into_the_clear(self, results: Results, certificate: Path) -> None:
        tls = Endpoint(api_key="sk-1", verify=str(certificate)).tls()
        with running_results() as plain:
            target = plain.put("/c.png", picture())
            url = results.put("/c.png", Answer(status=302, headers={"Location": target}))
            with pytest.raises(SparkDanceRequestError, match="https to http"):
                read_frame(url, verify=tls)
            assert plain.asked == []
