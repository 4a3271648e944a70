"""Whether bytes that go by make up a whole file, MP4 or PNG: read as they come, nothing kept."""

from __future__ import annotations

import re

from airflow_provider_spark.api.text import clean

_HEADER = 8
_LONG_HEADER = 16
_KIND = re.compile(rb"[\x20-\x7e\xa9][\x20-\x7e]{3}")


class Mp4Check:
    """Walks over the top-level boxes of a file (ISO/IEC 14496-12, 4.2) without holding more than a box's header.

    A whole file begins with ``ftyp``, has ``moov`` (what is in it) and ``mdat`` (the pictures), and ends where its
    last box does.
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._skip: int | None = 0
        """Bytes of the present box that are still to come; ``None`` where it goes on to the end of the file."""
        self._kinds: list[bytes] = []

    def feed(self, chunk: bytes | memoryview) -> None:
        """Take in the next bytes.

        :raises ValueError: this is no MP4 file; the message says what it looks like.
        """
        at = 0
        while self._skip is not None and at < len(chunk):
            if self._skip:
                step = min(self._skip, len(chunk) - at)
                self._skip -= step
                at += step
                continue
            wanted = _LONG_HEADER if self._header[:4] == b"\0\0\0\1" else _HEADER
            step = min(wanted - len(self._header), len(chunk) - at)
            self._header += chunk[at : at + step]
            at += step
            if len(self._header) >= _HEADER:
                self._open_box()

    def finish(self) -> None:
        """Judge the whole, once all bytes have gone by.

        :raises ValueError: it isn't a whole MP4 file.
        """
        if not self._kinds:
            raise ValueError("it is empty" if not self._header else f"it looks like {_likeness(bytes(self._header))}")
        if self._skip or self._header:
            missing = f", whose last {self._skip:,} bytes are missing" if self._skip else ""
            raise ValueError(f"it ends within its box {_shown(self._kinds[-1])}{missing}")
        for kind, what in ((b"moov", "table of contents"), (b"mdat", "pictures")):
            if kind not in self._kinds:
                raise ValueError(f"it has no {what} (box {_shown(kind)})")

    def _open_box(self) -> None:
        header = bytes(self._header)
        size, kind = int.from_bytes(header[:4]), header[4:8]
        length = _HEADER
        if size == 1:
            if len(header) < _LONG_HEADER:
                return
            size, length = int.from_bytes(header[8:16]), _LONG_HEADER
        if not self._kinds and kind != b"ftyp":
            raise ValueError(f"it looks like {_likeness(header)}")
        if not _KIND.fullmatch(kind) or 0 < size < length:
            raise ValueError(f"after its box {_shown(self._kinds[-1])} comes what is no box")
        # Which boxes there are is all that is asked, and a hostile file may have millions.
        if kind not in self._kinds:
            self._kinds.append(kind)
        elif self._kinds[-1] != kind:
            self._kinds.remove(kind)
            self._kinds.append(kind)
        self._skip = None if size == 0 else size - length
        self._header.clear()


class PngCheck:
    """Whether bytes that go by are a PNG file from its signature to its last chunk."""

    SIGNATURE = b"\x89PNG\r\n\x1a\n"
    END = b"\0\0\0\0IEND\xaeB`\x82"

    def __init__(self) -> None:
        self._start = bytearray()
        self._end = b""

    def feed(self, chunk: bytes | memoryview) -> None:
        """Take in the next bytes.

        :raises ValueError: this is no PNG file.
        """
        if len(self._start) < len(self.SIGNATURE):
            self._start += chunk[: len(self.SIGNATURE) - len(self._start)]
            if not self.SIGNATURE.startswith(self._start):
                raise ValueError(f"it looks like {_likeness(bytes(chunk[:64]))}")
        self._end = (self._end + bytes(chunk[-len(self.END) :]))[-len(self.END) :]

    def finish(self) -> None:
        """Judge the whole, once all bytes have gone by.

        :raises ValueError: it isn't a whole PNG file.
        """
        if not self._start:
            raise ValueError("it is empty")
        if self._end != self.END:
            raise ValueError("it is cut off: its last chunk is missing")


def _likeness(start: bytes) -> str:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] == b"<":
        return "an HTML or XML page"
    if text[:1] in (b"{", b"["):
        return "JSON"
    return f"something else; it begins with {clean(repr(start[:_HEADER]), 60)}"


def _shown(kind: bytes) -> str:
    return repr(kind.decode("latin-1"))
