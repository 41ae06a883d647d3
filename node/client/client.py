"""The one HTTP client: under the command line, the demo and ``atoll.Client``, and ``atoll.AsyncClient`` for programs.

RKMEs are fitted here, on the user's side: a search sends the reduced set, never the rows. A prediction sends rows to
the node, because that is what it is asked to do, and lets them go on from there only where it is told so.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from atoll.engine.errors import FeatureMismatch
from atoll.engine.islands import Island, adopted
from atoll.engine.packages.archive import require_size
from atoll.engine.semantic import SemanticQuery
from atoll.engine.specs.dp import Budget, private_sketch
from atoll.engine.specs.noised import Specification
from atoll.engine.tables import Table
from atoll.engine.zips import length
from atoll.node.acceptance.submissions import LabelledRows
from atoll.node.admission import Kind
from atoll.node.api.audit import AuditPage, VerificationView
from atoll.node.api.code import CodeBody, CodeView
from atoll.node.api.federations import (
    FederationBody,
    FederationView,
    InviteBody,
    InviteState,
    InviteView,
    MemberView,
)
from atoll.node.api.governance import GovernanceView, PeerBody, RootView
from atoll.node.api.information import NodeView
from atoll.node.api.islands import IslandView, view
from atoll.node.api.learnwares import LearnwareView, ListingPage, ListingView, Publication, StateBody
from atoll.node.api.peer_rules import ChangeView, RuleBody, RuleView
from atoll.node.api.peers import PeerView
from atoll.node.api.policies import AskBody, GrantBody, RequestView, WhoCanBody
from atoll.node.api.privacy import GrantView, QueryBudgetBody, SpendingBody, SpendingView
from atoll.node.api.submissions import SubmissionBody, SubmissionView
from atoll.node.api.tokens import TokenBody, TokenView
from atoll.node.client.beimingwu import BeimingwuCalls
from atoll.node.client.download import receive
from atoll.node.client.fetching import DownloadCalls
from atoll.node.client.question import question, rows_of
from atoll.node.client.reuse import ReuseCalls
from atoll.node.client.streams import SearchEvent, follow
from atoll.node.errors import PackageRefused, RequestInvalid
from atoll.node.policy.gate import Permission
from atoll.node.policy.usage import Use
from atoll.node.search.fitting import (
    NO_UNITS,
    Fitted,
    compatible,
    digest_of,
    fit_rows,
    island_units,
    read_specification,
)
from atoll.node.search.query import Filters, Privacy, SearchResult
from atoll.node.store.backup_file import Manifest, Progress
from atoll.node.store.durable import replacing
from atoll.node.store.tokens import Scope, TokenRow
from atoll.protocol.ask import ActState
from atoll.protocol.listings import Offers, State
from atoll.protocol.policy import Act, Policy
from numpy.typing import NDArray


class AsyncClient(ReuseCalls, DownloadCalls, BeimingwuCalls):
    """``async with AsyncClient(url, token) as client``; every method raises RemoteError or NodeUnreachable."""

    async def node(self) -> NodeView:
        return await self._json("GET", "node", NodeView)

    async def catalogue(self) -> list[ListingView]:
        """All live listings, over as many pages as there are."""
        items: list[ListingView] = []
        cursor: str | None = ""
        while cursor is not None:
            answer = await self._json("GET", "catalogue", ListingPage, params={"cursor": cursor})
            items += answer.items
            cursor = answer.cursor
        return items

    async def learnwares(self) -> list[LearnwareView]:
        return await self._json("GET", "learnwares", list[LearnwareView])

    async def learnware(self, learnware_id: str) -> dict[str, Any]:
        return await self._json("GET", f"learnwares/{learnware_id}", dict[str, Any])

    async def add_learnware(self, package: bytes | Path, labelled: LabelledRows | None = None) -> LearnwareView:
        """Upload a package, wait for its checks and have it in the dock; PackageRefused in words otherwise."""
        decided = await self.submit(package, labelled)
        while decided.state in ("waiting", "running"):
            decided = await self.submission(decided.id, wait=30.0)
        if decided.state == "refused":
            raise PackageRefused(decided.report.words if decided.report else "refused")
        return await self._json("GET", f"learnwares/{decided.learnware_id}", LearnwareView)

    async def submit(
        self, package: bytes | Path, labelled: LabelledRows | None = None, progress: Progress = lambda done, all_: None
    ) -> SubmissionView:
        """Upload a package, going on where an upload of the same bytes has broken off, and queue it for its checks.

        PackageError, before anything is sent, for one that is too large for any node.
        """
        with io.BytesIO(package) if isinstance(package, bytes) else package.open("rb") as file:
            size = length(file)
            if not size:
                raise RequestInvalid("the package is empty", hint="packages are made by `atoll learnware pack`")
            require_size(size)
            digest = (await asyncio.to_thread(hashlib.file_digest, file, "sha256")).hexdigest()
            await self._send_file(f"uploads/{digest}", file, size, progress)
        return await self._json("POST", "submissions", SubmissionView, body=SubmissionBody(digest, labelled))

    async def submission(self, id_: str, wait: float = 0.0) -> SubmissionView:
        """Its state and log; with ``wait`` (seconds) once it is decided, or as it is then."""
        return await self._json("GET", f"submissions/{id_}", SubmissionView, params={"wait": str(wait)})

    async def submissions(self) -> list[SubmissionView]:
        """The newest first."""
        return await self._json("GET", "submissions", list[SubmissionView])

    async def publish(
        self, learnware_id: str, federation: str, policy: Offers | Policy, *, few_rows: bool = False
    ) -> LearnwareView:
        """List a learnware; offers are a policy without named peers and quotas."""
        made = policy if isinstance(policy, Policy) else Policy.of(policy)
        body = Publication(federation, policy=made, few_rows=few_rows)
        return await self._json("PUT", f"learnwares/{learnware_id}/listing", LearnwareView, body=body)

    async def set_state(self, learnware_id: str, federation: str, state: State) -> LearnwareView:
        """Pause a listing of an own learnware, or let it live again."""
        body = StateBody(federation, state)
        return await self._json("PUT", f"learnwares/{learnware_id}/listing/state", LearnwareView, body=body)

    async def withdraw(self, learnware_id: str, federation: str) -> None:
        """Take an own learnware out of one federation; it stays in the dock."""
        await self._call("DELETE", f"learnwares/{learnware_id}/listing/{federation}")

    async def policies(self, learnware_id: str) -> dict[str, Policy]:
        """Of an own learnware, by federation."""
        return await self._json("GET", f"learnwares/{learnware_id}/policies", dict[str, Policy])

    async def who_can(self, learnware_id: str, federation: str, policy: Policy | None = None) -> list[Permission]:
        """What each member may do with it, by the policy in force or one that is only tried."""
        path = f"learnwares/{learnware_id}/policies/{federation}/who-can"
        return await self._json("POST", path, list[Permission], body=WhoCanBody(policy))

    async def usage(self, learnware_id: str) -> list[Use]:
        """What was done with an own learnware."""
        return await self._json("GET", f"learnwares/{learnware_id}/usage", list[Use])

    async def ask(self, learnware_id: str, acts: tuple[Act, ...] = (), words: str = "") -> list[ActState]:
        """Ask the owner for ``acts``, or only how things stand."""
        return await self._json("POST", f"catalogue/{learnware_id}/requests", list[ActState], body=AskBody(acts, words))

    async def requests(self) -> list[RequestView]:
        """What others have asked this node for."""
        return await self._json("GET", "requests", list[RequestView])

    async def grant(self, request_id: str, days: int = 30) -> RequestView:
        return await self._json("POST", f"requests/{request_id}/grant", RequestView, body=GrantBody(days))

    async def deny(self, request_id: str) -> RequestView:
        return await self._json("POST", f"requests/{request_id}/deny", RequestView)

    async def revoke_grant(self, request_id: str) -> RequestView:
        return await self._json("POST", f"requests/{request_id}/revoke", RequestView)

    async def admitted_code(self) -> list[CodeView]:
        """Others' learnwares of code that this node runs."""
        return await self._json("GET", "code", list[CodeView])

    async def allow_code(self, learnware_id: str, owner: str = "", revision: str = "") -> CodeView:
        return await self._json("PUT", f"code/{learnware_id}", CodeView, body=CodeBody(owner, revision))

    async def refuse_code(self, learnware_id: str) -> list[CodeView]:
        return await self._json("DELETE", f"code/{learnware_id}", list[CodeView])

    async def remove_learnware(self, learnware_id: str) -> None:
        await self._call("DELETE", f"learnwares/{learnware_id}")

    async def islands(self) -> list[Island]:
        """Known islands, most used first."""
        return [found.island() for found in await self._json("GET", "islands", list[IslandView])]

    async def add_island(self, island: Island) -> None:
        await self._json("POST", "islands", IslandView, body=view(island, 0))

    async def adopt_island(self, rows: Table) -> Island:
        """The most used island that what is published of these rows can be of; FeatureMismatch if there is none."""
        island = adopted(await self.islands(), rows)
        if island is None:
            raise FeatureMismatch(
                "no island of this node has the features of your rows", hint="mint one with `atoll island mint`"
            )
        return island

    async def fit(self, rows: Any, *, impute: bool = False, units: Mapping[str, str] = NO_UNITS) -> list[Fitted]:
        """Rows (array, frame, dict of columns, or the path of a file) as a search takes them: fitted here, in every
        compatible island of the node, so that no row leaves this machine. ``units`` are those of columns, by name,
        where they are not the island's; ``impute``: column means where values are missing."""
        source = await asyncio.to_thread(rows_of, rows)
        return await asyncio.to_thread(fit_rows, source, await self.islands(), impute=impute, units=units)

    async def fit_private(
        self, rows: Any, epsilon: float, delta: float = 1e-6, *, units: Mapping[str, str] = NO_UNITS
    ) -> list[Fitted]:
        """Rows under differential privacy: a noised sketch, made here, in the compatible island that is used most.

        The node enters the budget in its ledger, in the name of the token; the same rows and budget cost once.
        """
        source = await asyncio.to_thread(rows_of, rows)
        (island, *_) = await asyncio.to_thread(compatible, source, await self.islands(), units)
        digest, count = await asyncio.to_thread(digest_of, source, island, units)
        body = QueryBudgetBody(digest.hex(), island.id, count, epsilon, delta)
        granted = await self._json("POST", "searches/budgets", GrantView, body=body)
        budget = Budget(epsilon, delta, bytes.fromhex(granted.secret))
        noised = await asyncio.to_thread(private_sketch, island_units(source, island, units), island, budget)
        return [Fitted(island, noised)]

    async def specification(self, path: Path | str, island: Island | str | None = None) -> list[Fitted]:
        """A file that ``atoll spec fit`` has written, as a search takes it, in every compatible island of the node.

        ``island`` is its own, or how the id of one that the node knows begins; without it, it is that defined beside
        the file, else the only one of the node that it can be of. IslandError if that does not tell.
        """
        known = await self.islands()
        return await asyncio.to_thread(read_specification, Path(path), island, known)

    async def search(
        self, fitted: Sequence[tuple[Island, Specification]] = (), semantic: SemanticQuery | str = "", *,
        limit: int = 10, deadline_ms: int | None = None, privacy: Privacy = "rkme", filters: Filters = Filters(),  # noqa: B008
    ) -> SearchResult:  # fmt: skip
        """The answer, by words where nothing is ``fitted``, as soon as nobody is worth waiting for any longer. It is
        not ``final`` if owners were late: ``search_events`` waits for them."""
        body = question(fitted, semantic, limit, deadline_ms, privacy, filters)
        return await self._json("POST", "searches", SearchResult, body=body)

    async def search_rows(
        self, rows: Any, semantic: SemanticQuery | str = "", *, limit: int = 10, deadline_ms: int | None = None,
        privacy: Privacy = "rkme", filters: Filters = Filters(), impute: bool = False,  # noqa: B008
        units: Mapping[str, str] = NO_UNITS,
    ) -> SearchResult:  # fmt: skip
        """``fit`` and ``search``."""
        fitted = await self.fit(rows, impute=impute, units=units)
        return await self.search(
            fitted, semantic, limit=limit, deadline_ms=deadline_ms, privacy=privacy, filters=filters
        )

    def search_events(
        self, fitted: Sequence[tuple[Island, Specification]] = (), semantic: SemanticQuery | str = "", *,
        limit: int = 10, deadline_ms: int | None = None, privacy: Privacy = "rkme", filters: Filters = Filters(),  # noqa: B008
    ) -> AsyncGenerator[SearchEvent]:  # fmt: skip
        """The search as it happens, up to the final answer. A connection that breaks is taken up where it broke."""
        body = question(fitted, semantic, limit, deadline_ms, privacy, filters)
        return follow(self._session, f"{self._url}/api/v1/searches", body)

    async def spend_privacy(
        self, dataset: str, units: NDArray[np.float32], island: Island, epsilon: float, delta: float
    ) -> Budget:
        """The budget for a noised sketch of ``units`` (n, d) in ``island``, entered in the node's ledger first."""
        digest = hashlib.sha256(np.ascontiguousarray(units, "<f4").tobytes()).hexdigest()
        body = SpendingBody(dataset, digest, island.id, len(units), epsilon, delta)
        granted = await self._json("POST", "privacy/spendings", GrantView, body=body)
        return Budget(epsilon, delta, bytes.fromhex(granted.secret))

    async def privacy_spendings(self) -> list[SpendingView]:
        """The node's ledger of differential privacy, oldest first."""
        return await self._json("GET", "privacy/spendings", list[SpendingView])

    async def peers(self) -> list[PeerView]:
        return await self._json("GET", "peers", list[PeerView])

    async def add_peer(self, address: str) -> PeerView:
        return await self._json("POST", "peers", PeerView, body={"address": address})

    async def remove_peer(self, peer: str) -> None:
        await self._call("DELETE", f"peers/{peer}")

    async def peer_rules(self) -> list[RuleView]:
        """The allow and the deny list."""
        return await self._json("GET", "peers/rules", list[RuleView])

    async def add_peer_rule(self, kind: Kind, peer: str, *, dry_run: bool = False, force: bool = False) -> ChangeView:
        """Put a peer on a list; a dry run only says what that would do."""
        path, params = f"peers/rules/{peer}", {"dry_run": _flag(dry_run), "force": _flag(force)}
        return await self._json("PUT", path, ChangeView, body=RuleBody(kind), params=params)

    async def remove_peer_rule(
        self, kind: Kind, peer: str, *, dry_run: bool = False, force: bool = False
    ) -> ChangeView:
        """Take a peer off a list."""
        path, params = f"peers/rules/{peer}", {"kind": kind, "dry_run": _flag(dry_run), "force": _flag(force)}
        return await self._json("DELETE", path, ChangeView, params=params)

    async def federations(self) -> list[FederationView]:
        return await self._json("GET", "federations", list[FederationView])

    async def create_federation(self, name: str, *, open: bool = False) -> FederationView:
        return await self._json("POST", "federations", FederationView, body=FederationBody(name, open))

    async def invite(self, federation: str, body: InviteBody = InviteBody()) -> InviteView:  # noqa: B008
        return await self._json("POST", f"federations/{federation}/invites", InviteView, body=body)

    async def invites(self, federation: str) -> list[InviteState]:
        """Those made at the node that have not expired, used or not."""
        return await self._json("GET", f"federations/{federation}/invites", list[InviteState])

    async def uninvite(self, federation: str, invite: str) -> None:
        """Take back one that nobody has used, by its id."""
        await self._call("DELETE", f"federations/{federation}/invites/{invite}")

    async def leave(self, federation: str) -> None:
        await self._call("DELETE", f"federations/{federation}")

    async def renew_membership(self, federation: str) -> FederationView:
        return await self._json("POST", f"federations/{federation}/renewal", FederationView)

    async def governance(self, federation: str) -> GovernanceView:
        return await self._json("GET", f"federations/{federation}/governance", GovernanceView)

    async def catalogue_root(self, federation: str) -> RootView:
        """A hash over the federation's catalogue; nodes that are level answer the same."""
        return await self._json("GET", f"federations/{federation}/root", RootView)

    async def revoke(self, federation: str, peer: str) -> GovernanceView:
        return await self._governed("POST", f"{federation}/revocations", PeerBody(peer))

    async def appoint(self, federation: str, peer: str) -> GovernanceView:
        return await self._governed("POST", f"{federation}/admins", PeerBody(peer))

    async def dismiss(self, federation: str, peer: str) -> GovernanceView:
        return await self._governed("DELETE", f"{federation}/admins/{peer}")

    async def take_down(self, federation: str, owner: str, learnware_id: str) -> GovernanceView:
        return await self._governed("PUT", f"{federation}/takedowns/{owner}/{learnware_id}")

    async def put_back(self, federation: str, owner: str, learnware_id: str) -> GovernanceView:
        return await self._governed("DELETE", f"{federation}/takedowns/{owner}/{learnware_id}")

    async def pardon(self, federation: str, peer: str) -> GovernanceView:
        return await self._governed("DELETE", f"{federation}/quarantine/{peer}")

    async def _governed(self, method: str, path: str, body: object = None) -> GovernanceView:
        return await self._json(method, f"federations/{path}", GovernanceView, body=body)

    async def join(self, invite: str) -> FederationView:
        return await self._json("POST", "federations/join", FederationView, body={"invite": invite})

    async def members(self, federation: str) -> list[MemberView]:
        return await self._json("GET", f"federations/{federation}/members", list[MemberView])

    async def tokens(self) -> list[TokenRow]:
        return await self._json("GET", "tokens", list[TokenRow])

    async def create_token(self, name: str, scopes: tuple[Scope, ...], days: int | None) -> TokenView:
        return await self._json("POST", "tokens", TokenView, body=TokenBody(name, scopes, days))

    async def revoke_token(self, token_id: str) -> None:
        await self._call("DELETE", f"tokens/{token_id}")

    async def audit(self, after: int | None = None, limit: int = 100) -> AuditPage:
        """Rows of the node's audit log, oldest first: those after row ``after``, or the newest."""
        params = {"limit": str(limit)} | ({} if after is None else {"after": str(after)})
        return await self._json("GET", "audit", AuditPage, params=params)

    async def verify_audit(self, witness: tuple[int, str] | None = None) -> VerificationView:
        """Whether the audit log is unbroken, up to a ``witness`` too: (seq, digest in hex) of an earlier answer."""
        params = {"seq": str(witness[0]), "digest": witness[1]} if witness else {}
        return await self._json("GET", "audit/verification", VerificationView, params=params)

    async def backup(self, path: Path, *, with_key: bool = True, progress: Progress | None = None) -> Manifest:
        """Stream the node's backup into a file, mode 600, that is kept only if all of it came; returns after fsync."""
        url = f"{self._url}/api/v1/backup"
        with replacing(path) as file, self._reaching():
            return await receive(self._session, url, file, with_key=with_key, progress=progress)


def _flag(value: bool) -> str:
    return "true" if value else "false"
