"""A node that was away for more than a week: what it lists is not shown while its head has expired, and is again once
it is back; and it receives everything that has happened meanwhile."""

import shutil
from contextlib import closing
from types import SimpleNamespace

import msgspec
import pytest
from atoll.node import clock as clocks
from atoll.node import identity as identities
from atoll.node.administration import Administration
from atoll.node.clock import now_ms
from atoll.node.policy.rules import Policies
from atoll.node.publishing import Publisher
from atoll.node.store.audit import AuditLog
from atoll.node.store.blobs import BlobStore
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.dock import Dock
from atoll.node.store.environment import Store
from atoll.node.store.federations import Federations
from atoll.protocol import limits
from atoll.protocol.heads import Head, sign_head
from atoll.protocol.listings import Listing, Offers, sign_listing
from atoll.protocol.log import Line, root_of
from atoll.protocol.policy import Policy

MONDAY = 1_700_000_000_000
TUESDAY_AFTER = MONDAY + 8 * limits.DAY
SHOWN = Offers(disclose="members")


# -- the stores of two nodes, at any time that we say ------------------------------------------------------------------


class Home:
    """All of a node that keeps and signs, without network and clock."""

    def __init__(self, folder, digits):
        folder.mkdir()
        self.identity, self.store = identities.create(folder), Store(folder / "store")
        self.federations = Federations(self.store, self.identity)
        self.catalogue = Catalogue(self.store, self.federations)
        self.dock = Dock(self.store, BlobStore(folder / "blobs"), self.identity.peer)
        self.publisher = Publisher(self.identity, self.federations, self.catalogue, self.dock, Policies(self.store))
        self.administration = Administration(self.identity, self.federations, self.store, AuditLog(self.store))
        self.catalogue.add_island(digits.island())

    def publish(self, digits, path, federation, now, *classes):
        path.write_bytes(digits.package(self.identity.peer, digits.island(), *classes))
        learnware = self.dock.add(path).id
        self.publisher.publish(learnware, federation, Policy.of(SHOWN), now)
        return learnware

    def list_copies(self, learnware, federation, count, now):
        """List a learnware ``count`` times more under other ids, in one head."""
        owner, log = self.identity.public, self.catalogue.log(federation, self.identity.public)
        listing, (epoch, seq) = self.catalogue.listing(federation, owner, learnware), log.position
        news = [
            sign_listing(self.identity.key, msgspec.structs.replace(
                listing, learnware_id=number.to_bytes(32), seq=seq + 1 + number, issued_at=now))
            for number in range(count)
        ]  # fmt: skip
        lines = [line for line in (*log.lines.values(), *map(Line.of, news)) if line.counted]
        head = Head(owner, federation, epoch, seq + 1 + count, len(lines), root_of(lines), now,
                    now + limits.HEAD_LIFETIME)  # fmt: skip
        record, certificate = sign_head(self.identity.key, head).record, self.certificate(federation)
        self.catalogue.apply(federation, certificate, record, [each.record for each in news], now)

    def certificate(self, federation):
        return self.federations.certificate_of(federation, self.identity.public)

    def shown(self, now):
        return {each.learnware_id for each in self.catalogue.alive(now)}

    def pull(self, source, federation, now):
        """Take in the log of ``source``, page by page; returns how many pages and listings came."""
        owner = source.identity.public
        (epoch, since), theirs = self.catalogue.log(federation, owner).position, source.catalogue.log(federation, owner)
        whole = epoch != theirs.position[0]
        since, pages, records, more = 0 if whole else since, 0, [], True
        while more:
            head, page, more = source.catalogue.page(federation, owner, since)
            pages, records = pages + 1, records + page
            since = msgspec.msgpack.decode(page[-1].body, type=Listing).seq if page else since
        self.catalogue.apply(federation, source.certificate(federation), head, records, now, whole=whole)
        return pages, len(records)


@pytest.fixture
def two(tmp_path, digits):
    """(a founder, a member, the federation)"""
    founder, member = Home(tmp_path / "founder", digits), Home(tmp_path / "member", digits)
    with closing(founder.store), closing(member.store):
        federation = founder.federations.create("weeks", MONDAY).id
        invite = founder.administration.invite(federation, (), MONDAY, limits.DAY)
        who = member.identity.public
        member.federations.accept(
            *founder.administration.redeem(federation, invite.token, who, "member", MONDAY), MONDAY
        )
        yield founder, member, federation


def test_what_is_listed_under_an_expired_head_is_not_shown_until_its_owner_renews_it(two, tmp_path, digits):
    founder, member, federation = two
    learnware = member.publish(digits, tmp_path / "p", federation, MONDAY, 0, 1)
    founder.pull(member, federation, MONDAY)
    for home in (founder, member):
        assert home.shown(MONDAY + limits.HEAD_LIFETIME - 1) == {learnware}
        assert home.shown(TUESDAY_AFTER) == set()
        assert "expired" in home.catalogue.hidden(federation, member.identity.public, TUESDAY_AFTER)

    assert member.publisher.renew(federation, TUESDAY_AFTER) is not None

    assert member.shown(TUESDAY_AFTER) == {learnware}
    assert founder.shown(TUESDAY_AFTER) == set()
    founder.pull(member, federation, TUESDAY_AFTER)
    assert founder.shown(TUESDAY_AFTER) == {learnware}
    assert founder.catalogue.root(federation, TUESDAY_AFTER) == member.catalogue.root(federation, TUESDAY_AFTER)
    assert member.publisher.renew(federation, TUESDAY_AFTER + limits.DAY) is None


