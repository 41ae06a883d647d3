"""What a part of the benchmark of search has measured, beside what is asked of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """``target`` is the most that may be (``least``: what must be at least); None where nothing is asked."""

    name: str
    value: float
    unit: str = ""
    target: float | None = None
    least: bool = False
    note: str = ""

    @property
    def holds(self) -> bool:
        if self.target is None:
            return True
        return self.value >= self.target if self.least else self.value <= self.target

    def plain(self) -> dict[str, object]:
        return asdict(self) | {"holds": self.holds}

    def __str__(self) -> str:
        asked = "" if self.target is None else f"{'at least' if self.least else 'at most'} {self.target:g} {self.unit}"
        verdict = "" if self.target is None else "ok" if self.holds else "FAILS"
        return f"{self.name:72} {self.value:11.4g} {self.unit:3} {asked:20} {verdict:5} {self.note}".rstrip()
