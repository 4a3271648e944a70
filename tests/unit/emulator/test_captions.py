"""Text on a film."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops

from airflow_provider_spark.emulator import captions

TEXTS = st.text(st.characters(codec="utf-8"), max_size=80)


@given(TEXTS, st.integers(2, 40))
def test_lines_are_as_wide_as_allowed_and_lose_nothing(text: str, width: int) -> None:
    lines = captions.wrap(text, width, len)
    assert all(0 < len(line) <= width for line in lines)
    printed = "".join(character for character in text if character.isprintable())
    assert "".join(lines).replace(" ", "") == "".join(printed.split())


def test_latin_breaks_between_words_and_chinese_anywhere_but_before_a_comma() -> None:
    assert captions.wrap("A paper kite above", 8, len) == ["A paper", "kite", "above"]
    assert captions.wrap("纸风筝飞过海面", 3, len) == ["纸风筝", "飞过海", "面"]
    assert captions.wrap("清晨\uff0c港口", 2, len)[0] == "清"


def drawn(text: str) -> Image.Image:
    return captions.caption(text, "label", 640, 640)


def test_every_chinese_character_has_a_shape_of_its_own() -> None:
    pictures = [drawn(character) for character in "纸风筝飞海"]
    for number, one in enumerate(pictures):
        for other in pictures[number + 1 :]:
            assert ImageChops.difference(one.getchannel("A"), other.getchannel("A")).getbbox()


def test_a_long_prompt_stays_inside_the_picture() -> None:
    alpha = drawn("清晨港口 kite over the harbour " * 60).getchannel("A")
    assert alpha.crop((0, 0, 640, 120)).getbbox() is None


def test_a_prompt_of_control_characters_draws() -> None:
    assert drawn("\x00\x07\n").size == (640, 640)
