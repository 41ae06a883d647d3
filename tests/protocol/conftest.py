"""One owner, one federation, and a maker of signed logs."""

import hashlib

import msgspec
import pytest
from atoll.engine.semantic import SemanticSpec
from atoll.protocol.heads import Head, sign_head
from atoll.protocol.listings import Listing, sign_listing
from atoll.protocol.log import Line, root_of
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NOW = 1_700_000_000_000


class Owner:
    federation = b"F" * 32

    def __init__(self, seed=b"k"):
        self.key = Ed25519PrivateKey.from_private_bytes(seed * 32)
        self.public = self.key.public_key().public_bytes_raw()

    def plain(self, name="a", seq=1, status="live"):
        id_ = hashlib.sha256(name.encode()).digest()
        return Listing(self.public, self.federation, id_, b"R" * 32, seq, NOW, status, SemanticSpec(name))

    def listing(self, *args, **changes):
        return sign_listing(self.key, msgspec.structs.replace(self.plain(*args), **changes))

    def head(self, listings, seq, epoch=1, **changes):
        lines = [each if isinstance(each, Line) else Line.of(each) for each in listings]
        counted = sum(line.counted for line in lines)
        head = Head(self.public, self.federation, epoch, seq, counted, root_of(lines), NOW, NOW + 86_400_000)
        return sign_head(self.key, msgspec.structs.replace(head, **changes))


@pytest.fixture(scope="session")
def owner():
    return Owner()


@pytest.fixture(scope="session")
def stranger():
    return Owner(b"s")


@pytest.fixture(scope="session")
def now():
    return NOW
