"""The ledger in a bucket: what Airflow, s3fs and a server make of each word."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_spark.api.generation import Generation
from airflow_provider_spark.ledger.ledger import Ledger
from airflow_provider_spark.ledger.record import SparkDanceLedgerError, SparkDanceRecordError
from airflow_provider_spark.ledger.stores import Folder, FolderStore, receipt_name, record_name
from airflow_provider_spark.operators.receipts import Receipts
from tests.s3 import BUCKET, CONNECTION, S3Server, s3_path
from tests.unit.ledger.helpers import FINGERPRINT, a_record, an_attempt, an_order

FOLDER = "spark-dance"
NAME = record_name(an_attempt())
LOG = logging.getLogger(__name__)
ANOTHER_PROCESS = """
import sys
from airflow_provider_spark.ledger.stores import Folder, FolderStore
from tests.unit.ledger.helpers import a_record, an_attempt
FolderStore(Folder(sys.argv[1]), an_attempt()).write(a_record(sys.argv[2]))
"""


@pytest.fixture
def store(s3_server: S3Server) -> FolderStore:
    return FolderStore(Folder(s3_path(FOLDER)), an_attempt())


def text(s3: S3Server, name: str) -> str:
    return s3.objects()[f"{FOLDER}/{name}"].decode()


@contextmanager
def answering(status: int, code: str) -> Iterator[str]:
    """Let a server answer with one S3 error whatever it is asked; yield where it listens."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # S3's clients expect to be told to go on

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_PUT = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_a_new_task_has_no_record(store: FolderStore) -> None:
    assert store.read() is None


def test_what_was_written_last_is_read(store: FolderStore, s3_server: S3Server) -> None:
    for state in ("intent", "submitted", "delivered"):
        store.write(a_record(state))
        assert store.read() == a_record(state)
        assert json.loads(text(s3_server, NAME))["state"] == state
    assert s3_server.stored() == [f"{FOLDER}/{NAME}"]


def test_a_record_that_another_process_has_written_is_seen(store: FolderStore, s3_server: S3Server) -> None:
    store.write(a_record("intent"))
    assert store.read() == a_record("intent")
    path = s3_path(FOLDER)
    subprocess.run([sys.executable, "-c", ANOTHER_PROCESS, path, "submitted"], check=True, timeout=120)
    assert store.read() == a_record("submitted")


def test_a_list_of_the_folder_from_before_hides_no_record(store: FolderStore, s3_server: S3Server) -> None:
    client = s3_server.client()
    client.put_object(Bucket=BUCKET, Key=f"{FOLDER}/another.json", Body=b"{}")
    folder = ObjectStoragePath(s3_path(FOLDER))
    assert [one.name for one in folder.iterdir()] == ["another.json"]
    for state in ("intent", "submitted"):
        written = json.dumps(a_record(state).to_json()).encode()
        client.put_object(Bucket=BUCKET, Key=f"{FOLDER}/{NAME}", Body=written)
        assert store.read() == a_record(state)
        assert folder.fs.ls(folder.path)  # a list with the record's size of now


def test_a_revision_is_claimed_once(store: FolderStore, s3_server: S3Server) -> None:
    assert store.read_claim(1) is None
    assert store.intend(a_record("intent"))
    late = FolderStore(Folder(s3_path(FOLDER)), an_attempt())
    assert not late.intend(a_record("intent", try_number=2))
    assert late.read_claim(1) == a_record("intent")
    assert s3_server.stored() == [f"{FOLDER}/claims/{NAME.replace('.json', '.1.json')}"]


def test_a_claim_that_is_sent_twice_since_its_answer_was_lost_is_still_ones_own(store: FolderStore) -> None:
    assert store.intend(a_record("intent"))
    assert store.intend(a_record("intent"))


def test_half_a_record_is_never_taken_for_none(store: FolderStore, s3_server: S3Server) -> None:
    for half in (b"{", b"\xff\xfe"):
        s3_server.client().put_object(Bucket=BUCKET, Key=f"{FOLDER}/{NAME}", Body=half)
        with pytest.raises(SparkDanceRecordError, match=f"{CONNECTION}@{BUCKET}/{FOLDER}/{NAME}"):
            store.read()


def test_no_bucket_is_made_for_a_ledger(s3_server: S3Server) -> None:
    store = FolderStore(Folder(f"s3://{CONNECTION}@mistyped/{FOLDER}"), an_attempt())
    with pytest.raises(SparkDanceLedgerError, match="can't be written to s3://s3_here@mistyped/spark-dance"):
        Ledger([store], an_attempt(), LOG, sleep=lambda _: None).intend(
            fingerprint=FINGERPRINT, estimated_cost_usd=0.1, now=1.0
        )
    assert [bucket["Name"] for bucket in s3_server.client().list_buckets()["Buckets"]] == [BUCKET]


def test_a_server_that_is_away_is_no_empty_ledger_and_what_it_held_is_there_again(
    store: FolderStore, s3_server: S3Server
) -> None:
    store.write(a_record("submitted"))
    s3_server.stop()
    with pytest.raises(SparkDanceLedgerError, match="can't be read from") as caught:
        store.read()
    assert caught.value.may_repeat
    with pytest.raises(SparkDanceLedgerError, match="can't be written to"):
        store.write(a_record("delivered"))
    s3_server.start()
    assert store.read() == a_record("submitted")


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "AccessDenied"), (403, "InvalidAccessKeyId"), (500, "InternalError"), (503, "SlowDown")],
)
def test_an_answer_that_says_nothing_of_the_record_is_an_error(
    status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(status, code) as endpoint:
        extra = {"endpoint_url": endpoint, "config_kwargs": {"retries": {"max_attempts": 0}}}
        connection = {"conn_type": "aws", "login": "AKIAEXAMPLE", "password": "an S3 secret", "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{code.upper()}", json.dumps(connection))
        store = FolderStore(Folder(f"s3://{code.lower()}@{BUCKET}/{FOLDER}"), an_attempt())
        for act in (store.read, lambda: store.write(a_record("intent"))):
            with pytest.raises(SparkDanceLedgerError, match=f"s3://{code.lower()}@bucket") as caught:
                act()
            assert caught.value.may_repeat
            assert "an S3 secret" not in str(caught.value)


def test_an_orders_receipt_lies_in_the_bucket(s3_server: S3Server) -> None:
    receipts = Receipts(Folder(s3_path(FOLDER)), an_attempt(), LOG)
    order = an_order()
    receipts.accepted(order, Generation.model_validate({"id": "sd-1", "status": "queued"}))
    receipts.ended(order, Generation.model_validate({"id": "sd-1", "status": "completed", "usage": {"cost": "0.1215"}}))
    receipt = json.loads(text(s3_server, receipt_name("sd-1", order.submitted_at)))
    assert (receipt["status"], receipt["billed_usd"]) == ("completed", 0.1215)
    assert s3_server.stored() == [f"{FOLDER}/orders/2027-01-15/080000-sd-1.json"]
