"""Nodes as processes: one of three is killed, the search names it and answers within its deadline."""

import time


async def test_a_killed_node_is_named_and_the_answer_is_partial(processes, digits):
    nodes = await processes({"a": (0, 1), "b": (3, 4), "c": (6, 7)})
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
