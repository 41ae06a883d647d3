"""Packages on their way into the dock: what hangs, forks, fills the disk or lies is refused with a log, the next one is
accepted, and an upload that broke off goes on where it stood."""

import hashlib
import io
import secrets

import aiohttp
import pytest
from atoll.engine.packages.pack import pack
from atoll.engine.packages.revise import revise
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.node.acceptance import queue
from atoll.node.acceptance.submissions import LabelledRows
from atoll.node.client.transport import RemoteError
from atoll.node.clock import now_ms
from atoll.node.errors import PackageRefused
from atoll.protocol.listings import Offers

HEAD = "import os, time, socket\nimport numpy as np\nHALF = lambda rows: np.full((len(rows), 2), 0.5, np.float32)\n"
BAD = {
    "hangs": ("def predict(rows):\n    while True: pass\n", "did not answer in time"),
    "hangs when loaded": ("def predict(rows):\n    pass\nwhile True: pass\n", "did not answer in time"),
    "forks": ("def predict(rows):\n    while True: os.fork()\n", "model runs"),
    "fills the disk": ("def predict(rows):\n    open('/tmp/x', 'wb').write(bytes(1 << 30))\n", "model runs"),
    "eats memory": ("def predict(rows):\n    return HALF(rows) + len(bytearray(1 << 36))\n", "memory"),
    "lies about its shapes": ("def predict(rows):\n    return np.zeros((len(rows), 3), np.float32)\n", "promised is"),
    "answers nonsense": ("def predict(rows):\n    return HALF(rows) * np.nan\n", "NaN"),
    "dies": ("def predict(rows):\n    os._exit(3)\n", "model runs"),
}  # fmt: skip


def package(digits, owner, code, classes=(0, 1)):
    """A package whose model is code, as an owner may have it."""
    names = tuple(map(str, classes))
    made = io.BytesIO()
    pack(
        made, code.encode(), digits.of(*classes), digits.island(), SemanticSpec("bad one", "It misbehaves."),
        Signature("classification", 64, 2), owner=owner, created_at=now_ms(), salt=secrets.token_bytes(16),
        class_names=names, size=40,
    )  # fmt: skip
    return made.getvalue()


@pytest.fixture
async def node(start, digits):
    (started,) = await start("node")
    await started.client.add_island(digits.island())
    return started


def good(node, digits, *classes):
    return digits.package(node.node.identity.peer, digits.island(), *classes)


@pytest.mark.timeout(240)
async def test_what_misbehaves_is_refused_with_a_log_and_the_next_is_accepted(node, digits):
    client, waiting = node.client, {}
    for name, (code, _) in BAD.items():
        waiting[name] = (await client.submit(package(digits, node.node.identity.peer, HEAD + code))).id
    last = await client.submit(good(node, digits, 2, 3))

    while (decided := await client.submission(last.id, wait=60.0)).state in ("waiting", "running"):
        pass
    assert decided.state == "accepted"
    assert [each.learnware_id for each in await client.learnwares()] == [decided.learnware_id]
    for name, id_ in waiting.items():
        refused = await client.submission(id_, wait=60.0)
        assert (name, refused.state) == (name, "refused")
        assert BAD[name][1] in refused.report.words, (name, refused.report.words)
        steps = [step.outcome for step in refused.report.steps]
        assert steps[-1] == "failed"
        assert len(steps) >= 3  # what came before it is in the log too
    assert list((node.node.home / "blobs" / "partial").iterdir()) == []


async def test_the_log_of_what_is_accepted_says_what_was_looked_at(node, digits):
    added = await node.client.submit(good(node, digits, 0, 1))
    decided = await node.client.submission(added.id, wait=60.0)
    steps = {step.name: step.outcome for step in decided.report.steps}
    assert steps["model runs"] == "passed"
    assert steps["model and specification"] == "passed"
    again = await node.client.submission((await node.client.submit(good(node, digits, 0, 1))).id, wait=60.0)
    assert again.report.duplicates  # advisory
    assert {step.name: step.outcome for step in again.report.steps}["duplicates"] == "advisory"


