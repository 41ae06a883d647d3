"""When a peer that did not answer is tried again."""

from __future__ import annotations

from atoll.node.p2p.backoff import FIRST_MS, LONGEST_MS, is_due, next_try
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = 1_800_000_000_000


@settings(deadline=None)
@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_backoff_doubles_within_its_bounds_and_a_quarter_of_jitter(failures, jitter):
    wait = next_try(failures, NOW, jitter) - NOW
    planned = min(LONGEST_MS, FIRST_MS * 2 ** (failures - 1))
    assert 0.75 * planned - 1 <= wait <= 1.25 * planned
    assert not is_due(NOW + wait, NOW)
    assert is_due(NOW + wait, NOW + wait)


def test_a_clock_that_was_set_back_does_not_silence_a_peer_for_years():
    assert is_due(next_try(9, NOW, 0.5), NOW - 10**9)
