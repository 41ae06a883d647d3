"""Being a member among peers: joining by invite, renewing, telling news to members, and letting go of who is none.

Lives in the trio loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import trio
from atoll.engine.errors import AtollError, EncodingError
from atoll.node.administration import Administration
from atoll.node.clock import now_ms
from atoll.node.p2p.errors import P2PError, Unreachable
from atoll.node.p2p.exchange import CONTROL_DEADLINE, ask
from atoll.node.p2p.introductions import Introductions
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.streams import CONNECT_DEADLINE, Streams
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.federations import Federation, Federations
from atoll.protocol import join, limits, sync
from atoll.protocol.errors import InviteInvalid, NotFound, NotMember, ProtocolError, RecordRejected, SignatureInvalid
from atoll.protocol.gossip import News
from atoll.protocol.ids import peer_id, public_key
from atoll.protocol.join import (
    JoinReply,
    JoinRequest,
    KnownPeer,
    RenewReply,
    RenewRequest,
    SucceedReply,
    SucceedRequest,
)
from atoll.protocol.membership import Invite
from atoll.protocol.messages import Message, PeerRefused
from atoll.protocol.succession import open_succession

FAREWELL_SECONDS = 2.0
MAX_DECREES = 32  # of admins, taken from one answer
R = TypeVar("R", bound=Message)
Act = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Topics:
    """``greet(peer)`` says hello anew and finds out what is shared; ``refresh`` and ``expel`` tell gossip that a peer
    shares less than before, or nothing."""

    greet: Act
    refresh: Act
    expel: Act


class Membership:
    """``me()`` says who this node is and where it listens."""

    def __init__(
        self, federations: Federations, administration: Administration, catalogue: Catalogue, peers: Peers,
        introductions: Introductions, me: Callable[[], KnownPeer],
    ) -> None:  # fmt: skip
        self._federations = federations
        self._administration = administration
        self._catalogue = catalogue
        self._peers = peers
        self._introductions = introductions
        self._me = me

    def answer(self, peer: str, message: join.Request) -> Message:
        """Serve a newcomer, a member or its successor (in a worker thread).

        Whether this node is an admin, a member or a stranger of the federation is not told to who gets nothing.
        """
        try:
            match message:
                case JoinRequest():
                    return self._admit(peer, message)
                case RenewRequest():
                    who = public_key(peer)
                    return RenewReply(self._administration.renew(message.federation, who, now_ms(), message.recovery))
                case SucceedRequest():
                    return self._recognise(public_key(peer), message)
        except (NotMember, NotFound, RecordRejected, SignatureInvalid, EncodingError):
            if isinstance(message, JoinRequest):
                raise InviteInvalid("it is unknown, or was taken back") from None
            raise NotMember(
                "this node renews no membership of yours there", hint="ask an admin for a new invite"
            ) from None

    def _admit(self, peer: str, message: JoinRequest) -> JoinReply:
        charter, certificate = self._administration.redeem(
            message.federation, message.token, public_key(peer), message.name, now_ms(), message.recovery
        )
        self._peers.learn(peer, message.name, message.addresses)
        others = self._introductions.members(message.federation, peer)
        known = tuple(KnownPeer(each.peer, each.name, each.addresses) for each in others)
        decrees = self._federations.decrees(message.federation)
        successions = self._federations.founding_successions(message.federation)
        return JoinReply(charter, certificate, (self._me(), *known), decrees, successions)

    def _recognise(self, successor: bytes, message: SucceedRequest) -> SucceedReply:
        federation = message.federation
        signed = open_succession(message.succession, federation=federation)
        if signed.succession.successor != successor:
            raise NotMember("somebody else's succession")
        self._federations.take_succession(federation, message.succession, now_ms())
        try:
            certificate = self._administration.renew(federation, successor, now_ms(), message.recovery)
        except NotMember:  # this node is no admin, or the membership had been revoked
            certificate = None
        return SucceedReply(certificate)

    async def join(self, streams: Streams, invite: Invite) -> Federation:
        """Redeem an invite; the federation is kept when this returns, and nobody has been greeted in it yet."""
        reply = await self._redeem(streams, invite)
        if reply.charter.digest != invite.federation:
            raise ProtocolError("the admin answered for another federation")
        federation = await trio.to_thread.run_sync(
            self._federations.accept,
            reply.charter,
            reply.certificate,
            now_ms(),
            reply.decrees[:MAX_DECREES],
            reply.successions[:MAX_DECREES],
        )
        for known in reply.peers[:256]:
            self._peers.hear(known.peer, known.name, known.addresses)
        return federation

    async def renew(self, streams: Streams, federation: bytes) -> Federation:
        """Ask connected admins for a fresh certificate, until one gives it."""
        if not self._federations.certified(federation):
            for peer in streams.connected():
                await self.succeed(streams, peer, self._peers.shared(peer))
            if not self._federations.certified(federation):
                raise Unreachable("no admin of the federation is connected who recognises this node's new key")
            return self._federations.get(federation)
        failure: AtollError = Unreachable("no admin of the federation is connected")
        recovery = self._federations.recovery
        for peer in map(peer_id, sorted(self._federations.admins(federation))):
            if peer not in streams.connected():
                continue
            try:
                reply = await _control(streams, peer, join.PROTOCOL, RenewRequest(federation, recovery), RenewReply)
                renewed = partial(self._federations.renewed, federation, reply.certificate, now_ms())
                return await trio.to_thread.run_sync(renewed)
            except AtollError as error:
                failure = error
        raise failure

    async def succeed(self, streams: Streams, peer: str, shared: frozenset[bytes]) -> bool:
        """Show a peer that is known as a member whose membership this node has come into, in every federation that the
        two do not share yet; an admin answers with a certificate. Whether it was taken note of."""
        noted = False
        for federation in sorted(self._federations.ids() - shared):
            handed = self._federations.succeeded(federation)
            if handed is None or not self._federations.standing(federation, public_key(peer), now_ms()):
                continue
            message = SucceedRequest(federation, handed.records, self._federations.recovery)
            with contextlib.suppress(AtollError):
                reply = await _control(streams, peer, join.PROTOCOL, message, SucceedReply)
                noted = True
                if reply.certificate is not None and not self._federations.certified(federation):
                    renewed = partial(self._federations.renewed, federation, reply.certificate, now_ms())
                    await trio.to_thread.run_sync(renewed)
        return noted

    async def changed(self, streams: Streams, topics: Topics, federation: bytes) -> None:
        """A federation was left, or its decrees have changed: some are members no more, others may be now."""
        await self.review(streams, topics, federation)
        for peer in streams.connected():
            if federation in self._federations.ids() and federation not in self._peers.shared(peer):
                with contextlib.suppress(AtollError):
                    await topics.greet(peer)

    async def review(self, streams: Streams, topics: Topics, federation: bytes) -> None:
        """Whoever is no member in good standing (any more) loses what it shared."""
        for peer in self._peers.live():
            shared = self._peers.shared(peer)
            if federation not in shared or self._federations.standing(federation, public_key(peer), now_ms()):
                continue
            self._peers.admit(peer, shared - {federation}, now_ms())
            for notice in self._catalogue.revocations(federation, public_key(peer)):
                await tell(streams, peer, notice)  # the last thing that a revoked member hears
            await (topics.refresh if shared - {federation} else topics.expel)(peer)

    async def tell_all(self, streams: Streams, news: News) -> None:
        """Hand news to every connected member."""
        async with trio.open_nursery() as nursery:
            for peer in self._peers.live():
                if news.federation in self._peers.shared(peer):
                    nursery.start_soon(tell, streams, peer, news)

    async def _redeem(self, streams: Streams, invite: Invite) -> JoinReply:
        """The answer of the first address that gives one; twice round, since a connection may just be ending.
        InviteInvalid, with what was said, where the invite is not accepted."""
        failure: AtollError = Unreachable("the invite names no address")
        me = self._me()
        message = JoinRequest(invite.federation, invite.token, me.name, me.addresses, self._federations.recovery)
        for address in invite.addresses[:8] * 2:
            try:
                peer = await streams.connect(address, deadline=CONNECT_DEADLINE)
                return await _control(streams, peer, join.PROTOCOL, message, JoinReply)
            except PeerRefused as error:
                if error.code != InviteInvalid.code:
                    raise
                why = f"the node that made the invite does not accept it: {error.message}"
                raise InviteInvalid(why, hint="ask its admin for another one") from None
            except P2PError as error:
                failure = error
        raise Unreachable(f"no admin of the federation answers: {failure.message}", hint="try again later")


async def tell(streams: Streams, peer: str, news: News) -> None:
    """Hand news to one peer, past gossip and its queue; best effort."""
    with contextlib.suppress(AtollError):
        await ask(streams, peer, sync.PROTOCOL, news, sync.Thanks, limits.CONTROL_FRAME, FAREWELL_SECONDS)


async def _control(streams: Streams, peer: str, protocol: str, message: Message, type_: type[R]) -> R:
    return await ask(streams, peer, protocol, message, type_, limits.CONTROL_FRAME, CONTROL_DEADLINE)
