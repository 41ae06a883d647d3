"""What the members do not know is said, and left out on request, also where it looks like what they know."""

import numpy as np
from atoll.protocol.listings import Offers

PREDICT = Offers(disclose="members", predict="members")
DOWNLOAD = Offers(disclose="members", download="members")


async def test_rows_of_a_learnware_that_may_not_be_used_are_not_covered(apart):
    scene, _ = await apart(DOWNLOAD, PREDICT)  # who knows 3 and 4 predicts at its owner only
    search_id = await scene.search()

    view = await scene.client.plan_reuse(search_id, scene.rows, local_only=True, abstain=True)
    reused = await scene.client.reuse(search_id, scene.rows, local_only=True, abstain=True)

    strange = np.isin(scene.labels, (3, 4))
    (why,) = view.plan.skipped.values()
    assert "Digits 2 3 4" in why
    assert "nothing is to be sent" in why
    assert "3, 4" in view.plan.advice
    assert view.plan.uncovered > 0.6 * strange.mean()
    empty = np.isnan(reused.values).any(axis=1)
    assert empty[strange].mean() > 0.6
    assert empty[~strange].mean() < 0.15  # some of the 2s, which both know
    assert reused.report.uncovered == view.plan.uncovered
    assert any("Digits 2 3 4" in warning for warning in reused.report.warnings)
