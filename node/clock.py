"""The one place that reads the time. Everything below takes ``now`` as an argument."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Milliseconds UTC."""
    return time.time_ns() // 1_000_000
