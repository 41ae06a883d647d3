"""A catalogue of a test's own listings, for what ranks by one: all may be seen, and it never changes."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.protocol.listings import Listing


class MadeUpCatalogue:
    def __init__(self, listings: Sequence[Listing] = ()) -> None:
        self.listings = list(listings)

    def owners(self) -> list[tuple[bytes, bytes]]:
        return sorted({(listing.federation, listing.owner) for listing in self.listings})

    def of_owner(self, federation: bytes, owner: bytes) -> list[Listing]:
        return [each for each in self.listings if (each.federation, each.owner) == (federation, owner)]

    def in_island(self, island: bytes, now: int) -> list[Listing]:
        return [each for each in self.listings if any(spec.island == island for spec in each.specifications)]

    def first_seen(self, listing: Listing, island: bytes = b"") -> int:
        return 0

    def newcomer(self, federation: bytes, owner: bytes, now: int) -> bool:
        return False

    def on_change(self, listener: object) -> None:
        """It never changes."""

    def record(self, listing: Listing) -> None:
        """Nobody has signed it."""
