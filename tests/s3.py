"""An S3 server on this machine, for what lies in object storage."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

BUCKET = "bucket"
CONNECTION = "s3_here"
KEY, SECRET, REGION = "AKIAEXAMPLE", "an S3 secret", "us-east-1"


@dataclass
class S3Server:
    """A running server with one bucket, and the Airflow connection that leads there."""

    port: int
    _server: ThreadedMotoServer = field(repr=False)

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """What an Airflow needs in its environment."""
        # No retries of botocore's own, so that an outage is told soon; s3fs has its own.
        config = {"retries": {"max_attempts": 0}}
        extra = {"endpoint_url": self.endpoint, "region_name": REGION, "config_kwargs": config}
        connection = {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": extra}
        return {f"AIRFLOW_CONN_{CONNECTION.upper()}": json.dumps(connection)}

    def client(self) -> Any:
        """Return a client that knows nothing of Airflow and caches nothing."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )

    def stored(self) -> list[str]:
        """Return the names of all objects."""
        return [one["Key"] for one in self.client().list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    def objects(self) -> dict[str, bytes]:
        """Return all objects by their names."""
        client = self.client()
        return {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in self.stored()}

    def put(self, key: str, data: bytes) -> str:
        """Store an object, and return where it lies, as Airflow names it."""
        self.client().put_object(Bucket=BUCKET, Key=key, Body=data)
        return s3_path(key)

    def clean(self) -> None:
        """Remove all objects."""
        for key in self.stored():
            self.client().delete_object(Bucket=BUCKET, Key=key)

    def stop(self) -> None:
        """Take the server away; what it holds is kept for :meth:`start`."""
        self._server.stop()

    def start(self) -> None:
        """Let it listen again, on the same port."""
        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()


def s3_path(folder: str) -> str:
    """Return a folder of the bucket, as Airflow names it."""
    return f"s3://{CONNECTION}@{BUCKET}/{folder}"


@contextmanager
def running_s3() -> Iterator[S3Server]:
    """Run a server in a thread of this process."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else it writes a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    s3 = S3Server(server.get_host_and_port()[1], server)
    try:
        s3.client().create_bucket(Bucket=BUCKET)
        yield s3
    finally:
        s3.stop()


@pytest.fixture(scope="session")
def one_s3_server() -> Iterator[S3Server]:
    """Yield a server whose connection this process has; one for all tests, as Airflow keeps a connection's client."""
    with running_s3() as s3, pytest.MonkeyPatch.context() as patch:
        # What the machine knows of Amazon has no say here.
        for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name, value in s3.env.items():
            patch.setenv(name, value)
        yield s3


@pytest.fixture
def s3_server(one_s3_server: S3Server) -> S3Server:
    """Yield the server with an empty bucket."""
    one_s3_server.clean()
    return one_s3_server
