"""What can go wrong between two nodes, below any message of Atoll. Importing this does not import libp2p.

AtollError
└── P2PError                  p2p.failed            libp2p could not do what was asked
    ├── AddressInUse          p2p.address_in_use    another process listens there
    ├── Unreachable           p2p.unreachable       no connection, or the peer does not speak the protocol
    ├── PeerTimeout           p2p.timeout           the peer did not answer within the deadline
    ├── ProtocolViolation     p2p.protocol          the peer sent garbage, or more than was allowed
    └── ChannelClosed         p2p.closed            the stream, or the network on this side, has ended
"""

from __future__ import annotations

from atoll.engine.errors import AtollError


class P2PError(AtollError):
    code = "p2p.failed"


class AddressInUse(P2PError):
    code = "p2p.address_in_use"


class Unreachable(P2PError):
    code = "p2p.unreachable"


class PeerTimeout(P2PError):
    code = "p2p.timeout"


class ProtocolViolation(P2PError):
    code = "p2p.protocol"


class ChannelClosed(P2PError):
    code = "p2p.closed"