def test_a_peer_that_was_away_receives_everything_since_page_by_page(two, tmp_path, digits):
    founder, member, federation = two
    first = member.publish(digits, tmp_path / "p", federation, MONDAY, 0, 1)
    gone = member.publish(digits, tmp_path / "q", federation, MONDAY, 2, 3)
    founder.pull(member, federation, MONDAY)
    for day in range(1, 8):
        member.publisher.renew(federation, MONDAY + day * limits.DAY)
    member.publisher.withdraw(gone, federation, TUESDAY_AFTER - limits.DAY)
    member.list_copies(first, federation, 2 * limits.SYNC_PAGE + 50, TUESDAY_AFTER - limits.DAY)
    assert founder.shown(TUESDAY_AFTER) == set()

    pages, listings = founder.pull(member, federation, TUESDAY_AFTER)

    assert (pages, listings) == (3, 2 * limits.SYNC_PAGE + 51)  # the withdrawn one too, and not the first again
    assert founder.shown(TUESDAY_AFTER) == member.shown(TUESDAY_AFTER)
    assert len(founder.shown(TUESDAY_AFTER)) == 2 * limits.SYNC_PAGE + 51
    assert gone not in founder.shown(TUESDAY_AFTER)
    assert founder.catalogue.root(federation, TUESDAY_AFTER) == member.catalogue.root(federation, TUESDAY_AFTER)
    assert founder.catalogue.quarantined(federation) == {}


# -- running nodes, on a clock that we set -----------------------------------------------------------------------------


@pytest.fixture
def later(monkeypatch):
    """``later(days)`` sets the clock of every node in this process on."""
    real, ahead = clocks.time.time_ns, 0
    monkeypatch.setattr(clocks, "time", SimpleNamespace(time_ns=lambda: real() + ahead))

    def set_on(days):
        nonlocal ahead
        ahead += int(days * limits.DAY) * 1_000_000

    return set_on


def shown(running):
    return {each.learnware_id.hex() for each in running.node.catalogue.alive(now_ms())}


async def test_a_node_back_after_a_week_shows_its_listings_again_and_knows_all_that_has_happened(
    make_home, start_home, start, publish, changed, later
):
    (stayed,) = await start("stayed")
    federation = (await stayed.client.create_federation("weeks")).id
    home, token = make_home("away")
    withdrawn = await publish(stayed, federation, SHOWN, 0, 1)
    down = await publish(stayed, federation, SHOWN, 2, 3)
    async with start_home(home, token) as away:
        await away.client.join((await stayed.client.invite(federation)).invite)
        own = await publish(away, federation, SHOWN, 4, 5)
        for node in (away, stayed):
            await changed(node, lambda node=node: shown(node) == {withdrawn, down, own})
    later(4)
    new = await publish(stayed, federation, SHOWN, 6, 7)
    await stayed.client.remove_learnware(withdrawn)
    await stayed.client.take_down(federation, stayed.node.identity.peer, down)
    assert shown(stayed) == {new, own}
    later(4)
    assert shown(stayed) == {new}

    async with start_home(home, token) as away:
        for node in (away, stayed):
            await changed(node, lambda node=node: shown(node) == {new, own})
        governed = [await node.client.governance(federation) for node in (away, stayed)]
        assert governed[0] == governed[1]
        assert governed[0].quarantined == ()
        roots = [await node.client.catalogue_root(federation) for node in (away, stayed)]
        assert roots[0] == roots[1]


@pytest.mark.parametrize("days", [1, 8])  # the peer's copy of the head has then expired, too
async def test_a_copy_of_a_home_put_back_after_its_head_was_renewed_makes_no_fork(
    make_home, start_home, start, publish, changed, later, days
):
    (stayed,) = await start("stayed")
    federation = (await stayed.client.create_federation("weeks")).id
    raw = bytes.fromhex(federation)
    home, token = make_home("away")
    async with start_home(home, token) as away:
        await away.client.join((await stayed.client.invite(federation)).invite)
        own = await publish(away, federation, SHOWN, 0, 1)
        await changed(stayed, lambda: shown(stayed) == {own})
        owner = away.node.identity.public
    copy = home.with_name("copy")
    shutil.copytree(home, copy)
    first = stayed.node.catalogue.log(raw, owner).position
    later(4)
    async with start_home(home, token):
        await changed(stayed, lambda: stayed.node.catalogue.log(raw, owner).position > first)
    renewed = stayed.node.catalogue.log(raw, owner).position
    shutil.rmtree(home)
    copy.rename(home)  # files put back by hand: no mark, so the renewal at the start has to hear of the peers first
    later(days)

    async with start_home(home, token) as away:
        await changed(
            stayed,
            lambda: (
                stayed.node.catalogue.log(raw, owner).position[0] > renewed[0]
                or bool(stayed.node.catalogue.quarantined(raw))
            ),
        )
        assert stayed.node.catalogue.quarantined(raw) == {}
        assert shown(away) == shown(stayed) == {own}
