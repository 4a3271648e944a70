"""An S3 server on this machine, over which Airflow's ObjectStoragePath and s3fs work as they do with Amazon's."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "media"
REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """A running server with one empty bucket, and a connection of Airflow's to it."""

    endpoint_url: str
    bucket: str = BUCKET

    @property
    def conn_id(self) -> str:
        """The connection's id: one for each server, since Airflow keeps what it has once opened for a connection."""
        return f"aws_test_{self.endpoint_url.rpartition(':')[2]}"

    @property
    def connection(self) -> str:
        """The connection, as the environment variable of that id holds it."""
        facts: dict[str, Any] = {"conn_type": "aws", "login": "testing", "password": "testing-secret"}
        extra = {
            "endpoint_url": self.endpoint_url,
            "region_name": REGION,
            # A test in which the server is down needn't wait for Amazon's patience.
            "config_kwargs": {"retries": {"total_max_attempts": 1}},
        }
        return json.dumps(facts | {"extra": extra})

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it."""
        return {f"AIRFLOW_CONN_{self.conn_id.upper()}": self.connection}

    def uri(self, key: str) -> str:
        """Where an object is, as a user writes it."""
        return f"s3://{self.conn_id}@{self.bucket}/{key}"

    def client(self) -> Any:
        """A client that knows nothing of Airflow."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing-secret",
        )

    def put(self, key: str, data: bytes) -> str:
        """Store an object; return where it is."""
        self.client().put_object(Bucket=self.bucket, Key=key, Body=data)
        return self.uri(key)


@contextlib.contextmanager
def running_s3_server() -> Iterator[S3Server]:
    """Run a server on a free port."""
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        server = S3Server(f"http://{host}:{port}")
        server.client().create_bucket(Bucket=server.bucket)
        yield server
    finally:
        moto.stop()


@pytest.fixture
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server with an empty bucket, and the connection to it in the environment."""
    with running_s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        # What the machine knows of Amazon has no say here.
        for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield server
