"""The store and what it tells: whether it is whole, federations, and whether the clock can be right.

All of it is read in other processes: reading a damaged file can end the one that does (node.store.verification).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from atoll.engine.errors import AtollError
from atoll.node import lock
from atoll.node.checkup.finding import Finding, Patient, State
from atoll.node.clock import now_ms
from atoll.node.language import size
from atoll.node.store.environment import SCHEMA
from atoll.node.store.glance import Glance
from atoll.node.store.verification import verify_home
from atoll.protocol.limits import CLOCK_SKEW, DAY

RENEWED = 20 * DAY  # a membership of 90 days that ends sooner was to be renewed long ago
SECONDS_OFF = 60_000
WRONG_BEFORE = 1_750_000_000_000  # no node was made before


def store(patient: Patient) -> Iterator[Finding]:
    """Whether it is whole: all of it is read where no node runs, else only a few rows."""
    if not (patient.home / "store" / "data.mdb").is_file():
        if patient.home.is_dir():
            yield Finding("store", "bad", "there is none", "restore a backup with `atoll restore`")
        return
    seen = patient.glance
    if isinstance(seen, AtollError):
        yield Finding("store", "bad", seen.message, seen.hint or "restore a backup with `atoll restore`")
        return
    if seen.schema > SCHEMA:
        words = f"schema {seen.schema}, this Atoll knows up to {SCHEMA}"
        yield Finding("store", "bad", words, "run the newer Atoll that wrote it")
    elif patient.served:
        yield Finding("store", "fine", f"{_said(seen)}; the node has it open")
    else:
        yield from _read(patient, seen)


def federations(patient: Patient) -> Iterator[Finding]:
    """Standing and how long the membership lasts, from the node if it tells, else from the store."""
    if patient.running is not None and patient.running.federations is not None:
        found = [(each.name, each.standing, each.expires_at) for each in patient.running.federations]
    else:
        if isinstance(patient.glance, AtollError):  # said of the store
            return
        found = [(name, True, until) for name, until in patient.glance.federations]
    if not found:
        words = "in none"
        yield Finding("federations", "look", words, "`atoll federation create NAME`, or `atoll federation join LINE`")
    for name, standing, until in found:
        yield _membership(name, standing, until, now_ms())


def clock(patient: Patient) -> Iterator[Finding]:
    """By what peers say at hello; without any, whether it runs behind what the store holds."""
    now = now_ms()
    shown = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    known = patient.running.peers if patient.running is not None and patient.running.peers else ()
    ahead = [peer.clock_ahead for peer in known if peer.clock_ahead is not None]
    todo = "set the clock, by NTP: records of a clock that is off by ten minutes are refused"
    if ahead:
        off = int(statistics.median(ahead))
        words = f"{shown}; {len(ahead)} peers are ahead by {off / 1000:.0f} s in the median"
        state: State = "fine" if abs(off) < SECONDS_OFF else "look" if abs(off) < CLOCK_SKEW else "bad"
        yield Finding("clock", state, words, "" if state == "fine" else todo)
        return
    newest = patient.glance.newest if not isinstance(patient.glance, AtollError) else 0
    behind = max(newest, WRONG_BEFORE) - now
    if behind > 0:
        words = f"{shown}, and the newest record of the store is {behind / 1000:.0f} s ahead"
        yield Finding("clock", "bad" if behind > CLOCK_SKEW else "look", words, todo)
    else:
        yield Finding("clock", "fine", f"{shown}; no peer to compare it with, it is past what the store holds")


def _read(patient: Patient, seen: Glance) -> Iterator[Finding]:
    begun = time.monotonic()
    try:
        report = verify_home(patient.home, deep=False)
    except AtollError as error:
        yield Finding("store", "bad", error.message, error.hint or "")
        return
    if report.damage:
        more = f"; and {len(report.damage) - 1} more" if len(report.damage) > 1 else ""
        todo = "`atoll verify --home` lists all damage; restore a backup with `atoll restore`"
        yield Finding("store", "bad", f"{report.damage[0]}{more}", todo)
        return
    words = f"{_said(seen)}, {sum(report.tables.values())} rows read in {time.monotonic() - begun:.1f} s"
    if seen.schema < SCHEMA:
        todo = f"`atoll serve` migrates it to schema {SCHEMA}, and keeps the old one; back it up before"
        yield Finding("store", "look", words, todo)
    elif lock.was_killed(patient.home):
        yield Finding("store", "look", f"{words}; the last node was killed", "nothing: the next start reads all of it")
    else:
        yield Finding("store", "fine", words)


def _said(seen: Glance) -> str:
    return f"schema {seen.schema}, {size(seen.used)} of {size(seen.map_size)} mapped"


def _membership(name: str, standing: bool, until: int, now: int) -> Finding:
    what, days = f"federation {name!r}", (until - now) / DAY
    if not standing or days <= 0:
        words = "the membership was revoked or has expired"
        return Finding(what, "bad", words, "ask an admin for an invite, and `atoll federation join` it")
    words = f"a member for {days:.0f} more days"
    if until - now < RENEWED:
        todo = "no admin was reached to renew it: `atoll peer list`, then `atoll federation renew FEDERATION`"
        return Finding(what, "look", words, todo)
    return Finding(what, "fine", words)
