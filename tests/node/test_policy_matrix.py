"""Every act with every audience, for every kind of asker, over every stream protocol and over HTTP: exactly what the
policy says, and not a byte more."""

import contextlib
from dataclasses import dataclass

import numpy as np
import pytest
from atoll.engine.encoding import Array
from atoll.engine.errors import AtollError, FeatureMismatch, SandboxBusy
from atoll.engine.specs import fit_rkme
from atoll.node.clock import now_ms
from atoll.node.p2p.exchange import ask
from atoll.node.p2p.fetch import fetch_small
from atoll.node.store.partial import Partial
from atoll.protocol import limits, match, predict
from atoll.protocol.ask import PROTOCOL as ASK
from atoll.protocol.ask import AskReply, AskRequest
from atoll.protocol.fetch import FetchRequest
from atoll.protocol.match import MatchReply, MatchRequest
from atoll.protocol.policy import ACTS, Policy, Rule
from atoll.protocol.predict import Prediction, PredictRequest

AUDIENCES = ("nobody", "ask", "members", "anyone", "named")
EVERYTHING, NOTHING = set(ACTS), set()
EXPECTED = {  # of each audience: which askers may do it all; everybody else may do nothing
    "nobody": set(),
    "ask": {"granted"},
    "members": {"member", "named", "granted"},
    "anyone": {"member", "named", "granted", "anonymous"},
    "named": {"named"},
}


@dataclass
class Asker:
    """A node, and whether its user is signed in there."""

    running: object
    user: str = "somebody"


@dataclass
class Scene:
    owner: object
    federation: str
    learnwares: dict  # audience -> (id, classes)
    askers: dict
    digits: object

    def rkme(self, audience):
        island = self.digits.island()
        return fit_rkme(island.transform(self.digits.of(*self.learnwares[audience][1])), 40, island.gamma)

    def rows(self, audience):
        return self.digits.of(*self.learnwares[audience][1]).values[:20].astype(np.float32)

    async def over_streams(self, asker, audience):
        """What an asker can do with a learnware, whatever its node is made to send."""
        learnware, island = bytes.fromhex(self.learnwares[audience][0]), self.digits.island().digest
        raw, network, target = bytes.fromhex(self.federation), asker.running.node.network, self.owner.node.identity.peer
        found = set()

        async def of(protocol, message, type_):
            limit = limits.PREDICT_FRAME
            return await network._thread.call(ask, network._streams, target, protocol, message, type_, limit, 10.0)

        with contextlib.suppress(AtollError):
            message = MatchRequest(raw, island, self.rkme(audience).record(), limit=200, user=asker.user)
            answers = {each.learnware_id: each for each in (await of(match.PROTOCOL, message, MatchReply)).answers}
            if learnware in answers:
                found |= {"match"} | ({"disclose"} if answers[learnware].rkme is not None else set())
                assert set(answers[learnware].may) == EVERYTHING
        with contextlib.suppress(AtollError):
            message = PredictRequest(raw, learnware, island, Array.of(self.rows(audience)), asker.user)
            await of(predict.PROTOCOL, message, Prediction)
            found.add("predict")
        with contextlib.suppress(AtollError):
            revision = self.owner.node.dock.get(learnware).row.revision

            async def fetch():
                return await fetch_small(network._streams, target, raw, "package", revision, 1 << 24, 10.0)

            if asker.user:  # fetch_small names no user: what it gets, anybody would
                found |= {"download"} if await downloads(asker, self.owner, raw, revision) else set()
            else:
                await network._thread.call(fetch)
                found.add("download")
        return found

    async def over_http(self, asker, audience):
        """What the user of a node can do with a learnware, by its owner's answer (what its listing promises, a node can
        only repeat)."""
        client, learnware = asker.running.client, self.learnwares[audience][0]
        rows = self.digits.of(*self.learnwares[audience][1])
        result = await client.search_rows(rows, limit=100)
        hits = {hit.learnware_id: hit for hit in result.hits}
        found = set(hits[learnware].may) if learnware in hits and not hits[learnware].estimated else set()
        members = {each.learnware_id for each in result.mixture.members}
        if learnware in members:
            try:
                used = learnware in (await client.predict(result.search_id, rows, force=True, send=True)).places
            except AtollError:
                used = False
            assert used == bool(found & {"predict", "download"})
        return found


