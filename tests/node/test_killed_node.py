"""Nodes as processes: one of three is killed, the search names it and answers within its deadline."""

import asyncio
import time
from contextlib import AsyncExitStack

from atoll.node.demo.processes import institution
from atoll.protocol.listings import Offers


async def test_a_killed_node_is_named_and_the_answer_is_partial(tmp_path, digits):
    async with AsyncExitStack() as stack:
        contexts = [institution(name, tmp_path / name) for name in ("a", "b", "c")]
        nodes = await asyncio.gather(*(stack.enter_async_context(context) for context in contexts))
        federation = (await nodes[0].client.create_federation("test")).id
        for node in nodes[1:]:
            await node.client.join((await nodes[0].client.invite(federation)).invite)
        island = digits.island()
        for place, node in enumerate(nodes):
            await node.client.add_island(island)
            package = digits.package(node.endpoint.peer_id, island, 3 * place, 3 * place + 1)
            learnware = await node.client.add_learnware(package)
            await node.client.publish(learnware.learnware_id, federation, Offers(disclose="members"))
        async with asyncio.timeout(20):
            while len(await nodes[0].client.catalogue()) < 3:
                await asyncio.sleep(0.05)  # the node is another process: there is no event to wait for
        rows = digits.of(0, 1, 3, 4, 6, 7)
        assert (await nodes[0].client.search_rows(rows, deadline_ms=5000)).complete

        nodes[2].process.kill()
        await nodes[2].process.wait()
        started = time.monotonic()
        found = await nodes[0].client.search_rows(rows, deadline_ms=2000)

        assert time.monotonic() - started < 2.0 + 1.5  # the fit on this side comes before the deadline starts
        assert found.elapsed_ms <= 2200
        assert not found.complete
        assert list(found.peers_failed) == [nodes[2].endpoint.peer_id]
        assert set(found.peers_answered) == {nodes[0].endpoint.peer_id, nodes[1].endpoint.peer_id}
        estimated = {hit.owner for hit in found.hits if hit.estimated}
        assert estimated == {nodes[2].endpoint.peer_id}
