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
    found = _endpoint(home)
    return found.url if found is not None else DEFAULT_URL


def certificate_of(home: Path, url: str) -> str:
    """The certificate (SHA-256, hex) by which the node of a home is known at ``url``, whoever has signed it; empty if
    something else serves there, or without TLS."""
    found = _endpoint(home)
    return found.certificate if found is not None and found.url == url else ""


def _endpoint(home: Path) -> Endpoint | None:
    try:
        return msgspec.json.decode((home / ENDPOINT).read_bytes(), type=Endpoint)
    except (OSError, msgspec.DecodeError):
        return None
