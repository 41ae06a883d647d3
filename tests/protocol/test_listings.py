"""What a listing may say, and what of it is optional."""

import msgpack
import pytest
from atoll.protocol.errors import RecordRejected
from atoll.protocol.listings import open_listing
from atoll.protocol.signing import sign


def test_an_alias_travels_with_the_listing(owner):
    signed = owner.listing("a", 1, alias="00000123")
    assert open_listing(signed.record, owner=owner.public, federation=owner.federation).listing.alias == "00000123"


@pytest.mark.parametrize("alias", ["a b", "x" * 65, "a\n", "../etc", "-rf", "0f" * 32])
def test_a_malformed_alias_is_neither_signed_nor_taken(owner, alias):
    with pytest.raises(RecordRejected, match="alias"):
        owner.listing("a", 1, alias=alias)


def test_a_listing_from_before_there_were_aliases_reads(owner):
    tree = msgpack.unpackb(owner.listing("a", 1).record.body)
    del tree["alias"]
    record = sign(owner.key, "listing", tree)
    opened = open_listing(record, owner=owner.public, federation=owner.federation)
    assert opened.listing == owner.plain("a", 1)
    assert opened.record.body == record.body
