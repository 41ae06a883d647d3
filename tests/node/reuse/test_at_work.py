"""Whose predictions run: nobody's keep others out, none for ever that nobody looks at; what breaks one is logged."""

import asyncio
import threading

import pytest
from atoll.node.client import AsyncClient, RemoteError
from atoll.node.reuse import execution
from atoll.node.reuse.service import AT_WORK_OF_USER, UNUSED
from atoll.protocol.errors import NotFound


@pytest.fixture
async def stuck(here, monkeypatch):
    """``await stuck()``: a session that has begun, whose models answer only at the end of the test."""
    go, models = threading.Event(), here.node.node.owner._models
    honest = models.predict
    monkeypatch.setattr(models, "predict", lambda *args, **how: (go.wait(30), honest(*args, **how))[1])
    search_id = await here.search()

    async def begun():
        view = await here.client.plan_reuse(search_id, here.rows)
        await here.client.start_reuse(view.id)
        return view.id

    yield begun
    go.set()


async def test_one_user_takes_some_of_the_turns_and_others_the_rest(here, stuck):
    for _ in range(AT_WORK_OF_USER):
        await stuck()

    with pytest.raises(RemoteError, match="predictions of yours run already") as refused:
        await stuck()

    assert refused.value.code == "node.busy"
    told = await here.client.create_token("other", ("read", "predict"), None)
    async with AsyncClient(here.node.url, told.secret) as other:
        found = await other.search_rows(here.rows, deadline_ms=10_000)
        view = await other.plan_reuse(found.search_id, here.rows)
        assert (await other.start_reuse(view.id)).state == "running"


async def test_what_runs_and_nobody_looks_at_ends_after_an_hour(here, stuck, monkeypatch):
    reuser, now = here.node.node.reuser, [0.0]
    monkeypatch.setattr(reuser, "_clock", lambda: now[0])
    looked_at, left = await stuck(), await stuck()
    user = next(iter(reuser._sessions.values())).query.user
    following = asyncio.ensure_future(reuser.reusing(looked_at, user).result())
    await asyncio.sleep(0)  # it waits now

    now[0] = UNUSED + 1.0
    await reuser.expire()

    assert reuser.reusing(looked_at, user).state == "running"
    with pytest.raises(NotFound):
        reuser.reusing(left, user)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    now[0] = 3 * UNUSED
    await reuser.expire()
    assert not reuser._sessions


async def test_what_breaks_a_session_is_in_the_log_and_whoever_follows_is_told_to_look_there(here, monkeypatch, caplog):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(execution, "_write", full)

    with pytest.raises(RemoteError, match="the node's log says why"):
        await here.client.reuse(await here.search(), here.rows)

    (logged,) = [each for each in caplog.records if each.name == "atoll.reuse" and each.levelname == "ERROR"]
    assert "No space left on device" in logged.exc_text
