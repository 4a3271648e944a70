from __future__ import annotations

import io

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spark.media.structure import Mp4Check, PngCheck
from tests.results import mp4, png


def check(data: bytes, kind: type[Mp4Check] | type[PngCheck] = Mp4Check, piece: int = 1 << 20) -> None:
    checking = kind()
    for at in range(0, len(data), piece):
        checking.feed(memoryview(data)[at : at + piece])
    checking.finish()


def box(kind: bytes, body: bytes = b"", *, size: int | None = None) -> bytes:
    return (len(body) + 8 if size is None else size).to_bytes(4) + kind + body


START = box(b"ftyp", b"isom0000")
WHOLE = START + box(b"mdat", b"pictures") + box(b"moov", b"contents")


class TestAWholeFilm:
    @pytest.mark.parametrize("options", ["", "faststart", "frag_keyframe+empty_moov"])
    def test_is_one_however_it_is_laid_out(self, options: str) -> None:
        check(mp4(options=options))

    @given(st.integers(1, 60))
    def test_is_one_in_pieces_of_any_size(self, piece: int) -> None:
        check(WHOLE, piece=piece)

    def test_may_have_boxes_beyond_four_gigabytes(self) -> None:
        long = (1).to_bytes(4) + b"mdat" + (8 + 16).to_bytes(8) + b"pictures"
        check(START + box(b"moov", b"contents") + long, piece=3)

    def test_may_end_with_a_box_that_goes_on_to_the_end(self) -> None:
        check(START + box(b"moov") + box(b"mdat", b"pictures of any number", size=0))

    def test_may_have_boxes_that_no_one_knows(self) -> None:
        check(START + box(b"free") * 1000 + box(b"\xa9xyz") + WHOLE[len(START) :] + box(b"uuid", b"1" * 16))


class TestWhatIsNone:
    @pytest.mark.parametrize(
        ("data", "likeness"),
        [
            (b"<!DOCTYPE html><html></html>", "HTML"),
            (b"\xef\xbb\xbf\n <?xml version='1.0'?>", "XML"),
            (b'{"error": "gone"}', "JSON"),
            (b"\x1aE\xdf\xa3" + b"webm" * 10, "something else"),
            (b"", "empty"),
            (b"abc", "something else"),
            (png(), "something else"),
        ],
    )
    def test_is_told_by_what_it_looks_like(self, data: bytes, likeness: str) -> None:
        with pytest.raises(ValueError, match=likeness):
            check(data)

    @pytest.mark.parametrize("missing", [b"moov", b"mdat"])
    def test_may_lack_what_a_film_needs(self, missing: bytes) -> None:
        with pytest.raises(ValueError, match=missing.decode()):
            check(WHOLE.replace(missing, b"free"))

    @given(st.integers(1, len(WHOLE) - 1))
    def test_is_every_film_that_is_cut_off(self, length: int) -> None:
        with pytest.raises(ValueError, match=r"."):
            check(WHOLE[:length])

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
    def test_is_a_real_film_that_is_cut_off(self, share: float) -> None:
        with pytest.raises(ValueError, match=r"missing|no table|no pictures"):
            check(mp4()[: int(len(mp4()) * share)])

    def test_goes_on_after_its_last_box(self) -> None:
        with pytest.raises(ValueError, match="no box"):
            check(WHOLE + b"\0\0\0\x02rubbish beyond the end")

    @given(st.binary(max_size=300), st.integers(1, 50))
    def test_never_breaks_the_check(self, data: bytes, piece: int) -> None:
        for kind in (Mp4Check, PngCheck):
            with pytest.raises(ValueError, match=r"."):
                check(data, kind, piece)


class TestAPicture:
    @given(st.integers(1, 100))
    def test_is_whole_in_pieces_of_any_size(self, piece: int) -> None:
        check(png(), PngCheck, piece)

    @pytest.mark.parametrize("data", [b"", png()[:-1], png()[:20], png() + b"1", b"\xff\xd8\xff\xe0jpeg", b"<html>"])
    def test_is_none_where_it_is_anything_else(self, data: bytes) -> None:
        with pytest.raises(ValueError, match=r"empty|cut off|looks like"):
            check(data, PngCheck)


def test_the_films_of_these_tests_are_films() -> None:
    with av.open(io.BytesIO(mp4()), "r") as film:
        assert len(list(film.decode(film.streams.video[0]))) == 4
