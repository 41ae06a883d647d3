"""What can go wrong between peers; continues the engine's tree.

AtollError
└── ProtocolError            protocol.invalid      a message that breaks the rules
    ├── SignatureInvalid     protocol.signature    a record that its owner did not sign
    ├── RecordRejected       record.rejected       signed, but expired, replayed, from the future or too large
    │   ├── LogIncomplete    record.incomplete     listings and root of a head disagree: ask for the whole log
    │   ├── ForkDetected     record.fork           two heads with one (epoch, seq)
    │   └── Quarantined      record.quarantined    its owner has forked, or was revoked
    ├── NotMember            federation.not_member no valid certificate for the federation
    ├── NotFound             not_found             no such learnware, island, peer or federation here
    ├── InviteInvalid        federation.invite     unknown, used or expired invite
    └── PolicyDenied         policy.denied         the owner does not offer this to the asker
        ├── QuotaExceeded    policy.quota          it does, and the asker has had it all for today
        └── OffSpecification policy.off_spec       rows unlike what the learnware was made for
"""

from __future__ import annotations

from atoll.engine.errors import AtollError


class ProtocolError(AtollError):
    code = "protocol.invalid"


class SignatureInvalid(ProtocolError):
    code = "protocol.signature"


class RecordRejected(ProtocolError):
    code = "record.rejected"


class LogIncomplete(RecordRejected):
    code = "record.incomplete"


class ForkDetected(RecordRejected):
    code = "record.fork"


class Quarantined(RecordRejected):
    code = "record.quarantined"


class NotMember(ProtocolError):
    code = "federation.not_member"


class NotFound(ProtocolError):
    code = "not_found"


class InviteInvalid(ProtocolError):
    code = "federation.invite"


class PolicyDenied(ProtocolError):
    code = "policy.denied"


class QuotaExceeded(PolicyDenied):
    code = "policy.quota"


class OffSpecification(PolicyDenied):
    code = "policy.off_spec"
