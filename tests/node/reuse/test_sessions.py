"""Sessions over several real nodes: what a plan says, what leaves the node and when, and what comes of it."""

import numpy as np
import pytest
from atoll.engine.tables import Table
from atoll.node.client import RemoteError
from atoll.node.errors import ConsentNeeded
from atoll.protocol.listings import Offers

PREDICT = Offers(disclose="members", predict="members")
DOWNLOAD = Offers(disclose="members", download="members")
MATCHED = Offers(disclose="members")


def sent(received, owner, rows):
    """How many of the rows an owner's node has received."""
    heard = bytes(received[owner.node.identity.peer])
    return sum(row.tobytes() in heard for row in rows.values.astype("<f4"))


async def test_a_plan_says_what_leaves_and_nothing_does_without_consent(apart, received):
    scene, (lower, higher) = await apart(PREDICT, DOWNLOAD)
    search_id = await scene.search()

    view = await scene.client.plan_reuse(search_id, scene.rows)

    plan = view.plan
    low, high = sorted(plan.members, key=lambda member: member.place, reverse=True)
    assert (view.state, plan.method, plan.form) == ("planned", "routing", "rkme")
    assert (low.learnware_id, low.place, low.owner_name) == (scene.low, "remote", "lower")
    assert (high.learnware_id, high.place, high.downloaded) == (scene.high, "local", False)
    assert plan.sends_rows
    assert 0 < low.rows < plan.rows == len(scene.rows.values)
    assert f"of your {plan.rows} rows {low.rows} for" in plan.leaves[0]
    assert plan.leaves[-1].startswith("To higher")
    assert "a request for the package" in plan.leaves[-1]
    with pytest.raises(RemoteError, match=r"rows would leave this node.*lower") as refused:
        await scene.client.start_reuse(view.id)
    assert refused.value.code == "reuse.consent"
    assert "send=True" in refused.value.hint
    with pytest.raises(RemoteError) as refused:
        await scene.client.predict(search_id, scene.rows)
    assert refused.value.code == "reuse.consent"
    with pytest.raises(ConsentNeeded):
        await scene.client.reuse(search_id, scene.rows, confirm=lambda plan: False)
    assert sent(received, lower, scene.rows) == 0

    reused = await scene.client.reuse(search_id, scene.rows, confirm=lambda plan: plan.sends_rows)

    assert np.mean(reused.labels.astype(int) == scene.labels) > 0.9
    assert reused.report.rows_remote == low.rows
    assert reused.report.rows_local == high.rows
    assert sent(received, lower, scene.rows) >= low.rows  # those of equal rows, too
    assert sent(received, higher, scene.rows) == 0
    assert np.isclose(sum(member.weight for member in reused.report.members), 1.0)


async def test_what_may_not_be_used_takes_no_weight(apart):
    scene, _ = await apart(MATCHED, PREDICT)
    low_rows = Table(scene.rows.values[scene.labels == 2], scene.rows.columns)  # both know them
    search_id = await scene.search(low_rows)

    reused = await scene.client.reuse(search_id, low_rows, confirm=True)

    assert [member.learnware_id for member in reused.report.members] == [scene.high]
    assert reused.report.members[0].weight == 1.0


async def test_nobody_is_asked_who_does_not_cover_the_data_where_those_who_do_may_not_be_used(apart):
    scene, _ = await apart(MATCHED, PREDICT)
    zeros = Table(scene.rows.values[scene.labels == 0], scene.rows.columns)
    search_id = await scene.search(zeros)

    with pytest.raises(RemoteError, match="not offered to you") as refused:
        await scene.client.plan_reuse(search_id, zeros)
    forced = await scene.client.plan_reuse(search_id, zeros, force=True)

    assert refused.value.code == "search.nothing"
    assert [member.learnware_id for member in forced.plan.members] == [scene.high]
    assert forced.plan.skipped == {scene.low: "its owner offers you neither download nor prediction"}
    assert "predictions are guesses" in forced.plan.advice


async def test_a_session_that_may_send_nothing_uses_what_runs_here(apart, received):
    scene, (lower, _) = await apart(PREDICT, DOWNLOAD)
    search_id = await scene.search()

    view = await scene.client.plan_reuse(search_id, scene.rows, local_only=True, force=True)
    await scene.client.start_reuse(view.id)
    *_, end = [event async for event in scene.client.reuse_events(view.id)]

    assert view.plan.leaves[0] == "No row leaves this node."
    assert view.plan.skipped == {scene.low: "it runs at its owner only, and nothing is to be sent"}
    assert (end.data.rows_remote, end.data.leaves) == (0, ("No row has left this node.",))
    assert sent(received, lower, scene.rows) == 0


async def test_every_method_and_form_predicts(apart):
    scene, _ = await apart(PREDICT, DOWNLOAD)
    search_id = await scene.search()
    tried = [("routing", "sketch"), ("averaging", None), ("vote", None), ("selector", "rkme"), ("single", None)]

    for method, form in tried:
        how = {"form": form} if form == "sketch" else {}
        reused = await scene.client.reuse(search_id, scene.rows, method=method, confirm=True, **how)

        assert (reused.report.method, reused.report.form) == (method, form)
        assert np.mean(reused.labels.astype(int) == scene.labels) > (0.8 if form else 0.5)
