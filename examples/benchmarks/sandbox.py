"""The attack corpus on this machine: every attack, what came of it on each rung, and the layer that stops it.

python sandbox.py [--rung strong] [--rung limited]; exits with 1 if anything was reached. Run from a checkout.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from atoll.engine.runtime import Limits, Rung, Sandbox, ladder, rung
from attacks import code, files
from attacks.outcomes import outcome

LIMITS = Limits(call_seconds=1.0, memory_bytes=512 << 20)


def attacked(found: Rung, folder: Path) -> dict[str, str]:
    """Outcome by attack."""
    secret, model = folder / "id_ed25519", folder / "model"
    secret.write_text("a key")
    victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    outcomes = {}
    with socket.create_server(("127.0.0.1", 0)) as tcp, closing(Sandbox(LIMITS, found)) as sandbox:
        targets = {
            "secret": str(secret), "outside": str(folder / "written"), "unix": str(folder / "socket"),
            "port": tcp.getsockname()[1], "victim": victim.pid,
        }  # fmt: skip
        for name in code.STOPPED:
            model.write_bytes(code.source(name, **targets))
            outcomes[name] = outcome(sandbox, model, trust="own")[0]
        for name, (data, _, _) in files.FILES.items():
            model.write_bytes(data)
            outcomes[name] = outcome(sandbox, model, trust="foreign")[0]
    if victim.poll() is not None:
        outcomes["killing another"] = "REACHED"
    victim.communicate(b"\n")
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rung", action="append", choices=("strong", "limited"))
    wanted = parser.parse_args().rung or ["strong", "limited"]
    layers = {name: row[2] for name, row in {**code.STOPPED}.items()} | {n: row[2] for n, row in files.FILES.items()}
    results = {}
    for level in wanted:
        found = rung() if level == "strong" else ladder.lower("left out for the benchmark", "")
        print(f"{level}: {found.level} ({', '.join(found.layers)}) {found.missing}")
        with tempfile.TemporaryDirectory() as folder:
            results[level] = attacked(found, Path(folder))
    print(f"\n{'attack':42} {'stopped at strong by':24} " + " ".join(f"{level:14}" for level in wanted))
    for name, layer in layers.items():
        print(f"{name:42} {layer:24} " + " ".join(f"{results[level][name]:14}" for level in wanted))
    reached = [(level, name) for level in wanted for name, word in results[level].items() if word == "REACHED"]
    print(f"\n{len(layers)} attacks, {len(reached)} reached something: {reached}")
    return 1 if reached else 0


if __name__ == "__main__":
    sys.exit(main())
