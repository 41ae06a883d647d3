"""What the members have said so far of some rows, and what they have not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from atoll.node.reuse.ensemble import Floats, Mask


@dataclass(frozen=True)
class Answers:
    """Of one block: ``outputs`` (n, k, c), and by row and member (n, k) who has answered, who has declined, and to whom
    a row is closed, so that its shares are those of the others."""

    outputs: Floats
    answered: Mask
    declined: Mask
    closed: Mask

    @classmethod
    def none(cls, rows: int, members: int, width: int) -> Answers:
        masks = [np.zeros((rows, members), np.bool_) for _ in range(3)]
        return cls(np.full((rows, members, width), np.nan), *masks)

    def close_declined(self) -> bool:
        """Close rows that nobody has answered to those who have declined them; whether there are any such."""
        new = self.declined & ~self.closed & ~self.answered.any(axis=1, keepdims=True)
        self.closed[new] = True
        return bool(new.any())
