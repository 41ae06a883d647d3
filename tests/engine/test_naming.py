"""How messages name things."""

from atoll.engine.naming import instead, listed, meant


def test_lists_say_how_much_they_leave_out():
    assert listed("abc") == "a, b, c"
    assert listed(map(str, range(10))) == "0, 1, 2, 3, 4, 5, 6, 7, … and 2 more"


def test_a_mistyped_name_is_answered_with_the_nearest():
    assert meant("Outcome", ["pixel_0", "outcome"]) == "outcome"
    assert meant("outcom", ["pixel_0", "Outcome"]) == "Outcome"
    assert meant("z", ["a", "y"]) == ""
    assert instead("Outcome", ["a", "outcome"], "its columns are") == (
        "did you mean outcome? its columns are a, outcome"
    )
    assert instead("z", ["a", "y"], "its columns are") == "its columns are a, y"
