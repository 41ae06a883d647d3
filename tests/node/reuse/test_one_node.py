"""What a session does with rows, on one node: classes and columns that differ, rows that nobody covers, its end."""

import asyncio
import hashlib
import io
import json

import aiohttp
import numpy as np
import pytest
from atoll.engine.tables import Table
from atoll.node.client import AsyncClient, RemoteError
from atoll.node.reuse.service import UNUSED
from atoll.protocol.errors import NotFound


def files(node):
    return sorted(path.name for path in (node.node.home / "reuse").rglob("*") if path.is_file())


async def test_members_with_other_classes_are_aligned_by_name(here):
    reused = await here.client.reuse(await here.search(), here.rows)

    assert reused.class_names == ("0", "1", "2", "3", "4")
    assert reused.values.shape == (len(here.labels), 5)
    assert np.allclose(reused.values.sum(axis=1), 1.0)
    assert np.mean(reused.labels.astype(int) == here.labels) > 0.9
    assert sum(reused.report.class_counts.values()) == sum(reused.report.confidence) == len(here.labels)


async def test_columns_may_come_in_another_order(here):
    search_id = await here.search()
    order = np.random.default_rng(0).permutation(64)
    turned = Table(here.rows.values[:, order], tuple(here.rows.columns[place] for place in order))

    straight = await here.client.reuse(search_id, here.rows)
    reused = await here.client.reuse(search_id, turned)

    assert np.allclose(straight.values, reused.values)


async def test_rows_that_nobody_covers_may_go_without_an_answer(here):
    search_id = await here.search()
    strange = Table(np.concatenate([here.rows.values[:50], 16.0 - here.rows.values[:30]]), here.rows.columns)

    guessed = await here.client.reuse(search_id, strange)
    reused = await here.client.reuse(search_id, strange, abstain=True)

    silent = np.isnan(reused.values).any(axis=1)
    assert guessed.report.abstained == 0
    assert silent[50:].all()
    assert silent[:50].sum() <= 2  # of the members' own rows a few are odd
    assert reused.report.abstained == silent.sum()
    assert reused.report.uncovered == guessed.report.uncovered == silent.mean()
    assert (reused.labels == "").tolist() == silent.tolist()
    assert any(f"{silent.sum()} rows without an answer" in warning for warning in reused.report.warnings)


async def test_events_are_followed_from_where_one_left_off(here):
    view = await here.client.plan_reuse(await here.search(), here.rows)
    await here.client.start_reuse(view.id)
    events = [event async for event in here.client.reuse_events(view.id)]
    headers = {"Authorization": f"Bearer {here.node.token}", "Last-Event-ID": str(events[-2].id)}
    url = f"{here.node.url}/api/v1/reuses/{view.id}/events"

    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(url, headers={"Accept": "application/x-ndjson"}) as response:
            lines = [json.loads(line) for line in (await response.read()).splitlines()]
        async with session.get(url) as response:
            told = (await response.read()).decode()

    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert events[0].data == view.plan
    assert [line["event"] for line in lines] == ["end"]
    assert told.startswith(f"id: {events[-1].id}\nevent: end\ndata: ")


async def test_predictions_are_a_csv_an_array_and_a_part_of_either(here):
    view = await here.client.plan_reuse(await here.search(), here.rows)
    url = f"{here.node.url}/api/v1/reuses/{view.id}"
    with pytest.raises(RemoteError, match="has not ended"):
        await here.client.predictions(view.id)
    await here.client.start_reuse(view.id)
    assert [event.event async for event in here.client.reuse_events(view.id)][-1] == "end"
    values = await here.client.predictions(view.id)

    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {here.node.token}"}) as session:
        async with session.get(f"{url}/predictions") as response:
            kind, text = response.headers["Content-Type"], await response.text()
        async with session.get(f"{url}/predictions", headers={"Range": "bytes=0-4"}) as response:
            part = response.status, await response.read()
        async with session.get(f"{url}/report") as response:
            page, policy = await response.text(), response.headers["Content-Security-Policy"]

    header, *lines = text.splitlines()
    assert kind == "text/csv"
    assert header == "label,0,1,2,3,4"
    assert np.allclose([[float(cell) for cell in line.split(",")[1:]] for line in lines], values, atol=1e-5)
    assert part == (206, b"label")
    assert "Digits 0 1 2" in page
    assert "default-src 'none'" in policy


