"""What a prediction shows and writes, whatever others have put into it."""

import numpy as np
import pytest
from atoll.node.cli import planned, predictions
from atoll.node.cli.reusing import _chosen
from atoll.node.reuse.query import PlannedMember, ReusePlan
from atoll.node.reuse.result import Chosen


def test_predictions_are_written_in_order_with_gaps_where_there_is_no_answer(tmp_path):
    path = tmp_path / "made.csv"
    predictions.write(path, np.array([[0.25, 0.75], [np.nan, np.nan], [1, 0]]), ("a,b", "c"))
    assert path.read_text() == 'label,"a,b",c\nc,0.25,0.75\n,,\n"a,b",1,0\n'
    predictions.write(path, np.array([[-0.5], [np.nan], [1234567.25]]), ())
    assert path.read_text() == 'value\n-0.5\n""\n1234567.25\n'
    predictions.write(path, np.ones((1, 2)), ())
    assert path.read_text() == "value_1,value_2\n1,1\n"


def test_nothing_that_others_write_moves_the_cursor(capsys):
    evil = "\x1b[2J\r\n[red]evil"
    member = PlannedMember("aa", "bb", "cc", "dd", evil, evil, evil, 0.5, "remote", 3, False, evil)
    planned.show(
        ReusePlan("r", "s", "auto", None, 3, 5, (member,), {"aa": evil}, 0.5, 1, (evil,), True, (evil, "MIT"), evil)
    )
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\r" not in err
    assert "[red]evil" in err
    assert "Without 1 learnware" in err
    assert "1 row gets no answer" in err


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ({"routing": 0.1}, "Method: soft routing."),
        ({"routing": 0.1, "single": 0.3}, "Method: soft routing, the best of 2 on the labelled rows."),
        ({"routing": 0.1, "single": 0.1}, "Method: soft routing; all 2 do equally well on the labelled rows."),
    ],
)
def test_the_method_is_called_the_best_only_where_it_is(losses, told):
    assert _chosen(Chosen("routing", {name: (mean, 0.01) for name, mean in losses.items()})) == told
