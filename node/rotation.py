"""A new key for a home in which no node runs: the memberships of the old one are handed over to it, signed by the old
key or by the recovery key.

What could go wrong is looked for first. Interrupted later, it goes on where it was: the new key is there first, the
successions are written next, and the files change their names last. The rest is done by the node itself, once it runs
with the new key: it shows the successions to members, gets its certificates from admins, and lists its learnwares again
(node.upkeep).
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import msgspec
from atoll.engine.folders import fsync_folder
from atoll.node import identity as identities
from atoll.node import lock
from atoll.node.errors import ConfigError
from atoll.node.identity import FILE, NEXT, PREVIOUS, Identity
from atoll.node.store.audit import AuditLog
from atoll.node.store.environment import Store
from atoll.node.store.federations import Federation, Federations
from atoll.protocol.ids import peer_id
from atoll.protocol.succession import recovery_hash, sign_succession
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Rotation(msgspec.Struct, frozen=True):
    """What has become of a home: who it was, who it is, and the names of the federations that were handed over, and of
    those that were not: there the new key is a stranger."""

    old: str
    new: str
    federations: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def rotate(home: Path, now: int, recovery: Ed25519PrivateKey | None = None) -> Rotation:
    """Give a home a new key; ConfigError while a node runs on it or where it cannot be done, and then nothing is.

    With ``recovery`` the federations whose certificate names another recovery key, or none, are left out.
    """
    if not (home / "store").is_dir():
        identities.load(home)  # which says that there is no home
    names = [name for name in (FILE, PREVIOUS) if (home / name).exists()]
    old = identities.load(home, names[0]) if names else None
    begun = identities.load(home, NEXT) if (home / NEXT).exists() else None
    with lock.exclusive(home), closing(Store(home / "store")) as store:
        federations = Federations(store, begun or old or Identity.of(Ed25519PrivateKey.generate()))
        everything, signer = federations.all(), recovery or (old.key if old else None)
        chosen = [each for each in everything if _can_sign(federations, each, recovery)]
        if signer is None:
            raise ConfigError("the key of this home is gone", hint="give the recovery line with --recovery FILE")
        if everything and not chosen:
            raise ConfigError("no federation of this home has named such a recovery key", hint="it is another home's")
        for each in chosen:
            _check_last(federations, each, begun)
        new = begun or identities.create(home, NEXT)
        for each in chosen:
            _hand_over(federations, each, signer, new, now)
        before = peer_id(everything[0].certificate.member) if everything else old.peer if old else ""
        AuditLog(store).append("node", "identity.rotate", {"from": before, "to": new.peer}, "done", now)
        if (home / FILE).exists():
            os.replace(home / FILE, home / PREVIOUS)
            fsync_folder(home)
        os.replace(home / NEXT, home / FILE)
        fsync_folder(home)
    return Rotation(
        before, new.peer, tuple(each.charter.name for each in chosen),
        tuple(each.charter.name for each in everything if each not in chosen),
    )  # fmt: skip


def _can_sign(federations: Federations, federation: Federation, recovery: Ed25519PrivateKey | None) -> bool:
    if recovery is None:
        return True
    with federations.lock:
        roll = federations.roll(federation.id)
        named = roll.recovery_of(federation.certificate.member, federation.row.certificate)
    return named == recovery_hash(recovery.public_key().public_bytes_raw())


def _check_last(federations: Federations, federation: Federation, begun: Identity | None) -> None:
    """ConfigError if the change of keys before this one is not through."""
    with federations.lock:
        handed = federations.roll(federation.id).successions.get(federation.certificate.member)
    if handed is not None and (begun is None or handed.succession.successor != begun.public):
        raise ConfigError(
            f"the last change of keys has not reached an admin of {federation.charter.name!r} yet",
            hint="run the node with `atoll serve` until `atoll federation list` shows it as a member",
        )


def _hand_over(
    federations: Federations, federation: Federation, signer: Ed25519PrivateKey, new: Identity, now: int
) -> None:
    """Unless it was done before an interruption; returns after commit."""
    owner = federation.certificate.member
    with federations.lock:
        handed = federations.roll(federation.id).successions.get(owner)
    if handed is None:
        signed = sign_succession(
            signer, new.key, federation=federation.id, owner=owner, certificate=federation.row.certificate, now=now
        )
        federations.take_succession(federation.id, signed.records, now)
