"""A learnware that is paused stays listed; nobody may do anything with it, and only who asks for such finds it."""

import pytest
from atoll.engine.semantic import SemanticQuery
from atoll.node.client import RemoteError
from atoll.node.client.proof import proofs
from atoll.node.search.query import Filters
from atoll.protocol.listings import Offers

PAUSED = Filters(state=("paused",))


async def test_what_is_paused_is_found_by_its_state_alone_and_live_again_when_it_is_resumed(
    federated, publish, changed, until, digits
):
    (owner, user), federation = await federated("owner", "user")
    offers = Offers(disclose="members", predict="members")
    learnware = await publish(owner, federation, offers, 0, 1)
    rows, of_owner = digits.of(0, 1), (bytes.fromhex(federation), owner.node.identity.public)

    def known():
        return [listing.status for listing in user.node.catalogue.of_owner(*of_owner)]

    async def found(filters=Filters()):  # noqa: B008
        return [(hit.learnware_id, hit.state) for hit in (await user.client.search([], "digits", filters=filters)).hits]

    await changed(user, lambda: known() == ["live"])
    await until(user, lambda: user.node.catalogue.islands() != [])
    assert await found() == [(learnware, "live")]
    assert await found(PAUSED) == []

    view = await owner.client.set_state(learnware, federation, "paused")
    assert (view.listed, view.paused) == ({federation: offers}, (federation,))
    await changed(user, lambda: known() == ["paused"])
    assert await found() == []
    assert await found(PAUSED) == await found(Filters(state=("live", "paused"))) == [(learnware, "paused")]
    assert (await user.client.search_rows(rows)).hits == ()
    for asked in (user.client.predict_with(learnware, rows, send=True), user.client.search_rows(rows, filters=PAUSED)):
        with pytest.raises(RemoteError):
            await asked
    answer = await user.client.search([], SemanticQuery("digits"), filters=PAUSED)
    assert [proof.faults for proof in proofs(answer)] == [()]

    await owner.client.publish(learnware, federation, Offers())  # another policy does not end the pause
    await changed(user, lambda: user.node.catalogue.of_owner(*of_owner)[0].offers == Offers())
    assert known() == ["paused"]

    await owner.client.set_state(learnware, federation, "live")
    await changed(user, lambda: known() == ["live"])
    assert [hit.learnware_id for hit in (await user.client.search_rows(rows)).hits] == [learnware]


async def test_what_is_paused_is_withdrawn_when_it_is_removed_and_what_is_not_listed_cannot_be_paused(
    federated, publish, changed, digits
):
    (owner, user), federation = await federated("owner", "user")
    learnware, of_owner = await publish(owner, federation, Offers(), 0, 1), owner.node.identity.public
    with pytest.raises(RemoteError, match="not listed"):
        await owner.client.set_state(learnware, "00" * 32, "paused")
    await owner.client.set_state(learnware, federation, "paused")
    await changed(user, lambda: len(user.node.catalogue.of_owner(bytes.fromhex(federation), of_owner)) == 1)
    await owner.client.remove_learnware(learnware)
    await changed(user, lambda: user.node.catalogue.of_owner(bytes.fromhex(federation), of_owner) == [])
