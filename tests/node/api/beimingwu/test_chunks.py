"""Uploads in chunks: whatever is sent again, the whole is what its MD5 says, or nothing is taken."""

import asyncio
import hashlib
import os
import random

import aiohttp
import pytest
from atoll.engine.errors import IntegrityError
from atoll.node.acceptance.chunked import AT_A_TIME, FORGOTTEN, IDLE, ChunkedUploads
from atoll.node.errors import RequestInvalid
from atoll.node.store.blobs import BlobStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DATA = random.Random(7).randbytes(10_000)
NOW = 1e9


def md5_of(data):
    return hashlib.md5(data).hexdigest()


MD5 = md5_of(DATA)


@pytest.fixture
def blobs(tmp_path):
    return BlobStore(tmp_path)


@pytest.fixture
def uploads(blobs):
    return ChunkedUploads(blobs, 100_000)


def send(uploads, data, *cuts, user="ann"):
    for begin, end in cuts or [(place, place + 3000) for place in range(0, len(data), 3000)]:
        uploads.put(user, md5_of(data), begin, data[begin:end], NOW)


def whole(uploads, md5=MD5, user="ann"):
    with uploads.taken(user, md5) as path:
        return path.read_bytes()


def test_chunks_in_their_order_are_the_whole(uploads, blobs):
    send(uploads, DATA)
    assert whole(uploads) == DATA
    assert blobs.partials("") == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 9), max_size=12), st.integers(300, 4000))
def test_whatever_is_sent_again_the_whole_is_the_same(uploads, repeats, size):
    """``repeats`` are how far a client falls back, in chunks, after each chunk that it has sent."""
    begin = 0
    while begin < len(DATA):
        uploads.put("ann", MD5, begin, DATA[begin : begin + size], NOW)
        begin += size
        if repeats:
            begin = max(0, begin - size * repeats.pop())
    assert whole(uploads) == DATA


def test_a_chunk_that_came_damaged_is_mended_by_sending_it_again(uploads):
    uploads.put("ann", MD5, 0, b"x" * 3000, NOW)
    send(uploads, DATA, (3000, 10_000), (0, 3000), (3000, 10_000))
    assert whole(uploads) == DATA


def test_an_upload_that_begins_anew_leaves_nothing_of_the_one_before(uploads):
    uploads.put("ann", MD5, 0, b"x" * 20_000, NOW)
    send(uploads, DATA)
    assert whole(uploads) == DATA


def test_a_gap_is_refused_and_says_where_to_go_on(uploads):
    send(uploads, DATA, (0, 3000))
    with pytest.raises(RequestInvalid, match="stands at 3000 bytes"):
        uploads.put("ann", MD5, 6000, DATA[6000:], NOW)
    send(uploads, DATA, (3000, 10_000))
    assert whole(uploads) == DATA


def test_what_is_not_what_its_hash_says_is_not_taken_and_nothing_stays(uploads, blobs):
    send(uploads, DATA, (0, 9999))
    with pytest.raises(IntegrityError, match="MD5"):
        whole(uploads)
    with pytest.raises(IntegrityError, match="nothing was uploaded"):
        whole(uploads)
    assert blobs.partials("") == []


def test_users_have_uploads_of_their_own(uploads):
    send(uploads, DATA, (0, 3000), user="ann")
    send(uploads, DATA, user="bob")
    with pytest.raises(IntegrityError):
        whole(uploads, user="ann")
    assert whole(uploads, user="bob") == DATA


def test_a_hash_that_is_none_names_no_file(uploads):
    for md5 in ("", "../../x", "0" * 31, "0" * 33, "g" * 32):
        with pytest.raises(RequestInvalid, match="MD5"):
            uploads.put("ann", md5, 0, b"x", NOW)


def test_a_user_takes_no_more_than_its_room(uploads, blobs):
    send(uploads, DATA)
    large = os.urandom(95_000)
    with pytest.raises(RequestInvalid, match="100000 bytes"):
        uploads.put("ann", md5_of(large), 0, large, NOW)
    uploads.put("bob", md5_of(large), 0, large, NOW)
    for place in range(AT_A_TIME - 1):
        uploads.put("ann", f"{place:032x}", 0, b"x", NOW)
    with pytest.raises(RequestInvalid, match="uploads"):
        uploads.put("ann", "f" * 32, 0, b"x", NOW)
    assert whole(uploads) == DATA