async def answered(remote, rows):
    """What the owner says, or the error that kept rows from an answer."""
    said = await remote.predict(rows.astype(np.float32))
    if said.error is not None:
        raise said.error


async def downloads(asker, owner, raw, revision):
    """Whether a whole package came."""
    partial = Partial(asker.running.node.blobs, revision)
    try:
        message = FetchRequest(raw, "package", revision, user=asker.user)
        target = owner.node.identity.peer
        await asker.running.node.network.fetch_package(target, message, partial, lambda size, done: None)
        return partial.size > 0
    except AtollError:
        assert partial.size == 0
        return False
    finally:
        partial.discard()


@pytest.fixture
async def scene(federated, start, digits, changed):
    (owner, member, named, granted, former), federation = await federated(
        "owner", "member", "named", "granted", "former"
    )
    outsider, other = await start("outsider", "other")
    second = (await owner.client.create_federation("second")).id
    await other.client.join((await owner.client.invite(second)).invite)
    await owner.client.add_island(digits.island())
    learnwares = {}
    for place, audience in enumerate(AUDIENCES):
        classes = (2 * place, 2 * place + 1)
        package = digits.package(owner.node.identity.peer, digits.island(), *classes)
        learnware = (await owner.client.add_learnware(package)).learnware_id
        rule = Rule("nobody", (named.node.identity.peer,)) if audience == "named" else Rule(audience)
        await owner.client.publish(learnware, federation, Policy(rule, rule, rule, rule))
        learnwares[audience] = (learnware, classes)
    for each in (member, named, granted, former):
        await changed(each, lambda each=each: len(each.node.catalogue.alive(now_ms())) == len(AUDIENCES))
    await granted.client.ask(learnwares["ask"][0], ACTS, "please")
    for request in await owner.client.requests():
        await owner.client.grant(request.id)
    raw, gone = bytes.fromhex(federation), former.node.identity
    await owner.client.revoke(federation, gone.peer)
    await changed(former, lambda: not former.node.federations.standing(raw, gone.public, now_ms()))
    askers = {
        "member": Asker(member), "named": Asker(named), "granted": Asker(granted), "anonymous": Asker(member, ""),
        "anonymous of the named": Asker(named, ""), "anonymous of the granted": Asker(granted, ""),
        "former": Asker(former), "outsider": Asker(outsider), "other federation": Asker(other),
    }  # fmt: skip
    for asker in askers.values():
        with contextlib.suppress(AtollError):
            await asker.running.node.network.dial(owner.node.network.addresses[0])
    return Scene(owner, federation, learnwares, askers, digits)


def expected(audience, name):
    if audience == "anyone" and name.startswith("anonymous"):
        return EVERYTHING
    return EVERYTHING if name in EXPECTED[audience] else NOTHING


@pytest.mark.timeout(240)
async def test_the_matrix(scene):
    wrong = []
    for audience in AUDIENCES:
        for name, asker in scene.askers.items():
            found = await scene.over_streams(asker, audience)
            if found != expected(audience, name):
                wrong.append(("streams", audience, name, found))
    for name in ("member", "named", "granted", "former", "outsider", "other federation"):
        for audience in AUDIENCES:
            try:
                found = await scene.over_http(scene.askers[name], audience)
            except FeatureMismatch:  # it has never heard of the island
                found = NOTHING
            if found != expected(audience, name):
                wrong.append(("http", audience, name, found))
    assert wrong == []


async def test_a_grant_that_is_revoked_ends_at_once(scene):
    assert await scene.over_streams(scene.askers["granted"], "ask") == EVERYTHING
    for request in await scene.owner.client.requests():
        await scene.owner.client.revoke_grant(request.id)
    assert await scene.over_streams(scene.askers["granted"], "ask") == NOTHING
    states = await scene.askers["granted"].running.client.ask(scene.learnwares["ask"][0])
    assert {each.state for each in states} == {"revoked"}


