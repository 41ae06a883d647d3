"""Who is signed in with a browser: sessions in memory, kept under the hash of the random id that the cookie holds.

A session is worth what its token is worth at the moment: on the pages all of it, through the API reading and searching.
Forms carry a token that only this node can have made for that browser.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import Counter, OrderedDict

import msgspec
from atoll.node.errors import Unauthorised
from atoll.node.store.tokens import TokenRow, Tokens, hash_of, id_of

SECONDS = 12 * 3600  # that a session lasts
MOST = 4096  # sessions; beyond, the oldest ends


class Session(msgspec.Struct, frozen=True):
    """The hash of the token, which may be revoked at any time."""

    token: bytes
    expires_at: int


class Sessions:
    """Thread-safe. Cookies do not know ports: each node has names of its own for them."""

    def __init__(self, tokens: Tokens, peer: str) -> None:
        self.cookie = f"atoll_session_{peer[-8:]}"
        self.visitor_cookie = f"atoll_visitor_{peer[-8:]}"
        self._tokens = tokens
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def open(self, secret: str, now: int) -> str:
        """The id of a new session; Unauthorised or Forbidden unless the token may read."""
        digest = hash_of(secret)
        self._tokens.check_hash(digest, "read", now)
        id_ = new_id()
        with self._lock:
            self._sessions[_key(id_)] = Session(digest, now + 1000 * SECONDS)
            while len(self._sessions) > MOST:
                self._sessions.popitem(last=False)
        return id_

    def token(self, id_: str, now: int) -> TokenRow | None:
        """The token of a session that is in force."""
        with self._lock:
            session = self._sessions.get(_key(id_))
        if session is None:
            return None
        if now < session.expires_at:
            try:
                return self._tokens.check_hash(session.token, "read", now)
            except Unauthorised:  # revoked since, or expired
                pass
        self.close(id_)
        return None

    def of_tokens(self, now: int) -> Counter[str]:
        """How many browsers are signed in, by the id of their token."""
        with self._lock:
            return Counter(id_of(each.token) for each in self._sessions.values() if now < each.expires_at)

    def close(self, id_: str) -> None:
        with self._lock:
            self._sessions.pop(_key(id_), None)

    def form_token(self, id_: str) -> str:
        """What the forms carry that the browser with this id (of a session, or of a visitor) is shown."""
        return hmac.digest(self._secret, _bytes(id_), "sha256").hex()

    def genuine(self, id_: str, given: str) -> bool:
        """Whether ``given`` is the form token of that browser; compared in constant time."""
        return bool(id_) and hmac.compare_digest(self.form_token(id_).encode(), _bytes(given))


def new_id() -> str:
    """Of a session or a visitor: 256 random bits."""
    return secrets.token_urlsafe(32)


def _key(id_: str) -> bytes:
    return hashlib.sha256(_bytes(id_)).digest()


def _bytes(text: str) -> bytes:
    """Of what came in a header, which need not be text."""
    return text.encode("utf-8", "surrogateescape")
