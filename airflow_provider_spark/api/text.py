"""Text that may be shown: in a log, an exception, a repr. No data URI, no credential, no control character."""

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_DATA_URI = re.compile(r"data:[^\s,]{0,100},[^\s\"'<>]*", re.IGNORECASE)
# Slashes and letters alone make a path; this long without a dot, a dash or a space it is an encoded file.
SHORTEST_ENCODED = 160
_ENCODED = re.compile(rf"[A-Za-z0-9+/_-]{{{SHORTEST_ENCODED},}}={{0,2}}")


def clean(text: str, limit: int = 300) -> str:
    """Text of a stranger on one line of at most `limit` characters, without control characters or encoded files."""
    # A vendor's message can be megabytes; what lies beyond this can't be shown anyway.
    text = text[:1_000_000]
    if len(text) >= SHORTEST_ENCODED or ":" in text:
        text = _ENCODED.sub("[encoded data]", _DATA_URI.sub("[data URI]", text))
    text = text[: limit * 20]
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def is_web_url(text: str) -> bool:
    """Whether this is an absolute http or https URL with a host, free of white space and control characters."""
    if any(character.isspace() or not character.isprintable() for character in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_data_uri(text: str) -> bool:
    """Whether this wants to be a data URI, well formed or not."""
    return text.lstrip()[:5].lower() == "data:"


def means_web_url(text: str) -> bool:
    """Whether this wants to be an http or https URL, well formed or not."""
    return text.lstrip()[:8].lower().startswith(("http://", "https://"))


def show_url(url: str) -> str:
    """Show a URL without its credentials, query and fragment; of a data URI the type, the size and a checksum."""
    if is_data_uri(url):
        head, _, data = url.partition(",")
        checksum = hashlib.sha256(url.encode(errors="replace")).hexdigest()[:12]
        return f"{clean(head, 40)},<{len(data)} characters, sha256 {checksum}>"
    try:
        parts = urlsplit(url)
        host, port = parts.netloc.rpartition("@")[2], parts.port
    except ValueError:
        return "<a URL that can't be read>"
    if "@" in parts.path and (port is not None or (not parts.netloc and not url.startswith("/"))):
        # Without a scheme a user's name looks like one; and a password reads as a port up to a slash in it.
        return "<a URL that can't be read>"
    shown = parts._replace(netloc=host, query="…" if parts.query else "", fragment="")
    return clean(shown.geturl(), 120)


def show(value: object) -> str:
    """Show a rejected value: cut short, and never with a data URI or a URL's credentials or query."""
    if isinstance(value, str):
        if is_data_uri(value) or "://" in value:
            return show_url(value)
        if len(value) > 60 and not any(character.isspace() for character in value):
            return f"<text of {len(value)} characters>"
        # repr() keeps what clean() would drop, an escaped control character for one: it may be the fault.
        return repr(_DATA_URI.sub("[data URI]", value[:10_000])[:60]) + ("…" if len(value) > 60 else "")
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**18 else f"<a number of {value.bit_length()} bits>"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        return "<an object>"
    return f"<a {type(value).__name__}>"
