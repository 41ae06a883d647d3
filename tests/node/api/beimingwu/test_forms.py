"""Forms are read with distrust: of all fields together no more than fits, and nothing that nobody asked for."""

import io
import json

import aiohttp
import pytest
from atoll.node.api.beimingwu.forms import MAX_FIELDS, Held, Room
from atoll.node.errors import RequestInvalid


def test_what_is_held_shares_its_room():
    room = Room(10, "send less")
    one, two = Held(room), Held(room)
    one.put(b"12345")
    two.put(b"12345")
    with pytest.raises(RequestInvalid) as refused:
        one.put(b"6")
    assert (one.data, two.data, refused.value.hint) == (b"12345", b"12345", "send less")


PARTS = "".join(
    f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{"x" * (MAX_FIELDS // 2)}\r\n'
    for name in ("semantic_specification", "limit", "page")
)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=b", f"{PARTS}--b--\r\n"),
        ("application/x-www-form-urlencoded", "limit=" + "x" * MAX_FIELDS),
        ("application/json", '{"limit": "' + "x" * MAX_FIELDS + '"}'),
    ],
)
async def test_fields_take_no_more_than_their_room_together(start, client, kind, body):
    (node,) = await start("node")
    ann = client(node)
    ann.headers["Content-Type"] = kind
    answer = await ann.post("/engine/search_learnware", data=io.BytesIO(body.encode()))
    assert (answer["code"], str(MAX_FIELDS) in answer["msg"]) == ("request.invalid", True)


@pytest.mark.parametrize("file", [True, False])
async def test_parts_that_nobody_asked_for_are_refused(start, client, file):
    (node,) = await start("node")
    form = aiohttp.FormData({"semantic_specification": "{}"}, default_to_multipart=True)
    form.add_field("more", "x", **({"filename": "more"} if file else {}))
    answer = await client(node).post("/engine/search_learnware", data=form)
    assert (answer["code"], "'more'" in answer["msg"]) == ("request.invalid", True)
    form = aiohttp.FormData({"page": "0"}, default_to_multipart=True)
    form.add_field("page", "1")
    assert "twice" in (await client(node).post("/engine/search_learnware", data=form))["msg"]


async def test_a_form_may_come_url_encoded_or_as_json(start, client, irises):
    (node,) = await start("node")
    fields = {"semantic_specification": json.dumps(irises.asking("x")), "limit": 3, "page": 2}
    for sent in ({"data": fields}, {"json": fields}):
        answer = await client(node).post("/engine/search_learnware", **sent)
        assert (answer["data"]["limit"], answer["data"]["page"]) == (3, 2)
    for data in (b"[", b"\xff=\xff", b"&".join([b"a=b"] * 40)):
        answer = await client(node).post("/engine/search_learnware", data=data)
        assert answer["code"] in (0, "request.invalid")
