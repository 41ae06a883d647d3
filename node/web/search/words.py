"""The page's words for what searches say in codes."""

from __future__ import annotations

from typing import NamedTuple, get_args

from atoll.engine.islands import Island
from atoll.node.language import gettext, later, ngettext
from atoll.node.reuse.words import percent
from atoll.node.search.query import Hit, MixtureView, Privacy, Representation, SearchResult, SpecificationQuery
from atoll.node.web.search.overlay import Overlay
from atoll.protocol.policy import ACTS, Act

NAMES, NAMES_LENGTH = 3, 48  # of columns that tell islands apart


class Choice(NamedTuple):
    """``leaves``: what leaves this node under that choice. Both are translated where they are shown."""

    name: str
    leaves: str


_PRIVACY = {
    "rkme": Choice(
        later("Ask owners, exactly"),
        later(
            "The owners of likely learnwares are sent the reduced set: a few weighted points made from your rows, none "
            "of them a row. They measure exact distances."
        ),
    ),
    "sketch": Choice(
        later("Ask owners, by a sketch"),
        later(
            "The owners of likely learnwares are sent a sketch only, 512 numbers that summarise the reduced set. "
            "What they disclose is measured here."
        ),
    ),
    "local": Choice(
        later("Ask nobody"),
        later(
            "Nothing leaves this node. It ranks by the sketches that owners have published; distances are estimates."
        ),
    ),
}
PRIVACY: dict[Privacy, Choice] = {value: _PRIVACY[value] for value in get_args(Privacy)}
REPRESENTATIONS: dict[Representation, str] = {
    "rkme": later("from full reduced sets"),
    "stand-in": later("from reduced sets, and stand-ins for those that are not disclosed"),
    "sketch": later("from sketches"),
}
ALLOWED: dict[Act, str] = {
    "match": later("match"),
    "disclose": later("see its reduced set"),
    "predict": later("have its owner predict your rows"),
    "download": later("download the model"),
}


def may(hit: Hit) -> list[str]:
    """What the user may do with a hit, beside finding it."""
    return [gettext(ALLOWED[act]) for act in ACTS if act in hit.may and act != "match"]


def on_request(hit: Hit) -> list[str]:
    """What its owner may allow if asked."""
    return [gettext(ALLOWED[act]) for act in ACTS if act not in hit.may and getattr(hit.offers, act) == "ask"]


def known(hit: Hit) -> str:
    """How its distance is known."""
    if hit.estimated:
        estimated = gettext("estimated from its sketch")
        return gettext("{estimated}, ± {band}").format(estimated=estimated, band=_band(hit)) if hit.band else estimated
    return gettext("exact to ± {band}").format(band=_band(hit)) if hit.band else gettext("exact")


def certainty(result: SearchResult) -> str:
    """How far the list can be relied on; empty where there is none."""
    if not result.hits:
        return ""
    if not result.islands:
        return gettext("By words and tags, among all that this node knows.")
    if result.topk_exact:
        return gettext("The list and its order are certain: nothing that was not measured exactly can change them.")
    return gettext("The list is not certain: learnwares known only by their sketches might belong into it.")


def silent(result: SearchResult) -> str:
    """How many owners have not answered, in words; empty if all have."""
    count = len(result.peers_failed)
    if not count:
        return ""
    if result.final:
        return ngettext("{count} owner did not answer", "{count} owners did not answer", count).format(count=count)
    late = ngettext("{count} owner has not answered yet", "{count} owners have not answered yet", count)
    return late.format(count=count)


def answered(result: SearchResult) -> str:
    """Who has answered, and how fast, in a line."""
    seconds, asked = f"{result.elapsed_ms / 1000:.1f}", len(result.peers_asked)
    if not asked:
        return gettext("found in {seconds} s, nobody was asked").format(seconds=seconds)
    told = ngettext(
        "{answered} of {asked} owner answered in {seconds} s", "{answered} of {asked} owners answered in {seconds} s",
        asked,
    )  # fmt: skip
    return told.format(answered=len(result.peers_answered), asked=asked, seconds=seconds)


def little(mixture: MixtureView) -> str:
    """A warning before rows are predicted by a mixture that explains only a part of them."""
    told = gettext(
        "Only {explained} of your data are explained. The models may not know what is in your rows, and rows of a "
        "class that no model knows may look like those of one that it does: rely on nothing that you have not tried "
        "on rows whose answer is known."
    )
    return told.format(explained=percent(mixture.explained))


def found(result: SearchResult) -> str:
    """How many learnwares."""
    count = len(result.hits)
    if not count:
        return gettext("No learnwares")
    return ngettext("{count} learnware", "{count} learnwares", count).format(count=count)


def known_here(learnwares: int, owners: int) -> str:
    """How much there is to find."""
    of = ngettext("{count} owner", "{count} owners", owners).format(count=owners)
    known = ngettext("{count} learnware of {owners} is known here.", "{count} learnwares of {owners} are known here.",
                     learnwares)  # fmt: skip
    return known.format(count=learnwares, owners=of)


def kept(asked: SpecificationQuery) -> str:
    """By what a search goes, before the name of the island."""
    if asked.rkme is None:
        return gettext("a noised sketch in island")
    points, rows = len(asked.rkme.weights), asked.rkme.count
    return gettext("{points} points for {rows} rows in island").format(points=points, rows=rows)


def island(known: Island) -> str:
    """An island to choose, on one line."""
    told = ngettext("{kind}, {count} dimension", "{kind}, {count} dimensions", known.dimension)
    line = f"{known.id[:8]}: {told.format(kind=known.kind, count=known.dimension)}"
    if not known.names:
        return line
    names = ", ".join(known.names[:NAMES])
    shortened = names if len(names) <= NAMES_LENGTH else f"{names[:NAMES_LENGTH]}…"
    return f"{line} ({shortened}{', …' if len(known.names) > NAMES else ''})"


def plane(picture: Overlay) -> str:
    """What is drawn."""
    count = len(picture.clouds) - 1
    told = ngettext(
        "Your data and {count} learnware on the plane of their two main directions",
        "Your data and {count} learnwares on the plane of their two main directions", count,
    )  # fmt: skip
    return told.format(count=count)


def sizes(picture: Overlay) -> str:
    """How many points each has."""
    return " ".join(
        gettext("{points} for {name}.").format(points=len(each.circles), name=each.name or gettext("your data"))
        for each in picture.clouds
    )


def told(result: SearchResult) -> str:
    """The answer in a line."""
    line = gettext("{found}; {answered}.").format(found=found(result), answered=answered(result))
    late = gettext("Late answers may still come…")
    return line if result.final else f"{line} {late}"


def waiting(hits: int, late: int, owners: int) -> str:
    """What there is while owners are waited for."""
    line = ngettext(
        "{hits} found from sketches so far; waiting for {late} of {count} owner…",
        "{hits} found from sketches so far; waiting for {late} of {count} owners…", owners,
    )  # fmt: skip
    return line.format(hits=hits, late=late, count=owners)


def _band(hit: Hit) -> str:
    return f"{hit.band:.2g}"
