"""The node's own errors, and the one table from error codes to HTTP status and exit code.

AtollError
├── ConfigError              config.invalid       a key, value or file of the configuration
├── StoreError               store.failed
│   ├── StoreTooNew          store.too_new        the home was written by a newer Atoll
│   ├── StoreFull            store.full           no space for the write
│   ├── CacheFull            cache.full           no room among the downloads for another one
│   └── HomeMissing          home.missing         not initialised
├── AddressTaken             http.address_in_use
├── Unauthorised             auth.required        no token, or an unknown or expired one
│   ├── Forbidden            auth.scope           the token lacks the scope
│   └── Forged               auth.forged          a signed-in browser sent what no form of this node has sent
├── RequestInvalid           request.invalid
├── PeerDenied               peer.denied          the lists of this node, or of the peer, keep the other out
├── LockOut                  peer.lockout         the rule would leave a federation without an admitted admin
├── PackageRefused           package.refused      a check failed; the message says which
├── NodeUnreachable          node.unreachable     the command line cannot reach the node
├── NodeBusy                 node.busy            too much is under way: try again in a few seconds
├── NodeStopping             node.stopping        it is about to end, and begins nothing new
├── TooOften                 request.too_often    more from one token or address than this node answers
├── WrongHost                request.host         asked under a name that is not this node's
├── NothingFound             search.nothing       no learnware covers the user's data
├── ConsentNeeded            reuse.consent        rows would leave the node, and the user has not allowed it
└── Partial                  search.partial       some peers failed and the caller asked for all
"""

from __future__ import annotations

from typing import NamedTuple

from atoll.engine.errors import AtollError


class ConfigError(AtollError):
    code = "config.invalid"


class StoreError(AtollError):
    code = "store.failed"


class StoreTooNew(StoreError):
    code = "store.too_new"


class StoreFull(StoreError):
    code = "store.full"


class CacheFull(StoreError):
    code = "cache.full"


class HomeMissing(StoreError):
    code = "home.missing"


class AddressTaken(AtollError):
    code = "http.address_in_use"


class Unauthorised(AtollError):
    code = "auth.required"


class Forbidden(Unauthorised):
    code = "auth.scope"


class Forged(Unauthorised):
    code = "auth.forged"


class RequestInvalid(AtollError):
    code = "request.invalid"


class PeerDenied(AtollError):
    code = "peer.denied"


class LockOut(AtollError):
    code = "peer.lockout"


class PackageRefused(AtollError):
    code = "package.refused"


class NodeUnreachable(AtollError):
    code = "node.unreachable"


class NodeBusy(AtollError):
    code = "node.busy"


class NodeStopping(AtollError):
    code = "node.stopping"


class TooOften(AtollError):
    """``retry_after``: seconds after which one more is answered."""

    code = "request.too_often"

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float = 5.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class WrongHost(AtollError):
    code = "request.host"


class NothingFound(AtollError):
    code = "search.nothing"


class ConsentNeeded(AtollError):
    code = "reuse.consent"


class Partial(AtollError):
    code = "search.partial"


class Outcome(NamedTuple):
    """How an error shows: HTTP status and exit code."""

    status: int
    exit_code: int


OUTCOMES: dict[str, Outcome] = {
    "internal": Outcome(500, 1),
    "encoding.invalid": Outcome(400, 1),
    "table.invalid": Outcome(400, 15),
    "island.invalid": Outcome(422, 15),
    "island.features": Outcome(422, 15),
    "spec.invalid": Outcome(422, 15),
    "spec.not_finite": Outcome(422, 15),
    "spec.dimension": Outcome(422, 15),
    "spec.privacy": Outcome(422, 15),
    "query.too_narrow": Outcome(403, 12),
    "package.invalid": Outcome(422, 18),
    "package.refused": Outcome(422, 16),
    "integrity.mismatch": Outcome(422, 18),
    "model.failed": Outcome(502, 16),
    "model.refused": Outcome(422, 16),
    "sandbox.limit": Outcome(422, 17),
    "sandbox.busy": Outcome(429, 17),
    "protocol.invalid": Outcome(502, 18),
    "protocol.signature": Outcome(502, 18),
    "record.rejected": Outcome(422, 18),
    "record.incomplete": Outcome(502, 18),
    "record.fork": Outcome(409, 18),
    "record.quarantined": Outcome(409, 18),
    "federation.not_member": Outcome(403, 12),
    "federation.invite": Outcome(403, 12),
    "policy.denied": Outcome(403, 12),
    "policy.quota": Outcome(429, 12),
    "policy.off_spec": Outcome(422, 12),
    "not_found": Outcome(404, 13),
    "node.busy": Outcome(429, 10),
    "node.stopping": Outcome(503, 10),
    "p2p.failed": Outcome(502, 10),
    "p2p.address_in_use": Outcome(500, 20),
    "p2p.unreachable": Outcome(502, 10),
    "p2p.timeout": Outcome(504, 10),
    "p2p.protocol": Outcome(502, 18),
    "p2p.closed": Outcome(502, 10),
    "config.invalid": Outcome(500, 20),
    "store.failed": Outcome(503, 1),
    "store.too_new": Outcome(500, 21),
    "store.full": Outcome(507, 1),
    "cache.full": Outcome(507, 1),
    "home.missing": Outcome(500, 20),
    "http.address_in_use": Outcome(500, 20),
    "auth.required": Outcome(401, 11),
    "auth.scope": Outcome(403, 11),
    "auth.forged": Outcome(403, 11),
    "request.invalid": Outcome(400, 2),
    "request.too_often": Outcome(429, 10),
    "request.host": Outcome(421, 2),
    "peer.denied": Outcome(403, 12),
    "peer.lockout": Outcome(409, 12),
    "node.unreachable": Outcome(502, 10),
    "search.nothing": Outcome(404, 13),
    "reuse.consent": Outcome(409, 12),
    "search.partial": Outcome(200, 14),
}
"""Every code of the tree; a test walks the classes and compares."""


def outcome(code: str) -> Outcome:
    """The outcome of a code; a code that a peer made up counts as a bad gateway."""
    return OUTCOMES.get(code, Outcome(502, 1))


EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "unexpected",
    2: "usage: the command line, or a request, is not as it should be",
    10: "the node, or a peer, cannot be reached, or is busy",
    11: "not authorised",
    12: "denied by policy",
    13: "not found",
    14: "partial: some peers failed",
    15: "bad specification or rows",
    16: "model refused or failed",
    17: "sandbox limit",
    18: "integrity",
    20: "configuration, or a home that is none; and what `atoll doctor` calls bad",
    21: "the store is too new",
    130: "interrupted",
}
"""What a command ends with; a test compares it with the table above."""
