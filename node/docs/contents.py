"""Which pages there are, in which order, and their text."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import NamedTuple

from atoll.node.language import DEFAULT, later


class Page(NamedTuple):
    """``title`` and ``about`` are translated where they are shown; ``generated`` by atoll.node.docs.generated."""

    name: str
    title: str
    about: str
    generated: bool = False


class Group(NamedTuple):
    title: str
    pages: tuple[Page, ...]


GROUPS = (
    Group(
        later("Begin"),
        (
            Page("start-institution", later("For an institution"), later("A node of your own, and a first learnware.")),
            Page("start-data-user", later("For whoever has data"), later("From a table to predictions.")),
            Page(
                "start-federation-admin",
                later("For a federation's admin"),
                later("Found it, invite, renew, revoke, take down."),
            ),
        ),
    ),
    Group(
        later("Understand"),
        (
            Page("concepts", later("Concepts"), later("The words, and what happens in a search.")),
            Page("search", later("Search"), later("What is asked, what comes back, and how sure it is.")),
            Page("reuse", later("Reuse"), later("Plans, predictions, reports, downloads.")),
            Page("publish", later("Publish"), later("Packages, specifications, checks, policies.")),
            Page("beimingwu", later("At home with Beimingwu"), later("Its packages, its client, its specifications.")),
            Page("what-leaves", later("What leaves when"), later("What leaves the machine, and to whom.")),
            Page("security", later("Security model"), later("Threats, what defends against them, and what does not.")),
        ),
    ),
    Group(
        later("Run a node"),
        (
            Page("operation", later("Operation"), later("Install, TLS, proxies, backups, upgrades, monitoring.")),
            Page("federations", later("Federations"), later("Keys, roles, decrees, and changes of keys.")),
        ),
    ),
    Group(
        later("Look up"),
        (
            Page("cli", later("Commands"), later("Every command and option."), generated=True),
            Page("http", later("HTTP"), later("Every route, its scope and its body."), generated=True),
            Page("configuration", later("Configuration"), later("Every key and its default."), generated=True),
            Page("metrics", later("Metrics"), later("Every figure that a node tells."), generated=True),
            Page("errors", later("Errors and exit codes"), later("Every code, its status, its exit."), generated=True),
        ),
    ),
)
PAGES = tuple(page for group in GROUPS for page in group.pages)


def page(name: str) -> Page | None:
    return next((each for each in PAGES if each.name == name), None)


def neighbours(name: str) -> tuple[Page | None, Page | None]:
    """The pages before and after one, in the order of the contents."""
    place = [each.name for each in PAGES].index(name)
    return (PAGES[place - 1] if place else None), (PAGES[place + 1] if place + 1 < len(PAGES) else None)


@cache
def text(name: str, language: str) -> tuple[str, str]:
    """The markdown of a page and the language that it is in: that asked for, where there is one, else English."""
    folder = resources.files("atoll.node.docs")
    translated = folder.joinpath(language, f"{name}.md")
    if language != DEFAULT and translated.is_file():
        return translated.read_text("utf-8"), language
    return folder.joinpath(f"{name}.md").read_text("utf-8"), DEFAULT
