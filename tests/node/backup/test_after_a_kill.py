"""A node that was killed is verified before it starts again."""

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager

from atoll.node import lock


@asynccontextmanager
async def served(home):
    """A real ``atoll serve``; yields its process and its endpoint, and ends it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ATOLL_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "atoll.node.cli", "serve", "--home", str(home), "--json", "--exit-with-stdin",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), 30)


async def test_a_killed_node_is_verified_and_starts_again(make_home):
    home, _ = make_home("killed")
    async with served(home) as process:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert json.loads(line)["peer_id"]
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert lock.was_killed(home)
    async with served(home) as process:
        assert json.loads(await asyncio.wait_for(process.stdout.readline(), 60))["peer_id"]
    assert process.returncode == 0
    assert not lock.was_killed(home)


async def test_a_killed_node_with_a_damaged_store_says_what_to_do(make_home):
    home, _ = make_home("killed")
    async with served(home) as process:
        await asyncio.wait_for(process.stdout.readline(), 60)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    os.truncate(home / "store" / "data.mdb", 3 * 4096)
    async with served(home) as process:
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"atoll restore" in errors
    assert b"Traceback" not in errors
