"""The home: whose it is, who else may read the key, and what its configuration says."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from atoll.engine.errors import AtollError
from atoll.node import identity as identities
from atoll.node.checkup.finding import Finding, Patient
from atoll.node.settings import faults


def home(patient: Patient) -> Iterator[Finding]:
    """That it is one, and private."""
    place = patient.home
    if not place.is_dir():
        yield Finding("home", "bad", f"{place} does not exist", f"make one with `atoll init --home {place}`")
        return
    try:
        peer = identities.load(place).peer
    except (AtollError, OSError) as error:
        words = error.message if isinstance(error, AtollError) else f"{place} cannot be read: {error.strerror}"
        todo = (error.hint if isinstance(error, AtollError) else None) or "run this as the user that runs the node"
        yield Finding("home", "bad", words, todo)
        return
    yield from _private(patient, peer)
    if (place / identities.NEXT).exists():
        todo = f"finish it with `atoll identity rotate --home {place}`"
        yield Finding("key", "bad", "a change of keys was interrupted, the node does not start", todo)


def configuration(patient: Patient) -> Iterator[Finding]:
    """Whether it can be read, and contradicts itself."""
    found = faults(patient.home, patient.environ)
    if found:
        more = f"; {len(found) - 1} more" if len(found) > 1 else ""
        yield Finding("configuration", "bad", f"{found[0]}{more}", "`atoll config check` names every fault")
    elif patient.config is not None:
        words = f"the node is called {patient.config.node.name!r}, every key is known"
        yield Finding("configuration", "fine", words)


def _private(patient: Patient, peer: str) -> Iterator[Finding]:
    place, key = patient.home, patient.home / identities.FILE
    whose, mode, key_mode = place.stat().st_uid, stat.S_IMODE(place.stat().st_mode), stat.S_IMODE(key.stat().st_mode)
    if key_mode & 0o077:
        yield Finding("key", "bad", f"others may read {key} (mode {key_mode:o})", f"chmod 600 {key}")
    if mode & 0o022:
        yield Finding("home", "bad", f"others may write into {place} (mode {mode:o})", f"chmod 700 {place}")
    elif whose != os.geteuid():
        words = f"{place} belongs to user {whose}, this is user {os.geteuid()}"
        yield Finding("home", "look", words, "run the node, and this, as the user that the home belongs to")
    else:
        yield Finding("home", "fine", f"{place}, {peer}")
