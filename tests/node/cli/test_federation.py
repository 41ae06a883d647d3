"""``atoll federation`` as people use it: what is shown can be copied, and a name or the beginning of an id will do."""

import asyncio

import pytest
from atoll.node.cli import output
from rich.console import Console


@pytest.fixture
async def founded(start, atoll, monkeypatch):
    """``(ids of the federations "Clinics", "Wards" and another "Wards", run)`` at one node."""
    (node,) = await start("house")
    ids = [(await node.client.create_federation(name)).id for name in ("Clinics", "Wards", "Wards")]
    monkeypatch.setenv("ATOLL_URL", node.url)
    monkeypatch.setenv("ATOLL_TOKEN", node.token)

    async def run(*arguments):
        return await asyncio.to_thread(atoll, "federation", *arguments)

    return ids, run


async def test_a_federation_goes_by_its_name_or_how_its_id_begins(founded):
    (clinics, wards, others), run = founded
    for name in (clinics, clinics[:8], "Clinics"):
        code, out, _ = await run("members", name)
        assert (code, "house" in out) == (0, True)
    assert (await run("invite", "Clinics"))[0] == 0
    code, _, err = await run("leave", "Wards")
    assert code == 2
    assert "more than one" in err
    assert wards in err.replace("\n", "")
    assert others in err.replace("\n", "")
    code, _, err = await run("root", "Nobodys")
    assert code == 2
    assert "atoll federation list" in err
    assert (await run("leave", wards[:8]))[0] == 0
    assert (await run("members", "Wards"))[0] == 0


@pytest.mark.parametrize("width", [40, 80, 140, 200])
async def test_ids_are_shown_whole_at_any_width(founded, monkeypatch, width):
    ids, run = founded
    monkeypatch.setattr(output, "console", Console(width=width))
    out = (await run("list"))[1]
    assert all(id_ in out.split() for id_ in ids)
    assert "…" not in out
