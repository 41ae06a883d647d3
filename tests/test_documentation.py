"""The documentation says what the program does: nothing is missing, commands parse, links lead somewhere."""

import re
import shlex
import textwrap
from pathlib import Path

import click
import pytest
from atoll.engine.errors import AtollError
from atoll.node.api.server import ROUTES
from atoll.node.cli.main import cli
from atoll.node.config import Config
from atoll.node.docs import contents
from atoll.node.docs.generated import GENERATED, walk
from atoll.node.errors import EXIT_CODES, OUTCOMES
from atoll.node.given import sections
from atoll.node.metrics import listed
from atoll.node.web.docs.pages import rendered

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "node" / "docs"
FILES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", *(ROOT / "examples").rglob("README.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(atoll [^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:node|http|p2p|search|serving|privacy|sandbox|reuse|beimingwu|log)\.[a-z_]+)`")


def read(path):
    return path.read_text("utf-8")


def commands(text):
    """Every `atoll ...` that a text shows, whole lines in blocks and whole commands in words."""
    for _, block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;", re.sub(r"\s+#.*$", "", line)):
                found = re.match(r"^(?:\S*/)?atoll( .*)$", part.strip())
                if found:
                    yield "atoll" + found[1]
    yield from (found.replace("\n", " ") for found in INLINE.findall(BLOCK.sub("", text)))


def wrong(command):
    """What is wrong with a command, None if nothing; in the middle of a sentence the last option may lack its value."""
    try:
        parse(known(command))
    except (click.ClickException, ValueError) as error:
        named = isinstance(error, click.BadOptionUsage) and command.endswith(error.option_name)
        return None if named and error.message.endswith("requires an argument.") else str(error)
    return None


def parse(command):
    """Go down to the command that is named and have it parse what follows; click's errors say what is wrong."""
    words = shlex.split(command)[1:]
    group, path = cli, "atoll"
    while isinstance(group, click.Group):
        if not words or words[0].startswith("-"):
            return
        name = words.pop(0)
        found = group.get_command(click.Context(group), name)
        if found is None:
            raise click.UsageError(f"no command {path} {name}")
        group, path = found, f"{path} {name}"
    context = click.Context(group, info_name=path)
    _, rest, _ = group.make_parser(context).parse_args(words)
    if rest:
        raise click.UsageError(f"{path} takes no {rest}")


def known(command):
    """Whether the words before a "..." or an alternative name a command: for what is shown cut short."""
    return re.split(r" \.\.\.|\||…", command)[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_shown_parses(path):
    shown = [command for command in commands(read(path)) if "[OPTIONS]" not in command]  # of the generated page
    assert shown or not path.stem.startswith("start-")
    assert {command: wrong(command) for command in shown if wrong(command)} == {}


def test_the_check_itself_finds_what_is_wrong():
    assert list(commands("```\n.venv/bin/atoll demo   # runs\nx && atoll nope\n```\nand `atoll serve --nope`")) == [
        "atoll demo", "atoll nope", "atoll serve --nope",
    ]  # fmt: skip
    for command in ("atoll nope", "atoll serve --nope", "atoll federation nope", "atoll serve this"):
        assert wrong(command), command


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_snippet_of_python_compiles(path):
    for language, block in BLOCK.findall(read(path)):
        if language == "python":
            compile(textwrap.dedent(block), str(path), "exec")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    for target in LINK.findall(BLOCK.sub("", read(path))):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        assert place.exists(), f"{path.name}: {target}"
        if anchor and place.suffix == ".md":
            assert f'id="{anchor}"' in rendered(place.stem, "en").body, f"{path.name}: {target}"


@pytest.mark.parametrize("name", GENERATED)
def test_generated_pages_are_those_of_the_code(name):
    text = "run `python -m atoll.node.docs`"
    assert read(DOCS / f"{name}.md") == GENERATED[name](), text
    assert "atoll.node.docs" not in rendered(name, "en").body  # that is for who changes the code


def test_everything_that_can_be_named_is_documented():
    cli_page, http, configuration, metrics, errors = (read(DOCS / f"{name}.md") for name in GENERATED)
    assert {f"\n## {path}\n" for path, _ in walk(cli)} - set(re.findall(r"\n## atoll [^\n]+\n", cli_page)) == set()
    assert [each.path for each in ROUTES if f"`{each.method} {each.path}`" not in http] == []
    keys = [f"`{section}.{key}`" for section, found in sections(Config).items() for key in found]
    assert [key for key in keys if key not in configuration] == []
    assert [each.name for each in listed() if f"`{each.name}`" not in metrics] == []
    assert [code for code in OUTCOMES if f"`{code}`" not in errors] == []
    assert [code for code in EXIT_CODES if f"\n| {code} | " not in errors] == []


def test_every_exit_code_has_its_meaning_and_each_meaning_its_code():
    assert AtollError.code in OUTCOMES
    assert {outcome.exit_code for outcome in OUTCOMES.values()} - set(EXIT_CODES) == set()
    ends = {0, 2, 130}  # of click, and of Ctrl-C
    assert set(EXIT_CODES) - {outcome.exit_code for outcome in OUTCOMES.values()} - ends == set()


def test_every_command_has_a_help_text_and_each_option_its_own():
    for path, command in walk(cli):
        assert (command.help or "").strip(), path
        options = [each for each in command.params if isinstance(each, click.Option)]
        assert [each.name for each in options if not (each.help or each.hidden)] == [], path


def test_every_page_is_in_the_contents_and_quick_starts_and_concepts_are_in_chinese_too():
    assert sorted(page.name for page in contents.PAGES) == sorted(path.stem for path in DOCS.glob("*.md"))
    assert sorted(page.name for page in contents.PAGES if page.generated) == sorted(GENERATED)
    begin = [page.name for page in contents.GROUPS[0].pages]
    for name in (*begin, "concepts"):
        english, chinese = (contents.text(name, language)[0] for language in ("en", "zh"))
        assert contents.text(name, "zh")[1] == "zh"
        assert len(re.findall(r"^##? ", english, re.MULTILINE)) == len(re.findall(r"^##? ", chinese, re.MULTILINE))
        rows = [len(re.findall(r"^\| ", text, re.MULTILINE)) for text in (english, chinese)]
        assert rows[0] == rows[1], f"{name}: the tables differ"
        commanded = [block for _, block in BLOCK.findall(english) if "atoll" in block and "python" not in block]
        assert commanded or name not in begin
        shown = [sorted(commands(text)) for text in (english, chinese)]
        assert shown[0] == shown[1], f"{name}: the commands differ"


def test_every_key_and_route_that_the_texts_name_exists():
    keys = {f"{section}.{key}" for section, found in sections(Config).items() for key in found}
    for path in FILES:
        for found in NAMED.findall(read(path)):
            known = found in keys or found in OUTCOMES or any(each.act == found for each in ROUTES)
            assert known, f"{path.name}: {found}"
