"""``atoll island``: what columns data of an island have."""

import asyncio
import json

import pytest


@pytest.fixture
async def shown(start, digits, atoll):
    """``await shown(...)``: an island command at a node with the island of digits, and that island."""
    (node,) = await start("Asked House")
    island = digits.island()
    await node.client.add_island(island)

    async def run(*arguments):
        asking = ("--url", node.url, "--token", node.token)
        return await asyncio.to_thread(atoll, "island", *arguments, *asking), island

    return run


async def test_all_columns_of_an_island_are_shown(shown, digits):
    island = digits.island()
    (code, out, _), _ = await shown("show", island.id[:10])
    assert code == 0
    assert all(name in out for name in island.names)
    (code, out, _), _ = await shown("show", island.id, "--csv-header")
    assert out == ",".join(island.names) + "\n"
    (code, out, _), _ = await shown("show", island.id, "--json")
    assert [each["name"] for each in json.loads(out)["features"]] == list(island.names)


async def test_an_island_that_is_not_there_is_told_with_where_to_look(shown):
    (code, _, err), _ = await shown("show", "zz")
    assert code == 13
    assert "atoll island list" in err
