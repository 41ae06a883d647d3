"""What people are told is told in their language, whole: no message without a translation, none that says less."""

from collections import defaultdict

import pytest
from atoll.node import language
from atoll.node.language import LANGUAGES, ago, catalogues, gettext, in_each, moment, ngettext, preferred, speaking
from messages import parts, said

OTHERS = [code for code in LANGUAGES if code != language.DEFAULT]


@pytest.fixture(scope="module")
def messages():
    return said()


@pytest.fixture(params=OTHERS)
def translated(request):
    """Of a language: all translations of each message."""
    found = defaultdict(set)
    for catalogue in catalogues(request.param):
        for message in catalogue:
            if message.id:
                found[message.id].add(message.string)
    return found


def test_every_message_is_translated(messages, translated):
    missing = {message: where[0] for message, where in messages.items() if not any(map(_whole, translated[message]))}
    assert missing == {}, "put them into a .po of their room (node/language.py)"


def test_nothing_is_translated_that_nobody_says(messages, translated):
    assert {message for message in translated if message not in messages} == set()


def test_placeholders_and_elements_are_those_of_the_message(translated):
    wrong = {}
    for message, strings in translated.items():
        originals = message if isinstance(message, tuple) else (message,)
        for string in strings:
            told = string if isinstance(string, tuple) else (string,)
            if any(parts(text) not in [parts(each) for each in originals] for text in told):
                wrong[message] = string
    assert wrong == {}


def test_a_message_says_the_same_in_every_room(translated):
    assert {message: strings for message, strings in translated.items() if len(strings) > 1} == {}


def test_per_cent_signs_are_doubled_where_templates_put_values_in(messages, translated):
    broken = {}
    for message, where in messages.items():
        for string in translated[message] if any(".html:" in each for each in where) else ():
            for text in string if isinstance(string, tuple) else (string,):
                try:
                    text % defaultdict(int)  # which is a text too
                except ValueError:
                    broken[message] = text
    assert broken == {}


def test_the_language_is_the_best_of_those_that_are_asked_for():
    assert preferred("zh-CN,zh;q=0.9,en;q=0.8") == "zh"
    assert preferred("de, en;q=0.5, zh;q=0.3") == "en"
    assert preferred("de;q=0.9, zh;q=0.3, en;q=0.2") == "zh"
    assert preferred("fr") == preferred("") == preferred(";;q=,q=x;q=x") == "en"


def test_a_time_beyond_the_calendar_is_told_as_its_end():
    for code in LANGUAGES:
        with speaking(code):
            assert moment(2**53 - 1) == moment(2**63) == "9999-12-31 23:59"
            assert ago(2**53 - 1, 0)
            assert moment(-(2**53)).startswith("1970")


def test_a_language_holds_within_its_block_and_is_english_elsewhere():
    assert gettext("Sign in") == "Sign in"
    with speaking("zh"):
        assert gettext("Sign in") == "登录"
        assert ngettext("{count} row", "{count} rows", 1) == ngettext("{count} row", "{count} rows", 2) == "{count} 行"
    assert ngettext("{count} row", "{count} rows", 1) == "{count} row"
    assert in_each(lambda: gettext("Sign in")) == {"en": "Sign in", "zh": "登录"}


def _whole(string):
    return all(string) if isinstance(string, tuple) else bool(string)
