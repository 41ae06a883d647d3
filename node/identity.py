"""The node's Ed25519 key: identity, signature key and libp2p host key in one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from atoll.node.errors import ConfigError, HomeMissing
from atoll.protocol.ids import PeerId, peer_id
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FILE, NEXT, PREVIOUS = "identity.key", "identity.key.next", "identity.key.previous"


@dataclass(frozen=True)
class Identity:
    """The private key beside what others know of it."""

    key: Ed25519PrivateKey
    public: bytes
    peer: PeerId

    @classmethod
    def of(cls, key: Ed25519PrivateKey) -> Identity:
        public = key.public_key().public_bytes_raw()
        return cls(key, public, peer_id(public))

    @property
    def secret(self) -> bytes:
        """The 32-byte seed, for libp2p."""
        return self.key.private_bytes_raw()


def create(home: Path, name: str = FILE) -> Identity:
    """Make a key and save it (PKCS#8, mode 600); refuses to overwrite one. Returns after fsync."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        descriptor = os.open(home / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{home / name} exists: this home is initialised already") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return Identity.of(key)


def load(home: Path, name: str = FILE) -> Identity:
    """The identity of a home; HomeMissing if there is none."""
    path = home / name
    if not path.exists():
        raise HomeMissing(f"{home} is not an Atoll home", hint=f"run `atoll init --home {home}`")
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is not a readable key: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} is not an Ed25519 key")
    return Identity.of(key)
