"""Downloads: fetched once and from whoever has them, resumed, checked, and kept as long as there is room."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import atoll
import pytest
import trio
from atoll.engine.errors import IntegrityError
from atoll.node.api.downloads import file_name
from atoll.node.client import AsyncClient, RemoteError
from atoll.node.clock import now_ms
from atoll.node.p2p import fetch as fetching
from atoll.node.p2p.errors import P2PError, PeerTimeout, ProtocolViolation
from atoll.node.store.partial import Partial
from atoll.protocol.fetch import FetchHeader
from atoll.protocol.listings import Offers
from atoll.protocol.messages import PeerRefused, encode

DOWNLOAD = Offers(disclose="members", download="members")
NOTHING = Offers(disclose="members")
CLASSES = ((0, 1, 2), (2, 3, 4))
CHUNK = 256


@dataclass
class Found:
    client: object
    low: str
    high: str
    rows: object

    async def search(self):
        return (await self.client.search_rows(self.rows, deadline_ms=10_000)).search_id


def listing_of(node, learnware_id):
    return node.node.catalogue.find(bytes.fromhex(learnware_id), now_ms())


def served(owner, learnware_id):
    """The bytes that an owner serves."""
    dock = owner.node.dock
    return dock.served_path(dock.get(bytes.fromhex(learnware_id))).read_bytes()


async def got(node, owner, learnware_id, progress=None):
    listing = listing_of(node, learnware_id)
    async with node.node.downloads.using(owner.node.identity.peer, listing, "somebody", progress) as found:
        return found


@pytest.fixture
async def scene(federated, publish, changed, digits):
    """(node, owner, Found): both learnwares are of one owner."""
    (node, owner), federation = await federated("node", "owner")
    ids = [await publish(owner, federation, DOWNLOAD, *classes) for classes in CLASSES]
    await changed(node, lambda: {each.learnware_id.hex() for each in node.node.catalogue.alive(now_ms())} == {*ids})
    await node.client.add_island(digits.island())
    return node, owner, Found(node.client, *ids, digits.of(0, 1, 2, 3, 4))


@pytest.fixture
def offsets(monkeypatch):
    """From where packages were asked for."""
    seen, opened = [], fetching.Provider._open

    def noted(self, peer, message):
        seen.append(message.offset)
        return opened(self, peer, message)

    monkeypatch.setattr(fetching.Provider, "_open", noted)
    return seen


@pytest.fixture
def small_chunks(monkeypatch):
    """A package of digits comes in many of them."""
    monkeypatch.setattr(fetching.limits, "FETCH_CHUNK", CHUNK)
    monkeypatch.setattr(fetching, "PIECE", CHUNK)


async def test_a_package_is_fetched_once_however_many_want_it(scene, offsets):
    node, owner, found = scene
    told = []
    results = await asyncio.gather(*(got(node, owner, found.low, lambda *each: told.append(each)) for _ in range(5)))
    assert offsets == [0]
    size = len(served(owner, found.low))
    assert told == [(size, size)]
    manifest, model = results[0]
    assert hashlib.sha256(node.node.blobs.path(model).read_bytes()).digest() == model
    assert manifest.semantic.name == listing_of(node, found.low).semantic.name
    assert node.node.downloads.cached(listing_of(node, found.low).revision)
    assert list((node.node.home / "blobs" / "partial").iterdir()) == []


async def test_what_broke_off_goes_on_from_there(scene, offsets, small_chunks, monkeypatch):
    node, owner, found = scene
    size, chunks, receive = len(served(owner, found.low)), [], fetching._next_chunk

    async def breaking(channel, left):
        chunks.append(left)
        if len(chunks) == 6:
            raise P2PError("the line broke")
        return await receive(channel, left)

    monkeypatch.setattr(fetching, "_next_chunk", breaking)
    with pytest.raises(P2PError, match="the line broke"):
        await got(node, owner, found.low)
    await got(node, owner, found.low)
    assert offsets == [0, 5 * CHUNK]
    assert chunks[6] == size - 5 * CHUNK


async def test_a_cancelled_download_stands_where_it_was_and_goes_on(scene, offsets, small_chunks, monkeypatch):
    node, owner, found = scene
    loop, stuck, receive, chunks = asyncio.get_running_loop(), asyncio.Event(), fetching._next_chunk, []

    async def sticking(channel, left):
        chunks.append(left)
        if len(chunks) == 6:
            loop.call_soon_threadsafe(stuck.set)
            await trio.sleep_forever()
        return await receive(channel, left)

    monkeypatch.setattr(fetching, "_next_chunk", sticking)
    task = asyncio.create_task(got(node, owner, found.low))
    await asyncio.wait_for(stuck.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await got(node, owner, found.low)
    assert offsets == [0, 5 * CHUNK]


async def test_a_beginning_that_is_damaged_or_of_something_else_is_fetched_anew(scene, offsets):
    node, owner, found = scene
    package, revision = served(owner, found.low), listing_of(node, found.low).revision
    partial = Partial(node.node.blobs, revision)
    partial.begin(hashlib.sha256(package).digest()).write_bytes(bytes(500))
    await got(node, owner, found.low)
    other = Partial(node.node.blobs, listing_of(node, found.high).revision)
    other.begin(bytes(32)).write_bytes(package[:600])  # of bytes that are not promised any more
    await got(node, owner, found.high)
    assert offsets == [500, 0, 600, 0]


async def test_an_owner_that_drips_is_left_and_the_next_try_goes_on(scene, offsets, small_chunks, monkeypatch):
    node, owner, found = scene
    receive, chunks = fetching._next_chunk, []
    monkeypatch.setattr(fetching, "GRACE", 3.0)
    monkeypatch.setattr(fetching, "LEAST_RATE", 1e9)

    async def dripping(channel, left):
        chunks.append(left)
        if len(chunks) > 5:
            await trio.sleep_forever()
        return await receive(channel, left)

    with monkeypatch.context() as slow:
        slow.setattr(fetching, "_next_chunk", dripping)
        with pytest.raises(PeerTimeout, match="too slowly: 1280 bytes") as late:
            await got(node, owner, found.low)
    assert late.value.hint
    await got(node, owner, found.low)
    assert offsets == [0, 5 * CHUNK]


def hostile(package, other):
    """What an owner sends: the header, and chunks without end."""
    digest = hashlib.sha256(package).digest()
    pieces = [package[start : start + 65_536] for start in range(0, len(package), 65_536)]
    wrong = b"x" + package[1:]

    def endlessly(chunk):
        while True:
            yield chunk

    return {
        "wrong bytes": (FetchHeader(len(wrong), digest), [wrong[:65_536], *pieces[1:]], IntegrityError),
        "another package": (
            FetchHeader(len(other), hashlib.sha256(other).digest()),
            [other[start : start + 65_536] for start in range(0, len(other), 65_536)], IntegrityError,
        ),
        "longer": (FetchHeader(len(package) - 1, digest), pieces, ProtocolViolation),
        "endless": (FetchHeader(1 << 20, digest), endlessly(b"x" * 65_000), ProtocolViolation),
        "empty chunks": (FetchHeader(1 << 20, digest), endlessly(b""), ProtocolViolation),
        "too large": (FetchHeader(1 << 40, digest), [], ProtocolViolation),
        "a cut hash": (FetchHeader(len(package), digest[:5]), pieces, ProtocolViolation),
    }  # fmt: skip


async def test_a_hostile_owner_leaves_nothing_behind(scene):
    node, owner, found = scene
    revision, partials = listing_of(node, found.low).revision, node.node.home / "blobs" / "partial"
    for kind, (header, chunks, error) in hostile(served(owner, found.low), served(owner, found.high)).items():
        await owner.node.network._thread.call(_serve, owner.node.network, header, chunks)
        with pytest.raises(error):
            await got(node, owner, found.low)
        assert not node.node.downloads.cached(revision), kind
        assert sum(path.stat().st_size for path in partials.iterdir()) < 1 << 20, kind
        Partial(node.node.blobs, revision).discard()
    assert node.node.downloads.all() == []


async def _serve(network, header, chunks):
    async def handler(channel):
        await channel.receive(1 << 18)
        await channel.send(encode(header))
        for chunk in chunks:
            await channel.send(chunk)

    network._streams.serve(fetching.PROTOCOL, handler, deadline=10, admit=lambda _: True)


async def test_another_listing_of_the_same_bytes_is_tried(scene, monkeypatch):
    """The owner has left one federation of two; the file is the same."""
    node, owner, found = scene
    second = (await owner.client.create_federation("second")).id
    await node.client.join((await owner.client.invite(second)).invite)
    await owner.client.publish(found.low, second, DOWNLOAD)
    listing = listing_of(node, found.low)
    async with asyncio.timeout(20):
        while len(node.node.catalogue.versions(listing.learnware_id, now_ms())) < 2:
            await asyncio.sleep(0.05)  # gossip
    await owner.client.publish(found.low, listing.federation.hex(), NOTHING)
    async with node.node.downloads.using(owner.node.identity.peer, listing, "somebody"):
        pass
    assert node.node.downloads.cached(listing.revision)


async def test_what_the_owner_does_not_offer_is_refused(apart):
    found, (lower, _) = await apart(NOTHING, DOWNLOAD)
    with pytest.raises(PeerRefused) as refused:
        await got(found.node, lower, found.low)
    assert refused.value.code == "policy.denied"
    search_id = await found.search()
    fetched = await found.client.fetch(search_id=search_id, folder=found.node.node.home / "out")
    assert list(fetched.files) == [found.high]
    assert fetched.failed[found.low].code == "policy.denied"
    with pytest.raises(RemoteError, match="download") as refused:
        await found.client.fetch([found.low], folder=found.node.node.home / "out")
    assert refused.value.code == "policy.denied"


# -- over HTTP ---------------------------------------------------------------------------------------------------------


async def test_a_whole_mixture_into_a_folder_and_again_without_fetching(scene, offsets, tmp_path):
    _, owner, found = scene
    told = []
    search_id = await found.search()
    fetched = await found.client.fetch(search_id=search_id, folder=tmp_path, progress=lambda *each: told.append(each))
    assert set(fetched.files) == {found.low, found.high}
    assert fetched.failed == {}
    assert fetched.files[found.low].read_bytes() == served(owner, found.low)
    assert fetched.files[found.high].read_bytes() == served(owner, found.high)
    assert {(id_, where) for id_, where, *_ in told} == {
        (i, w) for i in (found.low, found.high) for w in ("node", "here")
    }
    assert len(offsets) == 2
    assert (await found.client.fetch(search_id=search_id, folder=tmp_path)).files == fetched.files
    assert len(offsets) == 2
    assert sorted(path.name for path in tmp_path.glob("*.zip*")) == sorted(path.name for path in fetched.files.values())


async def test_a_learnware_of_the_node_itself_is_fetched_as_others_get_it(scene, tmp_path):
    _, owner, found = scene
    fetched = await owner.client.fetch([found.low], folder=tmp_path)
    assert fetched.files[found.low].read_bytes() == served(owner, found.low)


async def test_a_package_is_for_those_to_whom_its_owner_has_given_it(scene, offsets):
    node, owner, found = scene
    await found.client.fetch([found.low], folder=node.node.home / "out")
    revision = listing_of(node, found.low).revision.hex()
    told = await node.client.create_token("student", ("read", "predict"), None)
    async with AsyncClient(node.url, told.secret) as student:
        with pytest.raises(RemoteError, match="for you"):
            await student._call("GET", f"downloads/{revision}")
        assert await student.downloads() == []
        fetched = await student.fetch([found.low], folder=node.node.home / "student")
        assert fetched.files[found.low].read_bytes() == served(owner, found.low)
        assert offsets == [0, len(served(owner, found.low))]  # asked again, nothing fetched
        await owner.client.publish(found.low, listing_of(node, found.low).federation.hex(), NOTHING)
        assert (await student.fetch([found.low], folder=node.node.home / "again")).files
    told = await node.client.create_token("late", ("read", "predict"), None)
    async with AsyncClient(node.url, told.secret) as late:
        with pytest.raises(RemoteError, match="does not offer"):
            await late.fetch([found.low], folder=node.node.home / "late")


async def test_what_this_dock_does_not_list_is_for_whoever_may_publish(start, digits, tmp_path):
    (node,) = await start("solo")
    island = digits.island()
    await node.client.add_island(island)
    learnware = await node.client.add_learnware(digits.package(node.node.identity.peer, island, 0, 1))
    path, secrets = f"downloads/{learnware.revision}", {}
    for scope in ("predict", "publish"):
        secrets[scope] = (await node.client.create_token(scope, ("read", "predict", scope), None)).secret
    async with AsyncClient(node.url, secrets["predict"]) as student, AsyncClient(node.url, secrets["publish"]) as owner:
        assert await owner._call("GET", path)
        with pytest.raises(RemoteError, match="for you"):
            await student._call("GET", path)
        await node.client.publish(learnware.learnware_id, (await node.client.create_federation("one")).id, NOTHING)
        assert await student._call("GET", path)


async def test_a_part_goes_on_and_a_damaged_one_is_fetched_anew(scene, tmp_path, monkeypatch):
    node, owner, found = scene
    package = served(owner, found.low)
    name = file_name(listing_of(node, found.low).semantic.name, found.low)
    ranges = []
    get = aiohttp.ClientSession.get

    def noted(self, url, *, headers=None, **options):
        ranges.append((headers or {}).get("Range"))
        return get(self, url, headers=headers, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "get", noted)
    for part in (package[:500], bytes(500), package, package + b"more"):
        (tmp_path / f"{name}.part").write_bytes(part)
        fetched = await found.client.fetch([found.low], folder=tmp_path)
        assert fetched.files[found.low].read_bytes() == package
        fetched.files[found.low].unlink()
    assert ranges == ["bytes=500-", "bytes=500-", None, None]


async def test_a_file_in_the_way_that_is_something_else_is_replaced(scene, tmp_path):
    node, owner, found = scene
    target = tmp_path / file_name(listing_of(node, found.low).semantic.name, found.low)
    target.write_bytes(b"something else")
    await found.client.fetch([found.low], folder=tmp_path)
    assert target.read_bytes() == served(owner, found.low)


async def test_ranges_hold_for_the_bytes_they_were_asked_of(scene):
    node, owner, found = scene
    package = served(owner, found.low)
    await got(node, owner, found.low)
    (view,) = await node.client.downloads()
    assert (view.learnware_id, view.size, view.sha256) == (
        found.low, len(package), hashlib.sha256(package).hexdigest(),
    )  # fmt: skip
    url = f"{node.url}/api/v1/downloads/{view.revision}"
    tag = f'"{view.sha256}"'
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {node.token}"}) as session:

        async def answer(**headers):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.get(url, headers=headers) as response:
                return response.status, await response.read(), response.headers.get("Content-Range")

        size = len(package)
        assert await answer() == (200, package, None)
        assert await answer(Range="bytes=100-199") == (206, package[100:200], f"bytes 100-199/{size}")
        assert await answer(Range="bytes=-7") == (206, package[-7:], f"bytes {size - 7}-{size - 1}/{size}")
        assert await answer(Range="bytes=100-", If_Range=tag) == (206, package[100:], f"bytes 100-{size - 1}/{size}")
        assert await answer(Range="bytes=100-", If_Range='"other"') == (200, package, None)
        assert (await answer(Range=f"bytes={size}-"))[0] == 416
        assert (await answer(Range="bytes=9-3"))[0] in (400, 416)
        assert (await answer(If_None_Match=tag))[:2] == (304, b"")
    await node.client.forget_download(view.revision)
    assert await node.client.downloads() == []
    with pytest.raises(RemoteError, match="no package"):
        await node.client._call("GET", f"downloads/{view.revision}")


async def test_the_synchronous_client_fetches_too(scene, tmp_path):
    node, owner, found = scene

    def fetch():
        with atoll.Client(node.url, node.token) as client:
            return client.fetch([found.low], folder=tmp_path)

    files = (await asyncio.to_thread(fetch)).files
    assert Path(files[found.low]).read_bytes() == served(owner, found.low)


@pytest.mark.parametrize("body", [{}, {"learnwares": ["00" * 32], "search_id": "x"}, {"learnwares": ["00" * 32] * 31}])
async def test_what_to_fetch_is_named_one_way(start, body):
    (node,) = await start("node")
    with pytest.raises(RemoteError, match="name a search") as refused:
        await node.client._json("POST", "downloads", dict, body=body)
    assert refused.value.code == "request.invalid"
