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
        tokens = self._tokens(key, now)
        self._level.pop(key, None)
        allowed = tokens >= 1
        self._level[key] = (tokens - 1 if allowed else tokens, now)
        if len(self._level) > self._keys:
            del self._level[next(iter(self._level))]
        return allowed

    def pause(self, key: str, now: float) -> float:
        """Seconds until ``key`` may act again."""
        return max(0.0, (1 - self._tokens(key, now)) / self._rate)

    def _tokens(self, key: str, now: float) -> float:
        tokens, since = self._level.get(key, (self._burst, now))
        return min(self._burst, tokens + (now - since) * self._rate)
