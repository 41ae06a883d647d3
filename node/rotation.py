"""A new key for a home in which no node runs: the memberships of the old one are handed over to it, signed by the old
key or by the recovery key.

Interrupted at any point, it goes on where it was: the new key is there first, the successions are written next, and the
files change their names last. The rest is done by the node itself, once it runs with the new key: it shows the
successions to members, gets its certificates from admins, and lists its learnwares again (node.upkeep).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from atoll.node import identity as identities
from atoll.node import lock
from atoll.node.errors import ConfigError
from atoll.node.identity import FILE, NEXT, PREVIOUS, Identity
from atoll.node.store.audit import AuditLog
from atoll.node.store.durable import fsync_folder
from atoll.node.store.environment import Store
from atoll.node.store.federations import Federation, Federations
from atoll.protocol.ids import peer_id
from atoll.protocol.succession import sign_succession
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Rotation(msgspec.Struct, frozen=True):
    """What has become of a home: who it was, who it is, and the names of the federations that were handed over."""

    old: str
    new: str
    federations: tuple[str, ...]


def rotate(home: Path, now: int, recovery: Ed25519PrivateKey | None = None) -> Rotation:
    """Give a home a new key; ConfigError while a node runs on it, RecordRejected if the recovery key is another's."""
    with lock.exclusive(home), _keys(home) as (old, new), closing(Store(home / "store")) as store:
        federations = Federations(store, new)
        everything = federations.all()
        for each in everything:
            _hand_over(federations, each, recovery or (old.key if old else None), new, now)
        before = peer_id(everything[0].certificate.member) if everything else old.peer if old else ""
        AuditLog(store).append("node", "identity.rotate", {"from": before, "to": new.peer}, "done", now)
    return Rotation(before, new.peer, tuple(each.charter.name for each in everything))


@contextmanager
def _keys(home: Path) -> Iterator[tuple[Identity | None, Identity]]:
    """The old key, if it is there, and the new one, which takes its place if the block ends well."""
    if not (home / "store").is_dir():
        identities.load(home)  # which says that there is no home
    names = [name for name in (FILE, PREVIOUS) if (home / name).exists()]
    old = identities.load(home, names[0]) if names else None
    new = identities.load(home, NEXT) if (home / NEXT).exists() else identities.create(home, NEXT)
    yield old, new
    if (home / FILE).exists():
        os.replace(home / FILE, home / PREVIOUS)
        fsync_folder(home)
    os.replace(home / NEXT, home / FILE)
    fsync_folder(home)


def _hand_over(
    federations: Federations, federation: Federation, signer: Ed25519PrivateKey | None, new: Identity, now: int
) -> None:
    owner = federation.certificate.member
    with federations.lock:
        handed = federations.roll(federation.id).successions.get(owner)
    if handed is not None and handed.succession.successor == new.public:  # before it was interrupted
        return
    if handed is not None:
        raise ConfigError(
            f"the last change of keys has not reached an admin of {federation.charter.name!r} yet",
            hint="run the node with `atoll serve` until `atoll federation list` shows it as a member",
        )
    if signer is None:
        raise ConfigError("the key of this home is gone", hint="give the recovery line with --recovery FILE")
    signed = sign_succession(
        signer, new.key, federation=federation.id, owner=owner, certificate=federation.row.certificate, now=now
    )
    federations.take_succession(federation.id, signed.records, now)
