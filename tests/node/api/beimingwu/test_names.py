"""Which learnware is meant: an id, or an alias that only one has."""

import pytest
from atoll.node.api.beimingwu.names import Named, the_one
from atoll.node.errors import RequestInvalid
from atoll.protocol.errors import NotFound

FIRST, SECOND = bytes([1]) * 32, bytes([2]) * 32


def test_an_id_is_itself_whether_known_or_not():
    assert the_one(FIRST.hex(), ()) == FIRST
    assert the_one(FIRST.hex().upper(), ()) == FIRST


def test_an_alias_means_who_has_it():
    known = [Named(FIRST, "00000123", "irises"), Named(SECOND, "00000124", "tulips")]
    assert the_one("00000124", known) == SECOND
    assert the_one("00000123", [*known, Named(FIRST, "00000123", "irises, elsewhere")]) == FIRST


def test_an_alias_of_several_is_refused_and_they_are_named():
    known = [Named(FIRST, "00000123", "irises"), Named(SECOND, "00000123", "tulips, of South")]
    with pytest.raises(RequestInvalid) as refused:
        the_one("00000123", known)
    for told in (FIRST.hex(), SECOND.hex(), "irises", "tulips, of South"):
        assert told in refused.value.message


@pytest.mark.parametrize(("given", "error"), [("", RequestInvalid), ("00000125", NotFound), ("ab" * 31, NotFound)])
def test_what_nobody_has_is_not_found(given, error):
    with pytest.raises(error) as refused:
        the_one(given, [Named(FIRST, "00000123", "irises"), Named(SECOND, "", "tulips")])
    assert refused.value.hint
