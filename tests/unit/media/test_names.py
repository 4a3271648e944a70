from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.media.names import LONGEST_NAME, default_name, index_name, safe, stem

FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
LONGEST_FILE_NAME = 255


@pytest.mark.parametrize("name", ["spring", "Tea_2026-11.final", "a", "0", "_x"])
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert safe(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/root",
        "..",
        ".",
        ".hidden",
        "a/b",
        "a\\b",
        "茶",
        "tea time",
        "a\0b",
        "-rf",
        "x" * 500,
        "\ud800",
    ],
)
def test_what_can_not_stand_in_a_path_is_replaced(name: str) -> None:
    assert FILE_NAME.fullmatch(safe(name))


@given(st.text(max_size=300))
def test_every_name_is_good_for_a_file(name: str) -> None:
    assert FILE_NAME.fullmatch(safe(name))
    assert len(safe(name)) <= LONGEST_NAME
    assert ".." not in safe(name).split("/")


@given(st.text(max_size=40), st.text(max_size=40))
def test_two_names_are_never_made_one(one: str, other: str) -> None:
    assert (safe(one) == safe(other)) == (one == other)


@pytest.mark.parametrize("name", ["a b", "茶", "x" * 300, "a/b"])
def test_a_name_that_looks_like_one_made_safe_is_another(name: str) -> None:
    assert safe(safe(name)) != safe(name)


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_file_and_its_part_fit_into_any_file_system(name: str, generation_id: str) -> None:
    assert len(f"{stem(name, generation_id)}.json.0123abcd.part") <= LONGEST_FILE_NAME


def test_names_of_mapped_clips_differ_by_their_index() -> None:
    assert default_name("dag", "run", "render", -1) == "dag.run.render"
    assert default_name("dag", "run", "render", 7) == "dag.run.render.007"


def test_a_clip_is_found_again_by_all_that_it_was_made_for() -> None:
    names = {
        index_name("dag", "run", "render", index, {"prompt": prompt}) for index in (-1, 0, 1) for prompt in ("a", "b")
    }
    assert len(names) == 6
    assert index_name("d", 1, {"a": "1", "b": "2"}) == index_name("d", 1, {"b": "2", "a": "1"})
