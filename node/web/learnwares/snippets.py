"""How to use a learnware from a terminal or a program, with its real id and this node's address: what a visitor may."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Sequence
from typing import NamedTuple

from atoll.node.language import later
from atoll.node.web.markdown import STEERING
from atoll.protocol.listings import Listing
from atoll.protocol.policy import ACTS, Act, promised

FEW = 4  # columns that are written out
ROWS = "my_rows.csv"


class Snippet(NamedTuple):
    """``title`` and ``does``, which says what leaves, are translated where they are shown."""

    key: str
    title: str
    does: str
    code: str


def snippets(
    learnware_id: str, revision: str, url: str, columns: Sequence[str], may: Collection[Act],
    on_request: Collection[Act], own: bool,
) -> list[Snippet]:  # fmt: skip
    """What is allowed comes first; what anybody may last."""
    found = [Snippet("sign-in", later("First: to which node, and who you are"), TOKEN, _signing_in(url))]
    remote = not own and "download" not in may
    if "predict" in may or "download" in may:
        found += [_python(learnware_id, remote, own), _curl(learnware_id, url, columns, remote, own)]
    if "download" in may and not own:
        found.append(_fetch(learnware_id))
    if own:
        found.append(_package(revision, url))
    if on_request and not own:
        acts = " ".join(f"--for {act}" for act in on_request)
        code = f'atoll learnware ask {learnware_id} {acts} --words "for the sepsis study"'
        found.append(Snippet("ask", later("Ask its owner"), later("Your words and a pseudonym go to its owner."), code))
    code = f"atoll search --data {ROWS} --id {learnware_id}"
    found.append(Snippet("search", later("See how near your data are"), SEARCHED, code))
    return found


def for_members(learnware_id: str, listings: Sequence[Listing]) -> Snippet:
    """The one that its owner may pass on: what users of other nodes may do first; listed nowhere, its own users."""
    may = {act for each in listings for act in promised(each.offers, "somebody")}
    asked = [act for act in ACTS if act not in may and any(getattr(each.offers, act) == "ask" for each in listings)]
    if not listings:
        return _python(learnware_id, remote=False, own=True)
    found = {each.key: each for each in snippets(learnware_id, "", "", (), may, asked, own=False)}
    return found.get("python") or found.get("ask") or found["search"]


SEARCHED = later(
    "Rows stay on your machine. Its owner is sent a reduced set of them; with --privacy sketch 512 numbers only, with "
    "--privacy local nothing."
)
HERE = later("This node fetches the model once and runs it in its sandbox: rows go to this node and no further.")
AT_OWNER = later("Rows go to this node, and on to the owner, who predicts: send says that they may.")
OWN = later("The model runs in this node: rows go to it and no further.")


TOKEN = later("The administrator of this node gives out tokens; commands and programs send yours to this node alone.")


def _signing_in(url: str) -> str:
    return f"export ATOLL_URL={shlex.quote(url)}\nexport ATOLL_TOKEN=atoll_..."


def _does(remote: bool, own: bool) -> str:
    return OWN if own else AT_OWNER if remote else HERE


def _python(learnware_id: str, remote: bool, own: bool) -> Snippet:
    send = ", send=True" if remote else ""
    code = (
        "import atoll\n\n"
        "client = atoll.Client()  # the node of $ATOLL_URL and $ATOLL_TOKEN\n"
        f'model = client.load("{learnware_id}"{send})\n'
        f'print(model.predict("{ROWS}"))  # or an array, a frame, a dict of columns'
    )
    return Snippet("python", later("Python: predict"), _does(remote, own), code)


def _curl(learnware_id: str, url: str, columns: Sequence[str], remote: bool, own: bool) -> Snippet:
    shown = list(columns[:FEW]) + (["..."] if len(columns) > FEW else [])
    cells = ", ".join(["0.0"] * min(len(columns), FEW) + (["..."] if len(columns) > FEW else []))
    sends = ', "send": true' if remote else ""
    names = json.dumps(shown, ensure_ascii=bool(STEERING.search("".join(shown))))
    body = f'{{"columns": {names}, "rows": [[{cells}]]{sends}}}'
    code = (
        f"curl {shlex.quote(f'{url}/api/v1/catalogue/{learnware_id}/predictions')} \\\n"
        f'  -H "Authorization: Bearer $ATOLL_TOKEN" -H "Content-Type: application/json" \\\n  -d {shlex.quote(body)}'
    )
    return Snippet("curl", later("HTTP: predict"), _does(remote, own), code)


def _fetch(learnware_id: str) -> Snippet:
    does = later("Nothing of yours leaves but a pseudonym. The package is checked against the signed listing.")
    return Snippet("fetch", later("Download the package"), does, f"atoll fetch {learnware_id} -o models")


def _package(revision: str, url: str) -> Snippet:
    address = shlex.quote(f"{url}/api/v1/downloads/{revision}")
    code = f'curl -H "Authorization: Bearer $ATOLL_TOKEN" -o model.zip \\\n  {address}'
    does = later("The package as others may download it, without its specifications.")
    return Snippet("package", later("Download the package"), does, code)
