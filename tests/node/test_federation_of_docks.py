"""Several real nodes in one process: publish at one, find and reuse at another."""

import numpy as np
import pytest
from atoll.node.client import RemoteError
from atoll.node.clock import now_ms
from atoll.protocol.listings import Offers

BOTH = Offers(disclose="members", predict="members", download="members")
PREDICT = Offers(predict="members")
DOWNLOAD = Offers(download="members")


def listed(running, learnware_id: str):
    def condition() -> bool:
        return learnware_id in {each.learnware_id.hex() for each in running.node.catalogue.alive(now_ms())}

    return condition


def island_known(running, digits):
    def condition() -> bool:
        return digits.island().id in {island.id for island in running.node.catalogue.islands()}

    return condition


async def test_a_learnware_published_at_one_node_is_found_and_reused_at_another(federated, publish, changed, digits):
    (north, south), federation = await federated("north", "south")
    low = await publish(south, federation, PREDICT, 0, 1, 2)
    high = await publish(south, federation, DOWNLOAD, 3, 4)
    await changed(north, listed(north, low))
    await changed(north, listed(north, high))
    await north.client.add_island(digits.island())

    rows, labels = digits.of(0, 1, 2, 3, 4), digits.labels_of(0, 1, 2, 3, 4)
    found = await north.client.search_rows(rows, deadline_ms=10_000)

    assert found.complete
    assert found.peers_answered == (south.node.identity.peer,)
    assert {hit.learnware_id for hit in found.hits} == {low, high}
    assert not any(hit.estimated or hit.suspect for hit in found.hits)
    assert found.mixture is not None
    assert found.mixture.served
    answer = await north.client.predict(found.search_id, rows, send=True)
    assert answer.places == {low: "remote", high: "local"}
    assert answer.rows_local > 0
    assert answer.rows_remote > 0
    assert np.mean(np.array(answer.labels).astype(int) == labels) > 0.9


async def test_anti_entropy_alone_brings_listings_and_their_islands(federated, start, publish, changed, digits):
    (north,), federation = await federated("north")
    learnware = await publish(north, federation, Offers(), 5, 6)
    (late,) = await start("late")

    await late.client.join((await north.client.invite(federation)).invite)

    await changed(late, listed(late, learnware))
    there, here = (each.node.catalogue.positions(bytes.fromhex(federation), now_ms()) for each in (late, north))
    assert there == here


async def test_a_learnware_that_may_only_be_matched_is_not_run_for_others(federated, publish, changed, digits):
    (north, south), federation = await federated("north", "south")
    learnware = await publish(south, federation, Offers(), 0, 1)
    await changed(north, listed(north, learnware))
    await north.client.add_island(digits.island())
    found = await north.client.search_rows(digits.of(0, 1), deadline_ms=10_000)
    assert [hit.learnware_id for hit in found.hits] == [learnware]
    assert found.mixture.representation == "stand-in"

    with pytest.raises(RemoteError) as refused:
        await north.client.predict(found.search_id, digits.of(0, 1))

    assert refused.value.code == "policy.denied"


async def test_withdrawn_listing_leaves_search_everywhere(federated, publish, changed, digits):
    (north, south), federation = await federated("north", "south")
    learnware = await publish(south, federation, BOTH, 0, 1)
    await changed(north, listed(north, learnware))

    await south.client.remove_learnware(learnware)

    await changed(north, lambda: not listed(north, learnware)())
    assert await north.client.catalogue() == []
    assert await south.client.learnwares() == []


async def test_rows_that_nobody_covers_are_refused_instead_of_guessed(federated, publish, digits):
    (north,), federation = await federated("north")
    await publish(north, federation, BOTH, 0, 1, 2, 3)
    negatives = type(digits)(16.0 - digits.values, digits.labels).of(0, 1)
    found = await north.client.search_rows(negatives)
    assert not found.mixture.served
    assert found.advice

    with pytest.raises(RemoteError) as refused:
        await north.client.predict(found.search_id, negatives)

    assert refused.value.code == "search.nothing"


async def test_a_search_without_fan_out_answers_from_sketches(federated, publish, digits):
    (north,), federation = await federated("north")
    await publish(north, federation, BOTH, 0, 1, 2)

    found = await north.client.search_rows(digits.of(0, 1, 2), privacy="local")

    assert found.peers_asked == ()
    assert all(hit.estimated for hit in found.hits)


async def test_an_outsider_is_admitted_to_nothing(federated, start, publish):
    (north,), federation = await federated("north")
    await publish(north, federation, BOTH, 0, 1)
    (outsider,) = await start("outsider")

    await outsider.client.add_peer(north.node.network.addresses[0])

    assert outsider.node.peers.live() == []
    assert north.node.peers.live() == []
    assert await outsider.client.catalogue() == []


async def test_an_invite_lets_in_one_newcomer(federated, start):
    (north,), federation = await federated("north")
    invite = (await north.client.invite(federation)).invite
    first, second = await start("first", "second")
    await first.client.join(invite)

    with pytest.raises(RemoteError) as refused:
        await second.client.join(invite)

    assert refused.value.code == "federation.invite"
    assert await second.client.federations() == []


async def test_everything_acknowledged_is_there_after_a_restart(make_home, start_home, digits):
    home, token = make_home("node")
    async with start_home(home, token) as running:
        federation = (await running.client.create_federation("kept")).id
        await running.client.add_island(digits.island())
        package = digits.package(running.node.identity.peer, digits.island(), 0, 1)
        learnware = await running.client.add_learnware(package)
        await running.client.publish(learnware.learnware_id, federation, BOTH)
        before = await running.client.catalogue()
    async with start_home(home, token) as running:
        assert await running.client.catalogue() == before
        assert [each.id for each in await running.client.federations()] == [federation]
        assert [each.learnware_id for each in await running.client.learnwares()] == [learnware.learnware_id]
