"""What kept files are called: text of users and of the vendor, made safe for a path."""

from __future__ import annotations

import hashlib
import json
import re

# Letters of a name, at most; with an id and a temporary ending it stays below the 255 that file systems take.
LONGEST_NAME = 120
LONGEST_ID = 80
DIGEST_LENGTH = 16

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_DIGEST_AT_END = re.compile(rf"-[0-9a-f]{{{DIGEST_LENGTH}}}$")


def safe(text: str, limit: int = LONGEST_NAME) -> str:
    """Return a text as a part of a file name: letters, digits, dots, dashes and underscores of ASCII.

    Plain text stays as it is. Of any other what can stay does, and a checksum of the whole follows, so that two
    texts never end up as one.
    """
    if len(text) <= limit and _PLAIN.fullmatch(text) and not _DIGEST_AT_END.search(text):
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGEST_LENGTH]
    kept = re.sub(r"[^A-Za-z0-9._]+", "-", text[: 4 * limit]).strip("-.")[: limit - DIGEST_LENGTH - 1]
    return f"{kept or 'clip'}-{digest}"


def stem(name: str, generation_id: str) -> str:
    """Return what the files of a generation are called, without their endings."""
    return f"{safe(name)}-{safe(generation_id, LONGEST_ID)}"


def default_name(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Return the name of a clip whose author gave none."""
    parts = [dag_id, run_id, task_id, *([f"{map_index:03}"] if map_index >= 0 else [])]
    return ".".join(parts)


def index_name(*key: object) -> str:
    """Return the name under which a manifest is found again by what it was made for."""
    text = json.dumps(key, sort_keys=True)
    return f".spark-dance/{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:40]}.json"
