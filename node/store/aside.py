"""What a child process says that reads a store beside the node, or a damaged one: it may be hostile, and is shown."""

from __future__ import annotations


def printable(words: str) -> str:
    """Fit for a terminal."""
    return "".join(character if character.isprintable() else "?" for character in words[:300])


def last_words(stderr: bytes) -> str:
    """Why it ended."""
    return printable(stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])
