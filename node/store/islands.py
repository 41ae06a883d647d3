"""The island definitions that a node knows: those that it made, and those that listings it has seen are in."""

from __future__ import annotations

from atoll.engine.islands import Island
from atoll.node.store.environment import Store
from atoll.protocol.errors import NotFound


class Islands:
    """In memory, and in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows = store.table("islands", bytes)
        with store.view() as txn:
            self._known = {digest: Island.from_definition(definition) for digest, definition in self._rows.scan(txn)}

    def __contains__(self, digest: object) -> bool:
        return digest in self._known

    def get(self, digest: bytes) -> Island:
        """A known island, or NotFound."""
        if digest not in self._known:
            raise NotFound(f"island {digest.hex()} is not known here (yet)")
        return self._known[digest]

    def all(self) -> list[Island]:
        """By digest."""
        return [self._known[digest] for digest in sorted(self._known)]

    def add(self, island: Island) -> None:
        """Keep a definition; returns after commit."""
        if island.digest not in self._known:
            self._store.write(lambda txn: self._rows.put(txn, island.digest, island.definition)).result()
            self._known[island.digest] = island
