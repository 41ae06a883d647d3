"""The words of the dock, of policies and of requests: for acts, audiences, states, and what was done."""

from __future__ import annotations

from typing import NamedTuple

from atoll.node.language import later
from atoll.protocol.ask import State
from atoll.protocol.listings import Audience
from atoll.protocol.policy import Act, Policy, Rule


class ActWords(NamedTuple):
    """``unit`` is what a quota of the act counts. All of it is translated where it is shown."""

    name: str
    meaning: str
    unit: str


ACTS: dict[Act, ActWords] = {
    "match": ActWords(
        later("Match"),
        later("A search by data finds it: this node measures the distance and answers with a figure."),
        later("searches a day"),
    ),
    "disclose": ActWords(
        later("Disclose"),
        later("They get the reduced set, a few weighted points. Who has it keeps it."),
        later("disclosures a day"),
    ),
    "predict": ActWords(
        later("Predict"),
        later("This node predicts the rows that they send. The model stays here."),
        later("rows a day"),
    ),
    "download": ActWords(
        later("Download"),
        later("They get the model itself. Who has it keeps it: that cannot be recalled."),
        later("packages a day"),
    ),
}
AUDIENCES: dict[Audience, str] = {
    "nobody": later("nobody"),
    "ask": later("on request"),
    "members": later("members"),
    "anyone": later("anyone"),
}
REQUESTS: dict[State, str] = {
    "open": later("open"),
    "closed": later("closed"),
    "pending": later("waiting"),
    "granted": later("granted"),
    "denied": later("denied"),
    "revoked": later("taken back"),
    "expired": later("ended"),
}
PRESETS: dict[str, tuple[str, Policy]] = {
    "private": (later("Private: match only"), Policy()),
    "predict": (later("Predict for members"), Policy(predict=Rule("members"))),
    "open": (later("Open: everything for anyone"), Policy(*(Rule("anyone") for _ in ACTS))),
}
SAID = {
    "listed": later("The policy is in force, and the listing says so to the federation."),
    "paused": later("Paused. It stays listed, and nobody may do anything with it until you resume it."),
    "live": later("Live again: what its policy allows is allowed."),
    "withdrawn": later("Withdrawn from the federation. It is still in this dock."),
    "removed": later("Withdrawn from every federation and removed from this dock."),
    "forgotten": later("The download is removed from this node."),
    "granted": later("Granted. It holds from now on."),
    "denied": later("Denied. They can ask again after a day."),
    "revoked": later("Taken back. It ends at once."),
    "told": later("Its owner's node has answered. What it said is below."),
}
"""What a page says after something was done, by the code in its address."""
