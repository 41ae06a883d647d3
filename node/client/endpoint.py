"""Where the node of a home serves: it writes that down itself, so that programs beside it find it."""

from __future__ import annotations

from pathlib import Path

import msgspec

ENDPOINT = "endpoint.json"
DEFAULT_URL = "http://127.0.0.1:8470"


class Endpoint(msgspec.Struct, frozen=True):
    """Written by ``atoll serve`` into its home. ``certificate`` is the SHA-256 (hex) of the one that it had at its
    start, empty without TLS."""

    url: str
    peer_id: str
    addresses: tuple[str, ...]
    certificate: str = ""


def url_of(home: Path) -> str:
    """Where the node of a home serves, as it wrote itself."""
    try:
        return msgspec.json.decode((home / ENDPOINT).read_bytes(), type=Endpoint).url
    except (OSError, msgspec.DecodeError):
        return DEFAULT_URL
