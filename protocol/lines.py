"""Bytes as one line of text, safe to paste: a prefix that says what it is, then URL-safe base64 without padding."""

from __future__ import annotations

import base64
import binascii


def written(prefix: str, data: bytes) -> str:
    return prefix + base64.urlsafe_b64encode(data).decode().rstrip("=")


def read(prefix: str, line: str) -> bytes | None:
    """The bytes in a pasted line that begins with ``prefix``; None if they are damaged."""
    text = line.strip().removeprefix(prefix)
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
