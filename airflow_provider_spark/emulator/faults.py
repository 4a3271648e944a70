"""Faults on demand: armed over HTTP, each taken by the next calls it is meant for.

`{"on": "submit" | "poll" | "download" | "render", "kind": ...}`, and:

- `count`: how often it strikes (1), or `rate`: how likely it strikes each time, without end unless `count` says so;
- `drop_reply`: the call does its work, then the connection is cut (a download half-way);
- `refuse`: the connection is cut before the body is read;
- `rate_limit`: 429, with `retry_after` (seconds or a date) where given;
- `server_error`: a bare 502, or another `http_status`;
- `vendor_error`: the vendor's `code` and a `message`. On a submit a refusal, on a poll a 200 that says `failed` though
  the render goes on; with `http_status` an error reply of that status;
- `garbage`: 200 with bytes that are no JSON;
- `slow`: the good reply, `seconds` of real time late;
- on a submit also `moderate`; all but `refuse` take a `prompt` that the order's body must hold; `server_error` and
  `garbage` take `accepted`, whether the order is taken all the same (by default not, and taken);
- on a download also `truncate` (a short file under a Content-Length to match), `expire` (the URL is no longer good),
  `page` (200 with an HTML page), `redirect` (to a `location`) and `trickle` (a hundred bytes every so many `seconds`);
- on a render, for the next orders accepted, or those whose `prompt` holds a text: `fail` (a `code`, a `message`),
  `moderate`, `stick` (until it expires), `expire` (at once when due; with a `status` word of its own).
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_ANY_CALL: Final = frozenset({"drop_reply", "refuse", "rate_limit", "server_error", "garbage", "slow"})

KINDS: Final[Mapping[str, frozenset[str]]] = {
    "submit": _ANY_CALL | {"vendor_error", "moderate"},
    "poll": _ANY_CALL | {"vendor_error"},
    "download": _ANY_CALL | {"truncate", "expire", "page", "redirect", "trickle"},
    "render": frozenset({"fail", "moderate", "stick", "expire"}),
}
"""What can go wrong, by where."""

_TAKES: Final[Mapping[str, frozenset[str]]] = {
    "rate_limit": frozenset({"retry_after"}),
    "server_error": frozenset({"http_status"}),
    "vendor_error": frozenset({"code", "message", "http_status"}),
    "slow": frozenset({"seconds"}),
    "trickle": frozenset({"seconds"}),
    "redirect": frozenset({"location"}),
    "fail": frozenset({"code", "message"}),
    "expire": frozenset({"status"}),
}
_NEEDS: Final[Mapping[str, str]] = {
    "vendor_error": "code",
    "fail": "code",
    "slow": "seconds",
    "trickle": "seconds",
    "redirect": "location",
}


@dataclass(frozen=True)
class Fault:
    """One way to go wrong. `count` is how often it still will (`None`: without end), `rate` how likely, each time."""

    on: str
    kind: str
    count: int | None = 1
    rate: float = 1.0
    prompt: str | None = None
    code: str = ""
    message: str | None = None
    http_status: int | None = None
    retry_after: float | str | None = None
    seconds: float = 0.0
    location: str | None = None
    accepted: bool | None = None
    status: str = "failed"

    @classmethod
    def parse(cls, body: object) -> Fault:
        """Read the fault that a JSON body asks for.

        Raises:
            ValueError: what is wrong with it, for the person who wrote it.
        """
        if not isinstance(body, dict):
            raise ValueError("a fault is a JSON object")
        on, kind = str(body.get("on")), str(body.get("kind"))
        if on not in KINDS:
            raise ValueError(f"on must be one of {', '.join(KINDS)}")
        if kind not in KINDS[on]:
            raise ValueError(f"on {on}, kind must be one of {', '.join(sorted(KINDS[on]))}")
        allowed = {"on", "kind", "count", "rate"} | _TAKES.get(kind, frozenset())
        if on == "render" or (on == "submit" and kind != "refuse"):
            allowed |= {"prompt"}
        if on == "submit" and kind in ("server_error", "garbage"):
            allowed |= {"accepted"}
        if unknown := sorted(body.keys() - allowed):
            raise ValueError(f"{kind} on {on} doesn't take {', '.join(unknown)}")
        if kind in _NEEDS and _NEEDS[kind] not in body:
            raise ValueError(f"{kind} needs {_NEEDS[kind]}")
        for name, value in body.items():
            if not _fits(name, value):
                raise ValueError(f"{name} can't be {value!r}")
        # A rate alone goes on until it is cleared; without one, a fault strikes once.
        count = body.get("count", None if "rate" in body else 1)
        return cls(**{**body, "count": count})

    def describe(self) -> dict[str, object]:
        """Show the fault as it was asked for, with what is left of its count."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name in ("on", "kind", "count") or value != defaults[name]
        }


def _fits(name: str, value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name == "count":
        return number and isinstance(value, int) and value >= 1
    if name == "rate":
        return isinstance(value, (int, float)) and number and 0 < value <= 1
    if name == "seconds":
        return isinstance(value, (int, float)) and number and 0 <= value <= 86_400
    if name == "http_status":
        return number and isinstance(value, int) and 200 <= value <= 599
    if name == "retry_after":
        return number or (isinstance(value, str) and value.isascii() and value.isprintable())
    if name == "location":
        return isinstance(value, str) and value.isascii() and value.isprintable()
    if name == "accepted":
        return isinstance(value, bool)
    return isinstance(value, str) and bool(value)


class Faults:
    """The armed faults, in the order they were armed. Chance is drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self._armed: list[Fault] = []
        self._random = random.Random(f"{seed}/faults")

    def arm(self, fault: Fault) -> None:
        """Let a fault strike from now on."""
        self._armed.append(fault)

    def clear(self) -> None:
        """Disarm all."""
        self._armed.clear()

    def armed(self) -> list[dict[str, object]]:
        """List what is armed, as JSON."""
        return [fault.describe() for fault in self._armed]

    def take(self, on: str, prompt: str | None = None, *, picky: bool = False) -> Fault | None:
        """Find the first fault that strikes this call and count it off; where `picky`, of those for some prompt."""
        for place, fault in enumerate(self._armed):
            if picky and fault.prompt is None:
                continue
            if fault.on != on or (fault.prompt is not None and fault.prompt not in (prompt or "")):
                continue
            if fault.rate < 1 and self._random.random() >= fault.rate:
                continue
            if fault.count is not None:
                if fault.count > 1:
                    self._armed[place] = dataclasses.replace(fault, count=fault.count - 1)
                else:
                    del self._armed[place]
            return fault
        return None
