"""The command line as people use it, where no node answers."""

import sys

import pytest
from atoll.node.cli.main import main

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def atoll(monkeypatch, capsys):
    """``atoll("spec", ...)`` runs the real entry point: exit code, output, errors."""
    monkeypatch.setenv("ATOLL_URL", NOWHERE)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["atoll", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out, shown.err

    return run
