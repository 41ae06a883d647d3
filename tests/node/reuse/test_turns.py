"""Plans take a processor: a user, and all users, may have so many under way, of which few are at work."""

import asyncio

import pytest
from atoll.node.client import RemoteError
from atoll.node.errors import NodeBusy
from atoll.node.reuse import service
from atoll.node.reuse.turns import Turns


@pytest.fixture
def turns():
    """Two at a time, of three of a user and four of all; ``turns.begin(user)`` gives the work and what ends it."""
    turns = Turns("plans", 2, 3, 4)

    def begin(user):
        begun, end = asyncio.Event(), asyncio.Event()

        async def work():
            async with turns.turn(user):
                begun.set()
                await end.wait()

        return asyncio.create_task(work()), begun, end

    turns.begin = begin
    return turns


async def test_few_are_at_work_and_the_others_wait(turns):
    first, second, third = [turns.begin("ann") for _ in range(3)]
    await asyncio.gather(first[1].wait(), second[1].wait())
    assert not third[1].is_set()

    first[2].set()
    await third[1].wait()
    second[2].set()
    third[2].set()
    await asyncio.gather(*(task for task, _, _ in (first, second, third)))


async def test_what_is_too_many_is_refused_at_once(turns):
    begun = [turns.begin("ann") for _ in range(3)]
    await begun[0][1].wait()
    refused, _, _ = turns.begin("ann")
    with pytest.raises(NodeBusy, match="too many plans"):
        await refused
    begun.append(turns.begin("bob"))
    await asyncio.sleep(0)
    with pytest.raises(NodeBusy):
        await turns.begin("cid")[0]

    for _, _, end in begun:
        end.set()
    await asyncio.gather(*(task for task, _, _ in begun))
    again, _, end = turns.begin("cid")
    end.set()
    await again


async def test_a_node_refuses_plans_of_a_user_who_has_too_many_under_way(here):
    search_id = await here.search()
    await here.client.plan_reuse(search_id, here.rows)  # the rows are there

    plans = [here.client.plan_reuse(search_id, here.rows) for _ in range(3 * service.PLANS_OF_USER)]
    told = await asyncio.gather(*plans, return_exceptions=True)

    refused = [each for each in told if isinstance(each, RemoteError)]
    assert {each.code for each in refused} <= {"node.busy"}
    assert len(told) - len(refused) >= service.PLANS_OF_USER
