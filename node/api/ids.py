"""Ids as users give them, in paths, queries, bodies and forms: what is wrong with one is wrong with the request."""

from __future__ import annotations

from atoll.node.errors import RequestInvalid
from atoll.protocol import ids
from atoll.protocol.errors import ProtocolError


def parse_digest(text: str) -> bytes:
    """32 bytes from 64 hex digits, or RequestInvalid."""
    try:
        return ids.parse_digest(text)
    except ProtocolError as error:
        raise RequestInvalid(error.message, hint=error.hint) from None


def public_key(peer: str) -> bytes:
    """The key inside the text of a PeerId, or RequestInvalid."""
    try:
        return ids.public_key(peer)
    except ProtocolError as error:
        raise RequestInvalid(error.message, hint=error.hint) from None
