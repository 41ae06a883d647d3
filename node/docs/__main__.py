"""``python -m atoll.node.docs`` writes the generated pages into the source tree; ``--check`` says which are stale."""

from __future__ import annotations

import sys
from pathlib import Path

from atoll.node.docs.generated import GENERATED


def main(check: bool) -> int:
    """How many pages were stale."""
    folder, stale = Path(__file__).parent, 0
    for name, make in GENERATED.items():
        path, text = folder / f"{name}.md", make()
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale += 1
        print(f"{path.name} {'is stale' if check else 'is written'}")
        if not check:
            path.write_text(text, "utf-8")
    return stale


if __name__ == "__main__":
    check = "--check" in sys.argv[1:]
    sys.exit(1 if main(check) and check else 0)
