"""A catalogue of many listings: taking it in, starting with it, its memory, looking things up. python catalogue.py [N]

Listings are generated and validly signed, one specification each in one of 50 islands, by owners of 1e4 listings.
The start is measured in a process of its own, which opens the store as a node does.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
from atoll.engine.semantic import LICENSES, SCENARIOS, SemanticQuery, SemanticSpec
from atoll.node import identity as identities
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.environment import Store
from atoll.node.store.federations import Federations
from atoll.protocol import limits
from atoll.protocol.heads import Head, sign_head
from atoll.protocol.listings import Listing, SpecSummary, sign_listing
from atoll.protocol.log import Line, root_of
from atoll.protocol.membership import Certificate, certify
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NOW = 1_700_000_000_000
PER_OWNER, ISLANDS = 10_000, 50
WORDS = ("digits", "wine", "flights", "delay", "retail", "sales", "skin", "lesion", "traffic", "weather", "credit")


def signed_log(key: Ed25519PrivateKey, federation: bytes, count: int, seed: int, now: int = NOW):
    """(head, listings) of one owner, validly signed."""
    random = np.random.default_rng(seed)
    owner = key.public_key().public_bytes_raw()
    signed = []
    for seq in range(1, count + 1):
        words = " ".join(random.choice(WORDS, 3))
        semantic = SemanticSpec(
            f"{words} {seed}-{seq}", " ".join(random.choice(WORDS, 30)), scenario=(str(random.choice(SCENARIOS)),),
            license=str(random.choice(LICENSES)),
        )  # fmt: skip
        island = hashlib.sha256(b"island%d" % random.integers(ISLANDS)).digest()
        sketch = random.integers(-127, 128, 512).astype(np.int8).tobytes()
        spec = SpecSummary(island, sketch, 0.2, 1024, random.bytes(32))
        plain = Listing(
            owner, federation, random.bytes(32), random.bytes(32), seq, now, "live", semantic, (spec,), inputs=10,
            outputs=3, class_names=("a", "b", "c"),
        )  # fmt: skip
        signed.append(sign_listing(key, plain))
    root = root_of(map(Line.of, signed))
    head = Head(owner, federation, now, count + 1, count, root, now, now + limits.HEAD_LIFETIME)
    return sign_head(key, head), signed


def certificate(founder: Ed25519PrivateKey, federation: bytes, key: Ed25519PrivateKey, now: int = NOW):
    member = key.public_key().public_bytes_raw()
    made = Certificate(
        federation, member, "owner", now, now + limits.CERTIFICATE_LIFETIME, now, max_listings=limits.LISTINGS
    )
    return certify(founder, made)


def fill(home: Path, count: int, now: int = NOW) -> str:
    """Put ``count`` listings into the catalogue of a home, the way they come from a peer; returns the federation."""
    identity = identities.load(home)
    store = Store(home / "store")
    federations = Federations(store, identity)
    catalogue = Catalogue(store, federations)
    federation = federations.create("many", now).id
    seconds = 0.0
    for number in range(0, count, PER_OWNER):
        key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"%d" % number).digest())
        head, signed = signed_log(key, federation, min(PER_OWNER, count - number), number, now)
        records = [each.record for each in signed]
        started = perf_counter()
        proof = certificate(identity.key, federation, key, now)
        catalogue.apply(federation, proof, head.record, records, now, whole=True)
        seconds += perf_counter() - started
    print(f"verifying and storing {count} listings       {seconds:8.2f} s")
    store.close()
    return federation.hex()


def start(home: Path) -> None:
    """Open as a node does; print figures as JSON."""
    started, cpu = perf_counter(), process_time()
    store = Store(home / "store")
    catalogue = Catalogue(store, Federations(store, identities.load(home)))
    opened = {"start, s": perf_counter() - started, "start, CPU s": process_time() - cpu}
    listings = catalogue.alive(NOW)
    some = listings[:: max(1, len(listings) // 200)]
    opened["listings"] = len(listings)
    opened["by id, ms"] = timed(lambda each: catalogue.find(each.learnware_id, NOW), some)
    opened["by owner, ms"] = timed(lambda each: catalogue.of_owner(each.federation, each.owner), some[:20])
    opened["by island, ms"] = timed(lambda each: catalogue.in_island(each.specifications[0].island, NOW), some[:20])
    tags = [SemanticQuery(scenario=each.semantic.scenario, license=(each.semantic.license,)) for each in some[:20]]
    opened["by two tags, ms"] = timed(lambda query: catalogue.alive(NOW, query), tags)
    texts = [SemanticQuery(text=each.semantic.name) for each in some[:5]]
    opened["by text, ms"] = timed(lambda query: catalogue.alive(NOW, query), texts)
    opened["resident, MB"] = resident_mb()
    opened["at the most, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    store.close()
    print(json.dumps(opened))


def resident_mb() -> float:
    """What is resident now; while starting, pages of the store come on top, which the kernel may take back."""
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def timed(look, asked) -> float:
    """Median milliseconds."""
    found = []
    for each in asked:
        started = perf_counter()
        look(each)
        found.append(1000 * (perf_counter() - started))
    return median(found)


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        identities.create(home)
        fill(home, count)
        command = [sys.executable, __file__, "--start", str(home)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for name, value in found.items():
            print(f"{name:36} {value:10.3f}")


if __name__ == "__main__":
    if "--start" in sys.argv:
        start(Path(sys.argv[-1]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
