"""Predictions as files, whose class names other people have chosen."""

import csv

import numpy as np
import pytest
from atoll.node.api.problems import Problem
from atoll.node.cli.output import fail, print_json
from atoll.node.client import RemoteError
from atoll.node.reuse.written import csv_blocks

NAMES = ('=HYPERLINK("http://x")', "\x1b[2Jx\ud800", "-1", "@a", "+1.5e3", "-a", "a,b")


def test_names_of_classes_are_neither_formulas_nor_commands():
    text = "".join(csv_blocks(np.eye(len(NAMES)), NAMES))

    header, *rows = csv.reader(text.splitlines())
    assert text.encode().isascii()
    assert header == ["label", '\'=HYPERLINK("http://x")', " [2Jx ", "-1", "'@a", "+1.5e3", "'-a", "a,b"]
    assert [row[0] for row in rows] == header[1:]


def test_values_stay_numbers():
    assert "".join(csv_blocks(np.array([[-1.5], [np.nan], [2e-9]]), ())) == 'value\n-1.5\n""\n2e-09\n'


def test_what_a_terminal_shows_of_others_moves_nothing(capsys):
    print_json({"name": "\x9b2J\u202e\x1b"})
    with pytest.raises(SystemExit):
        fail(RemoteError(Problem("not_found", "no \x1b[2J\x9b", 404, "try\nagain")))

    told = capsys.readouterr()
    assert told.out == '{"name":"\\u009b2J\\u202e\\u001b"}\n'
    assert told.err == "error: no  [2J  [not_found]\nhint: try\nagain\n"
