"""Pseudonyms: what owners are told of this node's users, to count by; another one in every federation."""

from __future__ import annotations

import hashlib
import hmac

from atoll.node.identity import Identity


class Pseudonyms:
    """Only this node can tell who is behind one, or that two of different federations are the same person."""

    def __init__(self, identity: Identity) -> None:
        self._secret = hashlib.sha256(b"atoll/user/1\0" + identity.secret).digest()

    def of(self, user: str, federation: bytes) -> str:
        """16 hex digits; empty for somebody unknown."""
        return hmac.digest(self._secret, federation + user.encode(), "sha256").hex()[:16] if user else ""
