"""Bearer tokens: scoped, expiring, stored as hashes only."""

from __future__ import annotations

import hashlib
import secrets
from typing import Literal, get_args

import msgspec
from atoll.node.errors import Forbidden, RequestInvalid, Unauthorised
from atoll.node.store.environment import Store, Transaction

Scope = Literal["read", "predict", "publish", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""read: search and look; predict: reuse models; publish: add learnwares; admin: everything."""


class TokenRow(msgspec.Struct, frozen=True):
    """A token without its secret."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: int
    expires_at: int | None

    def in_force(self, now: int) -> bool:
        return self.expires_at is None or now < self.expires_at

    def allows(self, scope: Scope) -> bool:
        """Whether it has that scope, or admin, which has all."""
        return scope in self.scopes or "admin" in self.scopes


class Tokens:
    """Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows = store.table("tokens", TokenRow)

    def create(self, name: str, scopes: tuple[Scope, ...], now: int, lifetime: int | None) -> tuple[str, TokenRow]:
        """(secret, row); the secret is not kept. Returns after commit."""
        if not scopes:
            raise RequestInvalid(f"a token needs a scope: {', '.join(SCOPES)}")
        secret = "atoll_" + secrets.token_urlsafe(32)
        digest = hash_of(secret)
        row = TokenRow(id_of(digest), name, scopes, now, now + lifetime if lifetime else None)
        self._store.write(lambda txn: self._rows.put(txn, digest, row)).result()
        return secret, row

    def check(self, secret: str, scope: Scope, now: int) -> TokenRow:
        """The token's row; Unauthorised or Forbidden unless it is in force and has ``scope`` (or admin)."""
        return self.check_hash(hash_of(secret), scope, now)

    def check_hash(self, digest: bytes, scope: Scope, now: int) -> TokenRow:
        """As :meth:`check`, for whoever keeps no secrets."""
        with self._store.view() as txn:
            row = self._rows.get(txn, digest)
        if row is None or not row.in_force(now):
            raise Unauthorised("the token is unknown or has expired", hint="make one with `atoll token create`")
        if not row.allows(scope):
            raise Forbidden(
                f"the token lacks the scope {scope!r}",
                hint=f"use one that has it: `atoll token create NAME --scope {scope}`, with --scope for each other one",
            )
        return row

    def all(self) -> list[TokenRow]:
        with self._store.view() as txn:
            return [row for _, row in self._rows.scan(txn)]

    def revoke(self, token_id: str) -> bool:
        """Whether there was such a token; returns after commit."""

        def operation(txn: Transaction) -> bool:
            keys = [key for key, row in self._rows.scan(txn) if row.id == token_id]
            for key in keys:
                self._rows.delete(txn, key)
            return bool(keys)

        return self._store.write(operation).result()


def id_of(digest: bytes) -> str:
    """What a token is called, by its hash: it tells nothing of the secret."""
    return digest.hex()[:12]


def hash_of(secret: str) -> bytes:
    """SHA-256, as which a token is kept; of whatever came in a header, which need not be text."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