def test_what_has_been_idle_for_longest_makes_room_for_others_of_its_user(uploads, blobs):
    for place in range(AT_A_TIME):
        uploads.put("ann", f"{place:032x}", 0, b"x", NOW)
        os.utime(blobs.partial(f"beimingwu-ann-{place:032x}"), (NOW, NOW - IDLE - 2 + place))
    uploads.put("bob", "0" * 32, 0, b"x", NOW)
    for fresh in ("a" * 32, "b" * 32, "c" * 32):
        uploads.put("ann", fresh, 0, b"x", NOW)
        os.utime(blobs.partial(f"beimingwu-ann-{fresh}"), (NOW, NOW))
    with pytest.raises(RequestInvalid, match="uploads"):
        uploads.put("ann", "d" * 32, 0, b"x", NOW)
    mine = {each.name.rpartition("-")[2] for each in blobs.partials("beimingwu-ann-")}
    assert mine == {f"{place:032x}" for place in range(3, AT_A_TIME)} | {"a" * 32, "b" * 32, "c" * 32}
    assert len(blobs.partials("beimingwu-bob-")) == 1


def test_what_nobody_goes_on_with_is_forgotten(uploads, blobs):
    send(uploads, DATA)
    (path,) = blobs.partials("beimingwu-")
    then = path.stat().st_mtime + FORGOTTEN + 1
    uploads.put("bob", md5_of(b"x"), 0, b"x", then)
    assert [each.name for each in blobs.partials("beimingwu-")] == [f"beimingwu-bob-{md5_of(b'x')}"]


def test_what_was_being_read_when_the_node_ended_is_gone(uploads, blobs):
    send(uploads, DATA)
    manager = uploads.taken("ann", MD5)
    manager.__enter__()
    ChunkedUploads(blobs, 100_000)
    assert blobs.partials("") == []


async def test_a_connection_that_is_cut_within_a_chunk_leaves_the_upload_as_it_was(start, client):
    (node,) = await start("node")
    ann = client(node)
    await ann.chunk(MD5, 0, DATA[:3000])
    body = aiohttp.FormData(default_to_multipart=True)
    body.add_field("file_hash", MD5)
    body.add_field("chunk_begin", "3000")
    body.add_field("chunk_file", b"y" * 3000, filename="chunk_file")
    payload = body()
    head = f"POST /beimingwu/user/chunked_upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {node.token}\r\n"
    head += f"Content-Type: {payload.headers['Content-Type']}\r\nContent-Length: {payload.size}\r\n\r\n"
    host, port = node.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    sent = head.encode() + await payload.as_bytes()
    writer.write(sent[:-1500])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    answer = await ann.chunk(MD5, 3000, DATA[3000:])
    assert answer["data"] == {"received": len(DATA)}
    token = (await node.client.tokens())[0].id
    with node.node.chunked.taken(token, MD5) as path:
        assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("fields", "file", "told"),
    [
        ({"chunk_begin": "0"}, "chunk_file", "file_hash"),
        ({"file_hash": MD5}, "chunk_file", "chunk_begin"),
        ({"file_hash": MD5, "chunk_begin": "-1"}, "chunk_file", "chunk_begin"),
        ({"file_hash": MD5, "chunk_begin": "0"}, None, "chunk_file"),
        ({"file_hash": MD5, "chunk_begin": "0"}, "another_file", "another_file"),
    ],
)
async def test_a_form_that_is_not_as_it_should_be_is_refused(start, client, fields, file, told):
    (node,) = await start("node")
    form = aiohttp.FormData(fields, default_to_multipart=True)
    if file:
        form.add_field(file, b"x", filename="x")
    answer = await client(node).post("/user/chunked_upload", data=form)
    assert answer["code"] == "request.invalid"
    assert told in answer["msg"]


async def test_forms_that_are_none_are_refused(start, client):
    (node,) = await start("node")
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    ann = client(node)
    nameless = b"--b\r\nContent-Disposition: form-data\r\n\r\nx"
    for data in (b"", b"--b\r\n", b"--b\r\n\r\nx\r\n--b--\r\n", b"nothing", nameless):
        ann.headers |= kind
        assert (await ann.post("/user/chunked_upload", data=data))["code"] == "request.invalid", data
    ann.headers["Content-Type"] = "multipart/form-data"
    assert (await ann.post("/user/chunked_upload", data=b"x"))["code"] == "request.invalid"
