"""Names in messages: long lists cut short, and what a mistyped name may have meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

SHOWN = 8
ALIAS = re.compile(r"(?![0-9a-fA-F]{64}\Z)[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
"""What a learnware was called before it came here: a plain word, and none that reads as an id of ours."""
ALIAS_IS = "1 to 64 letters, digits, '_', '.' and '-', no sign first, and no id of a learnware here"


def listed(names: Iterable[str], shown: int = SHOWN) -> str:
    """The first of the names, and how many more there are."""
    every = list(names)
    more = f", … and {len(every) - shown} more" if len(every) > shown else ""
    return ", ".join(every[:shown]) + more


def meant(name: str, names: Sequence[str]) -> str:
    """The name that is nearest to a mistyped one, whatever its case; empty if none is near."""
    by_fold = {each.casefold(): each for each in reversed(names)}
    near = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.7)
    return by_fold[near[0]] if near else ""


def instead(name: str, names: Sequence[str], what: str) -> str:
    """A hint: did you mean outcome? its columns are ...; ``what`` begins the list."""
    near = meant(name, names)
    question = f"did you mean {near}? " if near else ""
    return f"{question}{what} {listed(names)}"
