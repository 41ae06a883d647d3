"""What an owner answers before its quota is used up counts, and is used."""

import numpy as np
from atoll.protocol.listings import Offers
from atoll.protocol.policy import Policy, Rule

PREDICT = Offers(disclose="members", predict="members")
MOST = 100


async def test_answers_that_were_counted_are_used_when_a_quota_ends(apart, monkeypatch):
    monkeypatch.setattr("atoll.protocol.predict.FIRST_ROWS", 64)
    scene, (lower, _) = await apart(PREDICT, PREDICT)
    search_id = await scene.search()
    plan = (await scene.client.plan_reuse(search_id, scene.rows)).plan
    low = next(each for each in plan.members if each.learnware_id == scene.low)
    assert low.rows > MOST
    policy = Policy(disclose=Rule("members"), predict=Rule("members", per_peer=None, per_user=MOST))
    await lower.client.publish(scene.low, low.federation, policy)

    reused = await scene.client.reuse(search_id, scene.rows, confirm=True)

    told = next(each for each in reused.report.members if each.learnware_id == scene.low)
    counted = [each.amount for each in await lower.client.usage(scene.low) if each.act == "predict"]
    assert told.failed
    assert [told.rows_answered] == counted == [64]
    assert np.isfinite(reused.values).all()
