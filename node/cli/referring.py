"""What a user means by a name or the beginning of an id, said as the whole id that the node takes."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click
from atoll.engine.naming import listed
from atoll.node.client import AsyncClient

FEWEST = 6  # digits of an id that is cut short
WHOLE = re.compile("[0-9a-f]{64}")


async def federation_of(client: AsyncClient, given: str) -> str:
    """The id of a federation of the node, by id, name, or the beginning of its id; UsageError where that is none, or
    more than one."""
    if WHOLE.fullmatch(given):
        return given
    known = {each.id: each.name for each in await client.federations()}
    found = [id_ for id_, name in known.items() if name == given] or _beginning(given, known)
    return _the_one(found, "federation", given, "see `atoll federation list`")


async def learnware_of(client: AsyncClient, given: str) -> str:
    """The id of a learnware of the dock or the catalogue, by the beginning of it, as for a federation."""
    if WHOLE.fullmatch(given) or len(given) < FEWEST:
        return given
    known = {each.learnware_id for each in await client.learnwares()}
    known |= {each.learnware_id for each in await client.catalogue()}
    return _the_one(_beginning(given, known), "learnware", given, "see `atoll learnware list`, with --own for the dock")


def _beginning(given: str, known: Iterable[str]) -> list[str]:
    return sorted(id_ for id_ in known if len(given) >= FEWEST and id_.startswith(given))


def _the_one(found: list[str], what: str, given: str, hint: str) -> str:
    if not found:
        raise click.UsageError(f"there is no {what} {given!r} here: {hint}")
    if len(found) > 1:
        raise click.UsageError(f"{given!r} is more than one {what}: {listed(found)}")
    return found[0]
