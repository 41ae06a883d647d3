"""What a page about a federation is asked for: which one, whom in it, and what to say of what was done."""

from __future__ import annotations

from atoll.node.language import later
from atoll.node.web.visit import Visit
from atoll.protocol.errors import NotFound, ProtocolError
from atoll.protocol.ids import parse_digest, public_key

SAID = {
    "founded": later("The federation is founded, with this node as its admin. Invite others next."),
    "joined": later("This node is a member now. What others list arrives within seconds."),
    "taken-back": later("The invite is taken back. It lets nobody in any more."),
    "renewed": later("The membership is renewed."),
    "revoked": later("The membership is revoked. Members hear of it at once, those that are away when they come back."),
    "appointed": later("The member is an admin now."),
    "dismissed": later("The admin is dismissed, and its membership revoked."),
    "taken": later("The learnware is taken down. Members hide it as soon as they hear of it."),
    "put-back": later(
        "The takedown is taken back. The learnware is shown again, unless another admin has taken it down."
    ),
    "pardoned": later("The owner is pardoned at this node: its listings are shown again."),
}
"""What the page of a federation says after something was done, by the code in its address."""


def federation_of(visit: Visit) -> bytes:
    """The federation that the path names; NotFound unless this node is in it."""
    try:
        id_ = parse_digest(visit.request.match_info["id"])
    except ProtocolError:
        raise NotFound("this node is in no such federation", hint="see the page of federations") from None
    return visit.node.federations.get(id_).id


def peer_key(peer: str) -> bytes:
    """The key in a peer id; NotFound for what is none."""
    try:
        return public_key(peer)
    except ProtocolError:
        raise NotFound("that is not the id of a peer", hint="copy it from the table of members") from None


def path_to(federation: bytes, code: str) -> str:
    """The federation's page, which says what was done."""
    return f"/federations/{federation.hex()}?said={code}"
