"""The form of a policy: what is ticked and typed, as a policy, or what is wrong with it, beside its field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from atoll.engine.errors import AtollError
from atoll.engine.packages import Manifest
from atoll.node.errors import RequestInvalid
from atoll.node.language import gettext
from atoll.node.policy.checking import AUDIENCES, misfits
from atoll.node.web.answers import sentence
from atoll.node.web.dock.words import PRESETS
from atoll.protocol.ids import public_key
from atoll.protocol.listings import Audience
from atoll.protocol.policy import ACTS, MAX_NAMED, Act, Policy, Rule

QUOTAS = ("per_peer", "per_user")
MOST_QUOTA = 10**12
SHOWN = 60  # named peers that the form has; those beyond it stay as they are
SIZE, FIELDS = 64 * 1024, 16 + len(ACTS) * 3 + SHOWN * (1 + len(ACTS))

Fields = Mapping[str, Sequence[str]]
Members = Sequence[tuple[str, str]]  # (PeerId, name)


@dataclass
class PolicyForm:
    """``named`` are the peers that have a line; ``kept`` is the policy whose other named peers stay. ``offers`` gives
    the audience of each act, ``quotas`` what stands in those fields, by name, and ``peers`` who is ticked; ``sure`` are
    the acts whose widening was confirmed."""

    kept: Policy
    named: list[str] = field(default_factory=list)
    offers: dict[Act, Audience] = field(default_factory=dict)
    quotas: dict[str, str] = field(default_factory=dict)
    peers: dict[Act, list[str]] = field(default_factory=dict)
    few_rows: bool = False
    sure: frozenset[str] = frozenset()
    added: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, policy: Policy) -> PolicyForm:
        """As it is filled in to begin with."""
        form = cls(policy, _named(policy)[:SHOWN])
        form.take(policy)
        return form

    @classmethod
    def read(cls, fields: Fields, kept: Policy, members: Members) -> PolicyForm:
        """What was sent; RequestInvalid for what no page of ours sends. Named peers of ``kept`` that had no line stay;
        a preset takes the place of all the rest."""
        form = cls(kept, list(dict.fromkeys(fields.get("named", ()))))
        if len(form.named) > SHOWN or not all(_is_peer(name) for name in form.named):
            raise RequestInvalid("not the form of this page")
        form.few_rows = _first(fields, "few_rows") == "yes"
        form.sure = frozenset(_first(fields, "sure").split(","))
        for act in ACTS:
            form._read_act(act, fields)
        form._add(_first(fields, "add").strip(), members)
        preset = PRESETS.get(_first(fields, "preset"))
        if preset is not None:
            form.take(preset[1])
            form.errors.clear()
        return form

    def take(self, policy: Policy) -> None:
        """Fill in a policy; who is named in it and has no line is not shown."""
        for act in ACTS:
            rule = policy.rule(act)
            self.offers[act] = rule.audience
            self.peers[act] = [peer for peer in self.named if peer in rule.peers]
            for quota in QUOTAS:
                value = getattr(rule, quota)
                self.quotas[f"{act}-{quota}"] = "" if value is None else str(value)

    @property
    def hidden(self) -> int:
        """How many named peers have no line."""
        return len(set(_named(self.kept)) - set(self.named))

    def policy(self) -> Policy:
        """What the form says, where it is in order."""
        return Policy(*(self._rule(act) for act in ACTS))

    def check(self, manifest: Manifest) -> Policy:
        """The same; what does not fit the learnware becomes a fault of its act."""
        policy = self.policy()
        for act, misfit in misfits(policy, manifest).items():
            self.errors.setdefault(act, sentence(misfit))
        return policy

    def _rule(self, act: Act) -> Rule:
        unseen = [peer for peer in self.kept.rule(act).peers if peer not in self.named]
        quotas = {quota: _number(self.quotas.get(f"{act}-{quota}", "")) for quota in QUOTAS}
        rule = Rule(self.offers[act], (*unseen, *self.peers[act]))
        return msgspec.structs.replace(rule, **quotas)

    def _read_act(self, act: Act, fields: Fields) -> None:
        audience = _first(fields, act)
        if audience not in AUDIENCES:
            self.errors[act] = gettext("Choose for whom.")
            audience = self.kept.rule(act).audience
        self.offers[act] = audience
        self.peers[act] = [peer for peer in self.named if peer in fields.get(f"{act}-peers", ())]
        for quota in QUOTAS:
            name = f"{act}-{quota}"
            self.quotas[name] = _first(fields, name).strip()[:20]
            if self.quotas[name] and _number(self.quotas[name]) is None:
                self.errors[name] = gettext("Give a whole number, or leave it empty.")

    def _add(self, wanted: str, members: Members) -> None:
        """A line more, for a member by its name or any peer by its id; ticked for nothing yet."""
        if not wanted:
            return
        found = {peer for peer, name in members if wanted in (peer, name)}
        if len(found) == 1:
            wanted = found.pop()
        if not _is_peer(wanted):
            self.added = wanted[:200]
            self.errors["add"] = (
                gettext("Several members have this name: give the peer id.") if found
                else gettext("No member has this name, and it is no peer id.")
            )  # fmt: skip
        elif wanted not in self.named and len(self.named) == SHOWN:
            self.errors["add"] = gettext(
                "This page names no more. `atoll learnware policy` takes up to {count}."
            ).format(count=MAX_NAMED)
        elif wanted not in self.named:
            self.named.append(wanted)


def _named(policy: Policy) -> list[str]:
    return list(dict.fromkeys(peer for act in ACTS for peer in policy.rule(act).peers))


def _first(fields: Fields, name: str) -> str:
    return next(iter(fields.get(name, ())), "")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 13 and int(text) <= MOST_QUOTA else None


def _is_peer(text: str) -> bool:
    try:
        public_key(text)
    except (AtollError, ValueError):
        return False
    return True
