"""Which peers the table shows, and in what order: from the query of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from atoll.node.web.network.around import STATES, Line

Order = Literal["name", "state", "lag", "seen", "traffic"]
ORDERS: tuple[Order, ...] = get_args(Order)
_KEYS: dict[Order, Callable[[Line], int]] = {
    "name": lambda line: line.number,
    "state": lambda line: STATES.index(line.state),
    "lag": lambda line: -line.distance,
    "seen": lambda line: -line.last_seen,
    "traffic": lambda line: -line.traffic,
}


@dataclass(frozen=True)
class Choice:
    """Empty ``state`` and ``federation`` choose all."""

    state: str = ""
    federation: str = ""
    order: Order = "name"

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Choice:
        """What a query says; what no page of ours says chooses all."""
        state, order = query.get("state", ""), query.get("order", "")
        found: Order = next((each for each in ORDERS if each == order), "name")
        return cls(state if state in STATES else "", query.get("federation", "")[:64], found)

    def of(self, lines: Sequence[Line]) -> list[Line]:
        """The lines that are chosen, in order."""
        return sorted(filter(self._chosen, lines), key=_KEYS[self.order])

    def _chosen(self, line: Line) -> bool:
        within = not self.federation or any(each.id == self.federation for each in line.common)
        return within and self.state in ("", line.state)
