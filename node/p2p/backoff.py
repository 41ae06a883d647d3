"""When to try a peer again: after 1 s, doubling to five minutes, by the wall clock, so that it holds over restarts."""

from __future__ import annotations

FIRST_MS, LONGEST_MS = 1000, 300_000
SPREAD = 0.5  # waits lie within 25 % of the plan, so that peers do not come in step


def next_try(failures: int, now: int, jitter: float) -> int:
    """The time (ms) of the next try after that many failures; ``jitter`` lies in [0, 1)."""
    planned = min(LONGEST_MS, FIRST_MS * 2 ** min(max(failures, 1) - 1, 10))
    return now + int(planned * (1 - SPREAD / 2 + SPREAD * jitter))


def is_due(when: int, now: int) -> bool:
    """Whether the time has come; a time beyond every plan means that the clock was set back."""
    return when <= now or when > now + LONGEST_MS * (1 + SPREAD / 2)
