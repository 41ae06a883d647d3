"""The one place that reads the time. Everything below takes ``now`` as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime

CALENDAR_ENDS = 253_402_300_799_000  # the last second of the year 9999


def now_ms() -> int:
    """Milliseconds UTC."""
    return time.time_ns() // 1_000_000


def utc(at: int) -> datetime:
    """A time in ms that another may have written: for what lies beyond the calendar, its end."""
    return datetime.fromtimestamp(min(max(at, 0), CALENDAR_ENDS) / 1000, UTC)
