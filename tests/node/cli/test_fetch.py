"""``atoll fetch``: packages into a folder, what could not be had, and what to type instead."""

import asyncio
import json

import pytest
from atoll.engine.packages import open_package
from atoll.node.clock import now_ms
from atoll.protocol.listings import Offers


@pytest.fixture
async def two(federated, publish, changed, digits):
    """(a node, its token's environment, [a learnware that may be downloaded, one that may not])."""
    (node, owner), federation = await federated("node", "owner")
    offers = (Offers(disclose="members", download="members"), Offers(disclose="members", predict="members"))
    ids = [await publish(owner, federation, offer, *classes) for offer, classes in zip(offers, ((0, 1), (2, 3)))]  # noqa: B905
    await changed(node, lambda: {each.learnware_id.hex() for each in node.node.catalogue.alive(now_ms())} == {*ids})
    await node.client.add_island(digits.island())
    return node, ids


async def test_packages_come_into_the_folder_and_what_does_not_is_named(two, atoll, monkeypatch, tmp_path, digits):
    node, (offered, denied) = two
    monkeypatch.setenv("ATOLL_URL", node.url)
    monkeypatch.setenv("ATOLL_TOKEN", node.token)
    monkeypatch.chdir(tmp_path)

    async def fetch(*arguments):
        return await asyncio.to_thread(atoll, "fetch", *arguments)

    code, out, err = await fetch(offered, "-o", "models")
    assert (code, err) == (0, "")
    (path,) = tmp_path.glob("models/*")
    assert out.splitlines() == [f"models/{path.name}"]
    assert path.name == f"digits-0-1-{offered[:12]}.zip"
    with open_package(path, specifications=False) as package:
        assert package.learnware_id.hex() == offered

    code, out, err = await fetch(offered, denied, "--json")
    assert code == 14
    found = json.loads(out)
    assert list(found["files"]) == [offered]
    assert found["failed"][denied]["code"] == "policy.denied"
    assert "policy.denied" in err

    search_id = (await node.client.search_rows(digits.of(0, 1, 2, 3), deadline_ms=10_000)).search_id
    code, out, err = await fetch("--search-id", search_id, "-o", "mixture")
    assert code == 14
    assert [each.name for each in tmp_path.glob("mixture/*")] == [path.name]

    code, out, err = await fetch(denied)
    assert (code, out) == (12, "")
    assert "atoll learnware ask" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "name learnwares, or a search"),
        (("00" * 32, "--search-id", "x"), 2, "name learnwares, or a search"),
        (("00" * 32,), 10, "is `atoll serve` running?"),
    ],
)
def test_what_cannot_be_fetched_is_said(atoll, arguments, code, words):
    found, out, err = atoll("fetch", *arguments)
    assert (found, out) == (code, "")
    assert words in err
