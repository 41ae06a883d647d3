"""Running one attack: what came of it, in a word."""

from __future__ import annotations

import errno

import numpy as np
from atoll.engine.errors import ModelError
from atoll.engine.runtime import Sandbox, Signature
from atoll.engine.runtime.formats import Trust

ROW = Signature("regression", 4, 4)
ROWS = -np.ones((3, 4), np.float32)


def outcome(sandbox: Sandbox, path, *, trust: Trust) -> tuple[str, str]:
    """(``REACHED``, the name of an error number, or of an error of ours; what the node tells its user)."""
    try:
        with sandbox.start(path, ROW, trust=trust) as worker:
            worker.predict(ROWS)
            found = int(worker.predict(ROWS)[0, 0])  # a second call: what an answer too many leads to
    except ModelError as error:
        return type(error).__name__, error.message
    return (errno.errorcode.get(found, "REACHED"), "")
