"""The score shown to people."""

from __future__ import annotations


def similarity(mmd2: float, norm2_user: float, norm2_learnware: float) -> float:
    """s = 2<u, i> / (<u, u> + <i, i>) in [0, 1]: absolute, so comparable between lists and nodes."""
    total = norm2_user + norm2_learnware
    return min(1.0, max(0.0, (total - mmd2) / total)) if total > 0 else 0.0
