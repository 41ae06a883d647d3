"""The form of a prediction: which files, and how; what was filled in, with faults told by field."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from atoll.node.language import gettext
from atoll.node.reuse.brief import LEARNING
from atoll.node.reuse.query import MAX_MEMBERS, Form, Method, ReuseQuery
from atoll.node.web.parts import TABLES, Parts

Runs = Literal["local", "remote", "here"]
FILES = {"file": TABLES, "labelled": TABLES}
MEMBERS = 10
MAX_TARGET = 200  # characters


@dataclass
class Asking:
    """``by`` is what routing goes by. ``runs`` "here" leaves out whatever would run at its owner; "local" and "remote"
    are what is preferred."""

    target: str = ""
    method: Method | Literal["auto"] = "auto"
    by: Form | Literal["auto"] = "auto"
    runs: Runs = "local"
    members: int = MEMBERS
    abstain: bool = False
    force: bool = False
    impute: bool = False
    files: dict[str, Path] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, parts: Parts) -> Asking:
        """What came, checked."""
        asking = cls(files=parts.files, errors=dict(parts.errors))
        asking._take_choices(parts)
        asking.target = parts.first("target").strip()
        asking.abstain, asking.force, asking.impute = (
            bool(parts.first(name)) for name in ("abstain", "force", "impute")
        )
        asking._check_files()
        return asking

    @property
    def changed(self) -> bool:
        """Whether any of the options was."""
        usual = Asking()
        return any(getattr(self, name) != getattr(usual, name) for name in ("method", "by", "runs", "members")) or (
            self.abstain or self.impute
        )

    def query(self, search_id: str, user: str) -> ReuseQuery:
        return ReuseQuery(
            search_id, self.method, self.by, "remote" if self.runs == "remote" else "local", self.members,
            self.abstain, self.force, self.runs == "here", user=user,
        )  # fmt: skip

    def _take_choices(self, parts: Parts) -> None:
        for name, choices in (("method", get_args(Method)), ("by", get_args(Form)), ("runs", get_args(Runs))):
            given = parts.first(name) or getattr(self, name)
            if given in (*choices, getattr(Asking, name)):
                setattr(self, name, given)
            else:
                self.errors[name] = gettext("Choose one of these.")
        members = parts.first("members").strip() or str(MEMBERS)
        if members.isascii() and members.isdigit() and 1 <= int(members[:4]) <= MAX_MEMBERS:
            self.members = int(members)
        else:
            self.errors["members"] = gettext("A number from 1 to {most}.").format(most=MAX_MEMBERS)

    def _check_files(self) -> None:
        if "file" not in self.files:
            self.errors.setdefault("file", gettext("Give the rows that are to be predicted."))
        if len(self.target) > MAX_TARGET:
            self.errors["target"] = gettext("At most {most} characters.").format(most=MAX_TARGET)
        if "labelled" in self.files and not self.target:
            self.errors["target"] = gettext("Say which column of the labelled rows holds the answers.")
        if "labelled" not in self.files and self.method in LEARNING:
            needs = gettext("This method learns from labelled rows: give some, or choose another.")
            self.errors.setdefault("method", needs)
