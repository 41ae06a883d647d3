"""The listings of the catalogue in memory, decoded, and the ways to look one up: id, alias, owner, island, tag, words.

What many listings share (owners, federations, islands, tags) is held once. Signatures and records stay on disk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import msgspec
from atoll.engine.semantic import SemanticQuery
from atoll.protocol.listings import Listing

Key = tuple[bytes, bytes, bytes]  # federation, owner, learnware


class ListingIndex:
    """Not thread-safe: the catalogue locks."""

    def __init__(self) -> None:
        self._listings: dict[Key, Listing] = {}
        self._of_learnware: dict[bytes, tuple[Key, ...]] = {}
        self._of_owner: defaultdict[tuple[bytes, bytes], set[Key]] = defaultdict(set)
        self._of_alias: defaultdict[str, set[Key]] = defaultdict(set)
        self._in_island: defaultdict[bytes, set[Key]] = defaultdict(set)
        self._tagged: defaultdict[tuple[str, str], set[Key]] = defaultdict(set)
        self._common: dict[Any, Any] = {}

    def put(self, listing: Listing) -> None:
        """Take a listing in, or replace that of the same learnware, owner and federation."""
        listing = self._shared(listing)
        key = (listing.federation, listing.owner, listing.learnware_id)
        self.discard(key)
        self._listings[key] = listing
        self._of_learnware[key[2]] = (*self._of_learnware.get(key[2], ()), key)
        for place in self._places(key, listing):
            place.add(key)

    def discard(self, key: Key) -> None:
        """Forget a listing; nothing happens if it is not here."""
        listing = self._listings.pop(key, None)
        if listing is None:
            return
        rest = tuple(each for each in self._of_learnware[key[2]] if each != key)
        if rest:
            self._of_learnware[key[2]] = rest
        else:
            del self._of_learnware[key[2]]
        for place in self._places(key, listing):
            place.discard(key)

    def get(self, key: Key) -> Listing | None:
        return self._listings.get(key)

    def of_learnware(self, called: bytes | str) -> list[Listing]:
        """By id, or alias, in whatever federations it is listed."""
        keys = self._of_alias.get(called) if isinstance(called, str) else self._of_learnware.get(called)
        return self._ordered(keys or ())

    def of_owner(self, federation: bytes, owner: bytes) -> list[Listing]:
        return self._ordered(self._of_owner.get((federation, owner), ()))

    def owners(self) -> list[tuple[bytes, bytes]]:
        """(federation, owner) of all that is here."""
        return sorted(owned for owned, keys in self._of_owner.items() if keys)

    def in_island(self, island: bytes) -> list[Listing]:
        return self._ordered(self._in_island.get(island, ()))

    def islands(self) -> dict[bytes, int]:
        """How many listings are in each."""
        return {island: len(keys) for island, keys in self._in_island.items() if keys}

    def found(self, query: SemanticQuery) -> list[Listing]:
        """Listings that pass the tags and whose words fit, by key; tags narrow before words are compared."""
        wanted = [
            set(chain.from_iterable(self._tagged.get((group, value), ()) for value in values))
            for group, values in query.tags().items()
        ]
        keys: Iterable[Key] = set.intersection(*wanted) if wanted else self._listings
        found = self._ordered(keys)
        if not query.text.strip():
            return found
        scores = query.scores([listing.semantic for listing in found])
        return [listing for listing, score in zip(found, scores, strict=True) if score > 0]

    def _ordered(self, keys: Iterable[Key]) -> list[Listing]:
        return [self._listings[key] for key in sorted(keys)]

    def _places(self, key: Key, listing: Listing) -> Iterator[set[Key]]:
        yield self._of_owner[key[0], key[1]]
        for spec in listing.specifications:
            yield self._in_island[spec.island]
        for tag in listing.semantic.tags():
            yield self._tagged[tag]
        if listing.alias:
            yield self._of_alias[listing.alias]

    def _shared(self, listing: Listing) -> Listing:
        """The same listing, made of what other listings are made of where they are equal."""
        once = self._common.setdefault
        words = listing.semantic
        return msgspec.structs.replace(
            listing,
            owner=once(listing.owner, listing.owner),
            federation=once(listing.federation, listing.federation),
            offers=once(listing.offers, listing.offers),
            class_names=once(listing.class_names, listing.class_names),
            semantic=msgspec.structs.replace(
                words,
                data=once(words.data, words.data),
                task=once(words.task, words.task),
                library=once(words.library, words.library),
                scenario=once(words.scenario, words.scenario),
                license=once(words.license, words.license),
            ),
            specifications=tuple(
                msgspec.structs.replace(spec, island=once(spec.island, spec.island)) for spec in listing.specifications
            ),
        )