async def test_nobody_else_sees_a_session_or_its_rows(here):
    search_id = await here.search()
    view = await here.client.plan_reuse(search_id, here.rows)
    made = await here.client.create_token("somebody else", ("read", "predict"), 1)

    async with AsyncClient(here.node.url, made.secret) as other:
        for asked in (
            other.reuse_state(view.id), other.start_reuse(view.id, send=True), other.predictions(view.id),
            other.reuse_report(view.id), other.forget_reuse(view.id), anext(other.reuse_events(view.id)),
        ):  # fmt: skip
            with pytest.raises(RemoteError, match="not remembered"):
                await asked
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {made.secret}"}) as session:
            digest = here.node.node.reuser.reusing(view.id, await user(here)).brief.rows.digest.hex()
            async with session.get(f"{here.node.url}/api/v1/rows/{digest}") as response:
                assert await response.json() == {"received": 0}
    reader = await here.client.create_token("reader", ("read",), 1)
    async with AsyncClient(here.node.url, reader.secret) as client:
        with pytest.raises(RemoteError) as refused:
            await client.reuse_state(view.id)
    assert refused.value.code == "auth.scope"


async def user(here):
    return next(iter(here.node.node.reuser._sessions.values())).query.user


async def test_nothing_of_the_rows_stays_after_forgetting(here):
    search_id = await here.search()
    view = await here.client.plan_reuse(search_id, here.rows, labelled=(here.rows, here.labels))
    again = await here.client.plan_reuse(search_id, here.rows)
    await here.client.start_reuse(again.id)
    assert [event.event async for event in here.client.reuse_events(again.id)][-1] == "end"
    assert len(files(here.node)) == 2  # the same rows three times, and predictions

    await here.client.forget_reuse(view.id)
    assert len(files(here.node)) == 2
    await here.client.forget_reuse(again.id)

    assert files(here.node) == []
    with pytest.raises(RemoteError, match="not remembered"):
        await here.client.reuse_state(again.id)


async def test_what_is_forgotten_while_it_runs_ends(here):
    view = await here.client.plan_reuse(await here.search(), here.rows)
    await here.client.start_reuse(view.id)

    await here.client.forget_reuse(view.id)

    assert files(here.node) == []


async def test_sessions_and_uploads_that_nobody_uses_end_after_an_hour(here, monkeypatch):
    reuser, now = here.node.node.reuser, [0.0]
    monkeypatch.setattr(reuser, "_clock", lambda: now[0])
    monkeypatch.setattr(reuser.uploads, "_clock", lambda: now[0])
    view = await here.client.plan_reuse(await here.search(), here.rows)
    await asyncio.to_thread(reuser.uploads.keep, "somebody", Table(np.zeros((2, 3))))
    now[0] = UNUSED - 1.0
    await reuser.expire()
    assert len(files(here.node)) == 2
    assert (await here.client.reuse_state(view.id)).state == "planned"

    now[0] = UNUSED + 1.0
    await reuser.expire()
    assert len(files(here.node)) == 1  # the session has just been looked at
    now[0] = 3 * UNUSED
    await reuser.expire()

    assert files(here.node) == []
    with pytest.raises(NotFound):
        reuser.reusing(view.id, "")


async def test_the_oldest_sessions_of_a_user_make_room(here):
    search_id = await here.search()

    views = [await here.client.plan_reuse(search_id, here.rows) for _ in range(9)]

    with pytest.raises(RemoteError, match="not remembered"):
        await here.client.reuse_state(views[0].id)
    assert (await here.client.reuse_state(views[1].id)).state == "planned"


