from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_spark.media.film import SparkDanceFilmError, join
from tests.unit.media.clips import bytes_of_frames, clip, noise, shades


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return tmp_path / "film.mp4"


def test_clips_that_are_alike_are_copied_frame_by_frame(tmp_path: Path, film: Path) -> None:
    clips = [clip(tmp_path / f"{shade}.mp4", frames=frames, shade=shade) for frames, shade in [(29, 60), (33, 200)]]
    made = join(clips, film)
    assert made.encoded_because is None
    assert (made.frames, made.width, made.height, made.fps) == (62, 96, 64, 24)
    assert made.seconds == pytest.approx(62 / 24)
    assert bytes_of_frames(film) == [*bytes_of_frames(clips[0]), *bytes_of_frames(clips[1])]


def test_the_copied_film_plays_every_frame_at_its_time_in_the_clips_order(tmp_path: Path, film: Path) -> None:
    # With and without frames that are stored in another order than they are shown in.
    for reordered in ("0", "3"):
        clips = [
            clip(tmp_path / f"{shade}-{reordered}.mp4", frames=29, shade=shade, bf=reordered)
            for shade in (60, 200, 100)
        ]
        assert join(clips, film).encoded_because is None
        seen = shades(film)
        assert [time for time, _ in seen] == pytest.approx([number / 24 for number in range(87)], abs=0.001)
        assert [shade for _, shade in seen] == pytest.approx([60] * 29 + [200] * 29 + [100] * 29, abs=3)


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"size": (64, 96)}, "b.mp4 has width 64 where a.mp4 has 96"),
        ({"rate": 30}, "b.mp4 has frame rate 30 where a.mp4 has 24"),
        ({"codec": "mpeg4"}, "b.mp4 has codec mpeg4 where a.mp4 has h264"),
        ({"bf": "0", "refs": "5"}, "b.mp4 has other encoder settings than a.mp4"),
    ],
)
def test_clips_that_differ_are_encoded_with_all_their_frames_at_their_own_pace(
    tmp_path: Path, film: Path, second: dict[str, Any], told: str
) -> None:
    clips = [clip(tmp_path / "a.mp4", shade=60), clip(tmp_path / "b.mp4", shade=200, **second)]
    made = join(clips, film)
    assert made.encoded_because == told
    assert (made.frames, made.width, made.height) == (58, 96, 64)
    rate = second.get("rate", 24)
    seen = shades(film)
    times = [number / 24 for number in range(29)] + [29 / 24 + number / rate for number in range(29)]
    assert [time for time, _ in seen] == pytest.approx(times, abs=0.001)
    assert [shade for _, shade in seen] == pytest.approx([60] * 29 + [200] * 29, abs=4)
    assert made.seconds == pytest.approx(29 / 24 + 29 / rate)


def test_another_shape_gets_bars_and_is_neither_cut_off_nor_stretched(tmp_path: Path, film: Path) -> None:
    join([clip(tmp_path / "wide.mp4", shade=60), clip(tmp_path / "tall.mp4", shade=200, size=(64, 96))], film)
    left, middle = shades(film, column=3)[-1][1], shades(film)[-1][1]
    assert left < 25
    assert middle == pytest.approx(200, abs=4)


def test_a_film_of_one_clip_is_that_clip(tmp_path: Path, film: Path) -> None:
    only = clip(tmp_path / "a.mp4")
    assert join([only], film).frames == 29
    assert bytes_of_frames(film) == bytes_of_frames(only)


def test_sound_is_left_out_and_told_of(tmp_path: Path, film: Path) -> None:
    made = join([clip(tmp_path / "a.mp4"), clip(tmp_path / "b.mp4", sound=True)], film)
    assert made.notes == ("The sound of b.mp4 isn't in the film.",)
    assert made.frames == 58


def test_a_clip_that_ends_in_the_middle_is_named_and_no_film_is_made(tmp_path: Path, film: Path) -> None:
    whole = clip(tmp_path / "a.mp4", movflags="faststart")
    cut = tmp_path / "b.mp4"
    data = clip(tmp_path / "c.mp4", frames=120, g="5").read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(SparkDanceFilmError, match=r"^the second shot is "):
        join([whole, cut], film, ["the first shot", "the second shot"])
    assert not film.exists()


@pytest.mark.parametrize("data", [b"", b"<html>Expired</html>" * 50, b"\0" * 5000])
def test_what_is_no_video_is_named(tmp_path: Path, film: Path, data: bytes) -> None:
    (tmp_path / "b.mp4").write_bytes(data)
    with pytest.raises(SparkDanceFilmError, match=r"b\.mp4 is no video that can be read"):
        join([clip(tmp_path / "a.mp4"), tmp_path / "b.mp4"], film)


def test_no_clips_make_no_film(film: Path) -> None:
    with pytest.raises(SparkDanceFilmError, match="no clip"):
        join([], film)


def test_without_pyav_the_message_names_the_extra(tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SparkDanceFilmError, match=r"pip install 'airflow-provider-spark\[film\]'"):
        join([tmp_path / "a.mp4"], film)


def test_the_memory_doesnt_grow_with_the_film(tmp_path: Path, film: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from airflow_provider_spark.media.film import join
one = Path(sys.argv[1])
join([one] * 2, Path(sys.argv[2]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
join([one] * 40, Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, Path(sys.argv[2]).stat().st_size)
"""
    one = noise(tmp_path / "noise.mp4", frames=48)
    done = subprocess.run(
        [sys.executable, "-c", code, str(one), str(film)], capture_output=True, text=True, check=True, timeout=120
    )
    grown_kib, film_bytes = map(int, done.stdout.split())
    assert film_bytes > 100 * 2**20
    assert grown_kib < 10 * 1024