async def test_requests_are_taken_of_members_where_the_policy_says_ask(scene):
    member, network = scene.askers["member"].running, scene.askers["member"].running.node.network
    raw, target = bytes.fromhex(scene.federation), scene.owner.node.identity.peer
    with pytest.raises(AtollError, match="no requests"):
        await member.client.ask(scene.learnwares["nobody"][0], ("predict",))
    message = AskRequest(raw, bytes.fromhex(scene.learnwares["ask"][0]), ("predict",), "", "")
    with pytest.raises(AtollError, match="no requests"):  # of somebody unknown
        await network._thread.call(ask, network._streams, target, ASK, message, AskReply, 1 << 18, 10.0)
    states = {each.act: each.state for each in await member.client.ask(scene.learnwares["ask"][0], ("predict",))}
    assert states == {"match": "closed", "disclose": "closed", "predict": "pending", "download": "closed"}
    (waiting,) = [each for each in await scene.owner.client.requests() if each.state == "pending"]
    assert (waiting.peer_id, waiting.act, waiting.learnware_id) == (
        member.node.identity.peer, "predict", scene.learnwares["ask"][0],
    )  # fmt: skip


async def test_rows_that_are_unlike_the_specification_are_refused_and_quotas_hold(scene, digits):
    member, owner = scene.askers["member"].running, scene.owner
    learnware, island = bytes.fromhex(scene.learnwares["members"][0]), digits.island().digest
    raw, peer = bytes.fromhex(scene.federation), owner.node.identity.peer

    async def predicted(rows, user="u"):
        async with member.node.network.predicting(peer, raw, learnware, island, user, 2) as remote:
            await answered(remote, rows)

    await predicted(scene.rows("members"))
    noise = np.random.default_rng(0).uniform(0, 16, (200, 64))
    with pytest.raises(AtollError, match="unlike the data") as refused:
        await predicted(noise)
    assert refused.value.code == "policy.off_spec"
    rule = Rule("members", per_peer=50, per_user=30)
    await owner.client.publish(learnware.hex(), scene.federation, Policy(predict=rule))
    with pytest.raises(AtollError, match="30 a day") as refused:
        await predicted(scene.rows("members"))  # 20 have been counted above: what was refused is not
    assert refused.value.code == "policy.quota"
    await predicted(scene.rows("members"), "v")
    with pytest.raises(AtollError, match="50 a day"):
        await predicted(scene.rows("members"), "w")
    used = [(each.peer_id, each.act, each.amount) for each in await owner.client.usage(learnware.hex())]
    assert (member.node.identity.peer, "predict", 40) in used


async def test_rows_that_find_no_worker_are_not_counted(scene, digits, monkeypatch):
    member, owner = scene.askers["member"].running, scene.owner
    learnware = bytes.fromhex(scene.learnwares["members"][0])
    await owner.client.publish(learnware.hex(), scene.federation, Policy(predict=Rule("members", per_user=30)))
    models, tries = owner.node.owner._models, iter((True, True, False))
    predict = models.predict

    def busy(*arguments, **options):
        if next(tries):
            raise SandboxBusy("no worker became free in time")
        return predict(*arguments, **options)

    monkeypatch.setattr(models, "predict", busy)
    federation, island = bytes.fromhex(scene.federation), digits.island().digest
    peer = owner.node.identity.peer
    async with member.node.network.predicting(peer, federation, learnware, island, "u", 2) as remote:
        for _ in range(2):
            with pytest.raises(AtollError, match="free in time"):
                await answered(remote, scene.rows("members"))
        await answered(remote, scene.rows("members"))
        with pytest.raises(AtollError, match="this would be 40"):
            await answered(remote, scene.rows("members"))


async def test_a_dry_run_shows_what_would_be_and_changes_nothing(scene):
    learnware, federation = scene.learnwares["nobody"][0], scene.federation
    wide = Policy(predict=Rule("members"), download=Rule("anyone"))
    found = {each.name: each for each in await scene.owner.client.who_can(learnware, federation, wide)}
    assert found["member"].acts == ("match", "predict", "download")
    assert found["member"].anonymous == ("download",)
    assert "former" not in found
    now = {each.name: each.acts for each in await scene.owner.client.who_can(learnware, federation)}
    assert now == {"owner": ACTS, "member": (), "named": (), "granted": ()}
