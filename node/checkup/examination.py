"""The check-up in its order: what a node cannot do without comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from atoll.node.checkup import connections, house, machine, store
from atoll.node.checkup.finding import Finding, Patient, admit

Look = Callable[[Patient], Iterable[Finding]]
LOOKS: tuple[Look, ...] = (
    machine.version,
    house.home,
    house.configuration,
    store.store,
    machine.disk,
    machine.descriptors,
    connections.node,
    connections.ports,
    connections.addresses,
    connections.tls,
    store.federations,
    connections.peers,
    store.clock,
    machine.sandbox,
    machine.libraries,
)


def examine(home: Path, environ: Mapping[str, str]) -> list[Finding]:
    """All findings; works without a home, with a damaged one, and while its node runs. Changes nothing."""
    patient = admit(home, environ)
    return [finding for look in LOOKS for finding in look(patient)]
