"""An S3 server on this machine, for whatever goes through Airflow's object storage."""

from __future__ import annotations

import atexit
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import pytest

BUCKET = "clips"
CONN_ID = "aws_local"


@dataclass(frozen=True)
class S3Server:
    """A server with one empty bucket."""

    endpoint: str
    client: Any
    """boto3's, to look at what was stored."""

    def url(self, path: str = "") -> str:
        """Return a URL in the bucket as ``ObjectStoragePath`` takes it, with the connection's id."""
        return f"s3://{CONN_ID}@{BUCKET}/{path}".rstrip("/")

    def stored(self) -> list[str]:
        """Return what lies in the bucket."""
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


@cache
def _endpoint() -> str:
    # Not above: whoever needs no server shouldn't wait for these.
    from moto.server import ThreadedMotoServer

    # One for the whole run: Airflow keeps a file system, and the server's address with it, for each connection.
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


@pytest.fixture
def s3_server(monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A server with an empty bucket, and the Airflow connection to it."""
    import boto3

    endpoint = _endpoint()
    httpx.post(f"{endpoint}/moto-api/reset", trust_env=False)
    region = "us-east-1"
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test", region_name=region
    )
    client.create_bucket(Bucket=BUCKET)
    extra = {"endpoint_url": endpoint, "region_name": region}
    connection = {"conn_type": "aws", "login": "test", "password": "test", "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    return S3Server(endpoint, client)
