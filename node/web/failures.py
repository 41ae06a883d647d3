"""What kind of error it is and what may be done about it, by its code. What errors say themselves stays English."""

from __future__ import annotations

from typing import NamedTuple

from atoll.node.language import later


class Kind(NamedTuple):
    """``next``: what to do, empty where the error itself says it best. Both are translated where they are shown."""

    name: str
    next: str


_LATER = later("Wait a few seconds and load the page anew.")
_FILE = later("Put it right and give it again.")
_PEER = later("The other node may be back in a while; see under Network how it stands.")
_OWN = later("Tell the administrator of this node; its log says more.")
OTHER = Kind(later("Something unexpected happened"), _OWN)
KINDS: dict[str, Kind] = {
    "auth.required": Kind(later("You are not signed in"), later("Sign in with a token of this node.")),
    "auth.scope": Kind(later("Your token does not allow this"), later("Sign in with a token that does.")),
    "auth.forged": Kind(later("This form is too old"), later("Go back, load the page anew, and try again.")),
    "not_found": Kind(later("There is no such thing here"), later("It may be gone, or the address is not right.")),
    "request.host": Kind(later("This node has another name"), later("An administrator adds names to http.hosts.")),
    "request.too_often": Kind(later("That was too often"), _LATER),
    "request": Kind(later("This node cannot take that"), ""),
    "node.busy": Kind(later("This node is busy"), _LATER),
    "node.stopping": Kind(later("This node is about to stop"), later("Try again when it is back.")),
    "sandbox.busy": Kind(later("This node is busy"), _LATER),
    "policy.quota": Kind(later("The quota is used up"), later("Quotas count by day, in UTC: try again tomorrow.")),
    "policy": Kind(later("The owner does not allow this"), later("You may ask the owner for it.")),
    "federation": Kind(later("The federation does not allow this"), later("Ask an administrator of the federation.")),
    "peer": Kind(later("The rules about peers forbid this"), later("See under Administration which rules there are.")),
    "table": Kind(later("This table cannot be read"), _FILE),
    "island": Kind(later("These data do not fit"), ""),
    "spec": Kind(later("This specification cannot be used"), ""),
    "query": Kind(later("This search is too narrow"), later("Give more rows.")),
    "package": Kind(later("This package cannot be taken"), _FILE),
    "integrity": Kind(later("This file is damaged"), _FILE),
    "encoding": Kind(later("This file is damaged"), _FILE),
    "model": Kind(later("The model has failed"), ""),
    "sandbox": Kind(later("The model has reached a limit"), ""),
    "protocol": Kind(later("Another node has sent something that cannot be right"), ""),
    "record": Kind(later("A signed record does not hold"), ""),
    "p2p": Kind(later("Another node cannot be reached"), _PEER),
    "node": Kind(later("A node cannot be reached"), _PEER),
    "search": Kind(later("Nothing was found"), later("Search again with other words, or with more of your data.")),
    "reuse": Kind(later("Your consent is needed"), ""),
    "store": Kind(later("This node cannot store it"), _OWN),
    "cache": Kind(later("This node has no room for it"), _OWN),
    "config": Kind(later("The configuration of this node is not right"), _OWN),
    "home": Kind(later("The configuration of this node is not right"), _OWN),
    "http": Kind(later("The configuration of this node is not right"), _OWN),
}


def kind(code: str) -> Kind:
    """That of an error code; of one that nobody here knows, the general one."""
    return KINDS.get(code) or KINDS.get(code.partition(".")[0]) or OTHER