async def test_the_quality_on_a_labelled_sample_is_signed_into_the_listing(federated, digits, changed):
    (north, south), federation = await federated("north", "south")
    await north.client.add_island(digits.island())
    rows, truth = digits.of(0, 1), digits.labels_of(0, 1)
    sample = LabelledRows(rows.columns, tuple(map(tuple, rows.values[:50].tolist())), tuple(map(str, truth[:50])))
    added = await north.client.add_learnware(good(north, digits, 0, 1), sample)
    await north.client.publish(added.learnware_id, federation, Offers())
    await changed(south, lambda: len(south.node.catalogue.alive(now_ms())) == 1)
    (listing,) = south.node.catalogue.alive(now_ms())
    assert (listing.quality.metric, listing.quality.rows) == ("accuracy", 50)
    assert listing.quality.value > 0.95


async def test_a_sample_that_could_not_be_read_again_is_refused_when_it_is_given(node, digits, monkeypatch):
    await node.client.add_island(digits.island())
    monkeypatch.setattr(queue, "MAX_LABELLED", 1 << 20)
    sample = LabelledRows(("a",) * 200, ((1.5,) * 200,) * 700, ("x",) * 700)
    with pytest.raises(RemoteError, match="a sample of more than 1 MiB"):
        await node.client.submit(good(node, digits, 0, 1), sample)
    assert node.node.acceptance.all() == []


async def test_an_upload_that_broke_off_goes_on_where_it_stood(node, digits):
    data = good(node, digits, 0, 1)
    digest, headers = hashlib.sha256(data).hexdigest(), {"Authorization": f"Bearer {node.token}"}
    url = f"{node.url}/api/v1/uploads/{digest}"
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.put(url, data=data[:1000], params={"offset": "0"}) as answer:
            assert (await answer.json()) == {"received": 1000}
        async with session.put(url, data=data[500:], params={"offset": "500"}) as answer:
            assert answer.status == 400  # not where it stands
    seen = []
    await node.client.submit(data, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(len(data), len(data))]


async def test_an_upload_that_is_something_else_leaves_nothing(node):
    url, headers = f"{node.url}/api/v1/uploads/{'0' * 64}", {"Authorization": f"Bearer {node.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        await session.put(url, data=b"something", params={"offset": "0"})
        async with session.post(f"{node.url}/api/v1/submissions", json={"sha256": "0" * 64}) as answer:
            assert (await answer.json())["code"] == "integrity.mismatch"
    assert list((node.node.home / "blobs" / "partial").iterdir()) == []


async def test_a_package_that_was_being_checked_when_the_node_ended_is_checked_again(make_home, start_home, digits):
    home, token = make_home("node")
    async with start_home(home, token) as node:
        await node.client.add_island(digits.island())
        slow = HEAD + "time.sleep(4)\ndef predict(rows):\n    return HALF(rows)\n"
        added = await node.client.submit(package(digits, node.node.identity.peer, slow))
        assert (await node.client.submission(added.id)).state in ("waiting", "running")
    async with start_home(home, token) as node:
        assert (await node.client.submission(added.id, wait=60.0)).state == "accepted"
        assert len(await node.client.learnwares()) == 1


async def test_who_adds_hears_what_failed(node, digits):
    made = package(digits, node.node.identity.peer, HEAD + BAD["lies about its shapes"][0])
    with pytest.raises(PackageRefused, match="promised is"):
        await node.client.add_learnware(made)


async def test_a_revision_of_the_words_needs_no_new_checks_and_is_listed_at_once(federated, digits, changed):
    (north, south), federation = await federated("north", "south")
    await north.client.add_island(digits.island())
    first = good(north, digits, 0, 1)
    added = await north.client.add_learnware(first)
    await north.client.publish(added.learnware_id, federation, Offers(predict="members"))
    await changed(south, lambda: len(south.node.catalogue.alive(now_ms())) == 1)

    words, second = SemanticSpec("Noughts and ones", "By hand, on paper."), io.BytesIO()
    revise(io.BytesIO(first), second, semantic=words)
    decided = await north.client.submission((await north.client.submit(second.getvalue())).id, wait=30.0)

    assert (decided.state, decided.learnware_id) == ("accepted", added.learnware_id)
    assert [step.name for step in decided.report.steps] == ["revision"]
    await changed(south, lambda: south.node.catalogue.alive(now_ms())[0].semantic.name == words.name)
    (listing,) = south.node.catalogue.alive(now_ms())
    assert listing.revision.hex() != added.revision
    assert listing.offers.predict == "members"