async def test_a_restart_forgets_rows(make_home, start_home, digits):
    home, token = make_home("node")
    async with start_home(home, token) as running:
        await asyncio.to_thread(running.node.reuser.uploads.keep, "somebody", digits.of(0))
        assert len(files(running)) == 1
    (home / "reuse" / "rows").mkdir(parents=True, exist_ok=True)
    (home / "reuse" / "rows" / "left.npy").write_bytes(b"by a node that was killed")
    async with start_home(home, token) as running:
        assert files(running) == []


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def claiming(shape):
    """An array whose header says another shape than its bytes have."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + bytes(64)


HOSTILE = {
    "pickled": (npy(np.array([{"a": 1}], object), allow_pickle=True), "not a plain numeric .npy"),
    "one dimension": (npy(np.zeros(4)), "shape (4,)"),
    "three dimensions": (npy(np.zeros((1, 64, 2))), "shape (1, 64, 2)"),
    "integers": (npy(np.zeros((2, 64), np.int64)), "int64"),
    "text": (npy(np.array([["a"]])), "<U1"),
    "no rows": (npy(np.zeros((0, 64))), "0 rows: 1 to"),
    "not an array": (b"label,0,1\n", "not a plain numeric .npy"),
    "nothing": (b"\x93NUMPY", "not a plain numeric .npy"),
    "a shape beyond the file": (claiming((1 << 40, 64)), "not a plain numeric .npy"),
    "a shape beyond counting": (claiming((1 << 62, 1 << 62)), "not a plain numeric .npy"),
    "a long header": (b"\x93NUMPY\x02\x00" + (1 << 26).to_bytes(4, "little") + b" " * (1 << 20), "not a plain numeric"),
    "NaN": (npy(np.full((2, 64), np.nan)), "NaN, infinite or too large values, in columns pixel_00, pixel_01"),
    "too large for a model": (npy(np.full((2, 64), 1e300)), "too large"),
    "other columns": (npy(np.zeros((2, 63))), "column names"),
}


async def test_hostile_rows_are_refused_in_words(here, digits):
    search_id = await here.search()
    headers = {"Authorization": f"Bearer {here.node.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def planned(data, digest=None, **more):
            digest = digest or hashlib.sha256(data).hexdigest()
            async with session.put(f"{here.node.url}/api/v1/rows/{digest}", data=io.BytesIO(data)) as response:
                assert response.status == 200
            body = {"search_id": search_id, "rows": digest, "columns": digits.island().names, **more}
            async with session.post(f"{here.node.url}/api/v1/reuses", json=body) as response:
                return response.status, await response.json()

        for name, (data, words) in HOSTILE.items():
            status, told = await planned(data)
            assert 400 <= status < 500, name
            assert words in told["title"], name
        status, told = await planned(npy(np.zeros((2, 64))), "ab" * 32)
        assert (status, told["code"]) == (422, "integrity.mismatch")
        status, told = await planned(npy(np.zeros((2, 64))), units={"pixel_00": "kg"})
        assert told.get("code") != "internal"
        async with session.put(f"{here.node.url}/api/v1/rows/{'cd' * 32}?offset=7", data=b"x") as response:
            assert "stands at 0 bytes" in (await response.json())["title"]


async def test_rows_beyond_the_configured_bounds_are_refused(here, monkeypatch):
    uploads = here.node.node.reuser.uploads
    monkeypatch.setattr(uploads, "_most", 10)
    search_id = await here.search()

    with pytest.raises(RemoteError, match="1 to 10 are taken at once") as refused:
        await here.client.plan_reuse(search_id, here.rows)
    assert refused.value.hint == "see reuse.max_rows"
    monkeypatch.setattr(uploads, "_limit", 1000)
    with pytest.raises(RemoteError, match="take more than 1000 bytes") as refused:
        await here.client.plan_reuse(search_id, Table(here.rows.values + 1.0, here.rows.columns))
    assert "reuse.max_upload_bytes" in refused.value.hint


async def test_what_was_searched_for_by_sketches_is_reused(here):
    local = await here.search(privacy="local")
    noised = (await here.client.search(await here.client.fit_private(here.rows, epsilon=4.0))).search_id

    by_sketches = await here.client.reuse(local, here.rows)
    by_noise = await here.client.reuse(noised, here.rows, force=True)

    assert by_sketches.report.form == "sketch"
    for reused in (by_sketches, by_noise):
        assert np.mean(reused.labels.astype(int) == here.labels) > 0.8
    with pytest.raises(RemoteError, match="discloses its specification") as refused:
        await here.client.plan_reuse(local, here.rows, form="rkme")
    assert refused.value.hint == "use the form sketch"
