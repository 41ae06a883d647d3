import pytest
from aiohttp.test_utils import make_mocked_request
from atoll.node.web.paging import paged

ITEMS = tuple(range(7))


def page(path, name="page", **also):
    return paged(ITEMS, make_mocked_request("GET", path), 3, name, **also)


def test_whoever_follows_the_links_sees_each_item_once():
    seen, path = [], "/list"
    while path:
        shown, where = page(path)
        assert (where.first, where.last, where.total) == (shown[0] + 1, shown[-1] + 1, 7)
        seen, path = [*seen, *shown], where.later
    assert tuple(seen) == ITEMS


@pytest.mark.parametrize(
    ("said", "first"), [("2", 4), ("99", 7), ("0", 1), ("-1", 1), ("x", 1), ("²", 1), ("9" * 40, 1)]
)
def test_a_number_that_is_none_is_the_first_and_one_too_high_the_last(said, first):
    assert page(f"/list?page={said}")[1].first == first


def test_the_links_keep_what_else_the_address_says_but_not_what_was_done():
    where = page("/list?state=live&page=2&kept=3&said=removed")[1]
    assert (where.earlier, where.later) == ("/list?state=live&kept=3&page=1", "/list?state=live&kept=3&page=3")
    assert page("/list?page=2", "kept", state="all")[1].later == "/list?page=2&state=all&kept=2"


def test_an_empty_list_has_one_page():
    assert paged((), make_mocked_request("GET", "/list"), 3)[1] == (1, 0, 0, "", "")
