"""The page's words for what searches say in codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, get_args

from atoll.node.reuse.query import ReusePlan
from atoll.node.search.query import Hit, Privacy, Representation, SearchResult
from atoll.node.web.predict.asking import Runs
from atoll.protocol.policy import ACTS, Act

if TYPE_CHECKING:
    from atoll.node.web.rendering import Names


class PrivacyWords(NamedTuple):
    """``leaves``: what leaves this node under that choice."""

    name: str
    leaves: str


_PRIVACY = {
    "rkme": PrivacyWords(
        "Ask owners, exactly",
        "The owners of likely learnwares are sent the reduced set: a few weighted points made from your rows, none of "
        "them a row. They measure exact distances.",
    ),
    "sketch": PrivacyWords(
        "Ask owners, by a sketch",
        "The owners of likely learnwares are sent a sketch only, 512 numbers that summarise the reduced set. "
        "What they disclose is measured here.",
    ),
    "local": PrivacyWords(
        "Ask nobody",
        "Nothing leaves this node. It ranks by the sketches that owners have published; distances are estimates.",
    ),
}
PRIVACY: dict[Privacy, PrivacyWords] = {value: _PRIVACY[value] for value in get_args(Privacy)}
REPRESENTATIONS: dict[Representation, str] = {
    "rkme": "from full reduced sets",
    "stand-in": "from reduced sets, and stand-ins for those that are not disclosed",
    "sketch": "from sketches",
}
RUNS: dict[Runs, PrivacyWords] = {
    "local": PrivacyWords(
        "Here, where that is offered",
        "Models that may be downloaded run on this node, in a sandbox. Only where an owner does not offer that, rows "
        "go there.",
    ),
    "remote": PrivacyWords(
        "At their owners, where that is offered",
        "Rows go to the owners, each to those only that have a say in it. Nothing has to be downloaded.",
    ),
    "here": PrivacyWords(
        "Only here", "No row leaves this node. Models that are not offered for download are left out."
    ),
}
ALLOWED: dict[Act, str] = {
    "match": "match",
    "disclose": "see its reduced set",
    "predict": "have its owner predict your rows",
    "download": "download the model",
}


def places(plan: ReusePlan) -> str:
    """Where how many models run."""
    remote = sum(member.place == "remote" for member in plan.members)
    here = len(plan.members) - remote
    if not remote or not here:
        one = "it runs" if len(plan.members) == 1 else "all run"
        return f"{one} here" if here else f"{one} at {'its owner' if remote == 1 else 'their owners'}"
    return f"{here} run{'s' if here == 1 else ''} here, {remote} at {'its owner' if remote == 1 else 'their owners'}"


def leaving(plan: ReusePlan) -> int:
    """How many (row, owner) pairs leave this node."""
    return sum(member.rows for member in plan.members if member.place == "remote")


def receivers(plan: ReusePlan, names: Names) -> list[str]:
    """The owners to whom rows go."""
    remote = [member for member in plan.members if member.place == "remote"]
    return list(dict.fromkeys(member.owner_name or names.peer(member.owner) for member in remote))


def may(hit: Hit) -> list[str]:
    """What the user may do with a hit, beside finding it."""
    return [ALLOWED[act] for act in ACTS if act in hit.may and act != "match"]


def on_request(hit: Hit) -> list[str]:
    """What its owner may allow if asked."""
    return [ALLOWED[act] for act in ACTS if act not in hit.may and getattr(hit.offers, act) == "ask"]


def known(hit: Hit) -> str:
    """How its distance is known."""
    if hit.estimated:
        return f"estimated from its sketch, ± {hit.band:.2g}" if hit.band else "estimated from its sketch"
    return f"exact to ± {hit.band:.2g}" if hit.band else "exact"


def certainty(result: SearchResult) -> str:
    """How far the list can be relied on; empty where there is none."""
    if not result.hits:
        return ""
    if not result.islands:
        return "By words and tags, among all that this node knows."
    if result.topk_exact:
        return "The list and its order are certain: nothing that was not measured exactly can change them."
    return "The list is not certain: learnwares known only by their sketches might belong into it."


def silent(result: SearchResult) -> str:
    """How many owners have not answered, in words; empty if all have."""
    count = len(result.peers_failed)
    if not count:
        return ""
    many = f"{count} owner{'' if count == 1 else 's'}"
    if result.final:
        return f"{many} did not answer"
    return f"{many} {'has' if count == 1 else 'have'} not answered yet"


def answered(result: SearchResult) -> str:
    """Who has answered, and how fast, in a line."""
    seconds = f"in {result.elapsed_ms / 1000:.1f} s"
    if not result.peers_asked:
        return f"found {seconds}, nobody was asked"
    return f"{len(result.peers_answered)} of {len(result.peers_asked)} owners answered {seconds}"


def found(result: SearchResult) -> str:
    count = len(result.hits)
    return f"{count or 'No'} learnware{'' if count == 1 else 's'}"
