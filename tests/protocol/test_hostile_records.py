"""Mutated records through every way into a replica: a clean refusal or a record that its signer did sign."""

import random
import resource

import msgspec
import pytest
from atoll.engine.errors import AtollError
from atoll.protocol.decrees import Decree, Revocation, Takedown, sign_decree
from atoll.protocol.listings import Offers, SpecSummary
from atoll.protocol.membership import Certificate, Charter, certify, found
from atoll.protocol.replica import Replica
from atoll.protocol.roll import Roll
from atoll.protocol.signing import Record
from atoll.protocol.succession import sign_succession
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SPEC = SpecSummary(b"I" * 32, bytes(512), 0.2, 1024, b"C" * 32)


class Ways:
    """A replica of ``owner``'s federation, and good records to start from."""

    def __init__(self, owner, founder, now):
        self.now, self.owner = now, owner
        self.charter = Charter("f", (founder.public,), now)
        self.federation = found(founder.key, self.charter).digest
        made = Certificate(self.federation, owner.public, "o", now, now + 10**9, now)
        self.certificate = certify(founder.key, made)
        change = {
            "federation": self.federation,
            "offers": Offers(),
            "class_names": ("a", "b"),
            "specifications": (SPEC,),
        }
        self.listing = owner.listing("a", 1, **change).record
        signed = owner.listing("a", 1, **change)
        self.head = owner.head([signed], 1, federation=self.federation).record
        self.other = owner.head([], 1, federation=self.federation).record
        decree = Decree(
            self.federation, founder.public, 1, now, (owner.public,), (Revocation(b"m" * 32, now),),
            (Takedown(owner.public, b"l" * 32),),
        )  # fmt: skip
        self.decree = sign_decree(founder.key, decree).record
        heir = Ed25519PrivateKey.from_private_bytes(b"h" * 32)
        self.succession = sign_succession(
            owner.key, heir, federation=self.federation, owner=owner.public, certificate=self.certificate, now=now
        ).records
        good = (self.certificate, self.listing, self.head, self.other, self.decree, *self.succession)
        self.good = {record.digest for record in good}

    def replica(self):
        return Replica(Roll(self.federation, self.charter))

    def ways(self, mutate):
        """Each way in with one of its records mutated: (replica, call)."""
        for place in range(3):
            parts = [self.certificate, self.head, self.listing]
            parts[place] = mutate(parts[place])
            replica = self.replica()
            yield replica, lambda r=replica, p=parts: r.take_log(p[0], p[1], [p[2]], self.now)
        replica = self.replica()
        yield replica, lambda r=replica: r.roll.take_decree(mutate(self.decree), self.now)
        replica = self.replica()
        yield replica, lambda r=replica: r.roll.take_succession([mutate(each) for each in self.succession], self.now)
        replica = self.replica()
        yield replica, lambda r=replica: r.take_fork([mutate(self.head), mutate(self.other)])


def mutation(dice):
    """Flip, insert, cut, repeat or splice bytes of body or signature."""

    def mutate(record):
        body, signature = bytearray(record.body), bytearray(record.signature)
        for _ in range(dice.randint(1, 3)):
            part = body if dice.random() < 0.9 else signature
            if not part:
                continue
            place = dice.randrange(len(part))
            kind = dice.randrange(5 if len(part) < 20_000 else 3)  # what is long is not repeated
            if kind == 0:
                part[place] = dice.randrange(256)
            elif kind == 1:
                part[place:place] = dice.randbytes(dice.choice((1, 4, 1000)))
            elif kind == 2:
                del part[place : place + dice.choice((1, 3, len(part)))]
            elif kind == 3:
                part[place:place] = part[: dice.randint(1, len(part))] * dice.choice((1, 50))
            else:
                part[place : place + 5] = dice.choice((b"\xdf\xff\xff\xff\xff", b"\xdd\x7f\xff\xff\xff", b"\xc1" * 5))
        return Record(bytes(body), bytes(signature))

    return mutate


def attacked(ways, count, seed):
    """Make ``count`` mutated records; returns how many calls were refused and how many went through."""
    dice, refused, through, made = random.Random(seed), 0, 0, 0
    while made < count:
        for replica, call in ways.ways(mutation(dice)):
            made += 1
            try:
                call()
            except AtollError:
                refused += 1
                assert not replica.logs
                assert not replica.forks
                assert not replica.roll.decrees
                assert not replica.roll.successions
                continue
            through += 1
            held = {log.head.record.digest for log in replica.logs.values()}
            held |= {line.digest for log in replica.logs.values() for line in log.lines.values()}
            held |= {signed.record.digest for signed in replica.roll.decrees.values()}
            held |= {signed.records[0].digest for signed in replica.roll.successions.values()}
            held |= {record.digest for proof in replica.forks.values() for record in proof.records}
            assert held <= ways.good
    return refused, through


@pytest.fixture
def ways(owner, stranger, now):
    return Ways(owner, stranger, now)


def test_good_records_go_in(ways):
    for replica, call in ways.ways(lambda record: record):
        call()
        assert replica.logs or replica.forks or replica.roll.decrees or replica.roll.successions


@pytest.mark.parametrize("count", [20_000, pytest.param(200_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_mutated_records_are_refused_and_leave_nothing(ways, count):
    attacked(ways, 500, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused, through = attacked(ways, count, 2)
    assert refused > 0.95 * count
    assert through < 0.05 * count  # a mutation that undid itself, say
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_record_that_says_more_than_its_type_is_read_as_its_type(ways, owner):
    """Fields that this version does not know are ignored, whatever they hold."""
    tree = msgspec.msgpack.decode(ways.listing.body) | {"future": [[[[]]]] * 50}
    body = msgspec.msgpack.encode(tree)
    signed = Record(body, owner.key.sign(b"atoll/listing/1\0" + body))
    head = owner.head([], 1, federation=ways.federation)
    with pytest.raises(AtollError):  # its hash is another, so the root does not hold
        ways.replica().take_log(ways.certificate, head.record, [signed], ways.now)
