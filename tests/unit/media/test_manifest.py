from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.api.request import VideoRequest
from airflow_provider_spark.media.artifacts import KeptFile
from airflow_provider_spark.media.errors import SparkDanceManifestError
from airflow_provider_spark.media.manifest import Manifest, manifest_of, shown_request
from tests.unit.api.frame_files import data_uri, picture

KEY = "sk-4711"
VIDEO_URL = "https://r.example.com/1.mp4?signature=1"
FILE = KeptFile("clip-sd-1.mp4", 3, "ab" * 32, "video/mp4")
NOON = 1_800_000_000.0

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def manifest(vendor: Any = None, **given: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "task": {"dag_id": "campaign"},
        "generation": {"id": "sd-1", "status": "completed", "error": None},
        "request": {"prompt": "tea"},
        "fingerprint": {"prompt": "00"},
        "result": {"video_url": VIDEO_URL, "last_frame_url": None},
        "cost": {"billed_usd": "0.1215"},
        "files": {"video": FILE, "last_frame": None},
        "vendor": vendor or {},
        "secrets": (KEY,),
        "now": NOON,
    }
    return manifest_of(**facts | given)


def read(value: Any) -> Manifest:
    return Manifest.read(json.dumps(value).encode(), "/clips/clip-sd-1.json")


def test_what_was_written_is_read_again() -> None:
    found = read(manifest())
    assert (found.generation_id, found.is_completed, found.billed_usd) == ("sd-1", True, "0.1215")
    assert (found.files, found.fingerprint) == ({"video": FILE}, {"prompt": "00"})
    assert found.written_at == "2027-01-15T08:00:00+00:00"


def test_one_of_the_first_format_is_read_for_ever() -> None:
    """This text was written by 0.1.0. It must not be changed."""
    written = {
        "format": 1,
        "what": "A video rendered by Spark Dance 1.0 Pro; see docs/files.md of airflow-provider-spark.",
        "written_by": "airflow-provider-spark 0.1.0",
        "written_at": "2026-11-22T12:23:49+00:00",
        "task": {"dag_id": "campaign", "run_id": "r", "task_id": "render", "map_index": -1, "try_number": 1},
        "generation": {"id": "sd-1", "model": "spark_dance_v1_0_pro", "status": "completed", "error": None},
        "request": {"prompt": "tea", "not_recorded": []},
        "fingerprint": {"prompt": "3bc0d31a4f14f996"},
        "result": {"generation_id": "sd-1"},
        "cost": {"estimated_usd": 0.0486, "billed_usd": "0.0486", "discount": 0.0},
        "files": {
            "video": {"name": "a.mp4", "bytes": 612919, "sha256": "64a4", "content_type": "video/mp4"},
            "last_frame": None,
        },
        "vendor": {},
    }
    found = read(written)
    assert found.files == {"video": KeptFile("a.mp4", 612919, "64a4", "video/mp4")}
    assert found.result == {"generation_id": "sd-1"}


def test_a_failed_generation_is_told_from_one_that_is_completed() -> None:
    for word, error in (("failed", None), ("completed", {"code": "003005095", "message": "broke"})):
        assert not read(manifest(generation={"id": "sd-1", "status": word, "error": error})).is_completed


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"format": "1"}', b"\xff\xfe", b'{"format": 1, "generation": 5}', b"[" * 100_000],
)
def test_what_is_no_manifest_is_told_by_its_place(content: bytes) -> None:
    with pytest.raises(SparkDanceManifestError, match=r"/clips/clip-sd-1\.json"):
        Manifest.read(content, "/clips/clip-sd-1.json")


def test_one_of_a_later_version_is_not_guessed_at() -> None:
    with pytest.raises(SparkDanceManifestError, match="format 2"):
        read({**manifest(), "format": 2})


@pytest.mark.parametrize("name", ["../secret.mp4", "/etc/passwd", "a\\b", "..", "", "."])
def test_it_names_no_file_of_another_folder(name: str) -> None:
    told = manifest()
    told["files"]["video"]["name"] = name
    with pytest.raises(SparkDanceManifestError, match="no file of the manifest's own folder"):
        read(told)


@given(json_values)
def test_whatever_the_vendor_says_it_is_json_without_the_key(words: Any) -> None:
    text = json.dumps(manifest({"said": words, KEY: f"Bearer {KEY}"}), allow_nan=False)
    assert KEY not in text
    assert json.loads(text)["generation"]["id"] == "sd-1"


def test_a_data_uri_is_in_it_as_a_checksum_only() -> None:
    uri = "data:image/png;base64," + "QUJD" * 50
    text = json.dumps(manifest({"frame": uri, "words": f"refused {uri} for its size"}, request={"first_frame": uri}))
    assert "QUJD" not in text
    assert text.count("sha256") == 4


def test_only_the_results_keep_the_query_of_their_url() -> None:
    told = manifest(
        {"url": VIDEO_URL, "frame": "https://a.example.com/1.png?signature=2#3", "said": "no http://b/?x=1"}
    )
    assert told["vendor"] == {"url": VIDEO_URL, "frame": "https://a.example.com/1.png", "said": "no http://b/"}


def test_words_without_end_are_left_out() -> None:
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    assert "left out" in json.dumps(manifest({"deep": deep})["vendor"])
    assert "left out" in manifest({"long": ["x" * 1000] * 1000})["vendor"]


def test_a_request_is_told_without_its_pictures() -> None:
    request = VideoRequest.compose(
        prompt="tea", first_frame=data_uri(picture()), last_frame="https://a.example.com/1.png?signature=2", seed=7
    )
    told = shown_request(request)
    assert (told["prompt"], told["seed"], told["last_frame"]) == ("tea", 7, "https://a.example.com/1.png")
    assert told["first_frame"].startswith("data:image/png;base64,<")
    assert "sha256" in told["first_frame"]
