"""The forms of the federations as they come, with their faults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll.node.administration import QUOTA, Role
from atoll.node.api.federations import InviteBody
from atoll.node.language import gettext
from atoll.protocol import limits

MAX_NAME, MAX_HOURS = 80, 24 * 30


@dataclass
class FoundForm:
    """``errors`` by field."""

    name: str = ""
    open: bool = False
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> FoundForm:
        form = cls(fields.get("name", "").strip(), fields.get("open") == "yes")
        if not form.name:
            form.errors["name"] = gettext("Give the federation a name.")
        elif len(form.name) > MAX_NAME:
            form.errors["name"] = gettext("A name has at most %(most)d characters.") % {"most": MAX_NAME}
        return form


@dataclass
class JoinForm:
    """An invite that was not taken is shown again, with the reason."""

    invite: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@dataclass
class InviteForm:
    """What the newcomer may do."""

    role: Role = "member"
    max_listings: str = str(QUOTA)
    hours: str = "24"
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> InviteForm:
        role: Role = "reader" if fields.get("role") == "reader" else "member"
        form = cls(role, fields.get("max_listings", str(QUOTA)).strip(), fields.get("hours", "24").strip())
        form._check("max_listings", form.max_listings, 0, limits.LISTINGS)
        form._check("hours", form.hours, 1, MAX_HOURS)
        return form

    @property
    def body(self) -> InviteBody:
        """As the API takes it; only without errors."""
        return InviteBody(self.role, int(self.max_listings), int(self.hours))

    def _check(self, name: str, text: str, least: int, most: int) -> None:
        whole = text.isascii() and text.isdigit() and len(text) < 8
        if not whole or not least <= int(text) <= most:
            words = gettext("A whole number from %(least)d to %(most)d.")
            self.errors[name] = words % {"least": least, "most": most}
