"""``atoll demo`` as a newcomer runs it: it ends cleanly also when it is interrupted."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest


def children_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@pytest.mark.timeout(110)
async def test_an_interrupted_demo_leaves_no_process_and_no_folder(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "atoll.node.cli", "demo", "--keep",
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    async with asyncio.timeout(100):
        lines = []
        while not lines or not lines[-1].startswith(b"Try:"):
            lines.append(await process.stdout.readline())
            assert lines[-1] or process.returncode is None
        nodes = children_of(process.pid)
        assert len(nodes) == 3
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    assert not any(Path(f"/proc/{pid}").exists() for pid in nodes)
    assert list(tmp_path.iterdir()) == []
