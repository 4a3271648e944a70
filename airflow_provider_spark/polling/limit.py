"""How often a hub may ask: at most so many calls in any second, and fewer after the vendor has asked for it."""

from __future__ import annotations

# A limit above what the vendor documents for orders (600 a minute for an account) and far below what hurts it:
# a poll is cheap, and 50 a second serve 3,000 renders a minute apart.
DEFAULT_REQUESTS_PER_SECOND = 50.0
# A timer that fires late may be made up for, by up to this many seconds.
SLACK = 0.05
# Left free of each second, for that and for calls that the network bunches up on their way.
HEADROOM = 0.1
# A 429 or 503 cuts the rate to this share; no series of them cuts it below the least share.
CUT = 0.5
LEAST_SHARE = 1 / 64
# Seconds from the least rate back to the full one.
RECOVERY = 120.0


class RateLimit:
    """Says when the next call may go. It reads no clock: moments are given to it, in seconds of any one clock.

    Calls are spaced evenly, never saved up: in no second are there more than ``per_second``, not at a start with
    thousands in the queue either.
    """

    def __init__(self, per_second: float) -> None:
        self._spacing = (1 + HEADROOM) / per_second
        self._free_at = float("-inf")
        self._resumes_at = float("-inf")
        self._share = 1.0
        self._cut_at = float("-inf")

    def next_call_at(self) -> float:
        """Return the moment from which on a call may go."""
        return max(self._free_at - SLACK, self._resumes_at)

    def take(self, now: float) -> None:
        """Count a call that goes now."""
        self._free_at = max(self._free_at, now) + self._spacing / self.share(now)

    def slow_down(self, now: float, *, asked_at: float, retry_after: float | None) -> None:
        """Heed a 429 or 503.

        :param asked_at: when the call that was answered so had gone: what had gone before the last cut says nothing
            new, and isn't counted against the rate again.
        :param retry_after: seconds from now for which the vendor wants no call at all, where it says so.
        """
        if retry_after is not None:
            self._resumes_at = max(self._resumes_at, now + retry_after)
        if asked_at < self._cut_at:
            return
        self._share = max(self.share(now) * CUT, LEAST_SHARE)
        self._cut_at = now
        # What was free to go at the old rate isn't at the new one.
        self._free_at = max(self._free_at, now + self._spacing / self._share)

    def share(self, now: float) -> float:
        """Return which share of the full rate is in force; it grows in a straight line after a cut."""
        if self._share >= 1:
            return 1.0
        recovering = max(0.0, now - max(self._cut_at, self._resumes_at))
        share = min(1.0, self._share + recovering / RECOVERY)
        if share >= 1:
            self._share = 1.0
        return share
