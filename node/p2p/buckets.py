"""How often somebody may do something: token buckets."""

from __future__ import annotations

KEYS = 4096  # remembered


class Buckets:
    """Token buckets by key, of which the least recently used are forgotten."""

    def __init__(self, rate: float, burst: float, *, keys: int = KEYS) -> None:
        self._rate, self._burst, self._keys = rate, burst, keys
        self._level: dict[str, tuple[float, float]] = {}

    def take(self, key: str, now: float) -> bool:
        """Whether ``key`` may act once more at ``now`` (seconds)."""
        tokens, since = self._level.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        allowed = tokens >= 1
        self._level[key] = (tokens - 1 if allowed else tokens, now)
        if len(self._level) > self._keys:
            del self._level[next(iter(self._level))]
        return allowed
